"""Ingests documents into a store, or says what is in it.

    python ingest_process.py write KIND DIRECTORY [--documents 1000] [--disk DIRECTORY] [--log DIRECTORY]
    python ingest_process.py read KIND DIRECTORY [--documents 1000]

``write`` goes on where it was if it was run before. The journal and the dead letters are in ``--disk``, and the log of
what was encoded is in ``--log``; each is the directory itself by default. It prints a line of JSON after each window,
with the number of documents that the store has acknowledged in this process. In the end comes ``{"report": ...}`` or
``{"error": ...}``. ``read`` prints one line of JSON: the ids that are missing, those that are there twice, wrong or
strange, and how often the documents were encoded at most.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from flagvec import FlagvecError, IngestReport
from flagvec.ingest import Journal, ingest, verify
from stores import SeededModel, document, open_store, say

SAMPLED = 40


class LoggingModel(SeededModel):
    """Appends the number of each document that it has encoded to a file, which a kill does not empty."""

    def __init__(self, log: Path) -> None:
        super().__init__(dimension=64)
        self._log = log

    def encode_corpus(self, texts: Sequence[str], **options: Any) -> Any:
        output = super().encode_corpus(texts, **options)
        with self._log.open("a") as file:
            file.write("".join(text.split()[1] + "\n" for text in texts))
        return output


def main() -> None:
    """Do what the arguments say."""
    options = _options()
    if options.verb == "write":
        _write(options)
    else:
        say(_read(options))


def _write(options: argparse.Namespace) -> None:
    disk = options.disk or options.directory
    store = open_store(options.kind, options.directory, LoggingModel(_log(options)))
    store.create()
    say({"written": 0})
    try:
        report = ingest(
            (document(number) for number in range(options.documents)),
            stores={options.kind: store},
            journal=disk / "journal",
            dead_letters=disk / "dead-letters.jsonl",
            on_progress=_say_progress,
            patience=options.patience,
        )
    except FlagvecError as error:
        say({"error": f"{type(error).__name__}: {error}"})
        sys.exit(1)
    say({"report": asdict(report) | {"dead_letters": str(report.dead_letters)}})


def _say_progress(report: IngestReport) -> None:
    [store] = report.stores.values()
    say({"written": store.written, "read": report.read})


def _read(options: argparse.Namespace) -> dict[str, Any]:
    log = _log(options)
    store = open_store(options.kind, options.directory)
    with Journal((options.disk or options.directory) / "journal") as journal:
        compared = verify(store, journal, name=options.kind)
    found = Counter(one.id for one in store.scroll())
    expected = {document(number).id: document(number) for number in range(options.documents)}
    wrong = [one.id for one in store.scroll() if one != expected.get(one.id)]
    numbers = np.random.default_rng(0).choice(options.documents, min(SAMPLED, options.documents), replace=False)
    for one in map(document, numbers.tolist()):
        for mode in ("dense", "sparse"):
            [best, *_] = store.search(one.text, limit=1, mode=mode)
            if best.id != one.id or (mode == "dense" and not np.isclose(best.score, 1, atol=1e-3)):
                wrong.append(f"{one.id} by {mode}")
    return {
        "missing": sorted(expected.keys() - found.keys()),
        "twice": [name for name, times in found.items() if times > 1],
        "wrong": wrong,
        "differs": not compared.is_equal,
        "encoded": max(Counter(log.read_text().split()).values(), default=0) if log.exists() else 0,
    }


def _log(options: argparse.Namespace) -> Path:
    log: Path = (options.log or options.directory) / "encoded.log"
    return log


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["write", "read"])
    parser.add_argument("kind")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--disk", type=Path)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--patience", type=float, default=30)
    return parser.parse_args()


if __name__ == "__main__":
    main()
