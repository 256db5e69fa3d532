"""`make bench`: measures encoding side by side with other libraries, as ratios from one run.

Each contender is a process in the environment that it needs; `build/bench-environment` is that of the peers. It loads
its model once. Then the contenders encode the same texts in turns, one at a time, because other load then slows down
all of them. Seconds are the best of the turns, because other load can only add to them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import venv
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from workloads import (
    BUILD,
    LONG_MIX_MAX_LENGTH,
    ROOT,
    SHORT_QUERY,
    bulk_texts,
    long_mix,
    m3_shape,
    mini_m3,
    texts_of_length,
)

PEERS = BUILD / "bench-environment"
PEER_PACKAGES = ("FlagEmbedding==1.4.2", "sentence-transformers", "openvino")
SWEPT_BATCH_SIZES = (8, 2, 4)
AS_CHOSEN = "as chosen"
INT8 = "int8"
DEFAULT_BATCH = "FlagEmbedding, default batch"
# From the slowest batch size to the best one.
FLAGEMBEDDING = (DEFAULT_BATCH, *(f"FlagEmbedding, batch {size}" for size in SWEPT_BATCH_SIZES))
WARM_UP_TEXTS = 8
TURN_SECONDS = 15.0
PLOTTED = ("flagvec", FLAGEMBEDDING[-1], "sentence-transformers, dense only", "OpenVINO")
PLOTTED_LENGTHS = (8, 16, 32, 64, 128, 256)
PLOTTED_WORDS = 2_048
PLOTTED_MAX_LENGTH = 512
PLOTTED_SECONDS = 2.0
PLOTTED_TURNS = 4


@dataclass(frozen=True)
class Model:
    """A model to encode with.

    Args:
        name: Its name in tables.
        checkpoint: Makes its checkpoint in a directory, unless it is there, and returns its path.
        pooling: Its ``pooling_method``.
        texts: The number of texts of the bulk workload; FlagEmbedding encodes so many in one to three minutes.
        long_texts: The number of texts of the long workload, a multiple of 6.
    """

    name: str
    checkpoint: Callable[[Path], Path]
    pooling: str
    texts: int
    long_texts: int


MODELS = (
    Model("BGE-M3's shape", m3_shape, "cls", texts=64, long_texts=6),
    Model("mini-M3", mini_m3, "mean", texts=400, long_texts=12),
)


@dataclass(frozen=True)
class Workload:
    """Texts to encode.

    Args:
        name: Its name in the table.
        texts: The texts.
        max_length: The most tokens of a text.
        repeats: How often a turn encodes them if once is too short to time; the median counts.
        at_least: The least seconds of a turn. A faster contender encodes again and its best time counts, so each
            contender has the same chance of a quiet machine.
        once: Labels of contenders that are so slow that they get one turn.
        leaves_out: Labels of contenders that are too slow for this workload.
    """

    name: str
    texts: Sequence[str]
    max_length: int
    repeats: int = 1
    at_least: float = 0.0
    once: Collection[str] = ()
    leaves_out: Collection[str] = ()


@dataclass(frozen=True)
class Entry:
    """A row of the table: a contender's process and its batch size."""

    label: str
    contender: str
    precision: str
    batch_size: int | None = None


class Process:
    """A running contender."""

    def __init__(self, entry: Entry, checkpoint: Path, pooling: str) -> None:
        is_peer = entry.contender in _PEER_CONTENDERS
        python = PEERS / "bin/python" if is_peer else Path(sys.executable)
        # On a peer's path, our alias would hide FlagEmbedding.
        environment = {name: value for name, value in os.environ.items() if not (is_peer and name == "PYTHONPATH")}
        command = [
            python,
            Path(__file__).with_name("contenders.py"),
            entry.contender,
            checkpoint,
            pooling,
            entry.precision,
        ]
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        self._read(entry.contender)

    def encode(
        self, texts: Path, max_length: int, batch_size: int | None, repeats: int = 1, at_least: float = 0.0
    ) -> dict[str, float]:
        """Encode and return ``seconds``, and ``peak_mb`` of memory so far."""
        assert self._process.stdin is not None
        request = {
            "texts": str(texts),
            "max_length": max_length,
            "batch_size": batch_size,
            "repeats": repeats,
            "at_least": at_least,
        }
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._read("contender")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _read(self, name: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{name} ended: run contenders.py by hand to see why")
        return json.loads(line)  # type: ignore[no-any-return]


_PEER_CONTENDERS = frozenset({"flagembedding", "sentence_transformers", "openvino"})


def main() -> None:
    """Measure the models of the command line and print tables."""
    arguments = parse_arguments()
    if not arguments.ours:
        make_peer_environment()
    console = Console(width=120)
    console.print(describe_machine())
    for model in MODELS:
        if arguments.model in (model.name, "both"):
            measure_model(console, model, arguments)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=(*(model.name for model in MODELS), "both"), default="both")
    parser.add_argument("--texts", type=int, help="texts of the bulk workload")
    parser.add_argument("--long-texts", type=int, help="texts of the long workload, a multiple of 6")
    parser.add_argument("--turns", type=int, default=2, help="how often each contender encodes each workload")
    parser.add_argument("--turn-seconds", type=float, default=TURN_SECONDS, help="how long a turn lasts at least")
    parser.add_argument("--ours", action="store_true", help="measure flagvec and the bare products only")
    parser.add_argument("--workloads", type=int, help="measure this many of: bulk, one short query, long texts")
    parser.add_argument("--only", nargs="+", metavar="LABEL", help="measure these, bare products among them")
    parser.add_argument("--half", default="bfloat16", choices=("bfloat16", "float32"), help="the fast precision")
    parser.add_argument("--plot", type=Path, help="the folder in which to draw throughput against length")
    return parser.parse_args()


def measure_model(console: Console, model: Model, arguments: argparse.Namespace) -> None:
    """Measure all contenders on one model."""
    half = arguments.half
    checkpoint = model.checkpoint(BUILD)
    chosen, description = chosen_format(checkpoint)
    console.print(f"{model.name}: {description}")
    entries = [
        Entry("flagvec", "flagvec", half),
        Entry("flagvec by default", "flagvec", AS_CHOSEN),
        Entry("flagvec, dense only", "flagvec_dense", half),
        Entry("flagvec float32", "flagvec", "float32"),
        Entry("flagvec int8", "flagvec", INT8),
        Entry(DEFAULT_BATCH, "flagembedding", "float32"),
        *(
            Entry(label, "flagembedding", "float32", size)
            for label, size in zip(FLAGEMBEDDING[1:], SWEPT_BATCH_SIZES, strict=True)
        ),
        Entry("sentence-transformers, dense only", "sentence_transformers", half),
        Entry("OpenVINO", "openvino", half),
        Entry("bare products", "bound", half),
        Entry("bare products float32", "bound", "float32"),
    ]
    if arguments.ours:
        entries = [entry for entry in entries if entry.contender not in _PEER_CONTENDERS]
    if arguments.only:
        entries = [entry for label in arguments.only for entry in entries if entry.label == label]
    longest = min(LONG_MIX_MAX_LENGTH, 512 if model.pooling == "mean" else 2_048)
    texts = bulk_texts(arguments.texts or model.texts)
    long_texts = long_mix(arguments.long_texts or model.long_texts)
    workloads = [
        Workload(f"{len(texts)} texts", texts, 512, at_least=arguments.turn_seconds, once=(DEFAULT_BATCH,)),
        Workload("one short query", [SHORT_QUERY], 512, repeats=30),
        Workload(
            f"{len(long_texts)} texts up to {longest:,} tokens",
            long_texts,
            longest,
            at_least=arguments.turn_seconds,
            leaves_out=FLAGEMBEDDING[:-1],
        ),
    ][: arguments.workloads]
    with running(entries, checkpoint, model.pooling) as processes:
        for workload in workloads:
            asked = [entry for entry in entries if entry.label not in workload.leaves_out]
            answers = take_turns(asked, processes, workload, arguments.turns)
            console.print(as_table(f"{model.name}: {workload.name}", asked, answers, chosen))
        if arguments.plot:
            plotted = [entry for entry in entries if entry.label in PLOTTED]
            plot_lengths(arguments.plot / f"throughput-{checkpoint.name}.png", model.name, plotted, processes)


@contextmanager
def running(entries: Sequence[Entry], checkpoint: Path, pooling: str) -> Iterator[dict[tuple[str, str], Process]]:
    """Start one process for each contender and precision; end them all afterwards."""
    with ExitStack() as stack:
        processes = {}
        for entry in entries:
            key = (entry.contender, entry.precision)
            if key not in processes:
                processes[key] = Process(entry, checkpoint, pooling)
                stack.callback(processes[key].close)
        yield processes


def take_turns(
    entries: Sequence[Entry], processes: dict[tuple[str, str], Process], workload: Workload, turns: int
) -> list[dict[str, float]]:
    """Warm up every entry, let them encode the workload in `turns` turns, and return each one's best."""
    warm_up = write_texts(bulk_texts(WARM_UP_TEXTS), "warm-up")
    texts = write_texts(workload.texts, "texts")
    for entry in entries:
        processes[entry.contender, entry.precision].encode(warm_up, workload.max_length, entry.batch_size)
    seconds: list[list[float]] = [[] for _ in entries]
    last: list[dict[str, float]] = [{} for _ in entries]
    for turn in range(turns):
        for position, entry in enumerate(entries):
            if turn and entry.label in workload.once:
                continue
            process = processes[entry.contender, entry.precision]
            last[position] = process.encode(
                texts, workload.max_length, entry.batch_size, workload.repeats, workload.at_least
            )
            seconds[position].append(last[position]["seconds"])
    return [answer | {"seconds": min(times)} for answer, times in zip(last, seconds, strict=True)]


def write_texts(texts: Sequence[str], name: str) -> Path:
    """Write texts to a file for the contenders."""
    path = BUILD / f"bench-{name}.json"
    path.write_text(json.dumps(list(texts)), encoding="utf-8")
    return path


def as_table(title: str, entries: Sequence[Entry], answers: Sequence[dict[str, float]], chosen: str) -> Table:
    """Return a table of seconds, tokens a second, our ratio, the share of the bound, and peak memory.

    Args:
        title: Its title.
        entries: The contenders.
        answers: Their best answers.
        chosen: The format that flagvec runs in by default, whose bound is the bound of that entry.
    """
    ours = answers[0]["seconds"]
    tokens = next(answer["tokens"] for answer in answers if "tokens" in answer)
    bounds = {
        entry.precision: answer["seconds"]
        for entry, answer in zip(entries, answers, strict=True)
        if entry.contender == "bound"
    }
    # The products of int8 have no bound of their own here.
    bounds |= {precision: bounds[chosen] for precision in (AS_CHOSEN, INT8) if chosen in bounds}
    table = Table(title=f"{title}, {tokens:,.0f} tokens", title_justify="left")
    for column in ("contender", "seconds", "tokens/s", "flagvec is", "of the bound", "peak MB"):
        table.add_column(column, justify="left" if column == "contender" else "right")
    for entry, answer in zip(entries, answers, strict=True):
        seconds = answer["seconds"]
        table.add_row(
            f"{entry.label} ({entry.precision})",
            f"{seconds:.4f}",
            f"{tokens / seconds:,.0f}",
            f"{seconds / ours:.2f}x",
            f"{bounds[entry.precision] / seconds:.0%}" if entry.precision in bounds else "",
            f"{answer['peak_mb']:,.0f}",
        )
    return table


def plot_lengths(path: Path, title: str, entries: Sequence[Entry], processes: dict[tuple[str, str], Process]) -> None:
    """Draw words a second against the length of texts."""
    import matplotlib.pyplot as plt

    best: dict[str, list[float]] = {entry.label: [] for entry in entries}
    for words in PLOTTED_LENGTHS:
        texts = texts_of_length(words, max(PLOTTED_WORDS // words, 4))
        workload = Workload(f"{words} words", texts, PLOTTED_MAX_LENGTH, at_least=PLOTTED_SECONDS, once=FLAGEMBEDDING)
        for entry, answer in zip(entries, take_turns(entries, processes, workload, PLOTTED_TURNS), strict=True):
            best[entry.label].append(words * len(texts) / answer["seconds"])
    figure, axes = plt.subplots(figsize=(7, 4))
    for label, rates in best.items():
        axes.plot(PLOTTED_LENGTHS, rates, marker="o", label=label)
    axes.set(title=title, xscale="log", xlabel="words a text", ylabel="words a second")
    axes.set_ylim(bottom=0)
    axes.set_xticks(PLOTTED_LENGTHS, [str(words) for words in PLOTTED_LENGTHS])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110, bbox_inches="tight")


def make_peer_environment() -> None:
    """Make the environment of the other contenders, unless it exists."""
    if (PEERS / ".ready").exists():
        return
    venv.create(PEERS, with_pip=True)
    install = [str(PEERS / "bin/python"), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([*install, "torch", *PEER_PACKAGES], check=True)
    (PEERS / ".ready").touch()


def chosen_format(checkpoint: Path) -> tuple[str, str]:
    """Return the format that flagvec runs a model in by default on this CPU, and the rates it was chosen by."""
    import torch

    from flagvec.engine.devices import choose_dtype, cpu_has_bfloat16
    from flagvec.engine.number_format import measured, model_width

    width = model_width(checkpoint)
    dtype = choose_dtype(torch.device("cpu"), use_fp16=True, use_bf16=False, width=width)
    return str(dtype).removeprefix("torch."), (
        f"by default {measured(width)}" if cpu_has_bfloat16() else "float32, because this CPU has no bfloat16"
    )


def describe_machine() -> str:
    """Return the CPU, its half-precision instructions, threads and versions."""
    import torch
    import transformers

    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    found = [flag for flag in ("amx_bf16", "avx512_bf16", "avx512_vnni", "avx512f", "avx2") if flag in flags]
    model = next((line.split(":")[1].strip() for line in flags.splitlines() if line.startswith("model name")), "")
    return (
        f"{model or platform.processor()}, {' '.join(found[:1])}, {torch.get_num_threads()} threads; Python "
        f"{platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}"
    )


if __name__ == "__main__":
    main()
