"""Opens a store, forks once while a thread reads, and says what its child and then it itself could add.

    python fork_process.py KIND DIRECTORY FORM

It prints one line of JSON for each of the two, as ``store_process.py write`` does: the child's, then its own.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

from forks import FORMS, Failure, outcome

from stores import documents, open_store


def main() -> None:
    """Do what the arguments say."""
    kind, directory, form = sys.argv[1:]
    store = open_store(kind, Path(directory))
    store.create()
    store.add(documents(range(50)))
    stop = threading.Event()
    reading = threading.Thread(target=lambda: _read_until(stop, store))
    reading.start()
    for said in (FORMS[form](lambda: _added(store, 1000)), outcome(lambda: _added(store, 50))):
        line = {"error": said.text, "written": []} if isinstance(said, Failure) else said
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    stop.set()
    reading.join()


def _added(store: Any, first: int) -> list[int]:
    store.add(documents(range(first, first + 50)))
    return [first, first + 50]


def _read_until(stop: threading.Event, store: Any) -> None:
    while not stop.is_set():
        store.get("000001")


if __name__ == "__main__":
    main()
