"""``flagvec doctor``."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Annotated

import typer
from packaging.requirements import Requirement

from flagvec import __version__
from flagvec.cli.exits import ExitCode, message_of
from flagvec.cli.options import STORE_HELP, AsJson, Debug, store_address
from flagvec.cli.output import counted, print_json
from flagvec.cli.stores import engine_version, found_schema, model_like, opened
from flagvec.store.address import StoreAddress
from flagvec.store.schema import Schema

if TYPE_CHECKING:
    from flagvec.engine.kernels.availability import Level

# Extras that hold other extras, or that nobody needs to use flagvec.
_NOT_SHOWN = ("all", "demo", "dev")
Section = dict[str, str]


def doctor(
    store: Annotated[
        list[StoreAddress],
        typer.Option("--store", parser=store_address, metavar="URL", help=f"{STORE_HELP} It is asked for its version."),
    ] = [],  # noqa: B006 (typer reads the default and never changes it)
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show devices, kernels, extras, and reachable stores."""
    stores = [_store(address) for address in store]
    sections: dict[str, Section] = {
        "program": _program(),
        "encoding": dict(_encoding()),
        "extras": dict(_extras()),
        "stores": {str(address): said for address, (_, said) in zip(store, stores, strict=True)},
    }
    if as_json:
        print_json(sections)
    else:
        for title, section in sections.items():
            if section:
                _print_section(title, section)
    if not all(is_reached for is_reached, _ in stores):
        raise typer.Exit(ExitCode.FAILED)


def _print_section(title: str, section: Section) -> None:
    typer.secho(title, bold=True)
    width = max(map(len, section))
    for name, said in section.items():
        # A long name, such as a URL, has its answer below it.
        typer.echo(f"  {name:<{width}}  {said}" if width < 24 else f"  {name}\n    {said}")


def _program() -> Section:
    return {
        "flagvec": __version__,
        "python": f"{platform.python_version()}, {sys.executable}",
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
    }


def _encoding() -> Iterator[tuple[str, str]]:
    # torch takes seconds to import.
    import torch

    from flagvec.engine.devices import choose_devices, choose_dtype, cpu_has_bfloat16
    from flagvec.engine.kernels.availability import Level, level, why_below
    from flagvec.engine.number_format import measured

    yield "torch", f"{torch.__version__}, {torch.get_num_threads()} threads"
    devices = [f"cuda:{number} ({torch.cuda.get_device_name(number)})" for number in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    [best] = choose_devices(None, None)
    yield "devices", ", ".join(["cpu", *devices])
    yield "default", f"{best}, in {_name(choose_dtype(best, True, False, _WIDTH))} at a width of {_WIDTH:,}"
    yield "on a CPU", str(measured(_WIDTH)) if cpu_has_bfloat16() else "float32, because it has no bfloat16"
    if best_mode := _fastest_mode(level()):
        yield "fastest on a CPU", f"{best_mode}, as measured on one processor: docs/quantization.md"
    why_not_more = why_below(max(Level))
    yield "kernels", f"{level()}, because {why_not_more}" if why_not_more else f"{level()}, the highest level"


def _fastest_mode(level: Level) -> str:
    """Return the fastest mode in bulk at a level of the CPU, or an empty str if it was not measured."""
    # The table of docs/quantization.md.
    if level.name == "AMX":
        return "bfloat16 in bulk; for BGE-M3's size quantization='int8', 1.2x as fast"
    if level.name in ("AVX512_VNNI", "AVX512_VBMI", "AVX512_BF16"):
        return "quantization='int8' in bulk, 1.6x to 2.9x as fast as floats"
    return "quantization='int8' in bulk, 1.4x as fast as floats" if level.name == "AVX2" else ""


# Hidden states of BGE-M3 and of the large models have this width.
_WIDTH = 1_024


def _name(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")


def _extras() -> Iterator[tuple[str, str]]:
    needed: dict[str, list[Requirement]] = {}
    for requirement in map(Requirement, requires("flagvec") or []):
        for extra in _extras_of(requirement):
            needed.setdefault(extra, []).append(requirement)
    for extra, packages in needed.items():
        if extra not in _NOT_SHOWN:
            found = [(package, _version(package.name)) for package in packages]
            missing = any(one is None or not package.specifier.contains(one) for package, one in found)
            said = ", ".join(f"{package.name} {one or 'missing'}" for package, one in found)
            yield extra, f"{said}: pip install 'flagvec[{extra}]'" if missing else said


def _extras_of(requirement: Requirement) -> list[str]:
    marker = requirement.marker
    # An extra that is made of others names flagvec itself.
    if marker is None or marker.evaluate({"extra": ""}) or requirement.name == "flagvec":
        return []
    text = str(marker)
    return [name for name in text.replace('"', "'").split("'")[1::2] if marker.evaluate({"extra": name})]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _store(address: StoreAddress) -> tuple[bool, str]:
    """Return whether a store's database can be used, and what there is to say of it."""
    try:
        schema = found_schema(address)
        if schema is None and address.database in ("edge", "milvus-lite"):
            return True, "does not exist yet"
        like = model_like(schema or Schema("", 1, False, None))
        with opened(address, like, colbert=like.colbert_dimension is not None) as store:
            engine = engine_version(address, store)
            if schema is None:
                return True, f"{engine}; the store does not exist yet"
            return True, f"{engine}; {counted(store.count(), 'document')} of {schema.model}"
    except Exception as error:  # each store gets its line
        return False, message_of(error)
