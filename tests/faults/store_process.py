"""Writes to a store and says what was acknowledged, or reads all that is in it.

    python store_process.py write KIND DIRECTORY [--first 0] [--batch 100] [--batches 1000] [--stay] [--wait PATH]
    python store_process.py read KIND DIRECTORY

``write`` prints ``ready``, then a line of JSON whenever `add` has returned: the numbers of the first document and of
the one after the last. If `add` raised, the line is ``{"error": ..., "written": [...]}``, with the numbers that the
error's report has as written, and it goes on. ``read`` prints one line of JSON: the numbers of the documents that are
right, the ids of those that are not, and how many `count` finds; or ``{"error": ...}``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from flagvec import FlagvecError
from stores import document, documents, open_store, say


def main() -> None:
    """Do what the arguments say."""
    options = _options()
    if options.verb == "write":
        _write(options)
    else:
        say(_read(options))


def _write(options: argparse.Namespace) -> None:
    store = open_store(options.kind, options.directory)
    store.create()
    say("ready")
    for batch in range(options.batches):
        if options.wait:
            while not Path(f"{options.wait}{batch}").exists():
                time.sleep(0.002)
        first = options.first + batch * options.batch
        try:
            store.add(documents(range(first, first + options.batch)))
        except FlagvecError as error:
            report = getattr(error, "report", None)
            said = [int(number) for number in report.ok] if report else []
            say({"error": f"{type(error).__name__}: {error}", "written": said})
        else:
            say([first, first + options.batch])
    if options.stay:
        time.sleep(600)


def _read(options: argparse.Namespace) -> dict[str, Any]:
    try:
        store = open_store(options.kind, options.directory)
        found = list(store.scroll())
        count = store.count()
    except FlagvecError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    right = [one for one in found if one == document(int(one.id))]
    # A document that is in the store must also be found, in each of its representations.
    for one in right[:: max(1, len(right) // 5)]:
        for options in ({"mode": "dense"}, {"mode": "sparse"}, {"mode": "hybrid"}, {"rerank": "colbert"}):
            hits = store.search(one.text, limit=3, **options)
            assert any(hit.id == one.id for hit in hits), f"search with {options} does not find document {one.id}"
    return {
        "right": sorted(int(one.id) for one in right),
        "wrong": sorted({one.id for one in found} - {one.id for one in right}),
        "count": count,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["write", "read"])
    parser.add_argument("kind")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--batches", type=int, default=1000)
    parser.add_argument("--stay", action="store_true", help="do not end after the last batch")
    parser.add_argument("--wait", help="write batch N only once the file named by this and N exists")
    return parser.parse_args()


if __name__ == "__main__":
    main()
