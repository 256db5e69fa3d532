"""A progress bar for long work in a terminal or a notebook, and silence elsewhere."""

import contextlib
import fcntl
import os
import pty
import struct
import sys
import termios
from types import SimpleNamespace

import pytest
from tqdm import tqdm

from flagvec.progress import progress_bar

TEXTS = ["first text", "a second, somewhat longer text", "third"]


class Terminal:
    """A real pseudo-terminal that is standard error while a block runs; `text` is what it showed then."""

    def __enter__(self):
        self._screen, device = pty.openpty()
        fcntl.ioctl(device, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._stream = os.fdopen(device, "w")
        self._redirection = contextlib.redirect_stderr(self._stream)
        self._redirection.__enter__()
        return self

    def __exit__(self, *error):
        self._redirection.__exit__(*error)
        self._stream.write("END")
        self._stream.flush()
        shown = b""
        while not shown.endswith(b"END"):
            shown += os.read(self._screen, 4096)
        self.text = shown.decode().removesuffix("END")
        self._stream.close()
        os.close(self._screen)


@pytest.fixture
def notebook(monkeypatch):
    """What IPython shows of itself in a notebook's kernel."""
    shell = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


def do_work(bar, seconds, updates=(1, 2)):
    """Count work that began `seconds` ago."""
    with bar:
        if isinstance(bar, tqdm):
            bar.start_t -= seconds
            bar.last_print_t -= seconds
        for count in updates:
            bar.update(count)


def test_a_terminal_shows_work_of_more_than_two_seconds():
    with Terminal() as terminal:
        do_work(progress_bar(3, "encode", "text", None), seconds=60)
    assert "encode: 100%" in terminal.text


def test_a_terminal_does_not_show_short_work():
    with Terminal() as terminal:
        do_work(progress_bar(3, "encode", "text", None), seconds=-3600)
    assert terminal.text == ""


def test_a_pipe_stays_silent(capfd):
    do_work(progress_bar(3, "encode", "text", None), seconds=60)
    assert capfd.readouterr() == ("", "")


def test_true_shows_short_work_in_a_pipe_as_well(capfd):
    do_work(progress_bar(3, "encode", "text", True), seconds=0)
    assert "3/3" in capfd.readouterr().err


def test_false_hides_long_work_in_a_terminal():
    with Terminal() as terminal:
        do_work(progress_bar(3, "encode", "text", False), seconds=60)
    assert terminal.text == ""


def test_without_a_total_it_counts():
    with Terminal() as terminal:
        do_work(progress_bar(None, "add", "document", True), seconds=60)
    assert "add: 3 document" in terminal.text


def test_a_program_without_standard_error_is_silent(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    do_work(progress_bar(3, "encode", "text", None), seconds=60)


def test_a_notebook_without_widgets_shows_the_text_bar_and_no_warning(notebook, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    do_work(progress_bar(3, "encode", "text", None), seconds=60)
    assert "encode: 100%" in capfd.readouterr().err


@pytest.mark.parametrize("method", ["encode", "encode_queries", "encode_corpus"])
@pytest.mark.parametrize("model", ["tiny_bert", "tiny_m3"])
def test_encoding_shows_its_texts_in_a_terminal(request, model, method, monkeypatch):
    model = request.getfixturevalue(model)
    monkeypatch.setattr("flagvec.progress.SHOWN_AFTER", 0)
    with Terminal() as terminal:
        getattr(model, method)(TEXTS)
    assert "3/3" in terminal.text


def test_encoding_in_a_pipe_is_silent(tiny_m3, capfd, monkeypatch):
    monkeypatch.setattr("flagvec.progress.SHOWN_AFTER", 0)
    tiny_m3.encode(TEXTS)
    tiny_m3.compute_score(("a", "b"))
    list(tiny_m3.encode_stream(TEXTS))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("method", ["encode", "encode_queries", "encode_corpus"])
def test_encoding_shows_its_texts_when_asked_to(tiny_m3, method, capfd):
    getattr(tiny_m3, method)(TEXTS, show_progress=True)
    assert "3/3" in capfd.readouterr().err


def test_encoding_in_a_terminal_is_silent_when_asked_to(tiny_m3, monkeypatch):
    monkeypatch.setattr("flagvec.progress.SHOWN_AFTER", 0)
    with Terminal() as terminal:
        tiny_m3.encode_corpus(TEXTS, show_progress=False)
    assert terminal.text == ""


def test_a_stream_has_one_bar_for_all_its_batches(tiny_bert, capfd):
    list(tiny_bert.encode_stream(TEXTS, batch_size=2, show_progress=True))
    list(tiny_bert.encode_stream(iter(TEXTS), batch_size=2, show_progress=True))
    shown = capfd.readouterr().err
    assert "3/3" in shown
    assert "encode: 3 text" in shown
    assert "1/1" not in shown
