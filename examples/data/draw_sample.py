"""Draw the committed sample from the full corpus and its queries; the same input gives the same sample.

    python examples/data/draw_sample.py CORPUS.jsonl.gz QUERIES.jsonl.gz

Both are gzipped JSON lines: ``{"id", "package", "text"}`` and ``{"id", "lang", "text", "relevant": [ids]}``.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

DOCUMENTS = 2400

Record = dict[str, Any]


def draw(corpus: Iterable[Record], queries: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """Return the sample's documents and queries, each ordered by id.

    The queries are the English ones that did not serve to choose mini-M3's settings. The documents are those that are
    relevant to them, then others in the order of their ids. The ids are hashes, so this is a random choice.
    """
    chosen = sorted((query for query in queries if query["lang"] == "en" and not _for_tuning(query)), key=_by_id)
    relevant = {identifier for query in chosen for identifier in query["relevant"]}
    others_last = sorted(corpus, key=lambda document: (document["id"] not in relevant, document["id"]))
    return sorted(others_last[:DOCUMENTS], key=_by_id), chosen


def write(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write gzipped JSON lines, without the time and file name that gzip adds."""
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_bytes(gzip.compress(lines.encode(), compresslevel=9, mtime=0))


def _for_tuning(query: Record) -> bool:
    """Return whether a query is in the quarter that served to choose mini-M3's settings."""
    return int(hashlib.sha256(query["id"].encode()).hexdigest()[:8], 16) % 4 == 0


def _by_id(record: Record) -> str:
    return str(record["id"])


def _read(path: Path) -> list[Record]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def main() -> None:
    """Read the two files in the arguments and write the sample beside this script."""
    parser = argparse.ArgumentParser(description="Draw the committed sample from the full corpus and its queries.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("queries", type=Path)
    arguments = parser.parse_args()
    documents, queries = draw(_read(arguments.corpus), _read(arguments.queries))
    folder = Path(__file__).parent
    write(folder / "debian-sample.jsonl.gz", documents)
    kept = [{key: query[key] for key in ("id", "text", "relevant")} for query in queries]
    write(folder / "debian-sample-queries.jsonl.gz", kept)
    print(f"{len(documents)} documents, {len(kept)} queries")


if __name__ == "__main__":
    main()
