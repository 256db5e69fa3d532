"""Which compiled kernels can run in this process, and the reason if one cannot.

Both tables are here: the levels of CPUs, and the level that each kernel needs.
"""

from __future__ import annotations

import ctypes
import os
from enum import IntEnum
from functools import cache
from pathlib import Path

try:
    from flagvec.engine.kernels import _compiled as _compiled  # mypy --strict re-exports only this form
except ImportError:  # not built
    _compiled = None  # type: ignore[assignment]

# The only environment variable that flagvec's core reads. It names the highest level that the kernels may use: 0 for
# none, `avx2` to `amx`, or 1 for all, which is the default. It is read once, when a process loads its first model.
SWITCH = "FLAGVEC_KERNELS"


class Level(IntEnum):
    """Instructions of a CPU. Each level includes those below it. `cpu_level` in module.c has the same numbers."""

    OFF = 0
    AVX2 = 1  # with FMA
    AVX512 = 2  # with BW, DQ and VL
    AVX512_VNNI = 3
    AVX512_VBMI = 4
    AVX512_BF16 = 5
    AMX = 6  # with bfloat16 and int8

    @property
    def setting(self) -> str:
        """The value of ``FLAGVEC_KERNELS`` that names this level."""
        return "0" if self is Level.OFF else self.name.lower()

    def __str__(self) -> str:
        return "off" if self is Level.OFF else self.name.replace("_", "-")


# The lowest level at which each kernel runs.
NEEDED = {
    "attention": Level.AVX2,
    "attention in tiles": Level.AMX,
    "norms": Level.AVX512_BF16,
    "few rows": Level.AVX2,
    "few rows in tiles": Level.AMX,
    "rows of int8": Level.AVX2,
    "sums of bits": Level.AVX512,
    "sums of bits in bytes": Level.AVX512_VBMI,
    "sums of bits in tiles": Level.AMX,
    "clusters": Level.AVX2,
}


def can_run(kernel: str) -> bool:
    """Return whether a kernel of `NEEDED` runs in this process; raises as `level`."""
    return level() >= NEEDED[kernel]


def why_not(kernel: str) -> str:
    """Return why a kernel of `NEEDED` cannot run in this process, or an empty str if it can; raises as `level`."""
    return why_below(NEEDED[kernel])


@cache
def level() -> Level:
    """Return the highest level that kernels use in this process.

    Raises:
        ValueError: ``FLAGVEC_KERNELS`` names no level.
    """
    highest = _named_level()  # first, because a wrong name is an error on every machine
    return Level.OFF if _why_none() else min(highest, _cpu_level())


def why_below(wanted: Level) -> str:
    """Return why this process uses a level below `wanted`, or an empty str if it does not; raises as `level`."""
    if level() >= wanted:
        return ""
    if (named := _named_level()) < wanted:
        return f"{SWITCH}={named.setting}"
    if why_none := _why_none():
        return why_none
    missing = Level(_cpu_level() + 1)
    if missing is Level.AMX and "amx_bf16" in Path("/proc/cpuinfo").read_text():
        return "Linux refuses AMX to this process (arch_prctl)"
    return f"this CPU has no {missing}"


@cache
def openmp_function(name: str) -> int:
    """Return the address of a function in the OpenMP library that torch loaded, or 0 if it has no such function.

    The kernels use torch's OpenMP threads. A second library would start its own, and idle threads of each would spin on
    the cores that the other needs.
    """
    function = getattr(ctypes.CDLL(None), name, None)
    return ctypes.cast(function, ctypes.c_void_p).value or 0 if function else 0


@cache
def _named_level() -> Level:
    named = os.environ.get(SWITCH, "1")
    levels = {each.setting: each for each in Level} | {"1": max(Level)}
    if named not in levels:
        raise ValueError(
            f"{SWITCH}={named!r} names no level: expected 0 (off), 1 (all that this CPU has), or the highest level to "
            f"use, one of {', '.join(each.setting for each in Level if each)}"
        )
    return levels[named]


@cache
def _why_none() -> str:
    if _compiled is None:
        return "not compiled"
    return "" if openmp_function("GOMP_parallel") else "torch's OpenMP library has no GOMP_parallel"


@cache
def _cpu_level() -> Level:
    return Level(_compiled.cpu_level())
