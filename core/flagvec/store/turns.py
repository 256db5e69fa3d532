"""One call at a time: a model takes no more, whoever shares it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

_locks: WeakKeyDictionary[AbsEmbedder, threading.Lock] = WeakKeyDictionary()


def turn_of(model: AbsEmbedder) -> threading.Lock:
    """Return the lock that stores, embedding classes and their threads hold while they encode with this model."""
    return _locks.setdefault(model, threading.Lock())
