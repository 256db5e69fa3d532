"""A progress bar for long work."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(total: int | None, what: str, unit: str, show: bool | None) -> tqdm[Any]:
    """Return a progress bar; a placeholder until the encoder's branch is merged."""
    hidden = not sys.stderr.isatty() if show is None else not show
    return tqdm(total=total, desc=what, unit=unit, disable=hidden, delay=0 if show else 2)
