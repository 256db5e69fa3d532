"""The options that several commands have, declared once."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from flagvec.store.address import StoreAddress

STORE_HELP = "URL of the store, like qdrant://localhost:6333/articles or edge:./articles."


def store_address(url: str) -> StoreAddress:
    """Return a store's address.

    Raises:
        typer.BadParameter: It is no URL of a store; says what to write.
    """
    try:
        return StoreAddress.parsed(url)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def json_filter(text: str) -> Any:
    """Return a filter that was given as JSON.

    Raises:
        typer.BadParameter: It is not a JSON object; shows one.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"{text!r} is not JSON ({error}): write one like {_FILTER}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{text!r} is not a JSON object: write one like {_FILTER}")
    return value


_FILTER = '\'{"lang": "en"}\''

Store = Annotated[StoreAddress, typer.Option("--store", parser=store_address, metavar="URL", help=STORE_HELP)]
Stores = Annotated[
    list[StoreAddress],
    typer.Option("--store", parser=store_address, metavar="URL", help=f"{STORE_HELP} May be given several times."),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="NAME", help="A name that flagvec models lists, a Hugging Face name, or a directory."
    ),
]
Device = Annotated[
    str | None, typer.Option("--device", metavar="NAME", help="Such as cpu, cuda:1 or mps; the fastest by default.")
]
MaxLength = Annotated[
    int | None, typer.Option("--max-length", metavar="TOKENS", min=1, help="The longest text that is read whole.")
]
Filter = Annotated[
    Any,
    typer.Option(
        "--filter", parser=json_filter, metavar="JSON", help=f"Only documents whose metadata fit, like {_FILTER}."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value, for programs.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the log, and the traceback of an error.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")]
