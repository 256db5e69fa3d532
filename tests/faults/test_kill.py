"""A process that SIGKILL ends while it writes to an embedded store loses nothing that was acknowledged."""

from __future__ import annotations

import pytest

from stores import acknowledged


@pytest.mark.parametrize(("kind", "enough"), [("edge", 150), ("edge", 900), ("lite", 300)])
def test_what_was_acknowledged_is_there_once_after_a_kill(child, read, tmp_path, kind, enough):
    writer = child("store_process.py", "write", kind, tmp_path, "--batch", 50)
    writer.wait_for(lambda lines: len(acknowledged(lines)) >= enough)
    writer.kill()
    assert writer.finish() == -9, writer.errors
    found = read(kind, tmp_path)
    assert set(found["right"]) >= acknowledged(writer.lines)
    assert (found["wrong"], found["count"]) == ([], len(found["right"]))
