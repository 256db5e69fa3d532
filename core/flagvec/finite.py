"""Finds the texts whose results are NaN or infinite, and decides what becomes of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flagvec.errors import NotFiniteError

# What `row_sums` writes: a number for each text, and for each token.
_TEXT_SUMS, _TOKEN_SUMS = "text_sums", "token_sums"
_SUMS = (_TEXT_SUMS, _TOKEN_SUMS)
_RESULTS = ("dense_vecs", "token_weights", "colbert_vecs")

_NO_TEXTS: NDArray[np.intp] = np.empty(0, dtype=np.intp)
# From 10,001 numbers on, OpenBLAS starts threads.
_FEW_NUMBERS = 10_000

# Whether `encode` returns results that are not finite, instead of raising. A store refuses single documents.
_is_kept: ContextVar[bool] = ContextVar("_is_kept", default=False)


@contextmanager
def keeping_not_finite() -> Iterator[None]:
    """Let the calls inside return NaN and infinite results, which otherwise raise `NotFiniteError`."""
    token = _is_kept.set(True)
    try:
        yield
    finally:
        _is_kept.reset(token)


def row_sums(
    dense: Tensor | None = None, weights: Tensor | None = None, colbert: Tensor | None = None
) -> dict[str, Tensor]:
    """Return the sums over each row of a batch's results on an accelerator: a sum is finite if all of its row is.

    On a CPU there is nothing to copy, so that `texts_not_finite` reads the results themselves.

    Args:
        dense: (texts, dimension).
        weights: (tokens,), before weights below zero are left out.
        colbert: (tokens, dimension).
    """
    given = weights if dense is None else dense
    if (given is not None and given.is_cpu) or (colbert is not None and colbert.is_cpu):
        return {}
    sums = {} if dense is None else {_TEXT_SUMS: dense.sum(-1)}
    if weights is not None:
        sums[_TOKEN_SUMS] = weights if colbert is None else weights + colbert.sum(-1)
    elif colbert is not None:
        sums[_TOKEN_SUMS] = colbert.sum(-1)
    return sums


def texts_not_finite(found: Mapping[str, Tensor]) -> NDArray[np.intp]:
    """Return the texts of a batch, by their place in it, with a result that is not finite.

    Args:
        found: The results of the batch with their `row_sums`. ``lengths`` has the number of tokens of each text, if
            there are rows for tokens.
    """
    has_sums = _TEXT_SUMS in found or _TOKEN_SUMS in found
    for name in _SUMS if has_sums else _RESULTS:
        if name in found and not _is_finite(found[name]):
            return _find_texts(found, _SUMS if has_sums else _RESULTS)
    return _NO_TEXTS


def _is_finite(results: Tensor) -> bool:
    """Return False if a result is not finite. Results over 1e18 may give False too."""
    # numpy takes a tenth of torch's time for the results of a short query, and torch uses all cores.
    if results.numel() > _FEW_NUMBERS:
        return math.isfinite(results.sum().item())
    numbers = results.numpy().ravel()
    with np.errstate(over="ignore"):
        return math.isfinite(numbers.dot(numbers))


def _find_texts(found: Mapping[str, Tensor], names: Sequence[str]) -> NDArray[np.intp]:
    places: list[NDArray[np.intp]] = []
    for name in names:
        if name not in found:
            continue
        values = found[name].numpy()
        rows = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
        match name:
            case "token_weights":
                rows = found["token_keys"].numpy()[rows] >> 32
            case "colbert_vecs" | "token_sums":
                lengths = found["lengths"].numpy()
                rows = np.repeat(np.arange(len(lengths)), lengths)[rows]
        places.append(rows)
    return np.unique(np.concatenate(places)).astype(np.intp)


def warn_of_wider_formats(counts: Mapping[torch.dtype, int], texts: int, dtype: torch.dtype) -> None:
    """Warn once of the texts that ran again in a wider format.

    Args:
        counts: How many texts ran in each format.
        texts: How many texts the call had.
        dtype: The format of the model.
    """
    first = next(iter(counts.values()))
    formats = " and ".join(f"{count:,} in {_name(wider)}" for wider, count in counts.items())
    remedy = "use_bf16=True runs" if dtype is torch.float16 else "use_fp16=False with use_bf16=False runs"
    warnings.warn(
        f"{first:,} of {texts:,} texts gave NaN or infinite numbers in {_name(dtype)} and ran again, {formats}; "
        f"{remedy} all texts in a wider format",
        RuntimeWarning,
        stacklevel=4,
    )


def raise_for_not_finite(positions: Sequence[int], texts: int) -> None:
    """Raise for texts without a finite result, except inside `keeping_not_finite`.

    Raises:
        NotFiniteError: There are such texts.
    """
    if positions and not _is_kept.get():
        raise NotFiniteError(sorted(positions), texts)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
