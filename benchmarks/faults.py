"""Counts what is left of acknowledged documents after SIGKILL, power loss, a full disk and a fork.

    python benchmarks/faults.py [--engine edge ...] [--kills 30] [--power-losses 20] [--full-disks 20] [--forks 20]
        [--ingestion-kills 30] [--documents 10000] [--outage 20] [--outage-documents 2000]

Each round writes to a store in a process of its own, lets the fault happen at a random moment, and reads the store in
another process. A round is kept if all that `add` has acknowledged is there once, unchanged, and found by a search; a
forked child may also be refused with a `StoreError`. Power losses and full disks need root and loop devices.

After these, one ingestion into each engine is killed again and again at random moments, and resumed each time. In the
end the store is compared with the source, document by document. ELASTICSEARCH_URL adds Elasticsearch here.

ELASTICSEARCH_OVERLOADED_URL names an overloaded server as in `.ci/run`. An ingestion into it goes through a proxy that
answers with 503 for 20 seconds, and cuts or delays other answers, while the server refuses 1 % of the documents.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

# Before this folder, which has a stores.py too.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "faults"))
import disks
from children import Child
from forks import FORMS

from stores import KINDS, acknowledged, open_store

KEPT = "kept"
# So many images of one disk are made while one process writes.
IMAGES = 4
# Megabytes that are left on a disk before the writer starts, and after it has begun. The edge engine takes 130 for an
# empty store on tmpfs.
LEFT_AT_FIRST = {"edge": 150, "lite": 12}
# Seconds that a process ingests before it is killed, at most.
LONGEST_INGESTION = 1.5
LEFT_LATER = {"edge": (0, 30), "lite": (0, 4)}


def main() -> None:
    """Do the rounds and print how they ended."""
    options = _options()
    table = Table("engine", "fault", "rounds", KEPT, "otherwise", title="Acknowledged documents after faults")
    faults: dict[str, tuple[int, Callable[[str, random.Random, int], Iterator[str]]]] = {
        "SIGKILL": (options.kills, kills),
        "power loss": (options.power_losses, power_losses),
        "full disk": (options.full_disks, full_disks),
        "fork": (options.forks, forks),
    }
    for engine in options.engine or KINDS:
        if engine not in KINDS:
            continue
        for fault, (rounds, play) in faults.items():
            outcomes = Counter(play(engine, random.Random(f"{engine} {fault}"), rounds))
            others = "; ".join(f"{count} {what}" for what, count in outcomes.items() if what != KEPT)
            table.add_row(engine, fault, str(rounds), str(outcomes[KEPT]), others)
            print(engine, fault, dict(outcomes), flush=True)
    console = Console(width=140, highlight=False)
    console.print(table)
    if options.ingestion_kills:
        with_server = [*KINDS, "elasticsearch"] if os.environ.get("ELASTICSEARCH_URL") else KINDS
        console.print(ingestions(options.engine or with_server, options.ingestion_kills, options.documents))
    if options.outage and (url := os.environ.get("ELASTICSEARCH_OVERLOADED_URL")):
        from outage import outage

        console.print(outage(url, options.outage, options.outage_documents))


def kills(engine: str, chosen: random.Random, rounds: int) -> Iterator[str]:
    """Kill a writing process."""
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as directory, _writer(engine, Path(directory), 50) as writer:
            enough = chosen.randint(0, 3000)
            writer.wait_for(lambda lines, enough=enough: len(acknowledged(lines)) >= enough)
            writer.kill()
            yield _read(engine, Path(directory), acknowledged(writer.lines))


def power_losses(engine: str, chosen: random.Random, rounds: int) -> Iterator[str]:
    """Copy the image of a disk while a process writes, half of the time after the journal was committed."""
    for first in range(0, rounds, IMAGES):
        images = {}
        with tempfile.TemporaryDirectory() as directory:
            with disks.ext4_disk(Path(directory)) as disk, _writer(engine, disk.path, 50) as writer:
                for number in range(min(IMAGES, rounds - first)):
                    enough = len(acknowledged(writer.lines)) + chosen.randint(1, 1000)
                    writer.wait_for(lambda lines, enough=enough: len(acknowledged(lines)) >= enough)
                    writer.pause()
                    if chosen.random() < 0.5:
                        disk.wait_for_journal()
                    image = Path(directory) / f"{number}.ext4"
                    disk.copy_as_after_power_loss(image)
                    images[image] = acknowledged(writer.lines)
                    writer.resume()
            for image, written in images.items():
                with disks.mounted(image) as disk:
                    yield _read(engine, disk.path, written)


def full_disks(engine: str, chosen: random.Random, rounds: int) -> Iterator[str]:
    """Fill the disk below a writing process, and read once there is space again."""
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as directory:
            make = disks.tmpfs_disk if number % 2 else disks.ext4_disk
            with make(Path(directory), 256) as disk:
                ballast = [disk.fill(LEFT_AT_FIRST[engine] * disks.MEGABYTE)]
                with _writer(engine, disk.path, chosen.choice([50, 300])) as writer:
                    writer.wait_for(lambda lines: bool(acknowledged(lines)))
                    ballast.append(disk.fill(int(chosen.uniform(*LEFT_LATER[engine]) * disks.MEGABYTE)))
                    writer.wait_for(lambda lines: sum("error" in line for line in lines) >= 3)
                    status = writer.process.poll()
                    writer.kill()
                    written = acknowledged(writer.lines)
                for file in ballast:
                    file.unlink()
                found = _read(engine, disk.path, written)
                yield found if status is None else f"the process ended with {status}, then {found}"


def forks(engine: str, chosen: random.Random, rounds: int) -> Iterator[str]:
    """Use a store in a forked child and go on in the parent, in which another thread reads."""
    for number in range(rounds):
        form = list(FORMS)[number % len(FORMS)]
        with tempfile.TemporaryDirectory() as directory:
            with Child("fork_process.py", engine, directory, form, seconds=30) as process:
                try:
                    process.finish()
                except TimeoutError:
                    yield "hung"
                    continue
                lines = process.lines
            said = [json.loads(line) for line in lines]
            errors = [one["error"] for one in said if isinstance(one, dict)]
            if len(said) < 2 or isinstance(said[1], dict) or not all("StoreError" in error for error in errors):
                yield f"child or parent failed: {errors[-1][:60] if errors else 'no answer'}"
            else:
                yield _read(engine, Path(directory), acknowledged(lines) | set(range(50)))


def ingestions(engines: Iterable[str], kills: int, documents: int) -> Table:
    """Kill one ingestion into each engine again and again, and compare the store with the source in the end."""
    table = Table(title=f"Ingestions of {documents:,} documents under SIGKILL", title_justify="left")
    for column in ("engine", "kills", "runs without", "missing", "twice", "wrong", "encoded at most"):
        table.add_column(column, justify="right" if column != "engine" else "left")
    for engine in engines:
        with tempfile.TemporaryDirectory() as directory:
            counts = _killed_ingestion(engine, Path(directory), kills, documents)
            if engine == "elasticsearch":
                open_store(engine, Path(directory)).drop()
        table.add_row(engine, *(f"{count:,}" for count in counts))
        print(engine, "ingestion", counts, flush=True)
    return table


def _killed_ingestion(engine: str, directory: Path, kills: int, documents: int) -> list[int]:
    arguments = engine, directory, "--documents", documents
    chosen, done = random.Random(f"{engine} ingestion"), 0
    for _ in range(kills):
        with Child("ingest_process.py", "write", *arguments, seconds=300) as writer:
            writer.wait_for(bool)
            time.sleep(chosen.uniform(0, LONGEST_INGESTION))
            writer.kill()
            done += writer.process.returncode == -9
    with Child("ingest_process.py", "write", *arguments, seconds=600) as writer:
        status = writer.finish()
        assert status == 0, writer.errors
    with Child("ingest_process.py", "read", *arguments, seconds=600) as reader:
        status = reader.finish()
        assert status == 0, reader.errors
        found = json.loads(reader.lines[-1])
    counts = [len(found[what]) for what in ("missing", "twice", "wrong")]
    if any(counts):
        print(engine, found, flush=True)
    return [done, kills - done, *counts, found["encoded"]]


def _writer(engine: str, directory: Path, batch: int) -> Child:
    return Child("store_process.py", "write", engine, directory, "--batch", batch, "--batches", 4000, seconds=120)


def _read(engine: str, directory: Path, written: set[int]) -> str:
    """Return `KEPT`, or what is wrong with the store."""
    with Child("store_process.py", "read", engine, directory, seconds=120) as reader:
        status = reader.finish()
        if status != 0:
            return f"reading ended with {status}"
        found: dict[str, Any] = json.loads(reader.lines[-1])
    if "error" in found:
        if not written and "does not exist" in found["error"]:
            return KEPT
        return "it cannot be opened"
    if lost := written - set(found["right"]):
        return f"lost {len(lost)} of {len(written)}"
    if found["wrong"] or found["count"] != len(found["right"]):
        return "documents are doubled or wrong"
    return KEPT


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--engine", action="append", choices=[*KINDS, "elasticsearch"], help="may be given several times"
    )
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--power-losses", type=int, default=20)
    parser.add_argument("--full-disks", type=int, default=20)
    parser.add_argument("--forks", type=int, default=20)
    parser.add_argument("--ingestion-kills", type=int, default=30)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--outage", type=float, default=20, help="seconds; 0 for none")
    parser.add_argument("--outage-documents", type=int, default=2_000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
