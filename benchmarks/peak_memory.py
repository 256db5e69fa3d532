"""The most memory that a process has held."""

from __future__ import annotations

from pathlib import Path


def peak_megabytes() -> float:
    """Return this process' peak of resident memory, on Linux; what ``ru_maxrss`` says may be its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e3
