"""What a worker process does: it makes something once, and then answers tasks one after the other."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Callable, Generator
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.pool import ExceptionWithTraceback  # type: ignore[attr-defined]  # typeshed leaves it out
from typing import Any

from flagvec.errors import WorkerError

# Answers a task with any number of results, and returns a last one.
Answer = Callable[[Any], Generator[Any, None, Any]]
# Makes what answers. It travels to the worker as a pickle.
Build = Callable[[], Answer]

NO_TASK = -1


def answer_tasks(connection: Connection, build: bytes, log_level: int) -> None:
    """Answer tasks until the other end closes.

    Args:
        connection: The way to the process that gives the tasks.
        build: A pickled `Build`. Reading it may import much, so that the parent is looked after first.
        log_level: That of the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="flagvec parent", daemon=True).start()
    sending = _Sending(connection)
    logging.getLogger().addHandler(sending)
    logging.getLogger().setLevel(log_level)
    # They end the connection if the parent is gone.
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        answer = _made(build, sending)
        sending.send("ready", NO_TASK, None)
        while True:
            sending.number, task = connection.recv()
            _answer(answer, task, sending)


def _end_with_parent() -> None:
    # The connection says so too, but only after the forward pass, which may take minutes.
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def _made(build: bytes, sending: _Sending) -> Answer:
    try:
        made: Build = pickle.loads(build)
        return made()
    except Exception as error:
        failure = error

    def fail(task: Any) -> Generator[Any, None, Any]:
        raise failure
        yield

    return fail


def _answer(answer: Answer, task: Any, sending: _Sending) -> None:
    with warnings.catch_warnings():
        warnings.showwarning = sending.showwarning  # type: ignore[assignment]  # it needs the message only
        results = answer(task)
        try:
            while True:
                sending.send("result", sending.number, next(results))
        except StopIteration as stop:
            sending.send("end", sending.number, stop.value)
        except (BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:
            _send_error(error, sending)


def _send_error(error: Exception, sending: _Sending) -> None:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = WorkerError(f"{type(error).__name__}: {error}").with_traceback(error.__traceback__)
    sending.send("error", sending.number, ExceptionWithTraceback(error, error.__traceback__))


class _Sending(logging.Handler):
    """A worker's way to its parent, also for what it logs."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection
        self._sending = threading.Lock()
        self.number = NO_TASK

    def send(self, kind: str, number: int, value: Any) -> None:
        """Send a message."""
        with self._sending:
            self._connection.send((kind, number, value))

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record of the log. Its arguments and traceback become text, because they may not travel."""
        record.msg, record.args = record.getMessage(), None
        record.exc_text = record.exc_text or (
            logging.Formatter().formatException(record.exc_info) if record.exc_info else None
        )
        record.exc_info = None
        with suppress(OSError):
            self.send("log", self.number, record)

    def showwarning(self, message: Warning | str, *unused: Any) -> None:
        """Send a warning, in the place of ``warnings.showwarning``."""
        with suppress(OSError):
            self.send("warning", self.number, message)
