"""Programs with mini-M3 on two devices, for faults: ``python workers_model_process.py NAME [TURNS]``."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from typing import Any

from workers_process import say

from flagvec import BGEM3FlagModel


class RaisingModel(BGEM3FlagModel):
    """mini-M3, which raises at one text."""

    def _pass(self, tokens: Any, *arguments: Any) -> Any:
        if multiprocessing.parent_process() is not None:
            [raising] = self._tokenize(["raise"], 16).ids
            if any(ids.tolist() == raising.tolist() for ids in tokens.window.ids):
                raise ZeroDivisionError("one of the texts")
        return super()._pass(tokens, *arguments)


def dense(model: RaisingModel, texts: list[str]) -> Any:
    """Return the dense vectors of texts."""
    return model.encode(texts)["dense_vecs"]


def model_at_work() -> tuple[RaisingModel, list[str], Any, float]:
    """Return a model on two devices, texts, their vectors, and the seconds that these take."""
    model = RaisingModel("mini-m3", devices=["cpu", "cpu"])
    texts = [f"Document {number} {'and so on ' * (number * 37 % 60)}" for number in range(200)]
    expected = dense(model, texts)
    began = time.monotonic()
    model.encode(texts)
    return model, texts, expected, time.monotonic() - began


def processes_of(model: RaisingModel) -> list[Any]:
    """Return the processes of a model's workers."""
    assert model._workers is not None
    return [worker.process for worker in model._workers._workers.values()]


def model_killed(turns: int) -> None:
    """Kill a worker of a model at any moment of a call, and look at the results."""
    model, texts, expected, seconds = model_at_work()
    for turn in range(turns):
        victim = processes_of(model)[turn % 2]
        timer = threading.Timer(seconds * random.Random(turn).uniform(0, 0.9), os.kill, (victim.pid, signal.SIGKILL))
        timer.start()
        same = True
        while timer.is_alive():  # a call may be faster than the one that was timed
            same &= bool((dense(model, texts) == expected).all())
        victim.join()
        same &= bool((dense(model, texts) == expected).all())  # with a new worker
        say(same=same, workers=len(processes_of(model)), was_replaced=victim not in processes_of(model))
    model.close()


def model_raises(turns: int) -> None:
    """Let a model raise at one text, and encode again."""
    model, texts, expected, _ = model_at_work()
    for turn in range(turns):
        place = random.Random(turn).randrange(len(texts))
        try:
            model.encode([*texts[:place], "raise", *texts[place:]])
        except ZeroDivisionError as error:
            say(message=str(error), cause=str(error.__cause__), same=bool((dense(model, texts) == expected).all()))
    model.close()


def model_interrupted(turns: int) -> None:
    """Interrupt a model's call as a terminal does, and encode again."""
    model, texts, expected, seconds = model_at_work()
    sent = 0.0

    def interrupt() -> None:
        nonlocal sent
        sent = time.monotonic()
        os.killpg(0, signal.SIGINT)

    for turn in range(turns):
        timer = threading.Timer(seconds * random.Random(turn).uniform(0, 0.9), interrupt)
        timer.start()
        try:
            while True:
                model.encode(texts)
        except KeyboardInterrupt:
            say(seconds=time.monotonic() - sent, same=bool((dense(model, texts) == expected).all()))
    model.close()


def model_runs() -> None:
    """Say the pids of a model's workers, and encode until somebody ends it."""
    model, texts, _, _ = model_at_work()
    say(pids=[process.pid for process in processes_of(model)])
    while True:
        model.encode(texts)


if __name__ == "__main__":
    globals()[sys.argv[1]](*map(int, sys.argv[2:]))
