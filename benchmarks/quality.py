"""What each fast mode costs in quality: MRR@10 and recall@10 of every representation, searched exactly in numpy."""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_array
from tqdm import tqdm

from flagvec import BGEM3FlagModel, M3Output
from workloads import BUILD, EXAMPLES, mini_m3

# isort: split
from evaluation import DEPTH, mean_recall, mean_reciprocal_rank  # in the folder that workloads puts on the path

MODES: dict[str, dict[str, Any]] = {
    "float32": {"use_fp16": False},
    "bfloat16": {"use_fp16": False, "use_bf16": True},
}
RERANKED = 100


def main() -> None:
    """Encode the documents and queries once in each mode and print what is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    data = EXAMPLES / "data"
    parser.add_argument("--documents", type=Path, default=data / "debian-sample.jsonl.gz")
    parser.add_argument("--queries", type=Path, default=data / "debian-sample-queries.jsonl.gz")
    parser.add_argument("--limit", type=int, help="take this many documents, the queries' own among them")
    arguments = parser.parse_args()
    queries = [query for query in read(arguments.queries) if query.get("lang", "en") == "en"]
    documents = chosen(
        read(arguments.documents), {name for query in queries for name in query["relevant"]}, arguments.limit
    )
    found = {mode: measure(documents, queries, options) for mode, options in MODES.items()}
    Console().print(as_table(found, len(documents), len(queries)))


def read(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a gzipped file of JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def chosen(documents: list[dict[str, Any]], needed: set[str], limit: int | None) -> list[dict[str, Any]]:
    """Return `limit` documents: the needed ones, then the first of the others."""
    others = [document for document in documents if document["id"] not in needed]
    kept = [document for document in documents if document["id"] in needed]
    return documents if limit is None else [*kept, *others[: max(limit - len(kept), 0)]]


def measure(
    documents: list[dict[str, Any]], queries: list[dict[str, Any]], options: dict[str, Any]
) -> dict[str, tuple[float, float]]:
    """Return MRR@10 and recall@10 by representation."""
    model = BGEM3FlagModel(
        mini_m3(BUILD), pooling_method="mean", return_sparse=True, return_colbert_vecs=True, **options
    )
    corpus = model.encode_corpus([document["text"] for document in documents], show_progress=True)
    asked = model.encode_queries([query["text"] for query in queries])
    ids = [document["id"] for document in documents]
    relevant = [set(query["relevant"]) for query in queries]
    scores = {
        "dense": asked["dense_vecs"] @ corpus["dense_vecs"].T,
        "sparse": (_matrix(asked, model) @ _matrix(corpus, model).T).toarray(),
    }
    scores["colbert, of dense's best"] = _reranked(scores["dense"], asked, corpus)
    results = {}
    for name, matrix in scores.items():
        best = np.argsort(-matrix, axis=1, kind="stable")[:, :DEPTH]
        rankings = [[ids[position] for position in row] for row in best]
        results[name] = mean_reciprocal_rank(rankings, relevant), mean_recall(rankings, relevant)
    return results


def _matrix(output: M3Output, model: BGEM3FlagModel) -> csr_array:
    weights = output["lexical_weights"]
    values = [weight for text in weights for weight in text.values()]
    columns = [token for text in weights for token in text]
    starts = np.cumsum([0, *map(len, weights)])
    return csr_array((values, columns, starts), shape=(len(weights), len(model.tokenizer)))


def _reranked(dense: NDArray[np.float32], queries: M3Output, documents: M3Output) -> NDArray[np.float32]:
    """Return ColBERT scores of each query's best documents by dense score, minus infinity for the others."""
    scores = np.full(dense.shape, -np.inf, dtype=np.float32)
    best = np.argsort(-dense, axis=1, kind="stable")[:, :RERANKED]
    for row, positions in enumerate(tqdm(best, desc="ColBERT")):
        query = queries["colbert_vecs"][row]
        for position in positions:
            scores[row, position] = (query @ documents["colbert_vecs"][position].T).max(axis=1).mean()
    return scores


def as_table(found: dict[str, dict[str, tuple[float, float]]], documents: int, queries: int) -> Table:
    """Return MRR@10 and recall@10 by mode and representation, and how far each mode is from the first."""
    table = Table(title=f"{queries} queries in {documents:,} documents, mini-M3", title_justify="left")
    for column in ("representation", "mode", "MRR@10", "recall@10", "MRR against float32"):
        table.add_column(column)
    for name, reference in next(iter(found.values())).items():
        for mode, results in found.items():
            (rank, recall), difference = results[name], results[name][0] - reference[0]
            table.add_row(name, mode, f"{rank:.4f}", f"{recall:.4f}", f"{difference:+.4f}")
    return table


if __name__ == "__main__":
    main()
