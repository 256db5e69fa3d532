"""Opens a Milvus Lite store, forks in one form after the other, and says what became of the children and the store.

    python milvus_lite_fork_process.py DIRECTORY

It prints one line of JSON. ``children`` has the outcomes by form: of an `add` to the parent's store, of opening the
parent's database, and of an `add` to a database of the child's own. ``acknowledged`` has the numbers that `add` has
acknowledged to the parent, and ``found`` those that it finds.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import Any

from forks import FORMS, outcome

from stores import documents, open_store


def main() -> None:
    """Fork in each form, while another thread reads all the time."""
    directory = Path(sys.argv[1])
    store = open_store("lite", directory)
    store.create()
    acknowledged = _add(store, 0)
    stop = threading.Event()
    reading = threading.Thread(target=lambda: _read_until(stop, store))
    reading.start()
    children: dict[str, list[Any]] = {}
    for position, (form, run) in enumerate(FORMS.items(), start=1):
        first = 1000 * position
        children[form] = run(partial(_use, store, directory, first))
        acknowledged += _add(store, first + 100)
    stop.set()
    reading.join()
    found = sorted(int(one.id) for one in store.scroll())
    said = {"children": children, "acknowledged": acknowledged, "found": found}
    sys.stdout.write(json.dumps(said, default=lambda failure: failure.text) + "\n")


def _use(store: Any, directory: Path, first: int) -> list[Any]:
    uses = (
        lambda: _add(store, first),
        lambda: open_store("lite", directory).count(),
        lambda: len(_add_to_own(first)),
    )
    return [outcome(use) for use in uses]


def _add(store: Any, first: int) -> list[int]:
    return [int(number) for number in store.add(documents(range(first, first + 20))).ok]


def _add_to_own(first: int) -> list[int]:
    with tempfile.TemporaryDirectory() as directory:
        store = open_store("lite", Path(directory))
        store.create()
        return _add(store, first)


def _read_until(stop: threading.Event, store: Any) -> None:
    while not stop.is_set():
        store.get("000001")


if __name__ == "__main__":
    main()
