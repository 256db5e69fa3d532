"""A forward pass on a CPU reuses its memory."""

import platform
import subprocess
import sys

import pytest
import torch

from flagvec.engine.activations import rows_in_kept_memory

PAGES = """
import torch
from pathlib import Path
from flagvec.engine.activations import keep_freed_memory, rows_in_kept_memory
if {kept}:
    keep_freed_memory()
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])
rows = rows_in_kept_memory(4096, torch.bfloat16)
before = resident()
tensor = torch.ones(rows, 4096, dtype=torch.bfloat16)
held = resident() - before
del tensor
print(held, resident() - before)
"""


def pages_held_and_left(kept):
    command = [sys.executable, "-c", PAGES.format(kept=kept)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [int(pages) for pages in printed.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's threshold")
@pytest.mark.parametrize("kept", [True, False])
def test_glibc_keeps_the_memory_of_the_largest_activation_that_fits(kept):
    held, left = pages_held_and_left(kept)
    assert left > 0.9 * held if kept else left < 0.3 * held


def test_wider_numbers_allow_fewer_rows():
    assert rows_in_kept_memory(4_096, torch.float32) == rows_in_kept_memory(8_192, torch.bfloat16)
    assert rows_in_kept_memory(4_096, torch.bfloat16) * 4_096 * 2 < 32 << 20
