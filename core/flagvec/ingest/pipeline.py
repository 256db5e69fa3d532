"""Writing what is ready in a thread of its own, while the caller makes ready what comes next."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from threading import Event
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING

from flagvec.ingest.report import FailedWrite
from flagvec.ingest.retry import Outcome, Record, Refusal, refused

if TYPE_CHECKING:
    from typing_extensions import Self

Requests = Iterable[Sequence[Record]]


class WriteBehind:
    """Requests of records, sent in order and one at a time, each while the next batch is made ready.

    As a context it ends when what is in flight has ended; interrupted, it sends nothing more, not even again. No thread
    is left, and none is started where there is nothing to do meanwhile.

    Args:
        send: Sends one request, again where that may help, unless the event is set; what it raises is raised by the
            call that waits for it, and nothing is sent after it.
        worthwhile: Seconds that it must take to make a batch ready, for another thread to write it: so long will the
            next one take too.
    """

    def __init__(self, send: Callable[[Sequence[Record], Event], Outcome], worthwhile: float = 0.0) -> None:
        self.outcomes: dict[str, FailedWrite | None] = {}
        self.hopeless: Refusal | None = None
        self._send = send
        self._worthwhile = worthwhile
        self._stop = Event()
        self._thread: ThreadPoolExecutor | None = None
        self._in_flight: Future[Outcome] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None or isinstance(error, Exception):
                self._wait()
        finally:
            # Only an interruption leaves something that this could stop.
            self._stop.set()
            if self._thread is not None:
                self._thread.shutdown()

    def write(self, ids: Collection[str], prepare: Callable[[], Requests], is_last: bool) -> None:
        """Make a batch ready while what was written before is in flight; then write it.

        Once it is hopeless, all that is left is reported as failed, and not made ready.

        Args:
            ids: The ids of the batch, each once.
            prepare: Returns the requests that write the batch; what it raises is raised here, after what is in flight
                has ended, unless that makes it known that this batch is never sent.
            is_last: Whether no batch follows, so that there is nothing to do meanwhile.
        """
        requests: Requests = ()
        started = perf_counter()
        if self.hopeless is None:
            try:
                requests = prepare()
            except Exception:
                self._wait()
                if self.hopeless is None:
                    raise
        beside = not is_last and perf_counter() - started >= self._worthwhile
        self._wait()
        self.outcomes |= dict.fromkeys(ids)
        if self.hopeless is not None:
            self._refuse(ids)
            return
        for records in requests:
            self._write(records, beside)

    def _write(self, records: Sequence[Record], beside: bool) -> None:
        self._wait()
        if self.hopeless is not None:
            self._refuse([record.document.id for record in records])
        elif beside:
            self._thread = self._thread or ThreadPoolExecutor(1, "flagvec-write")
            self._in_flight = self._thread.submit(copy_context().run, self._send, records, self._stop)
        else:
            self._note(self._send(records, self._stop))

    def _wait(self) -> None:
        """Wait until nothing is in flight."""
        if self._in_flight is not None:
            outcome = self._in_flight.result()
            self._in_flight = None
            self._note(outcome)

    def _note(self, outcome: Outcome) -> None:
        self.outcomes |= {failure.id: failure for failure in outcome.failed}
        self.hopeless = outcome.hopeless

    def _refuse(self, ids: Iterable[str]) -> None:
        assert self.hopeless is not None, "nothing is refused before"
        self.outcomes |= {name: refused(name, self.hopeless) for name in ids}
