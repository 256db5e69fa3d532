"""``flagvec evaluate``."""

from __future__ import annotations

from typing import Annotated

import typer

from flagvec.cli.loading import model_of
from flagvec.cli.options import (
    AsJson,
    Confidence,
    Debug,
    Device,
    Model,
    Qrels,
    Queries,
    QueryLimit,
    QuerySplit,
    SearchSettings,
    Store,
)
from flagvec.cli.output import print_json, print_shown
from flagvec.cli.stores import existing_schema, opened


def evaluate(
    store: Store,
    queries: Queries,
    qrels: Qrels = None,
    split: QuerySplit = "test",
    limit: QueryLimit = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            "--measure",
            metavar="NAME",
            help="Repeat it. By default MRR@10, nDCG@10 and recall@10; any number may follow @.",
        ),
    ] = None,
    settings: SearchSettings = None,
    confidence: Confidence = 0.95,
    model: Model = None,
    device: Device = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Measure how well each kind of search finds what it should, with intervals and latency.

    The queries' relevant documents have to be known. --settings adds the search that flagvec tune chose.
    """
    # These import numpy and more, which the help does without.
    from flagvec.evaluation import evaluate as evaluated
    from flagvec.evaluation import read_queries
    from flagvec.evaluation.measures import MEASURES, parsed
    from flagvec.evaluation.searches import usual_searches
    from flagvec.search.settings import load_settings

    measures = measure or list(MEASURES)
    # What is wrong with the arguments is said before a model is loaded.
    parsed(measures)
    judged = read_queries(queries, qrels=qrels, split=split, limit=limit)
    tuned = {} if settings is None else {settings.name: load_settings(settings)}
    schema = existing_schema(store)
    encoder = model_of(schema, model, devices=device)
    with opened(store, encoder, colbert=schema.colbert_dimension is not None) as searched:
        searches = {**usual_searches(searched.schema), **tuned}
        found = evaluated(searched, judged, searches=searches, measures=measures, confidence=confidence)
    if as_json:
        print_json(found.to_json())
    else:
        print_shown(found)
