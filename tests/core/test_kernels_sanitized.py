"""The kernels touch no memory that is not theirs, and do nothing undefined: AddressSanitizer and UBSan watch them."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[2] / "core/flagvec/engine/kernels"
SANITIZERS = Path(__file__).with_name("sanitizers")
FLAGS = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
OPTIONS = ("-shared", "-fPIC", "-O1", "-g", "-std=gnu11", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all")


@pytest.fixture(scope="module")
def run_sanitized(tmp_path_factory):
    """Compile the kernels for the sanitizers; run a function of run_kernels.py with them in a process of its own."""
    if "avx2" not in FLAGS:
        pytest.skip("no AVX2 on this CPU")
    compiler, headers = shutil.which("cc"), Path(sysconfig.get_path("include"))
    if compiler is None:
        pytest.skip("there is no C compiler")
    if not (headers / "Python.h").exists():
        pytest.skip(f"there is no Python.h in {headers}")
    found = subprocess.run([compiler, "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    if not Path(found).is_absolute():
        pytest.skip(f"{compiler} has no libasan")
    folder = tmp_path_factory.mktemp("sanitized")
    subprocess.run(
        [
            compiler, *OPTIONS, "-fsanitize=address,undefined", "-include", SANITIZERS / "checked_tiles.h",
            f"-I{headers}", *sorted(KERNELS.glob("*.c")), "-lm", "-o", folder / "_compiled.so",
        ],
        check=True,
    )  # fmt: skip

    def run(function):
        # Python itself does not free all its memory, so leaks are not reported.
        environment = os.environ | {"LD_PRELOAD": found, "ASAN_OPTIONS": "detect_leaks=0"}
        command = [sys.executable, SANITIZERS / "run_kernels.py", folder, function]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    return run


def needing(flag, *functions):
    missing = pytest.mark.skipif(f"{flag} " not in FLAGS, reason=f"no {flag} on this CPU")
    return [pytest.param(function, marks=missing) for function in functions]


@pytest.mark.parametrize("function", ["all_shapes_in_vectors", *needing("amx_bf16", "all_shapes")])
def test_kernels_of_all_shapes_run_without_a_report(run_sanitized, function):
    finished = run_sanitized(function)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == "all shapes ran\n"


@pytest.mark.parametrize(
    "function",
    [
        "overrun_of_rows",
        "overrun_of_queries",
        "overrun_of_sums",
        *needing("avx512_bf16", "overrun_of_a_vector"),
        *needing("avx512vl", "overrun_of_bits"),
        *needing("avx512vbmi", "overrun_of_bits_in_bytes"),
        *needing("amx_bf16", "overrun_of_a_tile", "overrun_of_bits_in_tiles"),
    ],
)
def test_an_array_that_is_too_short_is_reported(run_sanitized, function):
    finished = run_sanitized(function)
    assert finished.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in finished.stderr
