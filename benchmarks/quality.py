"""Measures what each fast or small mode costs in MRR@10 and recall@10, with exact search in numpy."""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
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
    "int8 and float32": {"use_fp16": False, "quantization": "int8"},
    "int8 and bfloat16": {"use_fp16": False, "use_bf16": True, "quantization": "int8"},
}
SMALLER_COLBERT: dict[str, dict[str, Any]] = {
    "384 dimensions": {},
    "192 dimensions": {"colbert_dim": 192},
    "96 dimensions": {"colbert_dim": 96},
    "48 dimensions": {"colbert_dim": 48},
    "a half of the vectors": {"colbert_pool_factor": 2},
    "a third": {"colbert_pool_factor": 3},
    "a quarter": {"colbert_pool_factor": 4},
    "a half, 96 dimensions": {"colbert_pool_factor": 2, "colbert_dim": 96},
}
RERANKED = 100
COLBERT = "colbert, of dense's best"
BYTES_A_NUMBER = 2  # as stores keep them, in float16


@dataclass(frozen=True)
class Quality:
    """The quality of a ranking.

    Args:
        rank: MRR@10.
        recall: Recall@10.
    """

    rank: float
    recall: float


@dataclass(frozen=True)
class Measured:
    """A mode's quality by representation, and the mean bytes of a document's ColBERT vectors."""

    quality: Mapping[str, Quality]
    colbert_bytes: float


def main() -> None:
    """Encode the documents and queries once in each mode and print its quality."""
    parser = argparse.ArgumentParser(description=__doc__)
    data = EXAMPLES / "data"
    parser.add_argument("--documents", type=Path, default=data / "debian-sample.jsonl.gz")
    parser.add_argument("--queries", type=Path, default=data / "debian-sample-queries.jsonl.gz")
    parser.add_argument("--limit", type=int, help="take this many documents, the queries' own among them")
    parser.add_argument("--only-precision", action="store_true", help="leave out the smaller ColBERT vectors")
    arguments = parser.parse_args()
    queries = [query for query in read(arguments.queries) if query.get("lang", "en") == "en"]
    documents = chosen(
        read(arguments.documents), {name for query in queries for name in query["relevant"]}, arguments.limit
    )
    title = f"{len(queries)} queries in {len(documents):,} documents, mini-M3"
    by_precision = {mode: measure(documents, queries, options) for mode, options in MODES.items()}
    Console().print(precision_table(title, by_precision))
    if not arguments.only_precision:
        smaller = {mode: measure(documents, queries, options) for mode, options in SMALLER_COLBERT.items()}
        Console().print(colbert_table(f"{title}: {COLBERT}", smaller))


def read(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a gzipped file of JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def chosen(documents: list[dict[str, Any]], needed: set[str], limit: int | None) -> list[dict[str, Any]]:
    """Return `limit` documents: the needed ones, then the first of the others."""
    others = [document for document in documents if document["id"] not in needed]
    kept = [document for document in documents if document["id"] in needed]
    return documents if limit is None else [*kept, *others[: max(limit - len(kept), 0)]]


def measure(documents: list[dict[str, Any]], queries: list[dict[str, Any]], options: dict[str, Any]) -> Measured:
    """Return the quality and size of a model with these options."""
    model = BGEM3FlagModel(
        mini_m3(BUILD), pooling_method="mean", return_sparse=True, return_colbert_vecs=True, **options
    )
    corpus = model.encode_corpus([document["text"] for document in documents], show_progress=True)
    asked = model.encode_queries([query["text"] for query in queries])
    ids = [document["id"] for document in documents]
    relevant = [set(query["relevant"]) for query in queries]
    scores = {
        "dense": asked["dense_vecs"] @ corpus["dense_vecs"].T,
        "sparse": (weight_matrix(asked, model) @ weight_matrix(corpus, model).T).toarray(),
    }
    scores[COLBERT] = _reranked(scores["dense"], asked, corpus)
    quality = {}
    for name, matrix in scores.items():
        best = np.argsort(-matrix, axis=1, kind="stable")[:, :DEPTH]
        rankings = [[ids[position] for position in row] for row in best]
        quality[name] = Quality(mean_reciprocal_rank(rankings, relevant), mean_recall(rankings, relevant))
    numbers = sum(vectors.size for vectors in corpus["colbert_vecs"])
    return Measured(quality, numbers * BYTES_A_NUMBER / len(documents))


def weight_matrix(output: M3Output, model: BGEM3FlagModel) -> csr_array:
    """Return lexical weights as a matrix of texts by tokens."""
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


def precision_table(title: str, found: Mapping[str, Measured]) -> Table:
    """Return a table of each representation's quality by mode, with the difference to the first mode."""
    table = _table(title, "representation", "mode", "MRR@10", "recall@10", "MRR against float32")
    for name, reference in next(iter(found.values())).quality.items():
        for mode, measured in found.items():
            quality = measured.quality[name]
            table.add_row(name, mode, *_numbers(quality), f"{quality.rank - reference.rank:+.4f}")
    return table


def colbert_table(title: str, found: Mapping[str, Measured]) -> Table:
    """Return a table of smaller ColBERT vectors: bytes, quality, and the difference to the first mode."""
    table = _table(title, "vectors", "bytes a document", "MRR@10", "recall@10", "MRR against all")
    reference = next(iter(found.values())).quality[COLBERT]
    for mode, measured in found.items():
        quality = measured.quality[COLBERT]
        size = f"{measured.colbert_bytes:,.0f}"
        table.add_row(mode, size, *_numbers(quality), f"{quality.rank - reference.rank:+.4f}")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    return table


def _numbers(quality: Quality) -> tuple[str, str]:
    return f"{quality.rank:.4f}", f"{quality.recall:.4f}"


if __name__ == "__main__":
    main()
