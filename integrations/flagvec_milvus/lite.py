"""Milvus Lite: the engine in this process, in one file."""

from __future__ import annotations

import os
from pathlib import Path

from flagvec.errors import StoreError
from flagvec_milvus.untyped import ConnectionConfigException, MilvusClient

_SUFFIX = ".db"


def lite_client(path: str | os.PathLike[str]) -> MilvusClient:
    """Return a client of the Milvus Lite database at `path`, which is made if it is not there.

    ``MilvusClient(path)`` does the same; this one says why where it cannot. One process at a time can have a database
    open, and keeps it open until it ends, whether or not its clients are closed.

    Args:
        path: Ends in ``.db``, in a directory that exists.

    Raises:
        ValueError: The path does not end in ``.db``.
        StoreError: The directory is not there, Milvus Lite is not installed, or another process has the database open.

    Example:
        >>> from flagvec_milvus import lite_client
        >>> client = lite_client("recipes.db")
    """
    if Path(path).suffix != _SUFFIX:
        raise ValueError(f"{str(path)!r}: Milvus Lite takes a path that ends in {_SUFFIX!r}")
    try:
        return MilvusClient(os.fspath(path))
    except ConnectionConfigException as error:
        raise StoreError(
            f"the Milvus Lite database {os.fspath(path)!r} cannot be opened: {error.message}. "
            "If another process has it open, end that one, or use a Milvus server for several"
        ) from error
