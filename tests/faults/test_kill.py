"""A process that SIGKILL ends while it writes to an embedded store loses nothing that was acknowledged."""

from __future__ import annotations

import random

import pytest

from stores import acknowledged


@pytest.mark.parametrize(("kind", "seed"), [("edge", 0), ("edge", 1), ("edge", 2), ("lite", 0), ("lite", 1)])
def test_what_was_acknowledged_is_there_once_after_a_kill(child, read, tmp_path, kind, seed):
    writer = child("store_process.py", "write", kind, tmp_path, "--batch", 50)
    enough = random.Random(seed).randint(100, 1500)
    writer.wait_for(lambda lines: len(acknowledged(lines)) >= enough)
    writer.kill()
    assert writer.finish() == -9, writer.errors
    found = read(kind, tmp_path)
    assert set(found["right"]) >= acknowledged(writer.lines)
    assert (found["wrong"], found["count"]) == ([], len(found["right"]))
