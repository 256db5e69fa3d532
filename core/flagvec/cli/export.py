"""``flagvec export``."""

from __future__ import annotations

from flagvec.cli import options
from flagvec.cli.files import print_report
from flagvec.cli.progress import progress
from flagvec.cli.stores import opened_without_model


def export(
    store: options.Store,
    output: options.Output,
    filter: options.Filter = None,
    dense: options.Dense = options.Numbers.float32,
    patience: options.Patience = options.PATIENCE,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Read a store's documents and vectors into Parquet files.

    flagvec load writes them to any store.
    """
    from flagvec.ingest.parquet import export as export_files

    with (
        opened_without_model(store, patience) as opened,
        progress("export", None, total=opened.count(filter)) as show,
    ):
        report = export_files(
            opened, output, filter=filter, dense=dense.value, on_progress=lambda so_far: show(so_far.written)
        )
    print_report(report, output, None, as_json)
