"""How large activations may be on a CPU, so that their memory is used again and not asked of the kernel anew.

glibc gives blocks over a threshold back to the kernel when they are freed, which then hands out and clears the same
pages for the next layer: an eighth of the time of a forward pass of BGE-M3. The threshold goes up to the size of what
is freed, 32 MiB at most, and what it keeps for itself to twice that (mallopt(3), M_MMAP_THRESHOLD).
"""

from __future__ import annotations

import torch

_THRESHOLD_BYTES = 32 << 20
# Below it by more than what glibc and torch put in front of a block.
_LARGEST_BYTES = _THRESHOLD_BYTES - (64 << 10)


def keep_freed_memory() -> None:
    """Raise glibc's threshold to where it ends, for the whole process; with another allocator this does nothing."""
    torch.empty(_LARGEST_BYTES, dtype=torch.uint8)


def rows_in_kept_memory(columns: int, dtype: torch.dtype) -> int:
    """Return how many rows of so many columns a tensor may have for its memory to be kept when it is freed."""
    return _LARGEST_BYTES // (columns * dtype.itemsize)
