"""The progress of a long command, on standard error: in a terminal a bar, in a pipe nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder
    from flagvec.ingest.ingest_report import IngestReport


class _Share(ProgressColumn):
    """How much of the source was read, if its size is known."""

    def render(self, task: Task) -> Text:
        return Text("" if task.total is None else f"{task.percentage:3.0f}%", style="progress.percentage")


class _TimeLeft(TimeRemainingColumn):
    """The time left, if the source's size is known."""

    def render(self, task: Task) -> Text:
        return Text("") if task.total is None else super().render(task)


class Show(Protocol):
    """Shows how far the work is."""

    def __call__(self, documents: int, retries: int = 0, failed: int = 0) -> None:
        """Show how many documents were read, requests were repeated, and documents were refused."""


@contextmanager
def progress(
    what: str, model: AbsEmbedder | None, *, share: Callable[[], float | None] | None = None, total: int | None = None
) -> Iterator[Show]:
    """Yield a function that shows documents, documents and tokens a second, retries, and failures.

    Args:
        what: The work, in front of the bar.
        model: Counts tokens; None shows none.
        share: How much of the source was read, 0 to 1; None if that is not known.
        total: How many documents there are, instead of `share`.
    """
    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield lambda documents, retries=0, failed=0: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=10),
        _Share(),
        TextColumn("{task.fields[said]}"),
        _TimeLeft(),
    )
    began, tokens_before = monotonic(), _tokens(model)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None, said="")

        def show(documents: int, retries: int = 0, failed: int = 0) -> None:
            seconds = max(monotonic() - began, 1e-3)
            said = [f"{documents:,} docs", f"{documents / seconds:,.0f}/s"]
            # What does not fit into the terminal is cut at the end.
            said += [f"{count:,} {name}" for count, name in ((failed, "failed"), (retries, "retries")) if count]
            if tokens := _tokens(model) - tokens_before:
                said.append(f"{tokens / seconds:,.0f} tok/s")
            read = share() if share is not None else documents / total if total else None
            bar.update(task, total=None if read is None else 1.0, completed=read or 0.0, said=" ".join(said))

        yield show


def counts_of(report: IngestReport) -> tuple[int, int, int]:
    """Return how many documents were read, requests were repeated, and documents were refused."""
    return report.read, sum(store.retries for store in report.stores.values()), report.failures


def _tokens(model: AbsEmbedder | None) -> int:
    return getattr(model, "tokens_encoded", 0)
