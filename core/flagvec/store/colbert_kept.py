"""In which form a store keeps ColBERT vectors: what its argument ``colbert`` asks for, and what is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from flagvec.errors import StoreError
from flagvec.late_interaction.storage import COMPACT, ColbertChoice, ColbertStorage
from flagvec.store.schema import Schema


def schema_to_create(schema: Schema, choice: ColbertChoice, compares: Callable[[], bool], where: str) -> Schema:
    """Return the schema of a new store, with its ``colbert_storage``.

    Args:
        schema: What the model gives.
        choice: The store's argument ``colbert``.
        compares: Says whether the database compares ColBERT vectors itself; asked only if that matters.
        where: What messages call the store.

    Raises:
        StoreError: ``"native"``, and the database does not compare them.
    """
    if schema.colbert_dimension is None:
        return schema
    if isinstance(choice, ColbertStorage):
        return replace(schema, colbert_storage=choice.resolved(schema.colbert_dimension))
    if choice != "compact" and compares():
        return schema
    if choice == "native":
        raise StoreError(
            f"{where} is to hold ColBERT vectors with colbert='native', but the database does not compare them "
            "itself: choose colbert='compact', or True for what suits the database"
        )
    return replace(schema, colbert_storage=COMPACT.resolved(schema.colbert_dimension))


def schema_in_force(
    schema: Schema, found: Schema, choice: ColbertChoice, compares: Callable[[], bool], where: str
) -> Schema:
    """Return the schema with which an existing store is used: `schema`, with the ``colbert_storage`` of `found`.

    True takes every form. ``"compact"`` takes codes of every kind.

    Args:
        schema: What the model gives.
        found: What the store was made with, which `Schema.check` accepted.
        choice: The store's argument ``colbert``.
        compares: Says whether the database compares the ColBERT vectors of this store; asked only if that matters.
        where: What messages call the store.

    Raises:
        StoreError: The store keeps ColBERT vectors in another form than `choice` asks for.
    """
    width, kept = schema.colbert_dimension, found.colbert_storage
    if width is None:
        return schema
    if isinstance(choice, ColbertStorage):
        fits = kept == choice.resolved(width)
    elif choice == "compact":
        fits = kept is not None
    else:
        fits = choice is True or (kept is None and compares())
    if not fits:
        raise StoreError(
            f"{where} keeps ColBERT vectors {_described(kept, compares)}, but is opened with colbert={choice!r}: "
            f"open it with colbert=True, which takes what the store has, or make another store"
        )
    return replace(schema, colbert_storage=kept)


def _described(kept: ColbertStorage | None, compares: Callable[[], bool]) -> str:
    if kept is not None:
        return f"as {kept!r}"
    return "as 'native'" if compares() else "in half precision, as an older flagvec did"
