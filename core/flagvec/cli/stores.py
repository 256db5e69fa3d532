"""Stores from their URLs. A database's package is imported when one of its stores is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from flagvec.cli.secrets import secret_for
from flagvec.cli.waiting import patient
from flagvec.errors import StoreError
from flagvec.store.address import Secret, StoreAddress
from flagvec.store.schema import Schema

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder
    from flagvec.store.base import HybridStore

# The packages of the databases. Core does not import them, so they are found by name.
_PACKAGES = {
    "edge": "flagvec_qdrant",
    "qdrant": "flagvec_qdrant",
    "milvus": "flagvec_milvus",
    "milvus-lite": "flagvec_milvus",
    "elasticsearch": "flagvec_elasticsearch",
}


@contextmanager
def opened(
    address: StoreAddress, model: AbsEmbedder, secret: Secret | None = None, **options: Any
) -> Iterator[HybridStore]:
    """Yield the store at an address, and close it and its client at the end.

    Args:
        address: Where it is.
        model: Encodes documents and queries.
        secret: Looks up credentials; None for what `secret_for` returns.
        options: Further arguments of the store.

    Raises:
        ImportError: The database's extra is missing; has the pip line.
        ValueError: An option of the address is unknown.
        StoreError: The database cannot be opened.
    """
    store: HybridStore = _package(address).store_at(address, model, secret or secret_for(address), **options)
    try:
        yield store
    finally:
        store.close()
        if (client := getattr(store, "client", None)) is not None:
            with suppress(Exception):  # what was written is acknowledged
                client.close()


@contextmanager
def named_if_away(address: StoreAddress) -> Iterator[None]:
    """Let the error of a server that does not answer, raised in the block, say which server and what to do."""
    try:
        yield
    except StoreError as error:
        if error.is_away and address.server:
            error.args = (f"{address} does not answer: {error}: start the server, or correct the URL",)
        raise


@contextmanager
def opened_without_model(address: StoreAddress, patience: float = 0.0) -> Iterator[HybridStore]:
    """Yield the store at an address, for all verbs but those that encode. No model is loaded.

    Args:
        address: Where it is.
        patience: Seconds to wait for a database that is away.

    Raises:
        StoreError: There is no store.
        ImportError: See `opened`.
    """
    schema = existing_schema(address, patience)
    with opened(address, model_like(schema), colbert=schema.colbert_dimension is not None) as store:
        yield store


def own_address(address: StoreAddress, patience: float) -> StoreAddress:
    """Return the address of what a store's name leads to now, if it is an alias; otherwise the address itself.

    Args:
        address: What may be an alias.
        patience: Seconds to wait for a database that is away.

    Raises:
        StoreError: The database stayed away, or refused.
    """
    own = patient(partial(_own_name, address), patience)
    if own is None or own == address.name:
        return address
    return replace(address, name=own)


def _own_name(address: StoreAddress) -> str | None:
    with named_if_away(address), opened(address, _ANY_MODEL) as store:
        # Edge stores and Milvus have no such method.
        own: str | None = getattr(store, "leads_to", lambda name: name)(address.name)
        return own


def existing_schema(address: StoreAddress, patience: float = 0.0) -> Schema:
    """Return what the store at an address holds.

    Args:
        address: Where it is.
        patience: Seconds to wait for a database that is away.

    Raises:
        StoreError: There is no store, or something else in its place.
        ImportError: See `opened`.
    """
    schema = patient(partial(found_schema, address), patience)
    if schema is None:
        raise StoreError(f"{address} does not exist: flagvec ingest makes it, and flagvec load too")
    return schema


def found_schema(address: StoreAddress) -> Schema | None:
    """Return what the store at an address holds, or None if there is no store.

    Raises:
        StoreError: The database cannot be reached, or something else is in the store's place.
        ImportError: See `opened`.
    """
    # Milvus Lite makes a file that is not there.
    if address.database == "milvus-lite" and not Path(address.folder).expanduser().exists():
        return None
    with named_if_away(address), opened(address, _ANY_MODEL) as store:
        return store.found_schema()


def engine_version(address: StoreAddress, store: HybridStore) -> str:
    """Return the name and version of the database that a store is in."""
    return str(_package(address).engine_version(store))


def model_like(schema: Schema, **further: Any) -> AbsEmbedder:
    """Return a stand-in for a store's model. It has the model's attributes, `further` ones too, and cannot encode."""
    attributes: dict[str, Any] = {
        "model_name_or_path": schema.model,
        "dimension": schema.dimension,
        "representations": frozenset(schema.representations),
        "colbert_dimension": schema.colbert_dimension,
        "pooling_method": schema.pooling,
        "normalize_embeddings": schema.normalize,
        "passage_instruction_for_retrieval": schema.passage_instruction,
        "query_instruction_for_retrieval": schema.query_instruction,
        **further,
    }
    if schema.colbert_model is not None:
        attributes["colbert_model"] = SimpleNamespace(model_name_or_path=schema.colbert_model)
    # An old store does not say everything. Checks skip attributes that are missing.
    known = {name: value for name, value in attributes.items() if value is not None or name == "colbert_dimension"}
    return cast("AbsEmbedder", SimpleNamespace(**known))


# Opens a store to ask what it holds.
_ANY_MODEL = model_like(Schema("", 1, False, None))


def _package(address: StoreAddress) -> ModuleType:
    return import_module(f"{_PACKAGES[address.database]}.address")
