"""What `QdrantStore` takes as ``settings``: the arguments of ``create_collection`` that its schema leaves open."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from qdrant_client import models

from flagvec.store.settings import check_names
from flagvec_qdrant.schema import Layout

ALLOWED = (
    "shard_number",
    "replication_factor",
    "write_consistency_factor",
    "on_disk_payload",
    "hnsw_config",
    "optimizers_config",
    "wal_config",
    "quantization_config",
    "timeout",
)
_OF_THE_SCHEMA = {
    "vectors_config": "the model decides on the vectors",
    "sparse_vectors_config": "the model decides on the vectors",
    "metadata": "it holds the description of the store",
    "sharding_method": "points of flagvec name no shard key",
    "collection_name": "it is an argument of the store itself",
}


def checked_settings(settings: Any, layout: Layout) -> dict[str, Any]:
    """Return arguments of ``create_collection``, with qdrant-client's models in place of dicts.

    Raises:
        TypeError: It is not a mapping.
        ValueError: A name is unknown or contradicts the schema or the storage profile, or Qdrant takes no such value.
    """
    if settings is None:
        return {}
    check_names(settings, ALLOWED, _OF_THE_SCHEMA, "{'shard_number': 6}")
    if "quantization_config" in settings and layout.profile.quantization is not None:
        raise ValueError(
            f"settings['quantization_config'] contradicts the storage profile, which quantises to "
            f"{layout.profile.quantization}: leave it out, or choose storage='accurate'"
        )
    given = {name: value for name, value in settings.items() if name != "timeout"}
    try:
        checked = models.CreateCollection(vectors={}, **given)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"[{part!r}]" for part in first["loc"] if part in given or isinstance(part, str))
        raise ValueError(f"settings{where}={first['input']!r}: {first['msg']}") from error
    return {name: settings[name] if name == "timeout" else getattr(checked, name) for name in settings}
