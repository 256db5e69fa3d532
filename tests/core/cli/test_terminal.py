"""What a person at a terminal of 80 columns sees, and Ctrl-C there."""

import contextlib
import fcntl
import itertools
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest

# The new process takes the terminal for its own, so that Ctrl-C reaches it.
TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "flagvec", *sys.argv[1:]])
"""
CTRL_C = b"\x03"
# Longer than a command takes on a busy machine.
LONGEST = 300


class Terminal:
    """A terminal in which a command runs."""

    def __init__(self, *arguments):
        self.shown = ""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *map(str, arguments)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        )
        os.close(slave)

    def read_until(self, pattern):
        """Read what is shown until it matches, or until the process has ended."""
        deadline = time.monotonic() + LONGEST
        while not re.search(pattern, self.shown) and self._read():
            assert time.monotonic() < deadline, self.shown
        return self.shown

    def type(self, characters):
        os.write(self._master, characters)

    def end(self):
        """Read the rest, and return the exit code."""
        self.read_until("(?!)")  # no text matches
        os.close(self._master)
        return self.process.wait()

    def _read(self):
        if not select.select([self._master], [], [], 1)[0]:
            return True
        with contextlib.suppress(OSError):  # the other end is closed
            if part := os.read(self._master, 65_536):
                self.shown += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", part.decode())
                return True
        return False


@pytest.fixture
def terminal(flagvec):
    """Run a command in a terminal, in the test's folder."""
    made = []

    def run(*arguments):
        made.append(Terminal(*arguments))
        return made[-1]

    yield run
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def row(number):
    return {"id": f"no-{number}", "text": f"word{number} " * 200}


@pytest.fixture
def endless(tmp_path):
    """A file that goes on as long as somebody reads it."""
    path = tmp_path / "endless.jsonl"
    os.mkfifo(path)

    def write():
        with contextlib.suppress(BrokenPipeError), path.open("w") as file:
            for number in itertools.count():
                file.write(f"{json.dumps(row(number))}\n")

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    yield path.name
    # If nobody has read it, the thread waits for a reader.
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    thread.join()


def test_hits_are_a_table_that_fits(terminal, articles, tiny_m3_directory):
    shown = terminal("search", "bread in an oven", "--store", articles, "--mode", "dense", "--device", "cpu")
    assert shown.end() == 0, shown.shown
    lines = [line for line in shown.shown.splitlines() if line.strip()]
    assert lines[0].split() == ["score", "id", "text"]
    assert len(lines) == 4
    assert all(len(line) <= 80 for line in lines)


def test_deleting_by_a_filter_asks_first(terminal, articles, documents_of):
    asked = terminal("delete", "--store", articles, "--filter", '{"lang": "en"}')
    asked.read_until(r"\[y/N\]")
    assert "Delete 2 of 3 documents of edge:./articles?" in asked.shown
    asked.type(b"n\n")
    assert asked.end() == 1
    assert len(documents_of(articles)) == 3


def test_progress_has_rates_and_the_time_left(terminal, jsonl, tiny_m3_directory):
    file = jsonl("docs.jsonl", *map(row, range(300)))
    shown = terminal("ingest", file, "--store", "edge:./index", "--model", tiny_m3_directory)
    assert shown.end() == 0
    assert re.search(r"ingest .*\d+% [\d,]+ docs [\d,]+/s [\d,]+ tok/s (\d:\d\d:\d\d|-:--:--)", shown.shown), (
        shown.shown
    )


def test_ctrl_c_finishes_what_is_on_its_way_and_the_same_command_goes_on(
    terminal, flagvec, endless, jsonl, tiny_m3_directory, documents_of
):
    options = ("--store", "edge:./index", "--model", tiny_m3_directory, "--colbert", "off")
    first = terminal("ingest", endless, *options)
    first.read_until(r"[1-9]\d* docs")
    first.type(CTRL_C)
    assert first.end() == 130
    assert "finishing what is on its way" in first.shown
    assert "the same command goes on from here" in first.shown
    assert first.shown.rstrip().endswith("flagvec: interrupted")
    written = len(documents_of("edge:./index"))
    assert written > 0
    second = flagvec("ingest", jsonl("docs.jsonl", *map(row, range(written + 10))), *options, "--json")
    assert second.code == 0
    assert second.json["encoded"] == 10


def test_progress_is_not_shown_in_a_pipe(flagvec, jsonl, tiny_m3_directory):
    done = flagvec(
        "ingest", jsonl("docs.jsonl", {"text": "one"}), "--store", "edge:./index", "--model", tiny_m3_directory
    )
    assert done.err == ""
