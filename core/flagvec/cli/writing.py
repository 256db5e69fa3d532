"""What the writing commands share: they open or make stores, and report how a run ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from flagvec.cli.exits import ExitCode, end_if_refused, say
from flagvec.cli.loading import load_model, model_of
from flagvec.cli.options import ColbertForm
from flagvec.cli.output import print_json
from flagvec.cli.stores import found_schema, named_if_away, opened
from flagvec.cli.waiting import patient
from flagvec.errors import FlagvecError, StoreDownError
from flagvec.store.address import StoreAddress

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder
    from flagvec.ingest.ingest_report import IngestReport
    from flagvec.store.base import HybridStore

Result = TypeVar("Result")


def model_for(addresses: Sequence[StoreAddress], name: str | None, patience: float, **options: Any) -> AbsEmbedder:
    """Return the model to encode with: the one of this name, or the one that a store was made with.

    Raises:
        ValueError: No store exists, and no name is given.
        StoreError: A database stayed away for `patience` seconds, or refused.
    """
    for address in addresses:
        schema = patient(partial(found_schema, address), patience)
        # A directory may have moved.
        if schema is not None and (name is None or Path(name).name == Path(schema.model).name):
            return model_of(schema, name, **options)
    if name is None:
        raise ValueError(f"{addresses[0]} does not exist yet: add --model NAME, such as --model bge-m3, to make it")
    return load_model(name, **options)


@contextmanager
def made(
    addresses: Sequence[StoreAddress], model: AbsEmbedder, colbert: ColbertForm | None, patience: float
) -> Iterator[Mapping[str, HybridStore]]:
    """Yield stores by what journals call them. Those that do not exist are made."""
    with ExitStack() as stack:
        stores: dict[str, HybridStore] = {}
        for address in addresses:
            if address.place in stores:
                raise ValueError(f"--store {address}: the store is given twice; leave one out")
            # Some clients connect as they are made.
            store = patient(partial(_entered, stack, address, model, colbert), patience)
            patient(partial(_create, address, store), patience)
            stores[address.place] = store
        yield stores


def _entered(stack: ExitStack, address: StoreAddress, model: AbsEmbedder, colbert: ColbertForm | None) -> HybridStore:
    with named_if_away(address):
        return stack.enter_context(opened(address, model, **colbert_option(colbert)))


def _create(address: StoreAddress, store: HybridStore) -> None:
    with named_if_away(address):
        store.create()


def colbert_option(form: ColbertForm | None) -> dict[str, Any]:
    """Return the argument ``colbert`` of a store, if one was given."""
    return {} if form is None else {"colbert": False if form is ColbertForm.off else form.value}


def finished(run: Callable[[], Result], is_resumable: bool) -> Result:
    """Return what a run returns, or end the command with the exit code that its error means.

    Args:
        run: Reads documents. Its arguments were checked before, so a ValueError is about a document.
        is_resumable: Whether the same command goes on from where it ended.

    Raises:
        typer.Exit: A store is away, or a document was refused with ``--on-error stop``.
        KeyboardInterrupt: As `run`.
    """
    try:
        return run()
    except KeyboardInterrupt as interrupt:
        _say_how_far(interrupt, is_resumable)
        raise
    except StoreDownError as error:
        # The report says why each store is down.
        _say_how_far(error, is_resumable)
        raise typer.Exit(ExitCode.TEMPFAIL) from error
    except (TypeError, ValueError) as error:
        # The documents are at fault, and not the arguments.
        if isinstance(error, FlagvecError):
            raise
        say(str(error))
        raise typer.Exit(ExitCode.DATAERR) from error


def print_report(report: IngestReport, addresses: Sequence[StoreAddress], as_json: bool) -> None:
    """Print what a run has done, with the stores' names as they were given.

    Raises:
        typer.Exit: Documents were refused.
    """
    urls = {address.place: address.url for address in addresses}
    report = replace(report, stores={urls[place]: store for place, store in report.stores.items()})
    if as_json:
        print_json(as_values(report))
    else:
        typer.echo(report.summary())
    end_if_refused(report.failures, report.dead_letters, is_silent=as_json)


def as_values(report: IngestReport) -> dict[str, Any]:
    """Return a report in JSON's types."""
    return asdict(report) | {"dead_letters": None if report.dead_letters is None else str(report.dead_letters)}


def _say_how_far(error: BaseException, is_resumable: bool) -> None:
    if (report := getattr(error, "report", None)) is not None:
        say(report.summary())
    if is_resumable:
        say("the same command goes on from here")
