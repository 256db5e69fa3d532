"""How large an activation may be on a CPU so that glibc reuses its memory for the next layer.

glibc returns a freed block to the operating system if the block is larger than a threshold. Linux then maps and clears
the same pages again for the next layer. This took an eighth of a forward pass of BGE-M3. When glibc frees a large
block, it raises the threshold to the block's size, up to 32 MiB (mallopt(3), M_MMAP_THRESHOLD).
"""

from __future__ import annotations

import torch

_THRESHOLD_BYTES = 32 << 20
# A margin for the headers that glibc and torch put in front of a block.
_LARGEST_BYTES = _THRESHOLD_BYTES - (64 << 10)


def keep_freed_memory() -> None:
    """Raise glibc's threshold to its maximum, for the whole process. With another allocator this has no effect."""
    torch.empty(_LARGEST_BYTES, dtype=torch.uint8)


def rows_in_kept_memory(columns: int, dtype: torch.dtype) -> int:
    """Return the most rows of so many columns that a tensor may have if its memory is to be reused."""
    return _LARGEST_BYTES // (columns * dtype.itemsize)
