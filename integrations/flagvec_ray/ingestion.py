"""`ingest`: documents encoded by actors, which write them into a store themselves."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from flagvec.cli.stores import model_like
from flagvec.ingest import ingest as ingest_here
from flagvec.ingest.ingestion import PATIENCE
from flagvec.ingest.loading import encoded_document
from flagvec.ingest.vector_layout import to_batch, to_records
from flagvec.late_interaction.storage import ColbertChoice
from flagvec.search.options import checked_timeout
from flagvec.store.documents import Document, InvalidDocument
from flagvec.store.schema import Schema
from flagvec_ray.encoding import EncodingActor, letters_of, loaded, mapped
from flagvec_ray.report import COUNTS, RayReport, collected, from_row, to_row
from flagvec_ray.settings import Actors, ModelSettings, StoreSettings
from flagvec_ray.sources import Fields

# The bytes of a part of a batch.
_PART = "part"
_PACKED = pa.schema([*((name, pa.int64()) for name in COUNTS), ("letters", pa.binary()), (_PART, pa.binary())])
_PARTS = 4
# The process that has the store open, and how many seconds Ray gets to end it.
_PROCESS = "process"
_LONGEST_END = 120.0


def ingest(
    dataset: ray.data.Dataset,
    *,
    model: str | ModelSettings,
    store: str | StoreSettings,
    actors: Actors = Actors(),  # noqa: B008  # it is frozen
    text: str = "text",
    id: str | None = None,
    metadata: Sequence[str] | None = None,
    skip_unchanged: bool = True,
    dead_letters: str | Path = "dead-letters.jsonl",
    patience: float = PATIENCE,
    timeout: float | None = None,
) -> RayReport:
    r"""Encode documents and write them into a store, from the actors themselves; nothing passes through this process.

    The store is made if it does not exist. An actor that dies is started again, and its batch is written again, which
    replaces what was half in. To go on after an early end, call this again: what the store has is skipped.

    One process at a time can have an edge directory or a Milvus Lite file open. There the actors encode, and one more
    actor writes, on the node of this process. When this returns, it has ended, and the store can be opened.

    Args:
        dataset: Rows with a text, or what `flagvec_ray.read` returns. Of documents with one id the store keeps one.
        model: Which model each actor loads.
        store: Which store each actor opens.
        actors: How many there are, and what each takes.
        text: The column of the texts, or a template such as ``"{title}\n{body}"``.
        id: The column of the ids; None takes ``id``, or makes one of the text.
        metadata: The columns that become metadata; None takes all others.
        skip_unchanged: Do not encode documents that a store on a server has with the same text and metadata. Each batch
            is read from the store first. A store with one writer encodes all.
        dead_letters: Gets what no store can hold, or this one refuses for good, in JSON lines, in this process.
        patience: Seconds in which an actor sends a request again while the store is away or busy.
        timeout: Seconds that each attempt to write may take; None for the client's own limit.

    Returns:
        How many documents were written, failed and skipped.

    Raises:
        TypeError: A model or store that is open, in place of its settings.
        ValueError: An address that names no store, or holds a password.
        Exception: What ended an actor: a store that stayed away, does not fit the model, or refuses everything.
    """
    given, place = ModelSettings.of(model).absolute(), StoreSettings.of(store).absolute()
    fields = Fields(text, id, None if metadata is None else tuple(metadata))
    schema = _created(given, place, actors)
    rules = patience, checked_timeout(timeout)
    if not place.has_one_writer:
        rows = mapped(dataset, StoreActor, actors, (given, actors.num_cpus, place, fields, skip_unchanged, *rules))
        return collected(rows.iter_rows(), Path(dead_letters))
    colbert: ColbertChoice = schema.colbert_dimension is not None and (schema.colbert_storage or "native")
    encoded = mapped(dataset, PackingActor, actors, (given, actors.num_cpus, fields, colbert, "float32"))
    rows = mapped(
        encoded, WritingActor, Actors(num_cpus=0, batch_size=_PARTS), (place, schema.to_json(), *rules), _here()
    )
    processes: set[int] = set()
    report = collected(_noting_processes(rows.iter_rows(), processes), Path(dead_letters))
    _wait_for_end(processes)
    return report


def _noting_processes(rows: Iterable[dict[str, Any]], processes: set[int]) -> Iterator[dict[str, Any]]:
    for row in rows:
        processes.add(int(row[_PROCESS]))
        yield row


def _wait_for_end(processes: Iterable[int]) -> None:
    """Wait until the processes that had the store open have ended, so that the caller can open it.

    They are on this node. Ray ends them in the background.
    """
    end = time.monotonic() + _LONGEST_END
    for process in processes:
        while _is_alive(process) and time.monotonic() < end:
            time.sleep(0.05)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


def _here() -> dict[str, Any]:
    node = ray.get_runtime_context().get_node_id()
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


def _created(model: ModelSettings, store: StoreSettings, actors: Actors) -> Schema:
    """Make the store in an actor that ends then, because Milvus Lite's file stays open until its process ends."""
    maker: Any = ray.remote(_Maker).options(num_cpus=0, **_here()).remote()
    try:
        values: dict[str, Any] = ray.get(maker.schema.remote(model, store, actors.num_cpus))
        return Schema.from_json(values)
    finally:
        ray.kill(maker)


class _Maker:
    def schema(self, model: ModelSettings, store: StoreSettings, num_cpus: float) -> dict[str, Any]:
        with store.opened(loaded(model, num_cpus)) as made:
            made.create()
            return made.schema.to_json()


class _Writer:
    """Writes batches into an open store, and counts what became of them."""

    def __init__(self, model: Any, store: StoreSettings, patience: float, timeout: float | None) -> None:
        self._opened = ExitStack()
        self.store = self._opened.enter_context(store.opened(model))
        self._name = store.address.place
        self._model = model
        self._options: dict[str, Any] = {"patience": patience, "timeout": timeout, "show_progress": False}

    def write(self, documents: Sequence[Document | InvalidDocument], skipped: int = 0) -> tuple[RayReport, bytes]:
        with tempfile.TemporaryDirectory() as folder:
            letters = Path(folder) / "letters.jsonl"
            done = ingest_here(
                documents, stores={self._name: self.store}, model=self._model, dead_letters=letters, **self._options
            )
            counts = RayReport(done.stores[self._name].written, done.failures, skipped, done.truncated)
            return counts, letters.read_bytes() if letters.exists() else b""


class StoreActor:
    """Holds a model and an open store: encodes a batch and writes it."""

    def __init__(
        self,
        model: ModelSettings,
        num_cpus: float,
        store: StoreSettings,
        fields: Fields,
        skip_unchanged: bool,
        patience: float,
        timeout: float | None,
    ) -> None:
        self._fields = fields
        self._skip_unchanged = skip_unchanged
        self._timeout = timeout
        self._writer = _Writer(loaded(model, num_cpus), store, patience, timeout)

    def __call__(self, table: pa.Table) -> dict[str, list[Any]]:
        """Write a batch, and return its numbers."""
        documents = list(self._fields.documents(table))
        new = self._changed(documents) if self._skip_unchanged else documents
        return to_row(*self._writer.write(new, len(documents) - len(new)))

    def _changed(self, documents: Sequence[Document | InvalidDocument]) -> list[Document | InvalidDocument]:
        names = [one.id for one in documents if isinstance(one, Document)]
        there = {one.id: one for one in self._writer.store.get(names, timeout=self._timeout)}
        return [one for one in documents if one != there.get(one.id)]


class PackingActor(EncodingActor):
    """Encodes for a `WritingActor`: each row is a part of a batch in Arrow's stream format, with its dead letters."""

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        """Yield a batch, part by part."""
        for records, failures in self.encoded(self.fields.documents(table)):
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, self.columns) as writer:
                writer.write_batch(to_batch(records, self.columns))
            counts = RayReport(failed=len(failures), truncated=self.truncated)
            self.truncated = 0
            row = to_row(counts, letters_of(failures, None)) | {_PART: [sink.getvalue().to_pybytes()]}
            yield pa.table(row, schema=_PACKED)


class WritingActor:
    """Holds an open store, and writes documents that bring their vectors."""

    def __init__(self, store: StoreSettings, schema: dict[str, Any], patience: float, timeout: float | None) -> None:
        self._schema = Schema.from_json(schema)
        self._writer = _Writer(model_like(self._schema), store, patience, timeout)

    def __call__(self, table: pa.Table) -> dict[str, list[Any]]:
        """Write the parts of a batch, and return its numbers, with those of the encoding."""
        counts, letters = RayReport(), b""
        for row in table.to_pylist():
            with pa.ipc.open_stream(row[_PART]) as reader:
                records = [record for batch in reader for record in to_records(batch, self._schema)]
            documents = [encoded_document(record, self._schema, is_same_form=True) for record in records]
            written, refused = self._writer.write(documents)
            counts = counts.plus(from_row(row)).plus(written)
            letters += row["letters"] + refused
        return to_row(counts, letters) | {_PROCESS: [os.getpid()]}
