"""`encode` and `encode_to_parquet`: documents encoded by actors, into a data set or into Parquet files."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
from more_itertools import constrained_batches

from flagvec.errors import SourceError
from flagvec.ingest.dead_letters import DeadLetters
from flagvec.ingest.directories import locked, sync
from flagvec.ingest.encoded import records_and_failures
from flagvec.ingest.parquet import schema_of
from flagvec.ingest.report import FailedWrite
from flagvec.ingest.vector_files import UNFINISHED_MARK, complete_files, description
from flagvec.ingest.vector_layout import ID, DenseType, arrow_schema, limits_of, to_batch
from flagvec.ingest.vector_writer import OpenFile, Position
from flagvec.late_interaction.storage import ColbertChoice
from flagvec.store.backend import Record
from flagvec.store.documents import Document, InvalidDocument, characters_of
from flagvec.store.encoding import characters_per_batch, encode_documents
from flagvec_ray.report import RayReport, collected, to_row
from flagvec_ray.settings import Actors, ModelSettings
from flagvec_ray.sources import Fields

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

_MARK_TEXT = "Not all documents are in this directory yet: repeat the call that wrote it, and it goes on.\n"


def encode(
    dataset: ray.data.Dataset,
    *,
    model: str | ModelSettings,
    actors: Actors = Actors(),  # noqa: B008  # it is frozen
    text: str = "text",
    id: str | None = None,
    metadata: Sequence[str] | None = None,
    colbert: ColbertChoice = True,
    dense: DenseType = "float32",
) -> ray.data.Dataset:
    r"""Return a data set of documents with their vectors, encoded while it is read.

    Its columns are those of the files in ``docs/data-at-rest.md``. A document that is invalid, or has vectors that
    cannot be stored, ends the reading with an error, because the data set has no place for it.

    Args:
        dataset: Rows with a text, or what `flagvec_ray.read` returns.
        model: Which model each actor loads.
        actors: How many there are, and what each takes.
        text: The column of the texts, or a template such as ``"{title}\n{body}"``.
        id: The column of the ids; None takes ``id``, or makes one of the text.
        metadata: The columns that become metadata; None takes all others.
        colbert: How to keep ColBERT vectors, as in `flagvec.ingest.parquet.encode_to_parquet`.
        dense: The type of the dense vectors' numbers.
    """
    arguments = (ModelSettings.of(model).absolute(), actors.num_cpus, _fields(text, id, metadata), colbert, dense)
    return mapped(dataset, EncodingActor, actors, arguments)


def encode_to_parquet(
    dataset: ray.data.Dataset,
    directory: str | Path,
    *,
    model: str | ModelSettings,
    actors: Actors = Actors(batch_size=4_096),  # noqa: B008  # it is frozen
    text: str = "text",
    id: str | None = None,
    metadata: Sequence[str] | None = None,
    colbert: ColbertChoice = True,
    dense: DenseType = "float32",
    dead_letters: str | Path = "dead-letters.jsonl",
) -> RayReport:
    """Encode documents, and let the actors write them with their vectors into Parquet files, one for each batch.

    ``flagvec load`` and `flagvec.ingest.load` read the directory. The name of a file depends on the ids in it, so that
    a batch that Ray sends again replaces its own file. To go on after an early end, call this again: documents whose
    ids are in complete files are skipped. This process reads these ids, about 100 bytes of memory each.

    Args:
        dataset: As in `encode`. Of documents with one id, one in each batch is written.
        directory: A directory that every node has at this place, such as a network file system.
        model: Which model each actor loads.
        actors: How many there are, and what each takes. ``batch_size`` is the number of documents in a file.
        text: As in `encode`.
        id: As in `encode`.
        metadata: As in `encode`.
        colbert: As in `encode`.
        dense: As in `encode`.
        dead_letters: Gets what cannot be encoded or written, in JSON lines, in this process.

    Raises:
        SourceError: Another process writes into the directory, or it holds vectors of another model or form.
        Exception: What ended an actor more often than Ray tries again.
    """
    root = Path(directory).resolve()
    root.mkdir(parents=True, exist_ok=True)
    with locked(root):
        (root / UNFINISHED_MARK).write_text(_MARK_TEXT, "utf-8")
        sync(root)
        found = ray.put(
            {name for file in complete_files(root) for name in pq.read_table(file, columns=[ID])[ID].to_pylist()}
        )
        arguments = (
            (ModelSettings.of(model).absolute(), actors.num_cpus, _fields(text, id, metadata), colbert, dense),
            str(root),
            [found],
        )
        report = collected(mapped(dataset, FilesActor, actors, arguments).iter_rows(), Path(dead_letters))
        (root / UNFINISHED_MARK).unlink(missing_ok=True)
        sync(root)
    return report


def mapped(
    dataset: ray.data.Dataset, actor: Any, actors: Actors, arguments: Any, remote: Any = None
) -> ray.data.Dataset:
    """Return what actors make of a data set's batches, which come as tables of Arrow.

    An actor that dies is started again, and its batch is sent again. Ray holds back the sources while actors have
    enough to do.
    """
    least, most = actors.number if isinstance(actors.number, tuple) else (actors.number, actors.number)
    return dataset.map_batches(
        actor,
        batch_format="pyarrow",
        batch_size=actors.batch_size,
        compute=ray.data.ActorPoolStrategy(min_size=least, max_size=most),
        fn_constructor_args=arguments,
        num_cpus=actors.num_cpus,
        num_gpus=actors.num_gpus,
        # Ray restarts these actors, and sends their tasks again, without end.
        ray_remote_args_fn=None if remote is None else lambda: remote,
    )


def loaded(model: ModelSettings, num_cpus: float) -> AbsEmbedder:
    """Return a model that computes in an actor's share of the CPUs."""
    import torch

    torch.set_num_threads(max(1, int(num_cpus)))
    return model.load()


def letters_of(failures: Iterable[FailedWrite], store: str | None) -> bytes:
    """Return failures as the lines of a file of dead letters."""
    if not (failures := list(failures)):
        return b""
    with tempfile.TemporaryDirectory() as folder:
        letters = DeadLetters(Path(folder) / "letters.jsonl")
        letters.add(failures, store)
        return letters.path.read_bytes()


class EncodingActor:
    """Holds a model, and turns rows of documents into rows with vectors."""

    def __init__(
        self, model: ModelSettings, num_cpus: float, fields: Fields, colbert: ColbertChoice, dense: DenseType
    ) -> None:
        self.fields = fields
        self.model = loaded(model, num_cpus)
        self.schema = schema_of(self.model, colbert)
        self.columns = arrow_schema(self.schema, dense, limits_of(self.model))
        self.truncated = 0

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Yield the rows of a batch with their vectors, part by part."""
        documents = list(self.fields.documents(table))
        if not documents:
            yield pa.Table.from_batches([], self.columns)
        for records, failures in self.encoded(documents):
            if failures:
                raise ValueError(f"document {failures[0].id!r}: {failures[0].reason}")
            yield pa.Table.from_batches([to_batch(records, self.columns)])

    def encoded(
        self, documents: Iterable[Document | InvalidDocument]
    ) -> Iterator[tuple[list[Record], list[FailedWrite]]]:
        """Yield documents with their vectors, and those that failed, in parts of bounded length."""
        most = characters_per_batch(self.model, self.schema.colbert_dimension is not None)
        for part in constrained_batches(documents, most, 1_024, get_len=characters_of, strict=False):
            failures = [FailedWrite.of(one) for one in part if isinstance(one, InvalidDocument)]
            valid = [one for one in part if isinstance(one, Document)]
            if not valid:
                yield [], failures
                continue
            encoded = encode_documents(
                self.model,
                [one.text for one in valid],
                [f"document {one.id!r}" for one in valid],
                self.schema.representations,
                colbert_storage=self.schema.colbert_storage,
            )
            self.truncated += len(encoded.truncated)
            records, refused = records_and_failures(valid, encoded)
            yield records, failures + refused


class FilesActor:
    """Holds a model, and writes each batch of documents with their vectors into a file of its own."""

    def __init__(self, encoding: Any, directory: str, found: Sequence[Any]) -> None:
        self._encoding = EncodingActor(*encoding)
        self._directory = Path(directory)
        self._found: set[str] = ray.get(found[0])
        columns = self._encoding.columns
        for file in complete_files(self._directory)[:1]:
            about = json.loads(columns.metadata[b"flagvec"])
            form = self._encoding.schema, about["dense"], limits_of(self._encoding.model)
            if description(file) != form:
                raise SourceError(
                    f"{str(file)!r} holds vectors of another model, or in another form, than are to be written: choose "
                    "another directory, or the arguments of the first call"
                )

    def __call__(self, table: pa.Table) -> dict[str, list[Any]]:
        """Write a batch, and return its numbers."""
        documents = list({one.id: one for one in self._encoding.fields.documents(table)}.values())
        new = [one for one in documents if one.id not in self._found]
        self._encoding.truncated = 0
        written, failures = self._write(new)
        report = RayReport(written, len(failures), len(documents) - len(new), self._encoding.truncated)
        return to_row(report, letters_of(failures, None))

    def _write(self, documents: Sequence[Document | InvalidDocument]) -> tuple[int, list[FailedWrite]]:
        failed: list[FailedWrite] = []
        written = 0
        name = blake2b("\n".join(one.id for one in documents).encode(), digest_size=12).hexdigest()
        # Another actor may still write the same batch, if Ray lost sight of it.
        file = OpenFile(self._directory / f"part-{name}.parquet", self._encoding.columns, f".{os.getpid()}.unfinished")
        try:
            for records, failures in self._encoding.encoded(documents):
                failed += failures
                if records:
                    file.write(to_batch(records, self._encoding.columns))
                    written += len(records)
        except BaseException:
            file.abandon()
            raise
        if written:
            file.complete(Position())
        else:
            file.abandon()
        return written, failed


def _fields(text: str, id: str | None, metadata: Sequence[str] | None) -> Fields:
    return Fields(text, id, None if metadata is None else tuple(metadata))
