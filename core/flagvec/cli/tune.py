"""``flagvec tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flagvec.cli.loading import model_of
from flagvec.cli.options import AsJson, Confidence, Debug, Device, Model, Qrels, Queries, QueryLimit, QuerySplit, Store
from flagvec.cli.output import print_json, print_shown
from flagvec.cli.stores import existing_schema, opened


def tune(
    store: Store,
    queries: Queries,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", dir_okay=False, help="Gets the settings, as JSON.")
    ] = Path("tuned.json"),
    heatmap: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Gets a picture of all weights: a PNG, SVG or PDF."),
    ] = None,
    qrels: Qrels = None,
    split: QuerySplit = "test",
    limit: QueryLimit = None,
    measure: Annotated[str, typer.Option("--measure", metavar="NAME", help="MRR@k, nDCG@k or recall@k.")] = "MRR@10",
    candidates: Annotated[int, typer.Option(metavar="N", min=1, help="How many documents each leg finds.")] = 100,
    steps: Annotated[
        int, typer.Option(metavar="N", min=1, max=200, help="Weights are multiples of 1 / N; 20 gives 231 mixtures.")
    ] = 20,
    folds: Annotated[int, typer.Option(metavar="N", min=2, help="The parts of the cross-validation.")] = 5,
    confidence: Confidence = 0.95,
    model: Model = None,
    device: Device = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Find the fusion that does best for queries whose relevant documents are known.

    Its gain over rrf and over equal weights is measured by cross-validation. flagvec search --settings takes the file.
    """
    # These import numpy and more, which the help does without.
    from flagvec.evaluation import read_queries
    from flagvec.evaluation import tune as tuned
    from flagvec.evaluation.heatmap import check_picture
    from flagvec.search.settings import plain_options

    if heatmap is not None:
        # A missing package is said before the work, not after it.
        check_picture(heatmap)
    judged = read_queries(queries, qrels=qrels, split=split, limit=limit)
    schema = existing_schema(store)
    encoder = model_of(schema, model, devices=device)
    with opened(store, encoder, colbert=schema.colbert_dimension is not None) as searched:
        found = tuned(
            searched,
            judged,
            measure=measure,
            candidates=candidates,
            steps=steps,
            folds=folds,
            confidence=confidence,
        )
    found.save(output)
    if heatmap is not None:
        found.heatmap().savefig(heatmap)
    if as_json:
        print_json({"file": str(output), "search": plain_options(found.settings()), **found.to_json()})
    else:
        print_shown(found)
        typer.echo(f"settings: {output}" + (f"; picture: {heatmap}" if heatmap is not None else ""))
