"""Whole models give the same at each level that FLAGVEC_KERNELS can name, and without kernels.

Each level runs in a process of its own, in which oneDNN and torch use no more of the CPU than the level has.
"""

import json
from itertools import product

import numpy as np
import pytest

from flagvec.engine.kernels import availability
from flagvec.engine.kernels.availability import Level

# The same limit for oneDNN and for torch's own kernels. Both read it once in a process.
LIMITS = {
    Level.AVX2: ("AVX2", "avx2"),
    Level.AVX512: ("AVX512_CORE", "avx512"),
    Level.AVX512_VNNI: ("AVX512_CORE_VNNI", "avx512"),
    Level.AVX512_VBMI: ("AVX512_CORE_VNNI", "avx512"),
    Level.AVX512_BF16: ("AVX512_CORE_BF16", "avx512"),
    Level.AMX: ("AVX512_CORE_AMX", "avx512"),
}
WITHOUT_BF16 = {level.setting for level in LIMITS if level < Level.AVX512_BF16}
# One text of more than 128 tokens, so that not all run in one call.
TEXTS = ["a short query", "", "many words " * 90, "one", "a text of another length than the others"]

ARCHITECTURES = ("xlm-roberta", "bert")
ENCODE = """
import json, logging
{before}
import numpy as np
from flagvec import BGEM3FlagModel
lines = []
handler = logging.Handler()
handler.emit = lambda record: lines.append(record.getMessage())
logger = logging.getLogger("flagvec.engine.hidden_states")
logger.setLevel(logging.DEBUG)
logger.addHandler(handler)
for directory in {directories!r}:
    for use_bf16 in {formats!r}:
        lines.clear()
        options = dict(use_fp16=False, use_bf16=use_bf16, devices="cpu", return_colbert_vecs=True)
        model = BGEM3FlagModel(directory, **options)
        output = [model.encode({texts!r}, max_length=300)]
        output += [model.encode([text], max_length=300) for text in {texts!r}]
        numbers = [one["dense_vecs"].flatten() for one in output]
        numbers += [vectors.flatten() for one in output for vectors in one["colbert_vecs"]]
        print(json.dumps([lines[0], np.concatenate(numbers).tolist()]))
"""


@pytest.fixture(scope="module")
def directories(tmp_path_factory, build_checkpoint):
    folder = tmp_path_factory.mktemp("levels")
    return [str(build_checkpoint(folder / name, name, heads=True, width=128, layers=3)) for name in ARCHITECTURES]


@pytest.fixture(scope="module")
def encode(run_python, directories):
    """Return the line of the log about a model's path, and its dense and ColBERT vectors, flattened.

    A process takes seconds to start, so one encodes with each model in each number format that its level has.
    """
    printed = {}

    def run(architecture, use_bf16=False, before="", **environment):
        formats = [False] if environment["FLAGVEC_KERNELS"] in WITHOUT_BF16 else [False, True]
        key = (before, *sorted(environment.items()))
        if key not in printed:
            code = ENCODE.format(directories=directories, texts=TEXTS, formats=formats, before=before)
            said = map(json.loads, run_python(code, **environment).splitlines())
            printed[key] = dict(zip(product(ARCHITECTURES, formats), said, strict=True))
        line, numbers = printed[key][architecture, use_bf16]
        return line, np.array(numbers)

    return run


def environment_of(level):
    if availability._compiled is None:
        pytest.skip("the kernels were not built")
    if availability._compiled.cpu_level() < level:
        pytest.skip(f"no {level} on this CPU")
    onednn, torchs = LIMITS[level]
    return {"FLAGVEC_KERNELS": level.setting, "ONEDNN_MAX_CPU_ISA": onednn, "ATEN_CPU_CAPABILITY": torchs}


@pytest.mark.parametrize("level", LIMITS, ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_float32_gives_the_same_at_each_level(encode, architecture, level):
    line, found = encode(architecture, **environment_of(level))
    assert "kernels: attention, few rows; norms not:" in line
    _, expected = encode(architecture, FLAGVEC_KERNELS="0")
    np.testing.assert_allclose(found, expected, atol=5e-6)


@pytest.mark.parametrize("level", [Level.AVX512_BF16, Level.AMX], ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_bfloat16_is_as_close_to_float32_at_each_level_as_without_kernels(encode, architecture, level):
    line, found = encode(architecture, use_bf16=True, **environment_of(level))
    assert line.endswith("kernels: attention, norms, few rows")
    _, torchs = encode(architecture, use_bf16=True, FLAGVEC_KERNELS="0")
    _, exact = encode(architecture, FLAGVEC_KERNELS="0")
    assert not np.array_equal(found, torchs), "both ran on the same kernels"
    assert np.linalg.norm(found - exact) < 1.1 * np.linalg.norm(torchs - exact)


@pytest.mark.parametrize("use_bf16", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_another_processor_than_x86_computes_with_torchs_kernels(encode, architecture, use_bf16):
    # The pure wheel has no compiled module.
    before = """
import sys
sys.modules["flagvec.engine.kernels._compiled"] = None
import flagvec.bge_m3, flagvec.engine.prepacked
flagvec.engine.prepacked.platform = type("", (), {"machine": lambda: "aarch64"})
"""
    line, found = encode(architecture, use_bf16, before, FLAGVEC_KERNELS="1")
    assert line.endswith("packed; no kernels: not compiled")
    _, expected = encode(architecture, FLAGVEC_KERNELS="0")
    np.testing.assert_allclose(found, expected, atol=5e-2 if use_bf16 else 5e-6)
