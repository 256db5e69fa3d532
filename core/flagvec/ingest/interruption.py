"""Ctrl-C during an ingestion: the first one asks it to end, the second one ends it."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType

_logger = logging.getLogger(__name__)


@contextmanager
def first_interrupt(asked: Event) -> Iterator[None]:
    """Let the first SIGINT set `asked`, and each later one raise a KeyboardInterrupt.

    This holds in the main thread only, and only if Python's own handler is in place. Anything else stays as it is.
    """
    if threading.current_thread() is not threading.main_thread() or not _is_pythons_own():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _logger.warning("interrupted: finishing what is on its way; a second interrupt stops at once")

    signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_pythons_own() -> bool:
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler
