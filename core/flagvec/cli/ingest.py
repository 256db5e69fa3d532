"""``flagvec ingest``."""

from __future__ import annotations

from flagvec.cli import options, ray_run
from flagvec.cli.loading import model_options
from flagvec.cli.progress import counts_of, progress
from flagvec.cli.sources import Source
from flagvec.cli.writing import finished, made, model_for, print_report


def ingest(
    files: options.Files,
    store: options.Stores,
    model: options.Model = None,
    text: options.Text = "text",
    id: options.Id = None,
    metadata: options.Metadata = None,
    format: options.SourceFormat = None,
    split: options.Split = None,
    overlap: options.Overlap = 0,
    journal: options.JournalFile = options.JOURNAL,
    no_journal: options.NoJournal = False,
    skip_unchanged: options.SkipUnchanged = True,
    prune: options.Prune = False,
    on_error: options.OnError = options.OnRefusal.dead_letters,
    dead_letters: options.DeadLetterFile = options.DEAD_LETTERS,
    colbert: options.Colbert = None,
    model_class: options.ModelClass = None,
    pooling: options.Pooling = None,
    max_length: options.MaxLength = None,
    passage_instruction: options.PassageInstruction = None,
    query_instruction: options.QueryInstruction = None,
    device: options.Device = None,
    patience: options.Patience = options.PATIENCE,
    engine: options.Engine = options.EngineOfRun.local,
    address: options.Address = None,
    actors: options.ActorNumber = 1,
    gpus: options.ActorGpus = 0,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Encode documents and write them to one store or several.

    A store that does not exist is made. Run the same command again to go on after a stop, or to bring a store up to
    date: what it has already is neither encoded nor written.
    """
    options.check_prune(prune, no_journal)
    given = model_options(device, model_class, pooling, max_length, passage_instruction, query_instruction)
    if engine is options.EngineOfRun.ray:
        refused = {
            "--split": split is not None,
            "--prune": prune,
            "--on-error stop": on_error is options.OnRefusal.stop,
            "a second --store": len(store) > 1,
        }
        ray_run.refuse(name for name, is_given in refused.items() if is_given)
        ray_run.ingest(
            files,
            store[0],
            ray_run.model_settings(store[0], model, given),
            ray_run.Cluster(address, actors, gpus),
            colbert,
            as_json,
            reading={"text": text, "id": id, "metadata": metadata, "format": None if format is None else format.value},
            writing={"skip_unchanged": skip_unchanged, "dead_letters": dead_letters, "patience": patience},
        )
        return
    source = Source.of(files, text=text, id=id, metadata=metadata, format=format, split=split, overlap=overlap)
    encoder = model_for(
        store,
        model,
        **given,
    )
    documents = source.documents(encoder)
    from flagvec.ingest import ingest as ingest_documents

    with (
        made(store, encoder, colbert) as stores,
        progress("ingest", encoder, share=lambda: source.reader.share_read) as show,
    ):
        report = finished(
            lambda: ingest_documents(
                documents,
                stores=stores,
                model=encoder,
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
