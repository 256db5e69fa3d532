"""Programs with worker processes, for faults: ``python workers_process.py NAME``. Each prints what happened as JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from flagvec.workers.pool import Workers


def say(**values: Any) -> None:
    """Print a line that is there whatever happens next."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def made(seconds: float) -> Any:
    """Return what answers a task: twice its square, after so many seconds."""
    return partial(squared, seconds)


def squared(seconds: float, task: Any) -> Any:
    """Answer a task. ``"raise"`` raises, ``"die"`` kills the worker, and ``"stop"`` stops it, as a deadlock would."""
    time.sleep(seconds)
    if task == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if task == "compute":
        for _ in range(30):  # 6 s of which it computes little
            time.sleep(0.2)
            sum(range(200_000))
        task = 3
    if task == "raise":
        raise ZeroDivisionError("one of the tasks")
    if task == "die":
        os.kill(os.getpid(), 9)
    yield task * task
    return os.getpid()


def workers(seconds: float = 0.0, count: int = 2, **options: Any) -> Workers:
    """Return workers that answer after so many seconds."""
    return Workers([partial(made, seconds)] * count, [f"place {number}" for number in range(count)], **options)


def outcome(pool: Workers, tasks: list[Any]) -> dict[str, Any]:
    """Return the results of tasks and who made them, or the error."""
    results: dict[int, set[int]] = {}
    pids = set()
    began = time.monotonic()
    try:
        for position, is_last, value in pool.run(tasks):
            if is_last:
                pids.add(value)
            else:
                results.setdefault(position, set()).add(value)
    except Exception as error:
        return {"error": type(error).__name__, "message": str(error), "cause": str(error.__cause__), "began": began}
    return {"results": [sorted(results[place]) for place in range(len(tasks))], "pids": sorted(pids)}


def answers() -> None:
    """Answer tasks twice, with the same processes."""
    pool = workers(0.05)
    say(first=outcome(pool, [*range(20)]), second=outcome(pool, [*range(20)]))


def one_killed() -> None:
    """Kill one of two workers in the middle of a call, then call again."""
    pool = workers(0.1)
    victim = outcome(pool, [1, 2, 3, 4])["pids"][0]
    threading.Timer(0.5, os.kill, (victim, 9)).start()
    say(during=outcome(pool, [*range(30)]), after=outcome(pool, [*range(10)]), victim=victim)


def task_that_kills() -> None:
    """Give a task at which every worker dies, then others."""
    pool = workers()
    say(during=outcome(pool, [1, 2, "die", 3]), after=outcome(pool, [5, 6]))


def task_that_raises() -> None:
    """Give a task that raises, then others."""
    pool = workers(0.01)
    say(during=outcome(pool, [1, "raise", *range(5)]), after=outcome(pool, [5, 6]))


def one_stopped() -> None:
    """Stop one of two workers in the middle of a call, then call again."""
    pool = workers(0.1, longest_idle=3)
    victim = outcome(pool, [1, 2, 3, 4])["pids"][0]
    threading.Timer(0.5, os.kill, (victim, signal.SIGSTOP)).start()
    say(during=outcome(pool, [*range(30)]), after=outcome(pool, [*range(10)]), victim=victim)


def stopped_in_a_long_message() -> None:
    """Stop a worker before it gets a task that is larger than a pipe, so that the parent cannot send it whole."""
    pool = workers(count=1, longest_idle=3)
    os.kill(outcome(pool, [1, 2])["pids"][0], signal.SIGSTOP)
    say(during=outcome(pool, ["x" * 2**20]), after=outcome(pool, [5, 6]))


def task_that_stops() -> None:
    """Give a task at which every worker stops, then others."""
    pool = workers(longest_idle=3)
    say(during=outcome(pool, [1, "stop", 3]), after=outcome(pool, [5, 6]))


def slow_task() -> None:
    """Give a task that takes longer than a worker may be idle, and computes seldom."""
    say(during=outcome(workers(longest_idle=3), ["compute", 2]))


def slow_reader() -> None:
    """Take longer over a result than a worker may be idle, while the others cannot send theirs."""
    pool = workers(longest_idle=3)
    running = pool.run([*range(4)])
    found = [next(running)]
    pids = [worker.process.pid for worker in pool._workers.values()]
    time.sleep(8)
    found += running
    say(results=sorted(value for _, is_last, value in found if not is_last), pids=pids)
    say(pids=[worker.process.pid for worker in pool._workers.values()])


def killed_as_it_is_made() -> None:
    """Kill the worker that makes its model."""
    os.kill(os.getpid(), 9)


def killed_at_the_start() -> None:
    """Make two workers, one of which is killed while it starts."""
    say(during=outcome(Workers([partial(made, 0.3), killed_as_it_is_made], ["a", "b"]), [*range(10)]))


def no_start() -> None:
    """Make workers whose module does not exist there."""
    say(during=outcome(Workers([partial(os._exit, 3)] * 2, ["a", "b"]), [1]))


def two_threads() -> None:
    """Call from two threads at once."""
    pool, found = workers(0.02), [None, None]

    def call(place: int) -> None:
        found[place] = outcome(pool, [place * 100 + one for one in range(10)])["results"]

    threads = [threading.Thread(target=call, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say(found=found)


def forked_during_a_call() -> None:
    """Fork while another thread is in a call, and call in the child too."""
    pool = workers(0.1)
    pids = outcome(pool, [1, 2, 3, 4])["pids"]
    thread = threading.Thread(target=outcome, args=(pool, [*range(60)]))
    thread.start()
    time.sleep(0.5)
    child = os.fork()
    if not child:
        signal.alarm(60)  # the child would hang
        say(found=outcome(pool, [5, 6]), parents=pids)
        pool.close()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    thread.join()
    assert status == 0


def handler_that_raises() -> None:
    """Let a signal's handler raise where part of a message was read, then call again."""
    pool = workers(count=1)
    outcome(pool, [1, 2])
    whole = Connection._recv  # type: ignore[attr-defined]

    def raising(connection: Connection, size: int) -> Any:
        if size == 4:  # a header
            return whole(connection, size)
        Connection._recv = whole  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    Connection._recv = raising  # type: ignore[attr-defined]
    interrupts = 0
    try:
        outcome(pool, [3, 4])
    except KeyboardInterrupt:
        interrupts += 1
    signal.alarm(60)
    say(interrupts=interrupts, after=outcome(pool, [5, 6]))


def slowly_made() -> Any:
    """Take a minute to return what answers a task, as a large model may."""
    time.sleep(60)
    return made(0.0)


def starting() -> None:
    """Say the pids of workers that are starting, and wait for them."""
    pool = Workers([slowly_made] * 2, ["a", "b"])
    thread = threading.Thread(target=outcome, args=(pool, [1, 2]), daemon=True)
    thread.start()
    while len(pool._workers) < 2:
        time.sleep(0.05)
    say(pids=[worker.process.pid for worker in pool._workers.values()])
    thread.join()


def busy_at_the_end() -> None:
    """Begin long tasks, leave them, and say how long ending takes."""
    pool = workers(count=4)
    pool._builds = [(partial(made, 60.0), name) for _, name in pool._builds]
    thread = threading.Thread(target=outcome, args=(pool, [1, 2, 3, 4]), daemon=True)
    thread.start()
    while not (len(pool._workers) == 4 and all(worker.number >= 0 for worker in pool._workers.values())):
        time.sleep(0.05)
    ended = [*pool._workers.values()]
    began = time.monotonic()
    pool.close()
    say(seconds=time.monotonic() - began, codes=[worker.process.exitcode for worker in ended])


if __name__ == "__main__":
    globals()[sys.argv[1]]()
