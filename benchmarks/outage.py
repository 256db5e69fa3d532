"""An ingestion into an overloaded Elasticsearch server that is away for a while; `faults.py` runs it."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch
from rich.table import Table

sys.path.append(str(Path(__file__).parents[1] / "tests" / "integrations"))
from faulty_proxy import Fault, FaultyProxy, Outage
from seeded_model import SeededModel

from flagvec import Document
from flagvec.ingest import Journal, ingest, verify
from flagvec.store.backend import WriteLimits
from flagvec_elasticsearch import ElasticsearchStore

# So many requests are answered before the server is away.
_STARTS = 40
_SHARES = {Fault.LOST_ANSWER: 0.1, Fault.LOST_REQUEST: 0.05, Fault.SLOW: 0.1}
# Seconds that a slow answer is late.
_LATE = 0.5
# The id of every hundredth document is not a number, which this second field of the ids takes only.
_NUMBERS_AS_IDS = {"id": {"type": "keyword", "index": False, "fields": {"number": {"type": "long"}}}}
_REFUSED_EVERY = 100


@dataclass(frozen=True, slots=True)
class _Server:
    """The overloaded server, behind a proxy and without one."""

    direct: ElasticsearchStore
    store: ElasticsearchStore
    outage: Outage
    answers: Counter[str]


def outage(url: str, seconds: float, documents: int) -> Table:
    """Ingest documents through an outage, compare the store with the source, and return what was found as a table.

    Args:
        url: The overloaded server. It also answers with 429 by itself.
        seconds: How long it is away.
        documents: How many to ingest.
    """
    answers: Counter[str] = Counter()
    name = f"flagvec_outage_{uuid.uuid4().hex}"
    chosen = Outage(seconds, _STARTS, _SHARES)
    with (
        tempfile.TemporaryDirectory() as directory,
        Elasticsearch(url, request_timeout=60) as client,
        CountingProxy(url, chosen, answers) as proxy,
        Elasticsearch(proxy.url, request_timeout=60, max_retries=0) as far,
    ):
        # A queue of one overflows if a request goes to several shards.
        direct = ElasticsearchStore(SeededModel(), client, name, settings={"number_of_shards": 3})
        direct.create()
        client.indices.put_mapping(index=name, properties=_NUMBERS_AS_IDS)
        store = ElasticsearchStore(SeededModel(), far, name)
        store._backend.limits = WriteLimits(records=25, first_pause=0.02, jitter=0.02)
        try:
            found = _ingested(_Server(direct, store, chosen, answers), Path(directory), documents)
        finally:
            direct.drop()
    table = Table(title=f"{documents:,} documents, a server that is away for {seconds:g} s", title_justify="left")
    table.add_column("what")
    table.add_column("how many", justify="right")
    for what, number in found.items():
        table.add_row(what, f"{number:,}")
    return table


class CountingProxy(FaultyProxy):
    """Counts the refusals in the answers of the server itself.

    Args:
        target: The server's URL.
        outage: Chooses the faults.
        answers: Counts go here, by status. Each item of a bulk request counts.
    """

    def __init__(self, target: str, outage: Outage, answers: Counter[str]) -> None:
        super().__init__(target, outage, _LATE)
        self._answers = answers
        self._counting = threading.Lock()

    def pass_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, list[Any], bytes]:
        """Pass a request on and return status, headers and body of the answer."""
        status, given, content = super().pass_on(method, path, headers, body)
        with self._counting:
            if status >= 400:
                self._answers[f"requests with {status}"] += 1
            elif "_bulk" in path:
                items = json.loads(content).get("items", []) if content else []
                self._answers.update(f"items with {one['index']['status']}" for one in items)
        return status, given, content


def _ingested(server: _Server, directory: Path, number: int) -> dict[str, float]:
    given = list(map(_document, range(number)))
    refused = {one.id for one in given if not one.id.isdigit()}
    report = ingest(
        iter(given),
        stores={"store": server.store},
        journal=directory / "journal",
        dead_letters=directory / "dead-letters.jsonl",
        patience=300,
    )
    lines = (directory / "dead-letters.jsonl").read_text().splitlines()
    with Journal(directory / "journal") as journal:
        compared = verify(server.direct, journal, name="store")
    counts = server.outage.counts
    return {
        "seconds": round(report.seconds, 1),
        "requests, all": counts.total(),
        "of these answered with 503": counts[Fault.UNAVAILABLE],
        "cut in the middle of the answer": counts[Fault.LOST_ANSWER],
        "cut before they arrived": counts[Fault.LOST_REQUEST],
        f"answered {_LATE:g} s late": counts[Fault.SLOW],
        **dict(sorted(server.answers.items())),
        "attempts after the first": report.stores["store"].retries,
        "documents refused": len(refused),
        **_compared(server.direct.scroll(), [one for one in given if one.id not in refused]),
        "differences from the journal": len([*compared.missing, *compared.changed, *compared.unknown]),
        "dead letters": len(lines),
        "dead letters, wrong or missing": len({json.loads(line)["id"] for line in lines} ^ refused),
    }


def _document(number: int) -> Document:
    name = f"name{number}" if number % _REFUSED_EVERY == 0 else str(number)
    return Document(name, f"shared word{number}", {"number": number})


def _compared(found: Iterable[Document], expected: list[Document]) -> dict[str, float]:
    listed = list(found)
    ids, right = Counter(one.id for one in listed), {one.id: one for one in expected}
    return {
        "documents missing": len(right.keys() - ids.keys()),
        "documents twice": sum(times > 1 for times in ids.values()),
        "documents wrong": sum(one != right.get(one.id) for one in listed),
    }
