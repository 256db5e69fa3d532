"""Worker processes of a model on several devices: what happens when they die, raise, or lose their parent."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from children import HERE, Child

SQUARES = [[number * number] for number in range(30)]
KILLS = int(os.environ.get("FLAGVEC_WORKER_KILLS", "1"))


def said(name, seconds=180):
    with Child("workers_process.py", name, seconds=seconds) as process:
        process.finish()
        [line] = process.lines
        return json.loads(line), process.errors


def is_running(pid):
    """Return whether a process exists that has not ended. One that has may wait long for init to ask how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def of_session(session):
    """Return the running processes of a session, which is that of a `Child` and all that it has started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "stat").read_text().rpartition(")")[2].split()[3] == str(session) and is_running(entry.name):
                found.append(int(entry.name))
    return found


def are_gone(running, seconds=30.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not running():
            return True
        time.sleep(0.02)
    return False


def note(**values):
    """Write how long something took into the file that FLAGVEC_WORKER_NOTES names."""
    if name := os.environ.get("FLAGVEC_WORKER_NOTES"):
        with Path(name).open("a") as file:
            file.write(json.dumps(values) + "\n")


def shared_memory(pids):
    """Return the names of the memory that these processes have shared; torch names it by the process."""
    return {path.name for pid in pids for path in Path("/dev/shm").glob(f"torch_{pid}_*")}


def test_workers_are_kept_between_calls_and_leave_nothing_at_the_end():
    found, errors = said("answers")
    assert found["first"]["results"] == SQUARES[:20]
    assert found["second"]["pids"] == found["first"]["pids"]
    assert len(found["first"]["pids"]) == 2
    assert errors == ""
    assert are_gone(lambda: [*filter(is_running, found["first"]["pids"])])
    assert not shared_memory(found["first"]["pids"])


@pytest.mark.parametrize("turn", range(KILLS))
def test_another_worker_does_the_task_of_one_that_is_killed(turn):
    found, _ = said("one_killed")
    assert found["during"]["results"] == SQUARES
    assert found["after"]["results"] == SQUARES[:10]
    assert found["victim"] not in found["after"]["pids"]


@pytest.mark.parametrize("turn", range(KILLS))
def test_a_task_at_which_two_workers_die_is_an_error_and_the_next_call_works(turn):
    found, _ = said("task_that_kills")
    assert found["during"]["error"] == "WorkerError"
    assert "was killed by SIGKILL while it encoded: it may have run out of memory" in found["during"]["message"]
    assert found["after"]["results"] == [[25], [36]]


@pytest.mark.parametrize("turn", range(KILLS))
def test_an_exception_comes_with_the_traceback_of_its_worker(turn):
    found, _ = said("task_that_raises")
    assert found["during"]["error"] == "ZeroDivisionError"
    assert "in squared" in found["during"]["cause"]
    assert found["after"]["results"] == [[25], [36]]


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
@pytest.mark.parametrize("turn", range(KILLS))
def test_another_worker_does_the_task_of_one_that_is_stuck(turn):
    found, _ = said("one_stopped")
    assert found["during"]["results"] == SQUARES
    assert found["after"]["results"] == SQUARES[:10]
    assert found["victim"] not in found["after"]["pids"]


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
@pytest.mark.parametrize("name", ["task_that_stops", "stopped_in_a_long_message"])
def test_stuck_workers_are_an_error_and_the_next_call_works(name):
    found, _ = said(name)
    assert found["during"]["error"] == "WorkerError"
    assert "showed no sign of life for 4 s while it encoded, so it was killed as stuck" in found["during"]["message"]
    assert found["after"]["results"] == [[25], [36]]


def test_a_worker_that_is_slow_is_not_taken_for_a_stuck_one():
    found, _ = said("slow_task")
    assert found["during"]["results"] == [[9], [4]]


def test_a_worker_is_not_blamed_for_a_caller_that_reads_slowly():
    with Child("workers_process.py", "slow_reader", seconds=180) as process:
        process.finish()
        before, after = map(json.loads, process.lines)
    assert before["results"] == [0, 1, 4, 9]
    assert after["pids"] == before["pids"]


def test_a_worker_that_cannot_start_is_an_error():
    found, _ = said("no_start")
    assert found["during"]["error"] == "WorkerError"
    assert "ended with 3 while it started" in found["during"]["message"]


def test_the_other_worker_does_all_tasks_if_one_is_killed_while_it_starts():
    found, _ = said("killed_at_the_start")
    assert found["during"]["results"] == SQUARES[:10]
    assert len(found["during"]["pids"]) == 1


def test_calls_of_two_threads_do_not_mix():
    found, _ = said("two_threads")
    assert found["found"] == [[[(place * 100 + one) ** 2] for one in range(10)] for place in range(2)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_that_is_forked_during_a_call_gets_its_own_workers():
    found, _ = said("forked_during_a_call")
    assert found["found"]["results"] == [[25], [36]]
    assert not {*found["found"]["pids"]} & {*found["parents"]}


def test_a_message_that_a_signal_cuts_short_does_not_mix_with_the_next_call():
    found, _ = said("handler_that_raises")
    assert found["interrupts"] == 1
    assert found["after"]["results"] == [[25], [36]]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_workers_in_the_middle_of_a_task_are_killed_when_they_are_closed():
    found, _ = said("busy_at_the_end")
    assert found["codes"] == [-signal.SIGKILL] * 4
    assert found["seconds"] < 5, "they were ended one after the other, and Ctrl-C may take 5 s"


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
@pytest.mark.parametrize("turn", range(KILLS))
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(by, turn):
    with Child("workers_model_process.py", "model_runs", seconds=180) as process:
        process.wait_for(lambda lines: len(lines) == 1)
        pids = json.loads(process.lines[0])["pids"]
        time.sleep(turn * 0.01)
        if by is signal.SIGINT:
            os.killpg(process.process.pid, by)  # as a terminal does
        else:
            process.process.send_signal(by)
        sent = time.monotonic()
        try:
            process.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it goes on after {by.name}: {process.errors}")
        # So are multiprocessing's own helpers.
        assert are_gone(lambda: of_session(process.process.pid))
        note(name="parent", by=by.name, seconds=time.monotonic() - sent)
        assert not shared_memory([*pids, process.process.pid])
        assert "answer_tasks" not in process.errors, "a worker wrote a traceback of its own"


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_workers_that_are_starting_end_with_their_parent():
    with Child("workers_process.py", "starting", seconds=120) as process:
        process.wait_for(lambda lines: len(lines) == 1)
        time.sleep(3)
        process.process.kill()
        process.process.wait(timeout=30)
        assert are_gone(lambda: of_session(process.process.pid))


def each_turn(name):
    """Return what a program with mini-M3 says in `KILLS` turns."""
    with Child("workers_model_process.py", name, KILLS, seconds=180 + 20 * KILLS) as process:
        assert process.finish() == 0, process.errors
        assert not shared_memory([process.process.pid])
        return [*map(json.loads, process.lines)]


def test_a_model_gives_the_right_result_when_a_worker_is_killed():
    found = each_turn("model_killed")
    assert found == [{"same": True, "workers": 2, "was_replaced": True}] * KILLS


def test_a_model_raises_what_a_worker_raised_and_encodes_again():
    found = each_turn("model_raises")
    assert len(found) == KILLS
    for one in found:
        assert one["message"] == "one of the texts"
        assert "in _pass" in one["cause"]
        assert one["same"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_a_model_that_is_interrupted_encodes_again():
    found = each_turn("model_interrupted")
    assert len(found) == KILLS
    for one in found:
        note(name="model_interrupted", seconds=one["seconds"])
        assert one["same"]


def test_a_program_without_a_main_guard_gets_one_sentence(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from flagvec.workers.pool import Workers\n"
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "import workers_process\n"
        "print(workers_process.outcome(workers_process.workers(), [1])['message'])\n"
    )
    with Child(script, seconds=180) as process:
        with suppress(Exception):
            process.finish()
        assert len(process.lines) == 1
        assert 'put what the program does under `if __name__ == "__main__":`' in process.lines[0]
