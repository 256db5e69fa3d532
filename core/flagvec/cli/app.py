"""The command line's commands, in the order in which the help lists them."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from flagvec import __version__
from flagvec.cli.exits import Command

_EPILOG = (
    "Exit codes: 0 done, 1 failed, 2 wrong arguments, 65 done but some documents were refused, 75 a store is away "
    "(run the same command again), 130 interrupted."
)
_COMMANDS = (
    "ingest", "search", "ui", "evaluate", "tune", "stats", "delete", "verify", "migrate", "encode", "load", "export",
    "models", "quantize", "doctor",
)  # fmt: skip

app = typer.Typer(
    help="Text into Qdrant, Milvus or Elasticsearch and back: dense, sparse and ColBERT from one forward pass.",
    epilog=_EPILOG,
    no_args_is_help=True,
    # Help and errors as plain text fit 80 columns and can be copied.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"flagvec {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


for _name in _COMMANDS:
    app.command(_name, cls=Command)(getattr(import_module(f"flagvec.cli.{_name}"), _name))
