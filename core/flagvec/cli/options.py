"""The options that several commands have, declared once."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from flagvec.store.address import StoreAddress

JOURNAL = Path("flagvec.journal")
DEAD_LETTERS = Path("dead-letters.jsonl")
PATIENCE = 300.0
MODEL_HELP = "A name that flagvec models lists, a Hugging Face name, or a directory."
STORE_HELP = "URL of the store, like qdrant://localhost:6333/articles or edge:./articles."


class Format(str, Enum):
    """The values of ``--format``."""

    jsonl = "jsonl"
    csv = "csv"
    tsv = "tsv"
    parquet = "parquet"
    arrow = "arrow"


class Numbers(str, Enum):
    """The values of ``--dense``."""

    float32 = "float32"
    float16 = "float16"


class ClassOfModel(str, Enum):
    """The values of ``--model-class``."""

    base = "encoder-only-base"
    m3 = "encoder-only-m3"


class PoolingMethod(str, Enum):
    """The values of ``--pooling``."""

    cls = "cls"
    mean = "mean"


class OnRefusal(str, Enum):
    """The values of ``--on-error``."""

    dead_letters = "dead-letters"
    stop = "stop"


class EngineOfRun(str, Enum):
    """The values of ``--engine``."""

    local = "local"
    ray = "ray"


class ColbertForm(str, Enum):
    """The values of ``--colbert``."""

    native = "native"
    compact = "compact"
    off = "off"


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


def check_prune(prune: bool, no_journal: bool) -> None:
    """Refuse ``--prune`` without a journal.

    Raises:
        typer.BadParameter: Both options are given.
    """
    if prune and no_journal:
        raise typer.BadParameter(
            "--prune with --no-journal: only a journal knows what earlier runs wrote; leave one out"
        )


Store = Annotated[StoreAddress, typer.Option("--store", parser=store_address, metavar="URL", help=STORE_HELP)]
Stores = Annotated[
    list[StoreAddress],
    typer.Option("--store", parser=store_address, metavar="URL", help=f"{STORE_HELP} May be given several times."),
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help=MODEL_HELP),
]
Device = Annotated[
    str | None, typer.Option("--device", metavar="NAME", help="Such as cpu, cuda:1 or mps; the fastest by default.")
]
ModelClass = Annotated[
    ClassOfModel | None, typer.Option("--model-class", help="For a model whose files do not say what it is.")
]
Pooling = Annotated[PoolingMethod | None, typer.Option("--pooling", help="By default as the model's authors say.")]
MaxLength = Annotated[
    int | None, typer.Option("--max-length", metavar="TOKENS", min=1, help="The longest text that is read whole.")
]
Filter = Annotated[
    Any,
    typer.Option(
        "--filter", parser=json_filter, metavar="JSON", help=f"Only documents whose metadata fit, like {_FILTER}."
    ),
]
Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE",
        help="JSONL, CSV, TSV, Parquet or Arrow files, also in gzip or zstd; patterns; - for standard input; or a data "
        "set of the Hub.",
    ),
]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIRECTORY", file_okay=False, help="Where the Parquet files go.")
]
Dense = Annotated[Numbers, typer.Option("--dense", help="The numbers of dense vectors; float16 takes half the space.")]
Text = Annotated[
    str,
    typer.Option("--text", metavar="COLUMN", help='The column of texts, or a template like "{title}\\n{body}".'),
]
Id = Annotated[
    str | None,
    typer.Option("--id", metavar="COLUMN", help="The column of the ids. By default id; else a hash of the text."),
]
Metadata = Annotated[
    list[str] | None,
    typer.Option("--metadata", metavar="COLUMN", help="A column for the metadata; repeat it. By default all others."),
]
SourceFormat = Annotated[
    Format | None, typer.Option("--format", help="What the files are; by default their names say it.")
]
Split = Annotated[
    int | None,
    typer.Option("--split", metavar="TOKENS", min=1, help="Cut longer documents into parts, at the ends of sentences."),
]
Overlap = Annotated[
    int, typer.Option("--overlap", metavar="TOKENS", min=0, help="How much of a part the next one may repeat.")
]
JournalFile = Annotated[
    Path,
    typer.Option("--journal", metavar="FILE", dir_okay=False, help="Notes what stores have, so that a run can go on."),
]
NoJournal = Annotated[bool, typer.Option("--no-journal", help="Write everything, and note nothing.")]
SkipUnchanged = Annotated[
    bool, typer.Option("--skip-unchanged/--no-skip-unchanged", help="Leave out what stores have already.")
]
Prune = Annotated[bool, typer.Option("--prune", help="Delete what an earlier run wrote and the source no longer has.")]
DeadLetterFile = Annotated[
    Path, typer.Option("--dead-letters", metavar="FILE", dir_okay=False, help="Gets documents that were refused.")
]
OnError = Annotated[OnRefusal, typer.Option("--on-error", help="What becomes of a document that is refused for good.")]
Colbert = Annotated[
    ColbertForm | None,
    typer.Option("--colbert", help="How a new store keeps ColBERT vectors; by default as suits the database."),
]
Patience = Annotated[
    float,
    typer.Option("--patience", metavar="SECONDS", min=0, help="How long to wait for a store that is away."),
]
PassageInstruction = Annotated[
    str | None,
    typer.Option("--passage-instruction", metavar="TEXT", help="What comes before documents; by default the authors'."),
]
QueryInstruction = Annotated[
    str | None,
    typer.Option("--query-instruction", metavar="TEXT", help="What comes before queries; by default the authors'."),
]
Engine = Annotated[EngineOfRun, typer.Option("--engine", help="Where to encode: in this process, or in actors of Ray.")]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="ADDRESS", help="Ray's cluster, like auto or ray://host:10001; else a local one."
    ),
]
ActorNumber = Annotated[int, typer.Option("--actors", metavar="NUMBER", min=1, help="Actors of Ray that encode.")]
ActorGpus = Annotated[float, typer.Option("--gpus", metavar="SHARE", min=0, help="GPUs of each actor; 0.5 shares one.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value, for programs.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the log, and the traceback of an error.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")]
