"""``flagvec search``."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flagvec.cli.loading import model_of
from flagvec.cli.options import AsJson, Debug, Device, Filter, Model, SearchSettings, Store
from flagvec.cli.output import print_json, print_rows
from flagvec.cli.stores import existing_schema, opened

if TYPE_CHECKING:
    from flagvec.search.options import SearchKeywords


class Mode(str, Enum):
    """The values of ``--mode``."""

    dense = "dense"
    sparse = "sparse"
    hybrid = "hybrid"


def _weights(text: str) -> Any:
    if text == "rrf":
        return text
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise typer.BadParameter(
            f'{text!r}: write rrf, or weights like \'{{"dense": 1, "sparse": 0.3, "colbert": 1}}\''
        )
    return value


def _options(mode: Mode | None, fusion: Any, rerank: bool, settings: Path | None, limit: int) -> SearchKeywords:
    """Return the options that order the hits, from the arguments or from a file."""
    if settings is None:
        return {
            "mode": None if mode is None else mode.value,
            "fusion": "rrf" if fusion is None else fusion,
            "rerank": "colbert" if rerank else None,
        }
    given = {"--mode": mode, "--fusion": fusion, "--rerank": rerank or None}
    if named := [name for name, value in given.items() if value is not None]:
        raise typer.BadParameter(f"--settings with {named[0]}: both say how to order the hits; leave one out")
    from flagvec.search.settings import load_settings

    options = load_settings(settings)
    if candidates := options.get("candidates"):
        options["candidates"] = max(candidates, limit)
    return options


def search(
    query: Annotated[str, typer.Argument(help="Any text.", metavar="QUERY")],
    store: Store,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The most hits.")] = 10,
    mode: Annotated[
        Mode | None, typer.Option(help="What finds documents; hybrid by default if the store holds lexical weights.")
    ] = None,
    fusion: Annotated[
        Any,
        typer.Option(
            parser=_weights, metavar="FUSION", help="rrf (the default), or weights as JSON; docs/searching.md."
        ),
    ] = None,
    settings: SearchSettings = None,
    rerank: Annotated[bool, typer.Option("--rerank", help="Let ColBERT order what was found.")] = False,
    filter: Filter = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show the score of each representation.")] = False,
    model: Model = None,
    device: Device = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Find documents. The model is the one that the store was made with; --model says where it is now."""
    options = _options(mode, fusion, rerank, settings, limit)
    options["filter"], options["explain"] = filter, explain
    schema = existing_schema(store)
    encoder = model_of(schema, model, devices=device)
    with opened(store, encoder, colbert=schema.colbert_dimension is not None) as found_in:
        hits = found_in.search(query, limit, **options)
    if as_json:
        print_json(
            [
                {"id": hit.id, "score": hit.score, "text": hit.text, "metadata": hit.metadata, "scores": hit.scores}
                for hit in hits
            ]
        )
        return
    scores = sorted({name for hit in hits for name in hit.scores}) if explain else []
    print_rows(
        ["score", *scores, "id", "text"],
        (
            [f"{hit.score:.4f}", *(f"{hit.scores.get(name, float('nan')):.4f}" for name in scores), hit.id, hit.text]
            for hit in hits
        ),
    )
