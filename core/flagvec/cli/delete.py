"""``flagvec delete``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flagvec.cli.options import JOURNAL, AsJson, Debug, Filter, JournalFile, Store, Yes
from flagvec.cli.output import counted, print_json
from flagvec.cli.stores import opened_without_model
from flagvec.store.address import StoreAddress


def delete(
    store: Store,
    id: Annotated[
        list[str], typer.Option("--id", metavar="ID", help="A document; - reads one id a line from standard input.")
    ] = [],  # noqa: B006 (typer reads the default and never changes it)
    filter: Filter = None,
    all: Annotated[bool, typer.Option("--all", help="The whole store: collection, index or directory.")] = False,
    journal: JournalFile = JOURNAL,
    yes: Yes = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Delete documents, or the whole store.

    With --all, the journal forgets the store too, so that ingest makes it anew.
    """
    if (bool(id) + (filter is not None) + all) != 1:
        raise typer.BadParameter("give one of --id, --filter and --all")
    with opened_without_model(store) as opened:
        before = opened.count()
        doomed = before if all else opened.count(filter) if filter is not None else None
        if doomed is not None:
            _ask(f"Delete {doomed:,} of {counted(before, 'document')} of {store}?", yes)
        if all:
            opened.drop()
            _forget(store, journal)
        elif filter is not None:
            opened.delete(filter=filter)
        else:
            opened.delete(_ids(id))
        deleted = before - (0 if all else opened.count())
    if as_json:
        print_json({"store": store.url, "deleted": deleted, "documents": before - deleted})
    else:
        typer.echo(f"deleted {counted(deleted, 'document')}, {before - deleted:,} left")


def _forget(store: StoreAddress, journal: Path) -> None:
    # Otherwise the next ingest refuses to write to a store that was made anew.
    if journal.exists():
        from flagvec.ingest import Journal

        with Journal(journal) as noted:
            noted.forget_store(store.place)


def _ids(given: list[str]) -> list[str]:
    read = [line.rstrip("\r\n") for line in sys.stdin if line.strip()] if "-" in given else []
    return [*(name for name in given if name != "-"), *read]


def _ask(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{question} Nobody can answer here: add --yes")
    typer.confirm(question, abort=True, err=True)
