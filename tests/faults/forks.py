"""The ways in which Python programs fork: each runs a function in a forked child and returns its result.

A script in a process of its own uses them (`children.Child`), so that a child that hangs is killed at its deadline.
The child's exception is returned as text, ``"StoreError: ..."``, in a `Failure`.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

_function: Callable[[], Any]  # what a forked child runs; children inherit it, because most functions cannot be pickled


@dataclass(frozen=True)
class Failure:
    """What a child raised instead of returning."""

    text: str


def by_os_fork(function: Callable[[], Any]) -> Any:
    """Run a function in a child of ``os.fork``."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reader)
        _answer(function, os.fdopen(writer, "wb"))
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        answer = answers.read()
    os.waitpid(child, 0)
    return pickle.loads(answer) if answer else Failure("the child ended without an answer")


def by_multiprocessing(function: Callable[[], Any]) -> Any:
    """Run a function in a process of ``multiprocessing`` with the start method ``fork``."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=lambda: answers.put(_outcome(function)))
    process.start()
    answer = answers.get()
    process.join()
    return answer


def by_process_pool(function: Callable[[], Any]) -> Any:
    """Run a function in a worker of a ``ProcessPoolExecutor`` that forks."""
    global _function
    _function = function
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        return pool.submit(_run_inherited).result()


def by_preloaded_server(function: Callable[[], Any]) -> Any:
    """Run a function in a worker of a server that loads everything before it forks, as gunicorn does with preload."""
    listener = socket.create_server(("127.0.0.1", 0))
    workers = []
    for _ in range(2):
        if (worker := os.fork()) == 0:
            # As gunicorn does, a worker serves until its master ends it.
            while True:
                connection, _ = listener.accept()
                with connection, connection.makefile("wb") as answers:
                    pickle.dump(_outcome(function), answers)
        workers.append(worker)
    try:
        with socket.create_connection(listener.getsockname()) as connection, connection.makefile("rb") as answers:
            return pickle.loads(answers.read())
    finally:
        listener.close()
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
            os.waitpid(worker, 0)


def by_data_loader(function: Callable[[], Any]) -> Any:
    """Run a function in a worker of a torch ``DataLoader``."""
    from torch.utils.data import DataLoader

    class OneAnswer:
        def __len__(self) -> int:
            return 1

        def __getitem__(self, position: int) -> Any:
            return _outcome(function)

    [[answer]] = DataLoader(OneAnswer(), num_workers=1, multiprocessing_context="fork", collate_fn=list)  # type: ignore[arg-type]
    return answer


FORMS: dict[str, Callable[[Callable[[], Any]], Any]] = {
    "os.fork": by_os_fork,
    "multiprocessing": by_multiprocessing,
    "ProcessPoolExecutor": by_process_pool,
    "preloaded server": by_preloaded_server,
    "DataLoader": by_data_loader,
}


def _run_inherited() -> Any:
    return _outcome(_function)


def _outcome(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}")


def _answer(function: Callable[[], Any], answers: Any) -> None:
    try:
        with answers:
            pickle.dump(_outcome(function), answers)
    finally:
        # Exit handlers are the parent's.
        os._exit(0)
