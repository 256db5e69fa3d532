"""How a new store is laid out, and how an existing one is recognised; the same for every engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

from flagvec.errors import StoreError
from flagvec.filters.portable import check_field
from flagvec.search.options import check_choice
from flagvec.store.schema import Schema
from flagvec_qdrant.convert import field_key

Storage = Literal["accurate", "balanced", "small"]
FieldType = Literal["keyword", "integer", "float", "bool", "datetime"]
Placement = Literal["cold", "cached", "pinned"]

NO_FIELDS: Mapping[str, FieldType] = MappingProxyType({})

_MADE_BY = "flagvec"
# Versions of flagvec that know no codes refuse a store that has them by its number.
_VERSION, _VERSION_OF_CODES = 1, 2
# A server refuses a multivector of this many numbers, in a point and in a query (Qdrant's `validate_multi`).
_MULTIVECTOR_SIZE = 1_048_576


class DamagedError(StoreError):
    """What describes a store cannot be read."""


@dataclass(frozen=True, slots=True)
class StorageProfile:
    """How much memory a new store takes; None leaves the choice to the engine.

    Args:
        half_precision: Whether dense vectors are kept in float16.
        quantization: The short form that finds dense candidates, before their full vectors are compared.
        dense: Where dense vectors lie: on disk, on disk and in the page cache, or in memory.
        colbert: Where ColBERT vectors lie.
        sparse: Where the index of lexical weights lies.
    """

    half_precision: bool = False
    quantization: Literal["int8", "binary"] | None = None
    dense: Placement | None = None
    colbert: Placement | None = None
    sparse: Placement | None = None


PROFILES: Mapping[Storage, StorageProfile] = {
    "accurate": StorageProfile(),
    "balanced": StorageProfile(True, "int8", dense="cached", colbert="cold", sparse="pinned"),
    "small": StorageProfile(True, "binary", dense="cold", colbert="cold", sparse="cached"),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """What a store has beyond its schema.

    Args:
        profile: Where a new store keeps vectors, and how exact they are.
        indexes: The type of each field that has an index, by its JSON path in the payload.
    """

    profile: StorageProfile
    indexes: Mapping[str, FieldType]

    @classmethod
    def checked(cls, storage: Any, filter_fields: Any) -> Layout:
        """Return the layout that a store's arguments ask for.

        Raises:
            TypeError: ``filter_fields`` is not a mapping, or a name in it is not a ``str``.
            ValueError: An unknown profile or field type, or a field that cannot be filtered by.
        """
        check_choice("storage", storage, get_args(Storage))
        if not isinstance(filter_fields, Mapping):
            raise TypeError(
                f"filter_fields takes a dict like {{'lang': 'keyword'}}, not {type(filter_fields).__name__}"
            )
        for name, kind in filter_fields.items():
            check_field(name, f"filter_fields[{name!r}]")
            check_choice(f"filter_fields[{name!r}]", kind, get_args(FieldType))
        return cls(PROFILES[storage], {field_key(name.split(".")): kind for name, kind in filter_fields.items()})


def missing_indexes(wanted: Mapping[str, FieldType], found: Mapping[str, str], where: str) -> dict[str, FieldType]:
    """Return the wanted indexes that are not among those found, each by its JSON path.

    Raises:
        StoreError: A field has an index of another type; `where` names the store.
    """
    # Engines write a path with or without quotes.
    there = {key.replace('"', ""): kind for key, kind in found.items()}
    for key, kind in wanted.items():
        other = there.get(key.replace('"', ""), kind)
        if other != kind:
            raise StoreError(
                f"{where} has an index of type {other!r} on {key}, not of type {kind!r}: give {other!r} in "
                "filter_fields, or delete the index"
            )
    return {key: kind for key, kind in wanted.items() if key.replace('"', "") not in there}


def description(schema: Schema) -> dict[str, Any]:
    """Return what is kept with a store: who made it, the version of the layout, and the schema."""
    version = _VERSION if schema.colbert_storage is None else _VERSION_OF_CODES
    return {"made_by": _MADE_BY, "version": version, "schema": schema.to_json()}


def described_schema(found: Mapping[str, Any], where: str, other: str) -> Schema:
    """Return the schema in what `description` wrote.

    Args:
        found: What is kept with the store.
        where: What messages call the store.
        other: The argument of the store that names its place.

    Raises:
        StoreError: Another program made it, or another version of flagvec.
        DamagedError: Something is missing.
    """
    if found.get("made_by") != _MADE_BY:
        raise StoreError(f"{where} was not made by flagvec: choose another {other}")
    if found.get("version") not in (_VERSION, _VERSION_OF_CODES):
        raise StoreError(
            f"{where} has layout {found.get('version')!r}; this version of flagvec reads layouts {_VERSION} and "
            f"{_VERSION_OF_CODES}: update flagvec"
        )
    try:
        return Schema.from_json(found["schema"])
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{where} is damaged: {error!r}") from error


def max_colbert_rows(schema: Schema) -> int | None:
    """Return the most ColBERT vectors that a point or query has, 1,023 at 1,024 dimensions; None for any number."""
    if schema.colbert_dimension is None or schema.colbert_storage is not None:
        return None
    return (_MULTIVECTOR_SIZE - 1) // schema.colbert_dimension
