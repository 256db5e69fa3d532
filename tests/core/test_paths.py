"""One line in the log says which path a model takes, and why; FLAGVEC_KERNELS switches the kernels off."""

import logging
from pathlib import Path

import pytest
import torch

from flagvec import FlagModel
from flagvec.engine import paths
from flagvec.engine.kernels import availability

FLAGS = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
CPU = torch.device("cpu")

needs_kernels = pytest.mark.skipif(
    "amx_bf16" not in FLAGS or availability._compiled is None,
    reason="no AMX on this CPU, or the kernels were not built",
)


def lines_of(caplog, directory, **options):
    with caplog.at_level(logging.DEBUG, logger="flagvec.engine.hidden_states"):
        FlagModel(directory, devices="cpu", **options)
    return [record.getMessage() for record in caplog.records if record.name == "flagvec.engine.hidden_states"]


@pytest.fixture
def machine(monkeypatch):
    """Say why kernels cannot run."""

    def pretend(**reasons):
        monkeypatch.setattr(paths, "why_not", lambda kernel: reasons.get(kernel.replace(" ", "_"), ""))

    pretend()
    return pretend


def path_of(**differing):
    known = {
        "architecture": "bert", "device": CPU, "dtype": torch.bfloat16, "width": 128, "heads": 4,
        "is_packed": True, "has_own_layers": True, "runs_few_rows": True,
    }  # fmt: skip
    return str(paths.Path(**known | differing))


def test_each_model_has_one_line(caplog, tiny_bert_directory):
    (line,) = lines_of(caplog, tiny_bert_directory, use_fp16=False)
    assert line.startswith("bert runs on cpu in float32, packed; ")


@needs_kernels
def test_the_line_of_a_model_of_bgem3s_form_names_all_kernels(caplog, tmp_path, build_checkpoint):
    directory = build_checkpoint(tmp_path / "model", "xlm-roberta", width=128)
    (line,) = lines_of(caplog, directory, use_bf16=True)
    assert line == "xlm-roberta runs on cpu in bfloat16, packed; kernels: attention, norms, few rows"


def test_kernels_that_a_cpu_lacks_are_named_with_the_reason(machine):
    machine(attention="this CPU has no AMX", few_rows="this CPU has no AMX")
    assert path_of() == (
        "bert runs on cpu in bfloat16, packed; kernels: norms; attention not: this CPU has no AMX; "
        "few rows not: this CPU has no AMX"
    )


def test_one_reason_for_all_kernels_is_said_once(machine):
    machine(attention="not compiled", norms="not compiled", few_rows="not compiled")
    assert path_of() == "bert runs on cpu in bfloat16, packed; no kernels: not compiled"


@pytest.mark.parametrize(
    ("differing", "said"),
    [
        ({"device": torch.device("cuda", 0), "dtype": torch.float16}, "no kernels: they run on a CPU, not on cuda"),
        ({"is_packed": False}, "padded; no kernels: they need packed texts"),
        ({"heads": 2, "width": 80}, "kernels: norms; attention not: heads are 40 wide"),
        ({"dtype": torch.float32}, "kernels: attention, few rows; norms not: it computes in bfloat16"),
        ({"dtype": torch.float16}, "no kernels: they compute in float32 and bfloat16"),
        (
            {"has_own_layers": False, "runs_few_rows": False},
            "kernels: attention; norms not: not the BERT family's layers",
        ),
        ({"runs_few_rows": False}, "kernels: attention, norms; few rows not: a size or a weight's order"),
        ({"heads": 256, "width": 8_192}, "norms not: hidden states are 8192 wide"),
    ],
)
def test_what_keeps_a_kernel_from_a_model_is_named(machine, differing, said):
    assert said in path_of(**differing)


SWITCHED = """
import logging, sys
import torch
from flagvec import FlagModel
from flagvec.engine import kernels
logging.basicConfig(level=logging.DEBUG, format="%(message)s", stream=sys.stdout)
FlagModel({directory!r}, devices="cpu", use_bf16=True).encode("a text")
print(kernels.can_attend(torch.zeros(4, 2, 32, dtype=torch.bfloat16)), kernels.can_run_layers(384, 12, torch.bfloat16))
"""


def test_flagvec_kernels_0_switches_the_kernels_off(run_python, tiny_bert_directory):
    printed = run_python(SWITCHED.format(directory=str(tiny_bert_directory)), FLAGVEC_KERNELS="0")
    assert "bert runs on cpu in bfloat16, packed; no kernels: FLAGVEC_KERNELS=0\n" in printed
    assert printed.endswith("False False\n")


@needs_kernels
def test_flagvec_kernels_1_leaves_the_kernels_on(run_python, tiny_bert_directory):
    printed = run_python(SWITCHED.format(directory=str(tiny_bert_directory)), FLAGVEC_KERNELS="1")
    assert printed.endswith("True True\n")
