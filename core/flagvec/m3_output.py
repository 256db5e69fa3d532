"""What one forward pass of a BGE-M3 style model gives."""

from __future__ import annotations

import operator
from collections.abc import Sized
from typing import Any, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

from flagvec.late_interaction.storage import COMPACT, ColbertStorage

REPRESENTATION_KEYS = ("dense_vecs", "lexical_weights", "colbert_vecs")


class M3Output(dict[str, Any]):
    """The representations of a batch of texts, or of one text, under FlagEmbedding's three keys.

    A batch of n texts holds
        ``dense_vecs``: (n, dimension) float32, unit rows if the model normalises;
        ``lexical_weights``: list of n ``dict[int, float]``, token id to a weight above zero;
        ``colbert_vecs``: list of n (tokens, dimension) float32, unit rows if the model normalises, one for each token
        but the first.
    One text, encoded from a bare ``str``, holds a (dimension,) vector, one dict and one (tokens, dimension)
    matrix. With ``convert_to_numpy=False`` arrays are torch tensors.

    It is a ``dict``. A representation that was not asked for is not ``in`` it, and reads as None. On a batch, an
    integer gives that text as a batch of one, and a slice gives the sub-batch; both are views, not copies. The repr
    shows shapes instead of numbers.

    Attributes:
        truncated: Positions of the texts that were longer than ``max_length``, ascending. The model read only their
            first ``max_length`` tokens. It takes no part in comparisons.

    Raises:
        KeyError: The key names no representation.
        IndexError: The integer is outside the batch.
        TypeError: An integer or slice is used on the output of one text.

    Example:
        >>> import numpy as np
        >>> output = M3Output(dense_vecs=np.eye(3, dtype=np.float32), lexical_weights=[{7: 0.5}, {}, {9: 0.1}])
        >>> output
        M3Output(3 texts: dense_vecs (3, 3) float32, lexical_weights 3 dicts, 0.7 tokens on average)
        >>> output[0]["lexical_weights"][0]
        {7: 0.5}
        >>> output[1:]["dense_vecs"].shape, "colbert_vecs" in output, output["colbert_vecs"]
        ((2, 3), False, None)
    """

    truncated: tuple[int, ...]

    def __init__(self, *values: Any, truncated: tuple[int, ...] | None = None, **representations: Any) -> None:
        super().__init__(*values, **representations)
        kept = values[0].truncated if values and isinstance(values[0], M3Output) else ()
        self.truncated = kept if truncated is None else truncated

    def __repr__(self) -> str:
        texts = f"{self.num_texts:,} text{'' if self.num_texts == 1 else 's'}" if self else ""
        parts = ", ".join(f"{key} {_summary(key, value)}" for key, value in self.items())
        cut = f", {len(self.truncated):,} truncated" if self.truncated else ""
        return f"{type(self).__name__}({texts}{': ' if self else ''}{parts}{cut})"

    def _repr_html_(self) -> str:
        from flagvec.explain.output_html import output_html

        return output_html(self)

    @overload
    def __getitem__(self, key: str) -> Any: ...
    @overload
    def __getitem__(self, key: SupportsIndex | slice) -> M3Output: ...
    def __getitem__(self, key: str | SupportsIndex | slice) -> Any:
        if isinstance(key, str):
            return super().__getitem__(key)
        return self._sub_batch(key if isinstance(key, slice) else self._one(operator.index(key)))

    def __missing__(self, key: str) -> None:
        if key not in REPRESENTATION_KEYS:
            raise KeyError(f"{key!r}: an M3Output has the keys {', '.join(REPRESENTATION_KEYS)}")

    @property
    def is_batch(self) -> bool:
        """Whether this holds a batch of texts (True) or one text encoded from a bare string (False)."""
        if (dense := self["dense_vecs"]) is not None:
            return np.ndim(dense) == 2
        if (lexical := self["lexical_weights"]) is not None:
            return isinstance(lexical, list)
        return isinstance(self["colbert_vecs"], list)

    @property
    def num_texts(self) -> int:
        """How many texts this holds. ``len`` counts the representations, as in every dict."""
        return len(next(iter(self.values()))) if self.is_batch and self else int(bool(self))

    def copy(self) -> M3Output:
        """Return a shallow copy."""
        return M3Output(self)

    def as_batch(self) -> M3Output:
        """Return this if it is a batch, else its text as a batch of one."""
        if self.is_batch:
            return self
        wrap = {
            "dense_vecs": lambda vector: vector[None],
            "lexical_weights": _in_list,
            "colbert_vecs": _in_list,
        }
        return M3Output({key: wrap[key](value) for key, value in self.items()}, truncated=self.truncated)

    def unbatched(self) -> M3Output:
        """Return the first text of a batch as encoding a bare string gives it."""
        return M3Output({key: value[0] for key, value in self.items()}, truncated=self._truncated_in(slice(1)))

    def colbert_codes(self, storage: ColbertStorage = COMPACT) -> list[NDArray[np.uint8]]:
        """Return the codes of each text's ColBERT vectors, as stores keep them with ``colbert="compact"``.

        `flagvec.maxsim` compares a query's vectors with them.

        Args:
            storage: How vectors become codes; ``storage.codec(dimension)`` reads them.

        Returns:
            For each text (vectors, bytes) uint8, also if there is only one.

        Raises:
            ValueError: There are no ColBERT vectors, or one is not finite.
        """
        from flagvec.scoring import as_float32  # which imports this module

        if (vectors := self.as_batch()["colbert_vecs"]) is None:
            raise ValueError("this output has no colbert_vecs to make codes of: encode with return_colbert_vecs=True")
        return storage.encode_all([as_float32(rows) for rows in vectors])

    def _one(self, index: int) -> slice:
        size = self.num_texts
        if not -size <= index < size:
            raise IndexError(f"index {index} is outside this output of {size} texts")
        start = index % size
        return slice(start, start + 1)

    def _sub_batch(self, texts: slice) -> M3Output:
        if not self.is_batch:
            raise TypeError("this output holds one text, encoded from a bare string: encode [text] for a batch")
        return M3Output({key: value[texts] for key, value in self.items()}, truncated=self._truncated_in(texts))

    def _truncated_in(self, texts: slice) -> tuple[int, ...]:
        if not self.truncated:
            return ()
        truncated = set(self.truncated)
        kept = range(self.num_texts)[texts]
        return tuple(position for position, text in enumerate(kept) if text in truncated)


def _in_list(value: Any) -> list[Any]:
    return [value]


def _summary(key: str, value: Any) -> str:
    """Describe a representation by its shapes."""
    if hasattr(value, "dtype"):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"{tuple(value.shape)} {dtype}"
    if isinstance(value, dict):
        return f"{len(value)} tokens"
    if not isinstance(value, list):
        return type(value).__name__
    sizes = [len(item) for item in value if isinstance(item, Sized)]
    if not sizes:
        return f"{len(value)} items"
    if key == "lexical_weights":
        return f"{len(value):,} dicts, {sum(sizes) / len(sizes):.1f} tokens on average"
    rows = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)}-{max(sizes)}"
    return f"{len(value):,} x ({', '.join([rows, *(str(width) for width in getattr(value[0], 'shape', ())[1:])])})"
