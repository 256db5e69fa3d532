"""What a journal compares: the content of a document, and the vectors that a store keeps of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from flagvec.store.documents import Document
from flagvec.store.schema import Schema

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

_HASH_BYTES = 16
# Queries may get another instruction without encoding documents again.
_NOT_OF_DOCUMENTS = frozenset({"query_instruction"})
# Stores of one model may keep ColBERT vectors in different forms, or none.
_OF_ALL_STORES = ("dimension", "pooling", "normalize", "passage_instruction", "passage_max_length")


def vectors_of(schema: Schema, model: AbsEmbedder) -> dict[str, Any]:
    """Return what decides on the vectors of a document in a store, in JSON's types.

    A model's directory may have moved, so that only the last part of its name counts.
    """
    kept = {name: value for name, value in schema.to_json().items() if name not in _NOT_OF_DOCUMENTS}
    kept["model"] = " + ".join(PurePath(name).name for name in schema.model.split(" + "))
    if schema.colbert_model is not None:
        kept["colbert_model"] = PurePath(schema.colbert_model).name
    for name in ("passage_max_length", "colbert_pool_factor"):
        kept[name] = getattr(model, name, None)
    return kept


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs between two answers of `vectors_of`, as ``"dimension was 1024 and is 384"``."""
    return [
        f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


class Contents:
    """Hashes documents together with what decides on their vectors in all stores of a model.

    Args:
        vectors: The answer of `vectors_of` for one of these stores.
    """

    def __init__(self, vectors: Mapping[str, Any]) -> None:
        shared = {name: vectors.get(name) for name in _OF_ALL_STORES}
        # A `CombinedModel` is two models in a store with ColBERT vectors, and the first one in any other store.
        shared["model"] = vectors["model"].split(" + ")[0]
        self._start = blake2b(json.dumps(shared, sort_keys=True).encode(), digest_size=_HASH_BYTES)

    def of(self, document: Document) -> bytes:
        """Return 16 bytes that differ if the text or the metadata of a checked document do."""
        text = document.text.encode()
        digest = self._start.copy()
        # The length keeps a text's end apart from the beginning of the metadata.
        digest.update(b"%d:" % len(text))
        digest.update(text)
        if document.metadata:
            digest.update(json.dumps(document.metadata, sort_keys=True).encode())
        return digest.digest()
