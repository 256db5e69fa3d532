"""`Windows`: how many documents are encoded at once, from how long that takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TypeVar

Item = TypeVar("Item")

# More documents let a model make fuller batches.
DOCUMENTS_PER_WINDOW = 1_024
# The first window is small, because nobody knows yet how fast the model is.
FIRST_CHARACTERS = 16_000
# Seconds. A killed process has to encode some windows again, and Ctrl-C waits for some.
_SHORT, _LONG = 0.5, 2.0


class Windows:
    """Cuts a stream into windows that take between half a second and two seconds to encode.

    Args:
        most_characters: How long the texts of a window may be together. A longer text is a window of its own.
    """

    def __init__(self, most_characters: int) -> None:
        self._most = most_characters
        self._characters = min(FIRST_CHARACTERS, most_characters)

    def of(self, items: Iterable[Item], length: Callable[[Item], int]) -> Iterator[list[Item]]:
        """Yield the items in windows, in their order.

        Args:
            items: Read as they are needed.
            length: Returns the number of characters of one.
        """
        window: list[Item] = []
        characters = 0
        for item in items:
            more = length(item)
            # The bound may change with each window, which `more_itertools.constrained_batches` does not allow.
            if window and (characters + more > self._characters or len(window) >= DOCUMENTS_PER_WINDOW):
                yield window
                window, characters = [], 0
            window.append(item)
            characters += more
        if window:
            yield window

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure how long a window takes to encode, in a ``with`` block around it."""
        began = perf_counter()
        yield
        seconds = perf_counter() - began
        if seconds < _SHORT:
            self._characters = min(self._characters * 2, self._most)
        elif seconds > _LONG:
            self._characters = max(self._characters // 2, 1)
