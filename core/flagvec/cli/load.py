"""``flagvec load``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from flagvec.cli import options
from flagvec.cli.progress import counts_of, progress
from flagvec.cli.stores import model_like
from flagvec.cli.writing import finished, made, print_report


def load(
    directory: Annotated[
        Path, typer.Argument(metavar="DIRECTORY", help="Parquet files of flagvec encode or flagvec export.")
    ],
    store: options.Stores,
    partial: Annotated[bool, typer.Option("--partial", help="Also from files that are not all there yet.")] = False,
    journal: options.JournalFile = options.JOURNAL,
    no_journal: options.NoJournal = False,
    skip_unchanged: options.SkipUnchanged = True,
    prune: options.Prune = False,
    on_error: options.OnError = options.OnRefusal.dead_letters,
    dead_letters: options.DeadLetterFile = options.DEAD_LETTERS,
    colbert: options.Colbert = None,
    patience: options.Patience = options.PATIENCE,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Write vectors from Parquet files to one store or several.

    Nothing is encoded. A store that does not exist is made. Run the same command again to go on after a stop.
    """
    options.check_prune(prune, no_journal)
    from flagvec.ingest.loading import load as load_files
    from flagvec.ingest.parquet import read_vectors

    files = read_vectors(directory, partial=partial)
    model = model_like(replace(files.schema, colbert_storage=None), **files.limits)
    with made(store, model, colbert, patience) as stores, progress("load", None, total=len(files)) as show:
        report = finished(
            lambda: load_files(
                files,
                stores,
                journal=None if no_journal else journal,
                on_error="raise" if on_error is options.OnRefusal.stop else "dead-letters",
                dead_letters=dead_letters,
                skip_unchanged=skip_unchanged,
                prune=prune,
                patience=patience,
                show_progress=False,
                on_progress=lambda so_far: show(*counts_of(so_far)),
            ),
            is_resumable=not no_journal,
        )
    print_report(report, store, as_json)
