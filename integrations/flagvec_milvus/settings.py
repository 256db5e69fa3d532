"""What `MilvusStore` takes as ``settings``: what its schema leaves open when a collection is made and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flagvec.errors import StoreError
from flagvec.store.settings import check_names

_CREATE = ("num_shards", "properties")
_LOAD = ("replica_number", "resource_groups")
_INDEXES = "index_params"
ALLOWED = (*_CREATE, *_LOAD, _INDEXES)
_OF_THE_SCHEMA = {
    "schema": "the model decides on the fields",
    "dimension": "the model decides on it",
    "metric_type": "scores are inner products",
    "consistency_level": "it is an argument of the store itself",
    "collection_name": "it is an argument of the store itself",
    "enable_dynamic_field": "metadata are one field",
}
# Searches send ``ef``, which only indexes of this family read.
_TYPES = {
    "dense": ("HNSW", "HNSW_SQ", "HNSW_PQ", "HNSW_PRQ", "FLAT", "AUTOINDEX"),
    "colbert": ("HNSW", "HNSW_SQ", "HNSW_PQ", "HNSW_PRQ"),
    "sparse": ("SPARSE_INVERTED_INDEX",),
}
_INDEX_KEYS = ("index_type", "params")


@dataclass(frozen=True)
class Settings:
    """Checked settings.

    Args:
        create: Further arguments of ``create_collection``.
        load: Further arguments of ``load_collection``.
        indexes: The index type and parameters of fields, by their name.
    """

    create: Mapping[str, Any] = field(default_factory=dict)
    load: Mapping[str, Any] = field(default_factory=dict)
    indexes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def refuse_if_embedded(self, is_lite: bool, name: str) -> None:
        """Refuse settings on Milvus Lite.

        Raises:
            StoreError: There are settings; names the first.
        """
        given = [*self.create, *self.load, *([_INDEXES] if self.indexes else [])]
        if is_lite and given:
            raise StoreError(
                f"the collection {name!r} has settings[{given[0]!r}], but Milvus Lite has one shard, one replica and "
                "one kind of index: leave settings out, or use a Milvus server"
            )


NO_SETTINGS = Settings()


def checked_settings(settings: Any) -> Settings:
    """Return settings by the call that takes them.

    Raises:
        TypeError: It is not a mapping.
        ValueError: A name is unknown or contradicts the schema; names those that are taken.
    """
    if settings is None:
        return NO_SETTINGS
    check_names(settings, ALLOWED, _OF_THE_SCHEMA, "{'num_shards': 4}")
    for name in ("num_shards", "replica_number"):
        value = settings.get(name, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"settings[{name!r}]={value!r}: it takes a whole number of at least 1")
    indexes = settings.get(_INDEXES, {})
    _check_indexes(indexes)
    return Settings(
        {name: settings[name] for name in _CREATE if name in settings},
        {name: settings[name] for name in _LOAD if name in settings},
        indexes,
    )


def _check_indexes(indexes: Any) -> None:
    if not isinstance(indexes, Mapping):
        raise TypeError(f"settings['index_params'] takes a dict by field, not {type(indexes).__name__}")
    for name, index in indexes.items():
        where = f"settings['index_params'][{name!r}]"
        if name not in _TYPES:
            raise ValueError(f"{where} is no field with vectors: name one of {', '.join(_TYPES)}")
        if not isinstance(index, Mapping):
            raise TypeError(f"{where} takes a dict, not {type(index).__name__}")
        for key in index:
            if key not in _INDEX_KEYS:
                raise ValueError(f"{where}[{key!r}] is not taken: an index has {' and '.join(_INDEX_KEYS)}")
        if (kind := index.get("index_type")) is not None and kind not in _TYPES[name]:
            raise ValueError(f"{where}['index_type']={kind!r}: the store searches {', '.join(_TYPES[name])}")
