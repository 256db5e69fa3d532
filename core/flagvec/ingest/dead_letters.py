"""`DeadLetters`: the documents that a store refused for good, one line of JSON each."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flagvec.ingest.report import FailedWrite


class DeadLetters:
    """A JSONL file, which the first letter makes. Letters are added at its end.

    A line has ``id``, ``text``, ``metadata``, ``reason`` and ``store``. Reading it as a source gives the document
    again, because ``reason`` and ``store`` are no part of it. ``text`` is null if what was read was no document, and
    ``store`` is null if no store can hold it. Threads may share the object.

    Args:
        path: The file.
        since: The size of the file in bytes that the resumed run noted last. Letters after that are not written twice,
            and a last line that was cut off is removed. None for a new run.
    """

    def __init__(self, path: str | os.PathLike[str], since: int | None = None) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._written = set() if since is None else self._letters_after(since)

    @staticmethod
    def size(path: str | os.PathLike[str]) -> int:
        """Return the size of a file in bytes, 0 if there is none."""
        return Path(path).stat().st_size if Path(path).exists() else 0

    def add(self, failures: Iterable[FailedWrite], store: str | None) -> int:
        """Write letters durably, and return the file's size after them in bytes."""
        lines = b"".join(_line(failure, store) for failure in failures if (failure.id, store) not in self._written)
        with self._lock, self.path.open("ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
            return file.tell()

    def _letters_after(self, start: int) -> set[tuple[str, str | None]]:
        if not self.path.exists():
            return set()
        with self.path.open("r+b") as file:
            file.seek(start)
            lines = file.read().splitlines(keepends=True)
            if lines and not lines[-1].endswith(b"\n"):
                file.truncate(self.path.stat().st_size - len(lines.pop()))
        letters = map(json.loads, lines)
        return {(letter["id"], letter["store"]) for letter in letters}


def _line(failure: FailedWrite, store: str | None) -> bytes:
    document = failure.document
    letter: dict[str, Any] = {
        "id": failure.id,
        "text": document.text if document is not None and isinstance(document.text, str) else None,
        "metadata": {} if document is None else document.metadata,
        "reason": failure.reason,
        "store": store,
    }
    # In ASCII, so that a lone surrogate, which may be why it was refused, can be written.
    try:
        return json.dumps(letter, default=_plain).encode() + b"\n"
    except (TypeError, ValueError, RecursionError):
        # Metadata that JSON cannot hold may be why too.
        return json.dumps(letter | {"metadata": {"not JSON": repr(letter["metadata"])}}).encode() + b"\n"


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
