"""A store of this package from its URL, for the command line."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flagvec.store.address import Secret, StoreAddress

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder
    from flagvec_milvus import MilvusStore

# Seconds.
_CONNECTS_WITHIN = 10
_OPTIONS = {"milvus-lite": (), "milvus": ("consistency_level", "key_file")}


def store_at(address: StoreAddress, model: AbsEmbedder, secret: Secret, **options: Any) -> MilvusStore:
    """Return the store at an address. A Milvus Lite database is opened, and made if its file is not there.

    Args:
        address: With ``consistency_level``, as the store takes it. What is before the collection's name is the database
            of the server.
        model: Encodes documents and queries.
        secret: Gives ``MILVUS_TOKEN``.
        options: Further arguments of the store.

    Raises:
        ImportError: The extra is missing; has the pip line.
        ValueError: An option of the address is unknown or has a value that is not taken.
        StoreError: The server cannot be reached, or the file cannot be opened.
    """
    address.refuse_unknown_options(_OPTIONS[address.database])
    from flagvec_milvus import MilvusStore, lite_client  # isort: skip

    if address.database == "milvus-lite":
        return MilvusStore(model, lite_client(Path(address.folder).expanduser()), address.name, **options)
    from pymilvus import MilvusClient
    from pymilvus.exceptions import MilvusException

    from flagvec.errors import StoreError
    from flagvec_milvus.errors import classify, client_log_off

    if "consistency_level" in address.options:
        options["consistency_level"] = address.options["consistency_level"]
    token = secret("MILVUS_TOKEN") or ""
    try:
        with client_log_off():
            client = MilvusClient(address.server, token=token, db_name=address.folder, timeout=_CONNECTS_WITHIN)
    except MilvusException as error:
        refused = StoreError(f"the Milvus server at {address.server} cannot be used: {error.message}")
        refused.is_away = (refusal := classify(error)) is not None and refusal.retryable
        raise refused from error
    return MilvusStore(model, client, address.name, **options)


def engine_version(store: MilvusStore) -> str:
    """Return the name and version of the database that a store is in."""
    reported = str(store.client.get_server_version())
    if "lite" in reported.lower():
        return f"Milvus Lite {version('milvus-lite')}"
    return f"Milvus {reported.removeprefix('v')}"
