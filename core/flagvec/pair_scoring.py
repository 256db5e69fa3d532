"""Scores of (query, document) texts, as ``BGEM3FlagModel.compute_score`` gives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flagvec import scoring
from flagvec.arguments import checked_batch_size, checked_pairs

if TYPE_CHECKING:
    from flagvec.bge_m3 import BGEM3FlagModel


def score_pairs(
    model: BGEM3FlagModel,
    sentence_pairs: Any,
    batch_size: int | None = None,
    max_query_length: int | None = None,
    max_passage_length: int | None = None,
    weights_for_different_modes: Sequence[float] | None = None,
) -> dict[str, float] | dict[str, list[float]]:
    """Encode and score pairs of texts, without instructions.

    Args:
        model: Gives all three representations.
        sentence_pairs: One (query, document), or a list of them.
        batch_size: How many pairs are encoded together; the model's if None.
        max_query_length: The longest query in tokens; the model's ``query_max_length`` if None.
        max_passage_length: The longest document in tokens; the model's ``passage_max_length`` if None.
        weights_for_different_modes: Weights of the dense, sparse and ColBERT scores; 1 each if None.

    Returns:
        The scores under the names of `flagvec.scoring.PAIR_MODES`: floats for one pair, lists for a list.

    Raises:
        TypeError: A pair is not two ``str``.
        ValueError: The weights are not three numbers of zero or more.
        CheckpointError: The checkpoint lacks a head.
    """
    weights = scoring.representation_weights(weights_for_different_modes, "weights_for_different_modes")
    pairs, is_one = checked_pairs(sentence_pairs)
    size = model.batch_size if batch_size is None else checked_batch_size(batch_size)
    lengths = model.query_max_length if max_query_length is None else max_query_length, max_passage_length
    rows = [
        scoring.pair_scores(scores, weights)
        for start in range(0, len(pairs), size)
        for scores in _scores(model, pairs[start : start + size], lengths)
    ]
    return rows[0] if is_one else {mode: [row[mode] for row in rows] for mode in scoring.PAIR_MODES}


def _scores(
    model: BGEM3FlagModel, pairs: Sequence[tuple[str, str]], lengths: tuple[int, int | None]
) -> Iterator[dict[str, float]]:
    queries, documents = (
        model.encode(
            texts,
            max_length=length,
            return_dense=True,
            return_sparse=True,
            return_colbert_vecs=True,
            convert_to_numpy=True,
            show_progress=False,
        )
        for texts, length in zip(zip(*pairs, strict=True), lengths, strict=True)
    )
    for position in range(len(pairs)):
        yield scoring.output_scores(queries[position], documents[position])
