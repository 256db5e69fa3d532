"""What a store's database can do, which differs by engine and version."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can do, and what its database does for it. Every verb works on every store all the same.

    Args:
        multivector: Whether the database compares ColBERT vectors itself; else flagvec fetches and compares those of
            the candidates.
        max_multivector_rows: The most ColBERT vectors of one text that the store takes; None for any number.
        native_fusion: Which fusions, of ``rrf`` and ``weighted``, the database computes in full; flagvec does the
            others, with the same result.
        persistent: Whether the documents outlive the process.
        timeouts: Whether ``timeout`` bounds a request; an engine in this process has no requests to bound.
    """

    multivector: bool
    max_multivector_rows: int | None
    native_fusion: frozenset[str]
    persistent: bool = True
    timeouts: bool = True
