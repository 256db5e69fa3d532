"""Progress bars for work that may last: encoding, and adding documents to a store."""

from __future__ import annotations

import os
import sys
import threading
from importlib.util import find_spec
from typing import Any

from tqdm import tqdm

# Seconds of work after which a bar appears by itself.
SHOWN_AFTER = 2.0


class HiddenBar:
    """A bar that shows nothing. It takes a fifth of the time of a hidden tqdm, which a short query would notice."""

    def __enter__(self) -> HiddenBar:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, count: int) -> None:
        """Count nothing."""


def progress_bar(total: int | None, what: str, unit: str, show: bool | None) -> tqdm[Any] | HiddenBar:
    """Return a bar on standard error: a context manager whose ``update(n)`` counts `n` more units.

    Args:
        total: How many units there will be. If None, the bar counts without an end.
        what: The work, in front of the bar.
        unit: What is counted, such as ``"text"``.
        show: True shows the bar and False hides it. None shows it in a terminal or a notebook, once the work has
            lasted longer than two seconds, and never in a pipe or a log.
    """
    in_notebook = _is_in_notebook()
    shown = in_notebook or _is_terminal(sys.stderr) if show is None else show
    if not shown:
        return HiddenBar()
    bar = _notebook_bar() if in_notebook else tqdm
    return bar(
        total=total,
        desc=what,
        unit=f" {unit}",
        delay=SHOWN_AFTER if show is None else 0.0,
        dynamic_ncols=True,
    )


def _is_terminal(stream: Any) -> bool:
    # Python without a console has no standard error, and a stream that replaces it may lack the method or be closed.
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def _is_in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config


def _notebook_bar() -> type[tqdm[Any]]:
    # tqdm.auto would choose as well, but it warns where ipywidgets is missing.
    if find_spec("ipywidgets") is None:
        return tqdm
    from tqdm.notebook import tqdm as notebook_bar

    return notebook_bar


if hasattr(os, "register_at_fork"):  # Windows has no fork
    # Every bar takes tqdm's lock, which another thread may have held when the process was forked.
    os.register_at_fork(after_in_child=lambda: tqdm.set_lock(threading.RLock()))
