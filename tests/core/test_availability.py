"""The level of kernels is the CPU's, or the lower one that FLAGVEC_KERNELS names, and says why it is no higher."""

from itertools import pairwise
from pathlib import Path

import pytest

from flagvec.engine.kernels import availability
from flagvec.engine.kernels.availability import NEEDED, Level

CPUINFO = Path("/proc/cpuinfo")
FLAGS = CPUINFO.read_text() if CPUINFO.exists() else ""
# What Linux calls the instructions that each level adds.
FLAG = {
    Level.AVX2: "avx2",
    Level.AVX512: "avx512vl",
    Level.AVX512_VNNI: "avx512_vnni",
    Level.AVX512_VBMI: "avx512vbmi",
    Level.AVX512_BF16: "avx512_bf16",
    Level.AMX: "amx_bf16",
}

needs_kernels = pytest.mark.skipif(availability._compiled is None, reason="the kernels were not built")
CACHED = [function for function in vars(availability).values() if hasattr(function, "cache_clear")]


@pytest.fixture
def named(monkeypatch):
    """Set FLAGVEC_KERNELS, as if the process had just begun."""

    def forget():
        for function in CACHED:
            function.cache_clear()

    def name(value):
        monkeypatch.setenv(availability.SWITCH, value)
        forget()

    yield name
    monkeypatch.undo()
    forget()


@needs_kernels
def test_the_cpus_level_is_the_highest_whose_flags_linux_shows():
    expected = Level.OFF
    for level, flag in FLAG.items():
        if f"{flag} " not in FLAGS:
            break
        expected = level
    assert availability._compiled.cpu_level() == expected


@needs_kernels
@pytest.mark.parametrize("level", Level)
def test_a_level_that_is_named_is_the_highest_that_is_used(named, level):
    named(level.setting)
    assert availability.level() == min(level, availability._compiled.cpu_level())


@needs_kernels
def test_1_names_all_levels_of_the_cpu(named):
    named("1")
    assert availability.level() == availability._compiled.cpu_level()


@needs_kernels
@pytest.mark.parametrize("level", Level)
def test_a_kernel_runs_if_the_level_has_its_instructions(named, level):
    named(level.setting)
    for kernel, needed in NEEDED.items():
        assert availability.can_run(kernel) == (availability.level() >= needed)
        assert availability.can_run(kernel) == (not availability.why_not(kernel))


@needs_kernels
@pytest.mark.parametrize(("level", "above"), list(pairwise(Level)))
def test_the_setting_is_the_reason_for_what_it_hides(named, level, above):
    named(level.setting)
    assert availability.why_below(above) == f"FLAGVEC_KERNELS={level.setting}"


@pytest.mark.parametrize("level", [Level.AVX512, Level.AVX512_BF16])
def test_a_level_above_the_cpus_own_is_no_error(named, monkeypatch, level):
    named(level.setting)
    monkeypatch.setattr(availability, "_why_none", lambda: "")
    monkeypatch.setattr(availability, "_cpu_level", lambda: Level.AVX2)
    assert availability.level() is Level.AVX2
    assert availability.why_below(Level.AVX512) == "this CPU has no AVX512"


def test_without_compiled_kernels_the_level_is_off(named, monkeypatch):
    named("1")
    monkeypatch.setattr(availability, "_compiled", None)
    assert availability.level() is Level.OFF
    assert {availability.why_not(kernel) for kernel in NEEDED} == {"not compiled"}


def test_a_name_of_no_level_is_refused(named):
    named("AMX2")
    with pytest.raises(ValueError, match=r"FLAGVEC_KERNELS='AMX2' names no level: expected 0 \(off\), 1 .* avx512"):
        availability.level()
