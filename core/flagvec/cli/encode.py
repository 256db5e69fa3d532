"""``flagvec encode``."""

from __future__ import annotations

from typing import Annotated

import typer

from flagvec.cli import options
from flagvec.cli.files import print_report
from flagvec.cli.loading import load_model, model_options
from flagvec.cli.progress import progress
from flagvec.cli.sources import Source
from flagvec.cli.writing import colbert_option, finished


def encode(
    files: options.Files,
    output: options.Output,
    model: Annotated[str, typer.Option("--model", metavar="NAME", help=options.MODEL_HELP)],
    text: options.Text = "text",
    id: options.Id = None,
    metadata: options.Metadata = None,
    format: options.SourceFormat = None,
    split: options.Split = None,
    overlap: options.Overlap = 0,
    dense: options.Dense = options.Numbers.float32,
    colbert: options.Colbert = None,
    on_error: options.OnError = options.OnRefusal.dead_letters,
    dead_letters: options.DeadLetterFile = options.DEAD_LETTERS,
    model_class: options.ModelClass = None,
    pooling: options.Pooling = None,
    max_length: options.MaxLength = None,
    passage_instruction: options.PassageInstruction = None,
    query_instruction: options.QueryInstruction = None,
    device: options.Device = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Encode documents into Parquet files.

    flagvec load writes them to any store. Run the same command again to go on after a stop.
    """
    source = Source.of(files, text=text, id=id, metadata=metadata, format=format, split=split, overlap=overlap)
    encoder = load_model(
        model,
        **model_options(device, model_class, pooling, max_length, passage_instruction, query_instruction),
    )
    documents = source.documents(encoder)
    from flagvec.ingest.dead_letters import DeadLetters
    from flagvec.ingest.parquet import encode_to_parquet

    letters = None if on_error is options.OnRefusal.stop else DeadLetters(dead_letters)
    with progress("encode", encoder, share=lambda: source.reader.share_read) as show:
        report = finished(
            lambda: encode_to_parquet(
                documents,
                encoder,
                output,
                dense=dense.value,
                on_failure=None if letters is None else lambda failure: letters.add([failure], None),
                on_progress=lambda so_far: show(so_far.written + so_far.found, 0, so_far.failed),
                **colbert_option(colbert),
            ),
            is_resumable=True,
        )
    print_report(report, output, dead_letters, as_json)
