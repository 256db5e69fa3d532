"""Passwords and keys, from the environment or from a file. No argument of a command is one."""

from __future__ import annotations

import os
from pathlib import Path

from flagvec.store.address import Secret, StoreAddress

_MAIN = ("QDRANT_API_KEY", "MILVUS_TOKEN", "ELASTICSEARCH_API_KEY")


def secret_for(address: StoreAddress) -> Secret:
    """Return a function that looks up the secrets of a store.

    The store's own option ``key_file`` names the file of its key, for commands with two servers of one database. Next
    come the environment variable itself, and the variable with ``_FILE`` at its end, which names a file.
    """

    def secret(name: str) -> str | None:
        file = address.options.get("key_file") if name in _MAIN else None
        if file is None and (value := os.environ.get(name)):
            return value
        file = file or os.environ.get(f"{name}_FILE")
        return None if file is None else _only_line(Path(file).expanduser(), name)

    return secret


def _only_line(file: Path, name: str) -> str:
    """Return the line in a file.

    Raises:
        ValueError: The file is empty or has several lines.
        OSError: It cannot be read.
    """
    lines = file.read_text(encoding="utf-8").split()
    if len(lines) != 1:
        raise ValueError(f"{file} should hold {name} alone, in one line without spaces; it has {len(lines)} words")
    return lines[0]
