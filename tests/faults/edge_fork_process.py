"""Opens an edge store, forks in one form after the other, and says what became of the children and the store.

    python edge_fork_process.py DIRECTORY

It prints one line of JSON. ``children`` has the outcomes by form: of an `add` to the parent's store, a search, a
`close` and garbage collection, the opening of the parent's directory, and an `add` to a store of the child's own.
``closed`` is what a child counts whose parent has closed the store, and ``reopened`` what the parent counts then.
``acknowledged`` has the numbers that `add` has acknowledged to the parent, and ``found`` those that it finds.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import Any

from forks import FORMS, outcome

from stores import documents, open_store


def main() -> None:
    """Fork in each form, with another thread that searches all the time."""
    directory = Path(sys.argv[1])
    store = open_store("edge", directory)
    store.create()
    acknowledged = _add(store, 0)
    stop = threading.Event()
    searching = threading.Thread(target=lambda: _search_until(stop, store))
    searching.start()
    children: dict[str, list[Any]] = {}
    for position, (form, run) in enumerate(FORMS.items(), start=1):
        first = 1000 * position
        children[form] = run(partial(_use, store, directory, first))
        acknowledged += _add(store, first + 100)
    stop.set()
    searching.join()
    if (child := os.fork()) == 0:
        # The interpreter deallocates everything at its exit.
        sys.exit()
    os.waitpid(child, 0)
    acknowledged += _add(store, 9000)
    closed, reopened = _closed_by_the_parent(store, directory)
    found = sorted(int(one.id) for one in open_store("edge", directory).scroll())
    said = {"children": children, "closed": closed, "reopened": reopened, "acknowledged": acknowledged, "found": found}
    sys.stdout.write(json.dumps(said, default=lambda failure: failure.text) + "\n")


def _use(store: Any, directory: Path, first: int) -> list[Any]:
    own = [store]
    uses = (
        lambda: _add(store, first),
        lambda: len(store.search("shared word1")),
        lambda: (store.close(), own.clear(), gc.collect())[0],
        lambda: open_store("edge", directory).count(),
        lambda: len(_add_to_own(first)),
    )
    return [outcome(use) for use in uses]


def _closed_by_the_parent(store: Any, directory: Path) -> tuple[int, int]:
    """Return what a child counts once its parent has closed the store, and what the parent counts once it has."""
    (may_open, closed), (counted, count) = os.pipe(), os.pipe()
    if (child := os.fork()) == 0:
        os.read(may_open, 1)
        with open_store("edge", directory) as own:
            found = own.count()
        os.write(count, str(found).encode())
        os.read(may_open, 1)
        os._exit(0)
    store.close()
    os.write(closed, b".")
    by_child = int(os.read(counted, 100))
    with open_store("edge", directory) as again:
        by_parent = again.count()
    os.write(closed, b".")
    os.waitpid(child, 0)
    return by_child, by_parent


def _add(store: Any, first: int) -> list[int]:
    return [int(number) for number in store.add(documents(range(first, first + 20))).ok]


def _add_to_own(first: int) -> list[int]:
    with tempfile.TemporaryDirectory() as directory, open_store("edge", Path(directory)) as store:
        store.create()
        return _add(store, first)


def _search_until(stop: threading.Event, store: Any) -> None:
    while not stop.is_set():
        store.search("shared word1", limit=3)


if __name__ == "__main__":
    main()
