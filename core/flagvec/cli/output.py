"""What commands print: tables for people, tab-separated lines for pipes, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from flagvec.evaluation.tables import Shown


def print_json(value: Any) -> None:
    """Print one JSON value, in one line."""
    typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows: as a table that fits the terminal, or in a pipe a line each, separated by tabs, without a header."""
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(" ".join(str(value).split()) for value in row))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    # Only the last column is cut.
    for column in columns[:-1]:
        table.add_column(column, no_wrap=True)
    table.add_column(columns[-1], overflow="ellipsis", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(" ".join(str(value).split())) for value in row))
    Console().print(table)


def print_shown(result: Shown) -> None:
    """Print a result: its table with the lines below, or in a pipe the rows alone, as `print_rows` does."""
    columns, rows = result.rows()
    if sys.stdout.isatty():
        Console(highlight=False).print(result)
    else:
        print_rows(columns, rows)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one pair a line; values that are long are wrapped by the terminal."""
    pairs = [(name, str(value)) for name, value in fields]
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        typer.echo(f"{name:<{width}}  {value}".rstrip())


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, as in "1 document" and "2,000 documents"."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"
