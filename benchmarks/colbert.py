"""Measures what smaller ColBERT vectors cost in MRR@10, with mini-M3 and exact scores.

    python benchmarks/colbert.py [--documents FILE --queries FILE] [--limit 6000] [--bits 1 2 4 8] [--pool 1 2 3]

Each query's candidates are the 100 best documents by dense score and the 100 best by lexical weights. They are ranked
by ColBERT alone, and by the mean of the three scores. A difference to float16 is followed by its 95 % interval, from
paired bootstrap samples of the queries.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flagvec import BGEM3FlagModel
from flagvec.late_interaction.codec import ColbertCodec
from flagvec.late_interaction.pooling import pooled_rows
from quality import chosen, read, weight_matrix
from workloads import BUILD, EXAMPLES, mini_m3

# isort: split
from evaluation import reciprocal_rank  # in the folder that workloads puts on the path

CANDIDATES = 100
SAMPLES = 10_000
RANKINGS = ("ColBERT", "all three")
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Query:
    """A query with its candidates.

    Args:
        rows: (tokens, dimension) ColBERT vectors.
        candidates: The positions of its candidates among the documents.
        others: The sum of each candidate's dense and sparse score.
        relevant: The positions of the documents that answer it.
    """

    rows: Rows
    candidates: NDArray[np.intp]
    others: NDArray[np.float64]
    relevant: frozenset[int]


@dataclass(frozen=True)
class Choice:
    """How ColBERT vectors are kept."""

    bits: int
    pool: int
    seed: int = 0

    def __str__(self) -> str:
        """Return a short name; float16 is 16 bits."""
        bits = "float16" if self.bits == 16 else f"{self.bits} bits" if self.bits > 1 else "1 bit"
        return f"{bits}, pool {self.pool}" + (f", seed {self.seed}" if self.seed else "")


def main() -> None:
    """Encode the documents and queries once, and print a table of each choice's quality."""
    options = _options()
    asked = [query for query in read(options.queries) if query.get("lang", "en") == "en"]
    documents = chosen(read(options.documents), {name for one in asked for name in one["relevant"]}, options.limit)
    rows, queries = _encoded(documents, asked)
    choices = [Choice(16, 1)]
    choices += [Choice(bits, pool) for pool in options.pool for bits in [16, *options.bits] if (bits, pool) != (16, 1)]
    choices += [Choice(bits, 1, seed) for bits in options.bits for seed in range(1, options.seeds) if bits < 4]
    print(f"{len(queries)} queries in {len(documents):,} documents, mini-M3\n")
    _print_row("vectors", "bytes a document", *(part for name in RANKINGS for part in (name, "difference")))
    _print_row(*["---"] * (2 + 2 * len(RANKINGS)))
    native: Mapping[str, NDArray[np.float64]] | None = None
    for choice, size, ranks in measured(rows, queries, choices):
        native = native or ranks
        cells = (cell for name in RANKINGS for cell in _cells(ranks[name], native[name]))
        _print_row(str(choice), f"{size:,.0f}", *cells)


def _print_row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def _encoded(
    documents: Sequence[Mapping[str, str]], asked: Sequence[Mapping[str, str]]
) -> tuple[list[Rows], list[Query]]:
    """Return the ColBERT vectors of all documents, in float16's precision, and the queries."""
    model = BGEM3FlagModel(
        mini_m3(BUILD), pooling_method="mean", use_fp16=False, return_sparse=True, return_colbert_vecs=True
    )
    corpus = model.encode_corpus([document["text"] for document in documents], show_progress=True)
    output = model.encode_queries([query["text"] for query in asked])
    dense = output["dense_vecs"] @ corpus["dense_vecs"].T
    sparse = (weight_matrix(output, model) @ weight_matrix(corpus, model).T).toarray()
    places = {document["id"]: place for place, document in enumerate(documents)}
    queries = []
    for row, query in enumerate(asked):
        legs = [np.argsort(-scores[row], kind="stable")[:CANDIDATES] for scores in (dense, sparse)]
        candidates = np.union1d(*legs)
        others = (dense[row, candidates] + sparse[row, candidates]).astype(np.float64)
        relevant = frozenset(places[name] for name in query["relevant"])
        queries.append(Query(output["colbert_vecs"][row], candidates, others, relevant))
    return list(corpus["colbert_vecs"]), queries


def measured(
    rows: Sequence[Rows], queries: Sequence[Query], choices: Sequence[Choice]
) -> Iterator[tuple[Choice, float, dict[str, NDArray[np.float64]]]]:
    """Yield each choice with its mean bytes a document and each query's reciprocal rank by ranking."""
    needed = sorted({int(place) for query in queries for place in query.candidates})
    pools: dict[int, dict[int, Rows]] = {}
    for choice in choices:
        if choice.pool not in pools:
            pools[choice.pool] = {place: pooled_rows(rows[place], choice.pool) for place in needed}
        codec = ColbertCodec(rows[0].shape[1], choice.bits, choice.seed)
        kept = {place: codec.decode(codec.encode(pooled)) for place, pooled in pools[choice.pool].items()}
        size = codec.row_bytes * np.mean([len(pooled) for pooled in kept.values()])
        yield choice, float(size), reciprocal_ranks(queries, kept)


def reciprocal_ranks(queries: Sequence[Query], kept: Mapping[int, Rows]) -> dict[str, NDArray[np.float64]]:
    """Return each query's reciprocal rank by ranking, with these ColBERT vectors of the documents, by position."""
    colbert = [np.zeros(len(query.candidates)) for query in queries]
    for place, asking in _asking(queries).items():
        # All queries that a document is a candidate of, at once: one by one takes ten times as long.
        products = np.concatenate([queries[number].rows for number, _ in asking]) @ kept[place].T
        best = products.max(axis=1)
        starts = np.cumsum([0, *(len(queries[number].rows) for number, _ in asking)])
        for (number, column), start, end in zip(asking, starts[:-1], starts[1:], strict=True):
            colbert[number][column] = best[start:end].mean()
    ranks: dict[str, list[float]] = {name: [] for name in RANKINGS}
    for query, found in zip(queries, colbert, strict=True):
        for name, scores in zip(RANKINGS, (found, found + query.others), strict=True):
            order = query.candidates[np.argsort(-scores, kind="stable")]
            ranks[name].append(reciprocal_rank(order.tolist(), query.relevant))
    return {name: np.array(values) for name, values in ranks.items()}


def _asking(queries: Sequence[Query]) -> dict[int, list[tuple[int, int]]]:
    """Return, for each document that is a candidate, the queries, and its column among their candidates."""
    found: dict[int, list[tuple[int, int]]] = {}
    for number, query in enumerate(queries):
        for column, place in enumerate(query.candidates.tolist()):
            found.setdefault(place, []).append((number, column))
    return found


def _cells(ranks: NDArray[np.float64], native: NDArray[np.float64]) -> tuple[str, str]:
    """Return MRR@10, and the difference to the native vectors with its interval."""
    differences = ranks - native
    picks = np.random.default_rng(0).integers(len(ranks), size=(SAMPLES, len(ranks)))
    low, high = np.percentile(differences[picks].mean(axis=1), [2.5, 97.5])
    return f"{ranks.mean():.4f}", f"{differences.mean():+.4f} ({low:+.4f} to {high:+.4f})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = EXAMPLES / "data"
    parser.add_argument("--documents", type=Path, default=data / "debian-sample.jsonl.gz")
    parser.add_argument("--queries", type=Path, default=data / "debian-sample-queries.jsonl.gz")
    parser.add_argument("--limit", type=int, help="take this many documents, the queries' own among them")
    parser.add_argument("--bits", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--pool", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--seeds", type=int, default=1, help="rotations to try at one and two bits")
    return parser.parse_args()


if __name__ == "__main__":
    main()
