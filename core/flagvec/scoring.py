"""The scores of BGE-M3's three representations, in numpy.

The formulas are those of the M3-Embedding paper (arXiv 2402.03216, section 3.2) as FlagEmbedding computes them:
a dot product for dense vectors, the sum of weight products over shared tokens for lexical weights, and for ColBERT
the mean over query tokens of the best dot product with a document token (MaxSim).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flagvec.m3_output import M3Output

REPRESENTATIONS = ("dense", "sparse", "colbert")
PAIR_MODES = ("colbert", "sparse", "dense", "sparse+dense", "colbert+sparse+dense")


def dense_score(query: Any, document: Any) -> np.float64:
    """Return the dot product of two (dimension,) vectors; for unit vectors it lies between -1 and 1."""
    return np.float64(as_float32(query) @ as_float32(document))


def lexical_score(query: Mapping[Any, float], document: Mapping[Any, float]) -> float:
    """Return the sum of weight products over shared tokens, 0.0 if no token is shared.

    Keys are token ids, as int, or as str after a round trip through JSON.
    """
    document = with_integer_keys(document)
    return float(sum(weight * document.get(token, 0.0) for token, weight in with_integer_keys(query).items()))


def lexical_matching_score(first: Any, second: Any) -> float | NDArray[np.float64]:
    """Return `lexical_score` of two mappings, or `lexical_score_matrix` of two lists of them.

    Raises:
        TypeError: The arguments are neither two mappings nor two lists of mappings.
    """
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return lexical_score(first, second)
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return lexical_score_matrix(first, second)
    raise TypeError(
        "compute_lexical_matching_score takes two dicts or two lists of dicts, not "
        f"{type(first).__name__} and {type(second).__name__}"
    )


def lexical_score_matrix(
    queries: Sequence[Mapping[Any, float]], documents: Sequence[Mapping[Any, float]]
) -> NDArray[np.float64]:
    """Return `lexical_score` of every query with every document: (queries, documents) float64."""
    postings: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for column, document in enumerate(documents):
        for token, weight in with_integer_keys(document).items():
            postings[token].append((column, weight))
    scores = np.zeros((len(queries), len(documents)))
    for row, query in enumerate(queries):
        for token, weight in with_integer_keys(query).items():
            for column, document_weight in postings.get(token, ()):
                scores[row, column] += weight * document_weight
    return scores


def colbert_score(query: Any, document: Any) -> np.float64:
    """Return the mean over query tokens of the best dot product with a document token (mean MaxSim).

    Args:
        query: (query tokens, dimension) array or tensor.
        document: (document tokens, dimension) array or tensor.

    Returns:
        Between -1 and 1 for unit rows, 0.0 if either side has no rows. The float has ``.item()``, as FlagEmbedding's.

    Raises:
        ValueError: They are not two matrices of the same width.
    """
    query, document = as_float32(query), as_float32(document)
    if query.ndim != 2 or document.ndim != 2 or query.shape[1] != document.shape[1]:
        raise ValueError(
            "colbert_score takes two matrices (tokens, dimension) of the same dimension, "
            f"not the shapes {query.shape} and {document.shape}"
        )
    if not len(query) or not len(document):
        return np.float64(0.0)
    return np.float64((query @ document.T).max(axis=1).mean(dtype=np.float64))


def weighted_score(scores: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Return the mean of `scores`, weighted: sum(weight * score) / sum(weight) over the names in `scores`.

    This is FlagEmbedding's combined score.

    Raises:
        ValueError: The weights of these scores add up to zero.
    """
    total = sum(weights[name] for name in scores)
    if total <= 0:
        raise ValueError(f"the weights of {', '.join(scores) or 'no representation'} add up to {total}")
    return float(sum(weights[name] * score for name, score in scores.items()) / total)


def output_scores(query: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores by name. Each output holds one text, and both have the representations that are scored."""
    scores: dict[str, float] = {}
    if "dense_vecs" in query and "dense_vecs" in document:
        scores["dense"] = float(dense_score(query["dense_vecs"][0], document["dense_vecs"][0]))
    if "lexical_weights" in query and "lexical_weights" in document:
        scores["sparse"] = lexical_score(query["lexical_weights"][0], document["lexical_weights"][0])
    if "colbert_vecs" in query and "colbert_vecs" in document:
        scores["colbert"] = float(colbert_score(query["colbert_vecs"][0], document["colbert_vecs"][0]))
    return scores


def score_outputs(
    q_reps: Mapping[str, Any], p_reps: Mapping[str, Any], weights: Sequence[float] | None = None
) -> float:
    """Return the weighted mean of the scores that two outputs, of one text each, have in common.

    Args:
        q_reps: The query's output.
        p_reps: The document's output.
        weights: Weights of the dense, sparse and ColBERT scores; 1 each if None.

    Raises:
        TypeError: One of the two is not a model's output.
        ValueError: An output holds several texts, the two have no representation in common, or the weights are not
            three numbers of zero or more.
    """
    by_name = representation_weights(weights, "weights")
    query, document = _one_text(q_reps, "q_reps"), _one_text(p_reps, "p_reps")
    return weighted_score(output_scores(query, document), by_name)


def pair_scores(scores: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    """Return one pair's scores under the names of `PAIR_MODES`, as FlagEmbedding's ``compute_score`` gives them.

    ``sparse+dense`` is NaN if both weights are zero.
    """
    two = {name: scores[name] for name in ("sparse", "dense")}
    has_two = weights["sparse"] + weights["dense"] > 0
    return {
        **scores,
        "sparse+dense": weighted_score(two, weights) if has_two else float("nan"),
        "colbert+sparse+dense": weighted_score(scores, weights),
    }


def representation_weights(weights: Sequence[float] | None, argument: str) -> dict[str, float]:
    """Return the weights of dense, sparse and colbert, in this order, by name; 1 each if `weights` is None.

    Raises:
        ValueError: They are not three finite numbers of zero or more, or all are zero.
    """
    values = [1.0, 1.0, 1.0] if weights is None else [float(weight) for weight in weights]
    if len(values) != 3 or not all(np.isfinite(values)) or min(values) < 0 or sum(values) == 0:
        raise ValueError(
            f"{argument}={weights!r}: give three finite numbers of zero or more, not all zero, for dense, sparse and "
            "colbert"
        )
    return dict(zip(REPRESENTATIONS, values, strict=True))


def as_float32(values: Any) -> NDArray[np.float32]:
    """Return a numpy array, a nested list or a torch tensor on any device as a float32 array."""
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    return np.asarray(values, dtype=np.float32)


def with_integer_keys(weights: Mapping[Any, float]) -> Mapping[int, float]:
    """Return lexical weights with int keys; the same mapping if its keys are int already."""
    if all(type(token) is int for token in weights):
        return weights
    return {int(token): weight for token, weight in weights.items()}


def _one_text(output: Mapping[str, Any], argument: str) -> M3Output:
    if not isinstance(output, Mapping):
        raise TypeError(f"{argument} takes the output of one text, not {type(output).__name__}")
    batch = M3Output({key: value for key, value in output.items() if value is not None}).as_batch()
    if batch.num_texts != 1:
        raise ValueError(f"{argument} holds {batch.num_texts} texts; score one at a time: {argument}[0]")
    return batch
