"""Documents that bring their vectors, and what a model gives for the others."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from flagvec.ingest.report import FailedWrite
from flagvec.late_interaction.codec import Codes
from flagvec.late_interaction.storage import ColbertStorage
from flagvec.m3_output import M3Output
from flagvec.store.backend import Record
from flagvec.store.documents import Document
from flagvec.store.encoding import OUTPUT_KEYS, characters_per_batch, encoded_output, is_ours
from flagvec.store.vectors import EncodedDocuments, TextVectors

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

# Of what `to_bytes` writes: dense vectors, tokens and their weights, ColBERT vectors.
_DTYPES: tuple[np.dtype[Any], ...] = (np.dtype("<f4"), np.dtype("<i8"), np.dtype("<f8"), np.dtype("<f4"))


@dataclass(frozen=True, slots=True, repr=False)
class EncodedDocument(Document):
    """A document with its vectors, which `flagvec.ingest.ingest` writes without encoding it.

    Args:
        id: As in `Document`.
        text: As in `Document`.
        metadata: As in `Document`.
        vectors: What the store's model gives for it, of each kind that the store holds.
        colbert_storage: What made ``vectors.colbert_codes``. A store with the same one takes these in place of
            ``vectors.colbert``.
    """

    vectors: TextVectors = field(default_factory=TextVectors, compare=False)
    colbert_storage: ColbertStorage | None = field(default=None, compare=False)


def records_and_failures(
    documents: Sequence[Document], encoded: EncodedDocuments
) -> tuple[list[Record], list[FailedWrite]]:
    """Return the records of the documents whose vectors can be stored, and the failures of the others.

    Args:
        documents: The documents.
        encoded: Their vectors, in the same order.
    """
    refused = encoded.refused
    records = [
        Record(document, vectors)
        for position, (document, vectors) in enumerate(zip(documents, encoded.vectors, strict=True))
        if position not in refused
    ]
    return records, [FailedWrite(documents[at].id, reason, False, documents[at]) for at, reason in refused.items()]


def ready_codes(document: Document, storage: ColbertStorage) -> Codes | None:
    """Return the codes that a document brings, if this made them; otherwise None."""
    if isinstance(document, EncodedDocument) and document.colbert_storage == storage:
        return document.vectors.colbert_codes
    return None


def to_bytes(output: M3Output) -> bytes:
    """Return the vectors of a batch as bytes, from which `from_bytes` makes equal ones."""
    # One array of each kind: arrays of each text would take ten times as long, and a kill meanwhile loses the vectors.
    dense, sparse, colbert = (output[OUTPUT_KEYS[name]] for name in ("dense", "sparse", "colbert"))
    tokens = weights = rows = None
    if sparse is not None:
        tokens = np.fromiter(chain.from_iterable(sparse), np.int64)
        weights = np.fromiter(chain.from_iterable(one.values() for one in sparse), np.float64)
    if colbert is not None:
        rows = np.concatenate(colbert)
    parts = (dense, tokens, weights, rows)
    head = {
        "shapes": [None if part is None else part.shape for part in parts],
        "tokens": None if sparse is None else [*map(len, sparse)],
        "rows": None if colbert is None else [*map(len, colbert)],
    }
    arrays = [part.astype(dtype, copy=False) for part, dtype in zip(parts, _DTYPES, strict=True) if part is not None]
    return b"".join([json.dumps(head).encode(), b"\n", *(np.ascontiguousarray(array).data for array in arrays)])


def from_bytes(data: bytes) -> list[TextVectors]:
    """Return the vectors of each text of a batch that `to_bytes` was given."""
    start = data.index(b"\n") + 1
    head = json.loads(data[:start])
    parts: list[Any] = []
    for shape, dtype in zip(head["shapes"], _DTYPES, strict=True):
        if shape is None:
            parts.append(None)
            continue
        array = np.frombuffer(data, dtype, math.prod(shape), start).reshape(shape)
        start += array.nbytes
        parts.append(array)
    dense, tokens, weights, rows = parts
    texts = len(next(one for one in (dense, head["tokens"], head["rows"]) if one is not None))
    sparse: list[Any] = [None] * texts
    if tokens is not None:
        pairs = zip(tokens.tolist(), weights.tolist(), strict=True)
        sparse = [dict(islice(pairs, count)) for count in head["tokens"]]
    colbert = [None] * texts if rows is None else np.split(rows, np.cumsum(head["rows"])[:-1])
    return [
        TextVectors(*vectors)
        for vectors in zip([None] * texts if dense is None else dense, sparse, colbert, strict=True)
    ]


class Encoder:
    """Encodes windows of documents, once for all stores.

    Args:
        model: Encodes those that bring no vectors.
        representations: Which to encode, of ``dense``, ``sparse`` and ``colbert``.

    Attributes:
        documents: How many documents the model encoded.
        characters: How many characters these had.
    """

    def __init__(self, model: AbsEmbedder, representations: Collection[str]) -> None:
        self.documents = 0
        self.characters = 0
        self._model = model
        self._representations = representations

    @property
    def most_characters(self) -> int:
        """How long the texts of a window may be together."""
        return characters_per_batch(self._model, "colbert" in self._representations)

    def suffices(self, vectors: TextVectors) -> bool:
        """Return whether vectors are of all kinds that are needed."""
        return all(getattr(vectors, name) is not None for name in self._representations)

    def output(self, documents: Sequence[Document]) -> tuple[M3Output, bool]:
        """Return the vectors of a window of documents, in order, and whether they are all from a flagvec model.

        Raises:
            ValueError: A document brings no vectors of a kind that is needed.
        """
        texts = [one.text for one in documents if not isinstance(one, EncodedDocument)]
        self.documents += len(texts)
        self.characters += sum(map(len, texts))
        if len(texts) == len(documents):
            return encoded_output(self._model, texts, self._representations), is_ours(self._model)
        made = encoded_output(self._model, texts, self._representations) if texts else M3Output()
        return self._joined(documents, made), False

    def _joined(self, documents: Sequence[Document], made: M3Output) -> M3Output:
        """Return one output of the vectors that documents bring and of those that were made for the others."""
        positions = iter(range(len(documents)))
        places = [None if isinstance(one, EncodedDocument) else next(positions) for one in documents]
        truncated = set(made.truncated)
        output = M3Output(truncated=tuple(row for row, place in enumerate(places) if place in truncated))
        for name in self._representations:
            rows = [
                _brought(one, name) if place is None else made[OUTPUT_KEYS[name]][place]
                for one, place in zip(documents, places, strict=True)
            ]
            output[OUTPUT_KEYS[name]] = np.stack(rows) if name == "dense" else rows
        return output


def _brought(document: Document, name: str) -> Any:
    assert isinstance(document, EncodedDocument), "the others have a place in what was made"
    if (vectors := getattr(document.vectors, name)) is None:
        raise ValueError(f"document {document.id!r} brings no {name} vectors, which a store holds: encode it instead")
    return vectors
