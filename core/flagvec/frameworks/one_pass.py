"""`OnePass`: one forward pass a text, for callers that ask for dense vectors and lexical weights separately."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakValueDictionary

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from flagvec.engine.forking import no_fork
from flagvec.m3_output import M3Output
from flagvec.store.encoding import encode_texts, model_lock

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

# This holds some 20,000 texts of BGE-M3, which is more than frameworks embed before they ask for the other half.
MAX_BYTES = 256 * 2**20
# An entry of a dict with its int and its float takes this much.
_BYTES_PER_WEIGHT = 120

Part = Literal["dense", "sparse"]
Role = Literal["document", "query"]


@dataclass(frozen=True, slots=True)
class _Entry:
    dense: NDArray[np.float32]
    weights: dict[int, float]
    bytes: int


class OnePass:
    """A model's output for the texts that it saw last, shared by all objects that embed with it.

    Frameworks ask one object for the dense vectors of some texts and then another for the lexical weights of the same
    texts. The first call encodes both, the second one reads. While only one of the two is in use, nothing is kept.

    Args:
        model: Any flagvec model.
        max_bytes: How much is kept; the least recently used output is dropped first.
    """

    def __init__(self, model: AbsEmbedder, max_bytes: int = MAX_BYTES) -> None:
        self.model = model
        self._parts: set[str] = set()
        self._entries: LRUCache[tuple[Role, str], _Entry] = LRUCache(max_bytes, getsizeof=lambda entry: entry.bytes)

    def serve(self, part: Part) -> None:
        """Register that somebody will ask for this representation.

        Raises:
            ValueError: The model cannot give it.
        """
        if part not in self.model.representations:
            name = getattr(self.model, "model_name_or_path", type(self.model).__name__)
            raise ValueError(f"the model {name!r} gives no {part} representation; a BGE-M3 style checkpoint does")
        self._parts.add(part)

    def documents(self, texts: Sequence[str], **options: Any) -> M3Output:
        """Return the representations in use of documents, as `AbsEmbedder.encode_corpus` gives them.

        Args:
            texts: The documents.
            options: Further arguments of `encode_corpus` that do not change its output, like ``batch_size`` and
                ``show_progress``.
        """
        return self._encoded("document", self.model.encode_corpus, texts, options)

    def queries(self, texts: Sequence[str], **options: Any) -> M3Output:
        """Return the representations in use of queries; the rest is as in `documents`."""
        return self._encoded("query", self.model.encode_queries, texts, options)

    def _encoded(
        self, role: Role, encode: Callable[..., Any], texts: Sequence[str], options: dict[str, Any]
    ) -> M3Output:
        with model_lock(self.model):
            if len(self._parts) == 1:
                return encode_texts(encode, self.model, texts, self._parts, **options)
            with no_fork:  # the cache is of no use if a fork copies it in the middle of a change
                found = {text: self._entries.get((role, text)) for text in texts}
            known = {text: entry for text, entry in found.items() if entry is not None}
            if new := [text for text in found if text not in known]:
                output = encode_texts(encode, self.model, new, self._parts, **options)
                known |= zip(new, map(_entry, new, output["dense_vecs"], output["lexical_weights"]), strict=True)
            with no_fork:
                self._entries.update(((role, text), known[text]) for text in texts)
        entries = [known[text] for text in texts]
        return M3Output(
            dense_vecs=np.array([entry.dense for entry in entries], dtype=np.float32).reshape(-1, self.model.dimension),
            lexical_weights=[dict(entry.weights) for entry in entries],
        )


def _entry(text: str, dense: NDArray[np.float32], weights: dict[int, float]) -> _Entry:
    # A view would keep the whole batch in memory.
    return _Entry(dense.copy(), weights, dense.nbytes + _BYTES_PER_WEIGHT * len(weights) + len(text))


# The key is the model's address. It stays valid because the `OnePass` holds the model, and the entry goes with it.
_shared: WeakValueDictionary[int, OnePass] = WeakValueDictionary()
_sharing = Lock()


def one_pass(model: AbsEmbedder) -> OnePass:
    """Return the `OnePass` that all objects which embed with this model share."""
    with no_fork, _sharing:
        shared = _shared.get(id(model)) or OnePass(model)
        _shared[id(model)] = shared
        return shared
