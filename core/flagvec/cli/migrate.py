"""``flagvec migrate``."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from flagvec.cli import options
from flagvec.cli.exits import end_if_refused
from flagvec.cli.loading import load_model, model_options
from flagvec.cli.output import counted, print_json
from flagvec.cli.progress import counts_of, progress
from flagvec.cli.stores import existing_schema, found_schema, opened, opened_without_model, own_address
from flagvec.cli.waiting import patient
from flagvec.cli.writing import as_values, colbert_option, finished
from flagvec.store.address import StoreAddress


def migrate(
    source: Annotated[
        StoreAddress,
        typer.Option("--from", parser=options.store_address, metavar="URL", help="The old store. It stays as it is."),
    ],
    target: Annotated[
        StoreAddress,
        typer.Option("--to", parser=options.store_address, metavar="URL", help="The new store, which is made."),
    ],
    model: Annotated[str, typer.Option("--model", metavar="NAME", help=f"Of the new store. {options.MODEL_HELP}")],
    alias: Annotated[
        str | None,
        typer.Option("--alias", metavar="NAME", help="Switched to the new store at the end; Qdrant, Elasticsearch."),
    ] = None,
    journal: options.JournalFile = options.JOURNAL,
    dead_letters: options.DeadLetterFile = options.DEAD_LETTERS,
    colbert: options.Colbert = None,
    model_class: options.ModelClass = None,
    pooling: options.Pooling = None,
    max_length: options.MaxLength = None,
    passage_instruction: options.PassageInstruction = None,
    query_instruction: options.QueryInstruction = None,
    device: options.Device = None,
    patience: options.Patience = options.PATIENCE,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Encode a store's documents with another model into a new store.

    The old store may be used and written to meanwhile: what changes in it is caught up with before the alias is
    switched. Run the same command again to go on after a stop.
    """
    source = own_address(source, patience)
    if source.place == target.place:
        raise typer.BadParameter(f"--from and --to are both {source.place}: give the new store another name")
    existing_schema(source, patience)
    patient(partial(found_schema, target), patience)
    encoder = load_model(
        model,
        **model_options(device, model_class, pooling, max_length, passage_instruction, query_instruction),
    )
    from flagvec.ingest.migrate import HasAliases
    from flagvec.ingest.migrate import migrate as migrate_documents

    with (
        opened_without_model(source) as old,
        opened(target, encoder, **colbert_option(colbert)) as new,
        progress("migrate", encoder, total=old.count()) as show,
    ):
        if alias is not None and not isinstance(new, HasAliases):
            raise typer.BadParameter(f"--alias {alias}: the database of {target} has no aliases; leave --alias out")
        report = finished(
            lambda: migrate_documents(
                old,
                new,
                name=target.place,
                journal=journal,
                alias=alias,
                dead_letters=dead_letters,
                patience=patience,
                on_progress=lambda number, so_far: show(*counts_of(so_far)),
            ),
            is_resumable=True,
        )
    if as_json:
        print_json(
            {
                "store": target.url,
                "documents": report.documents,
                "encoded": report.encoded,
                "refused": report.refused,
                "alias": report.alias,
                "passes": [as_values(one) for one in report.passes],
            }
        )
    else:
        switched = "" if alias is None else f"; the alias {alias} leads there now"
        encoded = f"{report.encoded:,} encoded in {counted(len(report.passes), 'pass')}"
        typer.echo(f"{target} holds {counted(report.documents, 'document')}, {encoded}{switched}")
    end_if_refused(report.refused, dead_letters)
