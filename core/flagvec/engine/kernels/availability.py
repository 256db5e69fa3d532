"""Whether the compiled kernels can run in this process, and the reason if they cannot."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path

try:
    from flagvec.engine.kernels import _compiled as _compiled  # mypy --strict re-exports only this form
except ImportError:  # not built
    _compiled = None  # type: ignore[assignment]

# The only environment variable that flagvec's core reads. 0 switches the kernels off; 1, or no value, leaves them on.
# It is read once in a process, when the first model is loaded.
SWITCH = "FLAGVEC_KERNELS"


@cache
def why_no_avx512_kernels() -> str:
    """Return why kernels that need AVX512-BF16 cannot run, or an empty str if they can.

    Raises:
        ValueError: ``FLAGVEC_KERNELS`` is neither 0 nor 1.
    """
    setting = os.environ.get(SWITCH, "1")
    if setting not in ("0", "1"):
        raise ValueError(
            f"{SWITCH}={setting!r}: expected 0 (off) or 1 (on); unset it to use the kernels where they run"
        )
    if setting == "0":
        return f"{SWITCH}=0"
    if _compiled is None:
        return "not compiled"
    if not openmp_function("GOMP_parallel"):
        return "torch's OpenMP library has no GOMP_parallel"
    if not _compiled.has_avx512():
        return "no AVX512-BF16 in /proc/cpuinfo"
    return ""


@cache
def why_no_amx_kernels() -> str:
    """Return why kernels that need AMX cannot run, or an empty str if they can; raises as `why_no_avx512_kernels`."""
    if why_not := why_no_avx512_kernels():
        return why_not
    if _compiled.has_amx():
        return ""
    cpu_has_it = "amx_bf16" in Path("/proc/cpuinfo").read_text()
    return "Linux refuses AMX to this process (arch_prctl)" if cpu_has_it else "no AMX in /proc/cpuinfo"


@cache
def why_no_quantized_kernels() -> str:
    """Return why the kernels for int8 cannot run, or an empty str if they can."""
    if os.environ.get(SWITCH, "1") == "0":
        return f"{SWITCH}=0"
    if _compiled is None:
        return "not compiled"
    if not openmp_function("GOMP_parallel"):
        return "torch's OpenMP library has no GOMP_parallel"
    return "" if _compiled.quantized_level() else "no AVX2 in /proc/cpuinfo"


@cache
def openmp_function(name: str) -> int:
    """Return the address of a function in the OpenMP library that torch loaded, or 0 if it has no such function.

    The kernels use torch's OpenMP threads. A second library would start its own, and idle threads of each would spin on
    the cores that the other needs.
    """
    function = getattr(ctypes.CDLL(None), name, None)
    return ctypes.cast(function, ctypes.c_void_p).value or 0 if function else 0
