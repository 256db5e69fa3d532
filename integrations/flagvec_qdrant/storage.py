"""How much memory a new store takes: storage profiles, and the indexes of filtered fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from flagvec.errors import StoreError
from flagvec.filters.portable import check_field
from flagvec.search.options import check_choice
from flagvec_qdrant import convert

Storage = Literal["accurate", "balanced", "small"]
FieldType = Literal["keyword", "integer", "float", "bool", "datetime"]
Placement = Literal["cold", "cached", "pinned"]


@dataclass(frozen=True, slots=True)
class StorageProfile:
    """What a profile means; None leaves the choice to the engine.

    Args:
        half_precision: Whether dense vectors are kept in float16.
        quantization: The short form in which dense vectors are compared first, before the best are compared in full.
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
    """How documents are stored, beyond their schema.

    Args:
        profile: Where vectors lie, and how exact they are.
        indexes: The type of each field that has an index, by its JSON path in the payload.
    """

    profile: StorageProfile
    indexes: Mapping[str, FieldType]

    @classmethod
    def checked(cls, storage: Any, filter_fields: Any) -> Layout:
        """Return the layout of a store's arguments.

        Raises:
            TypeError: ``filter_fields`` is no mapping, or a name in it no ``str``.
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
        return cls(
            PROFILES[storage],
            {convert.field_key(name.split(".")): kind for name, kind in filter_fields.items()},
        )


def check_indexes(wanted: Mapping[str, FieldType], found: Mapping[str, str], where: str) -> dict[str, FieldType]:
    """Return those of the `wanted` indexes that `where`, a store with the indexes `found`, lacks.

    Raises:
        StoreError: It has one of another type.
    """
    there = {key.replace('"', ""): kind for key, kind in found.items()}
    missing = {}
    for key, kind in wanted.items():
        match there.get(key.replace('"', "")):
            case None:
                missing[key] = kind
            case other if other != kind:
                raise StoreError(
                    f"{where} has an index of type {other!r} on {key}, not of type {kind!r}: say so in filter_fields, "
                    "or delete the index"
                )
    return missing
