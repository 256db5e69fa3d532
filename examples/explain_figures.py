"""Draw the figures of docs/explain.md: python examples/explain_figures.py [folder]."""

import sys
import tempfile
from pathlib import Path

from debian import load_documents
from flagvec import BGEM3FlagModel, Weighted
from flagvec.explain import compare, explain, show_weights
from flagvec_qdrant import QdrantEdgeStore

QUERY = "program to manage passwords and logins"
DPI = 110  # which keeps each file below 100 kB


def draw(folder: Path) -> None:
    """Write the figures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    model = BGEM3FlagModel("mini-m3", use_fp16=False)
    with tempfile.TemporaryDirectory() as place, QdrantEdgeStore(model, Path(place) / "store") as store:
        store.create()
        store.add(load_documents()[:800])
        best = store.search(QUERY, fusion=Weighted())[0]
        explain(QUERY, best, store).figure().savefig(folder / "explain-hit.png", dpi=DPI)
        compare(QUERY, store).figure(9).savefig(folder / "explain-compare.png", dpi=DPI)
        show_weights(model, best.text).figure().savefig(folder / "explain-weights.png", dpi=DPI)


if __name__ == "__main__":
    draw(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs/figures"))
