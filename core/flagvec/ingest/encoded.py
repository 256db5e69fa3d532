"""Documents that bring their vectors, and what a model gives for the others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from flagvec.late_interaction.codec import Codes
from flagvec.late_interaction.storage import ColbertStorage
from flagvec.m3_output import M3Output
from flagvec.store.documents import Document
from flagvec.store.encoding import OUTPUT_KEYS, encoded_output, is_ours
from flagvec.store.vectors import TextVectors

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder


@dataclass(frozen=True, slots=True, repr=False)
class EncodedDocument(Document):
    """A document with its vectors, which `flagvec.ingest.ingest` writes without encoding it.

    Args:
        id: As in `Document`.
        text: As in `Document`.
        metadata: As in `Document`.
        vectors: What the store's model would give for it, of what the store holds.
        colbert_storage: What made ``vectors.colbert_codes``. A store with the same one takes these in place of
            ``vectors.colbert``.
    """

    vectors: TextVectors = field(default_factory=TextVectors, compare=False)
    colbert_storage: ColbertStorage | None = field(default=None, compare=False)


def ready_codes(document: Document, storage: ColbertStorage) -> Codes | None:
    """Return the codes that a document brings, if this made them; otherwise None."""
    if isinstance(document, EncodedDocument) and document.colbert_storage == storage:
        return document.vectors.colbert_codes
    return None


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
        output = M3Output(truncated=tuple(row for row, place in enumerate(places) if place in set(made.truncated)))
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
