"""What one forward pass of a BGE-M3 style model gives."""

from __future__ import annotations

import operator
from typing import Any, SupportsIndex, overload

REPRESENTATION_KEYS = ("dense_vecs", "lexical_weights", "colbert_vecs")


class M3Output(dict[str, Any]):
    """The representations of a batch of texts, or of one text, under FlagEmbedding's three keys.

    A batch of n texts holds
        ``dense_vecs``: (n, dimension) float32, unit rows unless the model was told not to normalise;
        ``lexical_weights``: list of n ``dict[int, float]``, token id to a weight above zero;
        ``colbert_vecs``: list of n (tokens, dimension) float32, unit rows, one a token without the first.
    One text, encoded from a bare ``str``, holds a (dimension,) vector, one dict and one (tokens, dimension)
    matrix. With ``convert_to_numpy=False`` arrays are torch tensors.

    It is a ``dict``: a representation that was not asked for is not ``in`` it, and reads as None. On a batch an
    integer gives that text as a batch of one and a slice gives the sub-batch, as views, not copies.

    Raises:
        KeyError: A key that names no representation.
        IndexError: An integer outside the batch.
        TypeError: An integer or slice on the output of one text.

    Example:
        >>> import numpy as np
        >>> output = M3Output(dense_vecs=np.eye(3, dtype=np.float32), lexical_weights=[{7: 0.5}, {}, {9: 0.1}])
        >>> output[0]["lexical_weights"][0]
        {7: 0.5}
        >>> output[1:]["dense_vecs"].shape, "colbert_vecs" in output, output["colbert_vecs"]
        ((2, 3), False, None)
    """

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
            return bool(dense.ndim == 2)
        if (lexical := self["lexical_weights"]) is not None:
            return isinstance(lexical, list)
        return isinstance(self["colbert_vecs"], list)

    @property
    def num_texts(self) -> int:
        """How many texts this holds (``len`` counts the representations, as for every dict)."""
        return len(next(iter(self.values()))) if self.is_batch and self else int(bool(self))

    def copy(self) -> M3Output:
        """Return a shallow copy."""
        return M3Output(self)

    def as_batch(self) -> M3Output:
        """Return this if it is a batch, and else its text as a batch of one."""
        if self.is_batch:
            return self
        wrap = {
            "dense_vecs": lambda vector: vector[None],
            "lexical_weights": _in_list,
            "colbert_vecs": _in_list,
        }
        return M3Output({key: wrap[key](value) for key, value in self.items()})

    def _one(self, index: int) -> slice:
        size = self.num_texts
        if not -size <= index < size:
            raise IndexError(f"index {index} is outside this output of {size} texts")
        start = index % size
        return slice(start, start + 1)

    def _sub_batch(self, texts: slice) -> M3Output:
        if not self.is_batch:
            raise TypeError("this output holds one text, encoded from a bare string: encode [text] for a batch")
        return M3Output({key: value[texts] for key, value in self.items()})


def _in_list(value: Any) -> list[Any]:
    return [value]
