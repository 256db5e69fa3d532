"""On a CPU the number format is the one that is faster there, by a rule over measured times."""

import json
import logging
from pathlib import Path

import pytest
import torch

from flagvec import FlagModel
from flagvec.engine import devices, number_format
from flagvec.engine.devices import choose_dtype
from flagvec.engine.number_format import Measurement, Seconds, faster_format, measured, model_width

CPU = torch.device("cpu")
FLOP = 2 * 1_024 * 4_096


def seconds(many_rows, few_rows):
    """Return the times of the products in which others measured GFLOP/s: 2,048 and 12 rows, 1,024 to 4,096."""
    return Seconds(2_048 * FLOP / (1e9 * many_rows), 12 * FLOP / (1e9 * few_rows))


# (many rows, few rows) in GFLOP/s.
MACHINES = {
    "Sapphire Rapids that hides AMX": ((263, 87), (167, 118), torch.float32),
    "the same, in a quiet moment": ((320, 87), (167, 118), torch.float32),
    "EPYC with AVX512-BF16": ((200, 60), (400, 108), torch.bfloat16),
    "EPYC, where a short query of a small model takes the same": ((200, 60), (400, 60), torch.bfloat16),
    "Emerald Rapids with AMX": ((220, 90), (1_100, 190), torch.bfloat16),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_the_faster_format_of_each_machine_is_chosen(machine):
    float32, bfloat16, expected = MACHINES[machine]
    assert faster_format(seconds(*float32), seconds(*bfloat16)) is expected


@pytest.mark.parametrize(("share", "expected"), [(0.80, torch.bfloat16), (0.95, torch.float32), (1.05, torch.float32)])
def test_formats_within_a_tenth_are_equal_and_then_float32_is_taken(share, expected):
    assert faster_format(Seconds(1e-3, 1e-3), Seconds(share * 1e-3, 1e-3)) is expected


def test_bfloat16_is_not_taken_where_it_makes_short_queries_slower():
    assert faster_format(Seconds(1e-3, 1e-3), Seconds(0.5e-3, 1.2e-3)) is torch.float32
    assert faster_format(Seconds(1e-3, 1e-3), Seconds(0.5e-3, 1.05e-3)) is torch.bfloat16


def test_times_that_differ_by_less_than_a_call_takes_are_equal():
    assert faster_format(Seconds(30e-6, 30e-6), Seconds(24e-6, 24e-6)) is torch.float32


@pytest.fixture
def no_measurement(monkeypatch):
    """Fail if something is measured, on a CPU that has bfloat16."""

    def fail(width):
        raise AssertionError("something was measured")

    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: True)
    monkeypatch.setattr(number_format, "_best_seconds", fail)
    number_format._measured.cache_clear()


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"use_fp16": False}, torch.float32), ({"use_fp16": True, "use_bf16": True}, torch.bfloat16)],
)
def test_nothing_is_measured_where_one_format_is_asked_for(no_measurement, tiny_bert_directory, options, expected):
    model = FlagModel(tiny_bert_directory, devices="cpu", **options)
    assert {parameter.dtype for parameter in model.model.parameters()} == {expected}


def test_nothing_is_measured_on_a_cpu_without_bfloat16(no_measurement, monkeypatch):
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: False)
    assert choose_dtype(CPU, use_fp16=True, use_bf16=False, width=384) is torch.float32


@pytest.mark.parametrize("device", ["cuda:0", "mps"])
def test_nothing_is_measured_for_an_accelerator(no_measurement, device):
    choose_dtype(torch.device(device), use_fp16=True, use_bf16=False, width=384)


@pytest.mark.parametrize(("bfloat16", "expected"), [(0.5, torch.bfloat16), (2.0, torch.float32)])
def test_a_model_is_loaded_in_the_format_that_was_faster(
    monkeypatch, tmp_path, build_checkpoint, caplog, bfloat16, expected
):
    directory = build_checkpoint(tmp_path / "model", "bert", width=48)
    times = {torch.float32: Seconds(1e-3, 1e-4), torch.bfloat16: Seconds(bfloat16 * 1e-3, bfloat16 * 1e-4)}
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: True)
    monkeypatch.setattr(number_format, "_best_seconds", lambda width: times)
    number_format._measured.cache_clear()
    with caplog.at_level(logging.DEBUG, logger="flagvec.engine.devices"):
        model = FlagModel(directory, devices="cpu")
    number_format._measured.cache_clear()
    assert {parameter.dtype for parameter in model.model.parameters()} == {expected}
    (record,) = [record for record in caplog.records if record.name == "flagvec.engine.devices"]
    named = str(expected).removeprefix("torch.")
    assert record.getMessage().startswith(f"number format: {named}, because one thread multiplies 48 x 48 weights")


def test_each_width_is_measured_once_and_wide_models_as_the_widest(monkeypatch):
    asked = []

    def best_seconds(width):
        asked.append(width)
        return dict.fromkeys((torch.float32, torch.bfloat16), Seconds(1e-3, 1e-4))

    monkeypatch.setattr(number_format, "_best_seconds", best_seconds)
    number_format._measured.cache_clear()
    found = [measured(width) for width in (384, 384, 1_024, 4_096, 384)]
    number_format._measured.cache_clear()
    assert asked == [384, 1_024]
    assert found[0] is found[1] is found[4]


def test_a_measurement_says_its_rates_and_the_choice():
    measurement = Measurement(1_000, float32=Seconds(2e-3, 1e-3), bfloat16=Seconds(1e-3, 0.5e-3))
    assert str(measurement) == (
        "bfloat16, because one thread multiplies 1000 x 512 weights in float32 and bfloat16 with 128 rows at 66 and "
        "131 GFLOP/s, with 12 rows at 12 and 25 GFLOP/s"
    )


def test_what_is_measured_takes_time_in_both_formats():
    found = number_format._best_seconds(96)
    assert set(found) == {torch.float32, torch.bfloat16}
    for times in found.values():
        assert 0 < times.few_rows < times.many_rows


MEASURED_THEN_FORKED = """
import os, signal, sys, time
import torch
from pathlib import Path
from flagvec.engine.number_format import measured
def threads():
    return len(list(Path("/proc/self/task").iterdir()))
before = threads(), torch.get_num_threads()
measured(256)
print((threads(), torch.get_num_threads()) == before, flush=True)
child = os.fork()
if not child:
    torch.mm(torch.ones(600, 600), torch.ones(600, 600)).relu_().sum()
    torch.ones(4_000_000).add_(1)
    os._exit(0)
deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    pid, status = os.waitpid(child, os.WNOHANG)
    if pid:
        sys.exit(status)
    time.sleep(0.05)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
sys.exit("the child hangs")
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc")
def test_a_process_that_measured_has_no_more_threads_and_can_fork(run_python):
    assert run_python(MEASURED_THEN_FORKED, OMP_NUM_THREADS="2") == "True\n"


def test_the_width_of_a_checkpoint_is_its_hidden_size(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 384}))
    assert model_width(tmp_path) == 384


@pytest.mark.parametrize(
    "config", [None, "{", "[]", "{}", '{"hidden_size": "wide"}', '{"hidden_size": -1}', "[" * 10**5]
)
def test_a_checkpoint_without_a_width_is_measured_as_the_widest(tmp_path, config):
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    assert model_width(tmp_path) == 1_024
