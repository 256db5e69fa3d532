"""Milvus Lite, the engine in this process: how it is opened, and what makes it outlast a power loss and a fork.

Milvus Lite 3.2 promises that what it took outlasts the end of its process, and leaves a crash of the machine open
(``docs/wal-design.md`` in its repository). It syncs its manifest, but not the files that the manifest names. After a
power loss these are empty, and the collection cannot be opened. A sync after each flush would come too late, because
the manifest is on the disk before, and because the engine writes in a thread of its own after a flush has returned.
So `change_engine` replaces three methods of the engine.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from copy import deepcopy
from functools import cache, wraps
from importlib import import_module
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from pymilvus import MilvusClient
from pymilvus.exceptions import ConnectionConfigException

from flagvec.errors import StoreError

_logger = logging.getLogger(__name__)

_SERVERS = "milvus_lite.server_manager"

# Milvus Lite 3.2 flushes without a lock: rows leave its memory before readers find them in the file, and two writes at
# once may take the same log.
turn = threading.Lock()
# The engines that were open in a parent of this process when it forked, and the addresses at which they listen.
_engines_of_parents: list[Any] = []
_addresses_of_parents: set[str] = set()


def lite_client(path: str | os.PathLike[str]) -> MilvusClient:
    """Return a client of the Milvus Lite database at `path`, which is made if it does not exist.

    ``MilvusClient(path)`` does the same; this function says why if it cannot. One process at a time can have a
    database open. It stays open until that process ends, even if all clients are closed. A process that forked from it
    cannot use it.

    Args:
        path: A name that ends in ``.db``, in a directory that exists.

    Raises:
        ValueError: The path does not end in ``.db``.
        StoreError: The directory does not exist, Milvus Lite is not installed, or another process has the database
            open.

    Example:
        >>> from flagvec_milvus import lite_client
        >>> client = lite_client("recipes.db")
    """
    if Path(path).suffix != ".db":
        raise ValueError(f"path={os.fspath(path)!r}: a Milvus Lite database has a path that ends in '.db'")
    try:
        return MilvusClient(os.fspath(path))
    except ConnectionConfigException as error:
        raise StoreError(
            f"the Milvus Lite database {os.fspath(path)!r} cannot be opened: {error.message}. "
            "If another process has it open, end that process, or use a Milvus server for several"
        ) from error


def check_process(client: MilvusClient, name: str) -> None:
    """Refuse a client of a Milvus Lite database that a parent of this process opened.

    Raises:
        StoreError: It is one. The engine's threads are in the parent alone, and a request may wait for ever.
    """
    # A client for a path has the address at which the engine of this process listens.
    address = getattr(getattr(client, "_config", None), "address", None)
    if address in _addresses_of_parents:
        raise StoreError(
            f"{name} is in a Milvus Lite database that was opened before this process ({os.getpid()}) was forked, and "
            "only the process that opened it can use it: open it after the fork, in one process, or use a Milvus "
            "server for several"
        )


def make_durable() -> None:
    """Call `change_engine` if Milvus Lite runs in this process, and not in another one behind a URL."""
    if _SERVERS in sys.modules:
        change_engine()


@cache
def change_engine() -> None:
    """Replace three methods of the engine in this process, or log that it is of an unknown version."""
    try:
        manifest = import_module("milvus_lite.storage.manifest").Manifest
        index = import_module("milvus_lite.index.brute_force").BruteForceIndex
        manifest.save = _after_syncing_files(manifest.save)
        index.save = _at_once(index.save)
        collection = import_module("milvus_lite.engine.collection").Collection
        collection._trigger_flush = _keeping_rows(collection._trigger_flush)
    except (ImportError, AttributeError):
        _logger.warning("this version of milvus-lite is not known: its files may not outlast a power loss")


def _after_syncing_files(save: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return a ``Manifest.save`` that first syncs the files that the manifest names."""
    synced: WeakKeyDictionary[Any, set[Path]] = WeakKeyDictionary()

    @wraps(save)
    def save_after_syncing_files(manifest: Any) -> None:
        directory = Path(manifest.data_dir)
        if manifest not in synced:
            # Nobody else has synced the names of a new collection's directories.
            _sync_directories(_up_to_database(directory))
        partitions = [*manifest.get_all_data_files().items(), *manifest.get_all_delta_files().items()]
        named = {directory / "partitions" / partition / file for partition, files in partitions for file in files}
        new = {file for file in named - synced.get(manifest, set()) if file.exists()}
        for file in new:
            _sync(file)
        _sync_directories({parent for file in new for parent in file.parents if parent.is_relative_to(directory)})
        synced[manifest] = named
        save(manifest)

    return save_after_syncing_files


def _at_once(save: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
    """Return an index' ``save`` that leaves the whole file, or none if the disk does not take it.

    Milvus Lite takes any file that it finds for the index, and cannot load the collection if that is half of one. If
    there is none, it builds the index from the vectors.
    """

    @wraps(save)
    def save_at_once(index: Any, path: str) -> None:
        unfinished = Path(f"{path}.new")
        try:
            save(index, str(unfinished))
            _sync(unfinished)
            unfinished.replace(path)
        except OSError as error:
            _logger.warning("the index %r could not be saved, and is built again when it is loaded: %s", path, error)
        finally:
            unfinished.unlink(missing_ok=True)

    return save_at_once


def _keeping_rows(flush: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return a ``Collection._trigger_flush`` that keeps what it could not write, for example on a full disk.

    Milvus Lite drops it from its memory before it writes it, and deletes its log with the next flush.
    """

    @wraps(flush)
    def flush_keeping_rows(collection: Any) -> None:
        rows, log, files = collection._memtable, collection._wal, deepcopy(collection._manifest._partitions)
        try:
            flush(collection)
        except BaseException:
            collection._memtable, collection._manifest._partitions = rows, files
            # The log of these rows stays on the disk until a later flush. The engine writes to another one meanwhile.
            for file in filter(None, (log._data_sink, log._delta_sink)):
                with suppress(OSError):
                    file.close()
            raise

    return flush_keeping_rows


def _up_to_database(directory: Path) -> Iterable[Path]:
    """Yield the directories from above a collection's to the one that holds the database."""
    for parent in directory.resolve().parents:
        yield parent
        if (parent / "LOCK").exists():
            yield parent.parent
            return


def _sync_directories(directories: Iterable[Path]) -> None:
    # Windows has no such call for directories.
    if os.name != "nt":
        for directory in directories:
            _sync(directory)


def _sync(path: Path) -> None:
    # fsync needs a file that is open to write on Windows alone.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _leave_databases_to_parent() -> None:
    """In a forked child, let go of the databases of its parent.

    Otherwise the child keeps the database locked after its parent has ended, and at its own exit the engine in it
    writes into the parent's files.
    """
    global turn
    # Another thread of the parent may have held it.
    turn = threading.Lock()
    if _SERVERS not in sys.modules:
        return
    manager = sys.modules[_SERVERS].server_manager_instance
    manager._lock = threading.Lock()
    for server, database, port in manager._servers.values():
        # An engine that was garbage-collected would stop the server, whose threads are not there to answer.
        _engines_of_parents.append((server, database))
        _addresses_of_parents.add(f"127.0.0.1:{port}")
        if database._lock_fd is not None:
            os.close(database._lock_fd)
    manager._servers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_databases_to_parent)
