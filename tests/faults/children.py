"""Child processes that say what they have done, and that never outlive their deadline."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO

HERE = Path(__file__).parent


class Child:
    """A Python script in a process of its own, in a group with its children; use it in a ``with`` block.

    Its standard output goes to a file outside any faulty disk. A line that it has flushed is there whatever happens to
    the process.

    Args:
        script: The path of the script, or its name in this folder.
        arguments: What it gets.
        seconds: After so many seconds `finish` and `wait_for` kill it and raise a TimeoutError.
        environment: Variables on top of those of this process.
    """

    def __init__(self, script: str | Path, *arguments: object, seconds: float = 120, **environment: str) -> None:
        self._deadline = time.monotonic() + seconds
        self._files = ExitStack()
        self._output = self._files.enter_context(tempfile.TemporaryFile("w+b"))  # noqa: SIM115
        self._errors = self._files.enter_context(tempfile.TemporaryFile("w+b"))  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / script), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._errors,
            env={**os.environ, **environment},
            start_new_session=True,
        )

    @property
    def lines(self) -> list[str]:
        """The whole lines that it has written so far."""
        written = _contents(self._output)
        return written[: written.rfind("\n") + 1].splitlines()

    @property
    def errors(self) -> str:
        """What it has written to standard error."""
        return _contents(self._errors)

    def wait_for(self, is_enough: Callable[[list[str]], bool]) -> list[str]:
        """Return its lines as soon as they are enough, or once it has ended."""
        while not is_enough(self.lines) and self.process.poll() is None:
            self._check_deadline()
            time.sleep(0.005)
        return self.lines

    def finish(self) -> int:
        """Wait until it ends, and return its exit status: ``-9`` for one that SIGKILL ended."""
        while self.process.poll() is None:
            self._check_deadline()
            time.sleep(0.005)
        return self.process.returncode

    def pause(self) -> None:
        """Stop it and its children until `resume`."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        """End it and its children by SIGKILL."""
        self._send(signal.SIGKILL)
        self.process.wait()

    def _send(self, signal_number: signal.Signals) -> None:
        # There is no such group once it has ended, and its children too.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal_number)

    def _check_deadline(self) -> None:
        if time.monotonic() > self._deadline:
            self.kill()
            raise TimeoutError(f"the process did not end in time; it wrote {self.lines[-3:]} and:\n{self.errors}")

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        self._files.close()


def _contents(file: IO[bytes]) -> str:
    size = os.fstat(file.fileno()).st_size
    # pread leaves the offset alone, which the process shares.
    return os.pread(file.fileno(), size, 0).decode(errors="replace")
