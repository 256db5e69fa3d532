"""A model's output in a notebook: what it holds, not its numbers."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from flagvec.explain.html import FAINT, bar, isolated, page, table

if TYPE_CHECKING:
    from flagvec.m3_output import M3Output

_SHOWN_TEXTS = 5
_NAMES = {"dense_vecs": "dense", "lexical_weights": "sparse", "colbert_vecs": "colbert"}


def output_html(output: M3Output) -> str:
    """Return a table of the representations, and of the first texts' sizes."""
    batch = output.as_batch()
    texts = batch.num_texts
    head = f"{texts:,} text{'' if texts == 1 else 's'}" + (
        f", {len(output.truncated):,} truncated" if output.truncated else ""
    )
    keys = [key for key in _NAMES if batch[key] is not None]
    rows = [
        [isolated(str(number)), *(escape(_size(key, batch[key][number])) for key in keys)]
        for number in range(min(texts, _SHOWN_TEXTS))
    ]
    more = f'<div style="{FAINT}">{texts - _SHOWN_TEXTS:,} more texts</div>' if texts > _SHOWN_TEXTS else ""
    names = [f"{key}" for key in keys]
    legend = " ".join(f"{bar(1.0, _NAMES[key], _NAMES[key], '9px')} {escape(_NAMES[key])}&ensp;" for key in keys)
    return page(
        f'<div style="font-weight:600">{escape(type(output).__name__)} '
        f'<span style="{FAINT};font-weight:400">{escape(head)}</span></div><div>{legend}</div>',
        table(["text", *names], rows) if keys else "",
        more,
    )


def _size(key: str, value: Any) -> str:
    if key == "dense_vecs":
        return f"{len(value):,} numbers"
    if key == "lexical_weights":
        heaviest = max(value.values(), default=0.0)
        return f"{len(value):,} tokens, largest weight {heaviest:.2f}"
    return " × ".join(f"{size:,}" for size in value.shape) + " (tokens × numbers)"
