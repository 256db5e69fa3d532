"""The numbers of ``benchmarks/SCALE.md`` are those that ``benchmarks/scale.py`` derives from measured ones."""

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def scale():
    spec = spec_from_file_location("flagvec_scale", BENCHMARKS / "scale.py")
    sys.modules[spec.name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_table_is_in_the_file_as_it_is_derived(scale):
    page = (BENCHMARKS / "SCALE.md").read_text()
    for table in scale.tables():
        assert "\n".join(table) in page


def test_every_measured_constant_is_in_the_results(scale):
    results = re.sub(r"\s+", " ", (BENCHMARKS / "RESULTS.md").read_text())
    measured = {scale.GPU_TOKENS_A_SECOND, scale.CPU_TOKENS_A_SECOND, *scale.WRITES_A_SECOND.values()}
    measured |= {size for sizes in scale.ON_DISK.values() for size in sizes}
    assert [number for number in measured if f"| {number:,} |" not in results] == []
