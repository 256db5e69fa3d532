"""The peak memory of a process."""

from __future__ import annotations

from pathlib import Path


def peak_megabytes() -> float:
    """Return the peak resident megabytes of this process on Linux; ``ru_maxrss`` may be its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e3
