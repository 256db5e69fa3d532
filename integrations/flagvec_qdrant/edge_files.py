"""The files of a `QdrantEdgeStore` beside the engine's own: what describes the store, on disk for good."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flagvec.errors import StoreError
from flagvec.store.schema import Schema
from flagvec_qdrant.convert import COLBERT, DENSE, SPARSE
from flagvec_qdrant.schema import DamagedError, described_schema, description

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # checked before use

_logger = logging.getLogger(__name__)

SHARD = "shard"
_ENGINE_CONFIG = "edge_config.json"
# Of a log that keeps codes. The engine's own 32 MB are more than a thousand documents take.
_LOG_FILE_BYTES = 2 * 2**20
_DESCRIPTION = "flagvec.json"
# Files are written, and a shard is made and deleted, under these names. Renaming is atomic, so that a process that dies
# leaves no half of one.
_UNFINISHED_DESCRIPTION = "flagvec.json.new"
_UNFINISHED_SHARD = "shard.new"


def found_schema(directory: Path) -> Schema | None:
    """Return the schema of the store in a directory, or None if there is no store.

    A description that is missing or damaged is restored from the copy beside the documents. Stores of earlier versions
    have no copy. Their dimensions come from the engine's files, and the model stays unknown.

    Raises:
        StoreError: Something else is in the directory, a store of another layout, or one that is damaged.
    """
    file, has_shard = directory / _DESCRIPTION, (directory / SHARD).is_dir()
    try:
        schema = _read(file)
    except (FileNotFoundError, NotADirectoryError) as error:
        if has_shard and (directory / SHARD / _DESCRIPTION).is_file():
            return _restored(directory, error)
        if directory.exists() and not is_empty(directory, besides=(_UNFINISHED_DESCRIPTION, _UNFINISHED_SHARD)):
            raise StoreError(f"{str(directory)!r} holds files that flagvec did not make: choose another path") from None
        return None
    except DamagedError as error:
        # Without a shard, a process of an earlier version died while it created the store.
        return _restored(directory, error) if has_shard else None
    return schema if has_shard else None


def create(directory: Path, schema: Schema, make_shard: Callable[[Path], object]) -> None:
    """Make the files of a store, which survive a power loss once this returns.

    If another process creates it at the same time, the first one's stays.

    Args:
        directory: Where; it is made if it is not there.
        schema: What describes the store.
        make_shard: Makes the shard in the directory that it gets.
    """
    _make_directory(directory)
    with exclusive(directory):
        if found_schema(directory) is not None:
            return
        unfinished, text = directory / _UNFINISHED_SHARD, json.dumps(description(schema), indent=1) + "\n"
        shutil.rmtree(unfinished, ignore_errors=True)
        make_shard(unfinished)
        (unfinished / _DESCRIPTION).write_text(text, "utf-8")
        _sync_tree(unfinished)
        unfinished.rename(directory / SHARD)
        _sync(directory)
        _write(directory / _DESCRIPTION, text)


def shorten_log(shard: Path) -> None:
    """Let the log of a new, closed shard take some 4 MB instead of 60, once the engine opens it again."""
    config = json.loads((shard / _ENGINE_CONFIG).read_text("utf-8"))
    # The engine reads this from its file, but its Python classes do not have it. What it does not know it leaves out.
    config["wal_options"] = {"segment_capacity": _LOG_FILE_BYTES, "segment_queue_len": 0, "retain_closed": 1}
    (shard / _ENGINE_CONFIG).write_text(json.dumps(config), "utf-8")
    # The engine has already made the first files of the log, in their full size.
    shutil.rmtree(shard / "wal")


def delete(directory: Path) -> None:
    """Delete the files of a store, and its directory if nothing else is in it."""
    with exclusive(directory):
        unfinished = directory / _UNFINISHED_SHARD
        shutil.rmtree(unfinished, ignore_errors=True)
        (directory / SHARD).rename(unfinished)
        _sync(directory)
        shutil.rmtree(unfinished)
        (directory / _DESCRIPTION).unlink(missing_ok=True)
        if is_empty(directory):
            directory.rmdir()


def is_empty(directory: Path, besides: tuple[str, ...] = ()) -> bool:
    """Return whether this is a directory without files, except those named in `besides`."""
    return directory.is_dir() and all(file.name in besides for file in directory.iterdir())


class NewNames:
    """Makes the names of new files in a tree of directories survive a power loss.

    The engine syncs the contents of its files, but not the directories in which it makes some of them.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._synced: dict[str, list[str]] = {}

    def sync(self) -> None:
        """Sync the directories whose names have changed since the last call; the first call syncs all."""
        for directory, folders, files in os.walk(self._root):
            names = sorted(folders + files)
            if self._synced.get(directory) != names:
                # The engine may delete a directory meanwhile.
                with suppress(FileNotFoundError):
                    _sync(Path(directory))
                self._synced[directory] = names


def _read(file: Path) -> Schema:
    try:
        found = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise DamagedError(f"{str(file)!r} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise DamagedError(f"{str(file)!r} is damaged: it holds {type(found).__name__}, not an object")
    # Older files do not say who made them, and call the version "layout".
    if "layout" in found:
        found = {"made_by": "flagvec", "version": found["layout"], **found}
    return described_schema(found, repr(str(file)), "path")


def _restored(directory: Path, error: Exception) -> Schema:
    copy = directory / SHARD / _DESCRIPTION
    try:
        schema = _read(copy)
    except (FileNotFoundError, DamagedError):
        return _engine_schema(directory, error)
    _logger.warning("%s: it is restored from %r", error, str(copy))
    # A disk that is full or cannot be written to is no reason to refuse what can be read.
    with suppress(OSError):
        _write(directory / _DESCRIPTION, copy.read_text("utf-8"))
    return schema


def _engine_schema(directory: Path, error: Exception) -> Schema:
    """Return what the engine's own files say of a store, without what they do not hold."""
    try:
        config: Any = json.loads((directory / SHARD / _ENGINE_CONFIG).read_text("utf-8"))
        vectors, sparse = config["vectors"], config.get("sparse_vectors") or {}
        schema = Schema(
            model="unknown",
            dimension=vectors[DENSE]["size"],
            sparse=SPARSE in sparse,
            colbert_dimension=vectors[COLBERT]["size"] if COLBERT in vectors else None,
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        raise error from None
    _logger.warning(
        "%s: the dimensions are read from the engine's files, and the model that made the store is not known", error
    )
    return schema


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Keep other processes from creating, opening or deleting a store meanwhile; on Windows nothing does."""
    if fcntl is None:
        yield
        return
    file = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        # A child that was forked meanwhile has the file open too, and would keep the lock.
        fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)


def _make_directory(directory: Path) -> None:
    missing = [one for one in (directory, *directory.parents) if not one.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for one in missing:
        _sync(one.parent)


def _write(file: Path, text: str) -> None:
    unfinished = file.with_name(_UNFINISHED_DESCRIPTION)
    with unfinished.open("w", encoding="utf-8") as output:
        output.write(text)
        output.flush()
        os.fsync(output.fileno())
    unfinished.replace(file)
    _sync(file.parent)


def _sync_tree(root: Path) -> None:
    for directory, _, files in os.walk(root):
        for name in files:
            _sync(Path(directory, name))
        _sync(Path(directory))


def _sync(path: Path) -> None:
    """Write a file, or the names in a directory, to the disk. Windows syncs neither by a handle for reading."""
    if os.name == "nt":
        return
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
