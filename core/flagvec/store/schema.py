"""What a store holds and which model made it, and how two such descriptions differ."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from flagvec.errors import StoreError
from flagvec.late_interaction.codec import ColbertCodec
from flagvec.late_interaction.storage import ColbertStorage

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Schema:
    """The vectors that each document has in a store, and how a model made them.

    A value that is None is not known: the store was made by an older version, or by a model that does not say.

    Args:
        model: Name or path of the model; both, joined by ``" + "``, for a `CombinedModel`.
        dimension: Length of the dense vector.
        sparse: Whether there are lexical weights.
        colbert_dimension: Length of a ColBERT vector; None if there are none.
        pooling: How hidden states became one dense vector, ``"cls"`` or ``"mean"``.
        normalize: Whether the model gave unit vectors.
        passage_instruction: What was put in front of documents, joined by its format; ``""`` for nothing.
        query_instruction: What is put in front of queries, joined by its format; ``""`` for nothing.
        colbert_model: Name or path of the second model of a `CombinedModel`; None if one model gives everything.
        colbert_storage: How ColBERT vectors become codes, with its ``bits``; None if the vectors are kept themselves.

    Example:
        >>> Schema("bge-m3", dimension=1024, sparse=True, colbert_dimension=None).representations
        ('dense', 'sparse')
    """

    model: str
    dimension: int
    sparse: bool
    colbert_dimension: int | None
    pooling: str | None = None
    normalize: bool | None = None
    passage_instruction: str | None = None
    query_instruction: str | None = None
    colbert_model: str | None = None
    colbert_storage: ColbertStorage | None = None

    @classmethod
    def of(cls, model: AbsEmbedder, colbert: bool = True) -> Schema:
        """Return the schema for all that `model` can give, without its ColBERT vectors if `colbert` is False."""
        # Only a `CombinedModel` has these. Without ColBERT vectors, a store holds the output of its dense model alone.
        model = model if colbert else getattr(model, "dense_model", model)
        colbert_model = getattr(model, "colbert_model", None)
        return cls(
            model=model.model_name_or_path,
            dimension=model.dimension,
            sparse="sparse" in model.representations,
            colbert_dimension=model.colbert_dimension if colbert and "colbert" in model.representations else None,
            pooling=getattr(model, "pooling_method", None),
            normalize=getattr(model, "normalize_embeddings", None),
            passage_instruction=joined_instruction(model, "passage_instruction"),
            query_instruction=joined_instruction(model, "query_instruction"),
            colbert_model=None if colbert_model is None else colbert_model.model_name_or_path,
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Schema:
        """Return the schema that `to_json` wrote.

        Raises:
            KeyError: The model, a dimension or ``sparse`` is missing.
            StoreError: The ColBERT vectors are codes of a kind that this version does not know.
        """
        required = ("model", "dimension", "sparse", "colbert_dimension")
        known = {field.name for field in fields(cls)}
        given = {name: values[name] for name in required} | {k: v for k, v in values.items() if k in known}
        return cls(**given | {"colbert_storage": _found_storage(values.get("colbert_storage"))})

    def to_json(self) -> dict[str, Any]:
        """Return the schema in JSON's types, to be kept with the store."""
        return asdict(self)

    @property
    def representations(self) -> tuple[str, ...]:
        """What the store holds, in the order dense, sparse, colbert."""
        held = {"dense": True, "sparse": self.sparse, "colbert": self.colbert_dimension is not None}
        return tuple(name for name, there in held.items() if there)

    @property
    def colbert_codec(self) -> ColbertCodec | None:
        """What packs and reads the codes of ColBERT vectors; None if the vectors are kept themselves."""
        if self.colbert_storage is None or self.colbert_dimension is None:
            return None
        return self.colbert_storage.codec(self.colbert_dimension)

    def check(self, found: Schema, where: str) -> None:
        """Check that a store which was made with the schema `found` can be used with this one.

        Another name of the model or another query instruction is only logged: a directory may have moved, and queries
        may get another instruction without encoding documents again. Another name in a pair of models is refused,
        because most ColBERT models have the same dimension, so that nothing else tells one pair from another.

        Args:
            found: What the store was made with.
            where: What messages call the store.

        Raises:
            StoreError: The vectors would not match; says what differs and what to do.
        """
        differences = list(self._differences(found))
        if differences:
            held, given = (" and ".join(parts) for parts in zip(*differences, strict=True))
            raise StoreError(
                f"{where} holds {held}, but is opened with the model {self.model!r} for {given}: "
                f"{self._remedy(found)}, or make another store"
            )
        if found._names != self._names:
            _logger.warning(
                "%s was made with the model %r and is opened with %r: if they are two models, their vectors do not "
                "match",
                where,
                found.model,
                self.model,
            )
        theirs, ours = found.query_instruction, self.query_instruction
        if theirs is not None and ours is not None and theirs != ours:
            _logger.warning(
                "%s was made for queries with the instruction %r and is opened with %r: the ranking may differ",
                where,
                theirs,
                ours,
            )

    def _differences(self, found: Schema) -> Iterator[tuple[str, str]]:
        different = [
            name for name in ("dimension", "sparse", "colbert_dimension") if getattr(found, name) != getattr(self, name)
        ]
        for name in ("pooling", "normalize", "passage_instruction"):
            theirs, ours = getattr(found, name), getattr(self, name)
            if theirs is not None and ours is not None and theirs != ours:
                different.append(name)
        if not different and self._is_another_pair(found):
            different.append("model")
        for name in different:
            yield found._said(name), self._said(name)

    def _is_another_pair(self, found: Schema) -> bool:
        return found._names != self._names and (found.colbert_model or self.colbert_model) is not None

    @property
    def _names(self) -> tuple[str, ...]:
        """The names of the models, without the directories that they are in."""
        if self.colbert_model is None:
            return (PurePath(self.model).name,)
        dense_model = self.model.removesuffix(f" + {self.colbert_model}")
        return PurePath(dense_model).name, PurePath(self.colbert_model).name

    def _said(self, name: str) -> str:
        match name:
            case "model":
                return f"vectors of {self.model!r}"
            case "dimension":
                return f"dense vectors of {self.dimension} dimensions"
            case "sparse":
                return "lexical weights" if self.sparse else "no lexical weights"
            case "colbert_dimension" if self.colbert_dimension is None:
                return "no ColBERT vectors"
            case "colbert_dimension":
                return f"ColBERT vectors of {self.colbert_dimension} dimensions"
            case "pooling":
                return f"vectors of {self.pooling} pooling"
            case "normalize":
                return f"vectors made with normalize_embeddings={self.normalize}"
        return f"vectors of documents with the instruction {self.passage_instruction!r}"

    def _remedy(self, found: Schema) -> str:
        same = (found.dimension, found.sparse) == (self.dimension, self.sparse)
        if same and found.colbert_dimension == self.colbert_dimension and not self._is_another_pair(found):
            return "make the model with the same arguments"
        if same and None in (found.colbert_dimension, self.colbert_dimension):
            return f"open it with colbert={found.colbert_dimension is not None}"
        return f"open it with the model {found.model!r}"


def _found_storage(values: Any) -> ColbertStorage | None:
    try:
        return None if values is None else ColbertStorage.from_json(values)
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"the store keeps ColBERT vectors as {values!r}, which this version of flagvec cannot read: update flagvec"
        ) from error


def joined_instruction(model: AbsEmbedder, name: str) -> str | None:
    """Return an instruction joined by its format to nothing; None for a model that does not say."""
    attribute = f"{name}_for_retrieval"
    if not hasattr(model, attribute):
        return None
    instruction = getattr(model, attribute)
    template = getattr(model, f"{name}_format", "{}{}")
    return "" if instruction is None else str(template).replace("\\n", "\n").format(instruction, "")
