"""What a store holds of a model's output, and how two such shapes differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from flagvec.errors import StoreError

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder


@dataclass(frozen=True, slots=True)
class Schema:
    """The vectors that each document has in a store.

    Args:
        model: Name of the model that makes them, for messages.
        dimension: Length of the dense vector.
        sparse: Whether there are lexical weights.
        colbert_dimension: Length of a ColBERT vector; None where there are none.

    Example:
        >>> Schema("bge-m3", dimension=1024, sparse=True, colbert_dimension=None).representations
        ('dense', 'sparse')
    """

    model: str
    dimension: int
    sparse: bool
    colbert_dimension: int | None

    @classmethod
    def of(cls, model: AbsEmbedder, colbert: bool = True) -> Schema:
        """Return the schema for all that `model` can give, without its ColBERT vectors if `colbert` is False."""
        return cls(
            model=model.model_name_or_path,
            dimension=model.dimension,
            sparse="sparse" in model.representations,
            colbert_dimension=model.colbert_dimension if colbert and "colbert" in model.representations else None,
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Schema:
        """Return the schema that `to_json` wrote; a value that is not there is a `KeyError`."""
        return cls(**{name: values[name] for name in ("model", "dimension", "sparse", "colbert_dimension")})

    def to_json(self) -> dict[str, Any]:
        """Return the schema in JSON's types, to be kept with the store."""
        return asdict(self)

    @property
    def representations(self) -> tuple[str, ...]:
        """What the store holds, in the order dense, sparse, colbert."""
        held = {"dense": True, "sparse": self.sparse, "colbert": self.colbert_dimension is not None}
        return tuple(name for name, there in held.items() if there)

    def check(self, found: Schema, where: str) -> None:
        """Check that `where`, a store that was made with the schema `found`, fits this one.

        The model's name takes no part: one model has many names, and a directory may move.

        Raises:
            StoreError: It does not fit; the message says what was found, what is expected and what to do.
        """
        pairs = list(zip(found._parts(), self._parts(), strict=True))
        differing = [(theirs, ours) for theirs, ours in pairs if theirs != ours]
        if not differing:
            return
        theirs, ours = (" and ".join(parts) for parts in zip(*differing, strict=True))
        if differing == pairs[2:] and None in (found.colbert_dimension, self.colbert_dimension):
            remedy = f"open it with colbert={found.colbert_dimension is not None}"
        else:
            remedy = f"open it with the model that it was made with, {found.model!r}"
        raise StoreError(f"{where} holds {theirs}, but {self.model!r} is to give it {ours}: {remedy}, or make another")

    def _parts(self) -> tuple[str, str, str]:
        return (
            f"dense vectors of {self.dimension} dimensions",
            "lexical weights" if self.sparse else "no lexical weights",
            f"ColBERT vectors of {self.colbert_dimension} dimensions"
            if self.colbert_dimension
            else "no ColBERT vectors",
        )
