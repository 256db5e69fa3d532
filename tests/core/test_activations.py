"""The memory of a forward pass on a CPU is used again."""

import platform
import subprocess
import sys

import pytest
import torch

from flagvec.engine.activations import rows_in_kept_memory

PAGES = """
import resource, torch
from flagvec.engine.activations import keep_freed_memory, rows_in_kept_memory
if {kept}:
    keep_freed_memory()
rows = rows_in_kept_memory(4096, torch.bfloat16)
torch.ones(rows, 4096, dtype=torch.bfloat16)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(rows, 4096, dtype=torch.bfloat16)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages_asked_for_a_second_tensor(kept):
    command = [sys.executable, "-c", PAGES.format(kept=kept)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's threshold")
def test_the_largest_activation_that_fits_is_asked_of_the_kernel_once():
    assert pages_asked_for_a_second_tensor(kept=True) < 100 < 4_000 < pages_asked_for_a_second_tensor(kept=False)


def test_more_bytes_a_number_leave_fewer_rows():
    assert rows_in_kept_memory(4_096, torch.float32) == rows_in_kept_memory(8_192, torch.bfloat16)
    assert rows_in_kept_memory(4_096, torch.bfloat16) * 4_096 * 2 < 32 << 20
