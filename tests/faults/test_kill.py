"""A process that SIGKILL ends while it writes to an embedded store loses nothing that was acknowledged."""

from __future__ import annotations

import random
import time

import pytest

from stores import acknowledged

WRITERS = [("edge", 0), ("edge", 1), ("edge", 2), ("edge-compact", 0), ("edge-compact", 1), ("lite", 0), ("lite", 1)]


@pytest.mark.parametrize(("kind", "seed"), WRITERS)
def test_what_was_acknowledged_is_there_once_after_a_kill(child, read, tmp_path, kind, seed):
    writer = child("store_process.py", "write", kind, tmp_path, "--batch", 50)
    enough = random.Random(seed).randint(100, 1500)
    writer.wait_for(lambda lines: len(acknowledged(lines)) >= enough)
    writer.kill()
    assert writer.finish() == -9, writer.errors
    found = read(kind, tmp_path)
    assert set(found["right"]) >= acknowledged(writer.lines)
    assert (found["wrong"], found["count"]) == ([], len(found["right"]))


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.5])
def test_a_kill_while_the_index_is_built_loses_nothing(child, read, tmp_path, seconds):
    writer = child("store_process.py", "write", "edge-indexed", tmp_path, "--batch", 1500, "--batches", 1, "--stay")
    # The engine builds a segment here before it takes the place of others.
    unfinished = tmp_path / "edge" / "shard" / "temp_segments"
    writer.wait_for(lambda lines: any(unfinished.glob("*")) or len(lines) > 1)
    assert len(writer.lines) == 1, "the index was built before it was noticed"
    time.sleep(seconds)
    writer.kill()
    found = read("edge-indexed", tmp_path)
    assert (found["right"], found["wrong"], found["count"]) == ([*range(1500)], [], 1500)
