"""`compute_score` of two outputs and of pairs of texts, against the formulas written out."""

import math

import numpy as np
import pytest

from flagvec import BGEM3FlagModel, CheckpointError, M3Output

QUERY, DOCUMENT = "machine learning", "a machine that is learning algorithms"
PAIRS = [(QUERY, DOCUMENT), ("compiler", "the library compiles the library"), ("", "nothing asked")]
MODES = ["colbert", "sparse", "dense", "sparse+dense", "colbert+sparse+dense"]


@pytest.fixture(scope="module")
def query(tiny_m3):
    return tiny_m3.encode_queries([QUERY])


@pytest.fixture(scope="module")
def document(tiny_m3):
    return tiny_m3.encode_corpus([DOCUMENT])


@pytest.fixture(scope="module")
def scores(query, document):
    """Dense, sparse and ColBERT score of `query` and `document`."""
    weights, others = query["lexical_weights"][0], document["lexical_weights"][0]
    similarities = query["colbert_vecs"][0] @ document["colbert_vecs"][0].T
    return (
        float(query["dense_vecs"][0] @ document["dense_vecs"][0]),
        sum(weight * others[token] for token, weight in weights.items() if token in others),
        float(similarities.max(axis=1).mean()),
    )


@pytest.mark.parametrize("weights", [None, [1, 1, 1], (0.4, 0.2, 0.4), [0, 0, 1], np.array([1.0, 0.3, 1.0])])
def test_the_score_of_two_outputs_is_the_weighted_mean_of_the_three(tiny_m3, query, document, scores, weights):
    found = tiny_m3.compute_score(query[0], document[0], weights)
    assert type(found) is float
    assert found == pytest.approx(np.average(scores, weights=weights), abs=1e-6)


def test_the_score_of_two_outputs_takes_arguments_by_name(tiny_m3, query, document):
    by_name = tiny_m3.compute_score(q_reps=query, p_reps=document, weights=[0.4, 0.2, 0.4])
    assert by_name == tiny_m3.compute_score(query, document, [0.4, 0.2, 0.4])
    assert by_name == tiny_m3.compute_score(query, p_reps=document, weights=[0.4, 0.2, 0.4])


def test_the_score_of_two_outputs_takes_plain_dicts_where_none_stands_for_an_absent_representation(
    tiny_m3, query, document, scores
):
    without = {**query, "colbert_vecs": None}
    assert tiny_m3.compute_score(without, dict(document)) == pytest.approx(np.mean(scores[:2]), abs=1e-6)


def test_the_score_of_two_outputs_takes_unbatched_outputs(tiny_m3, query, document):
    unbatched = tiny_m3.compute_score(tiny_m3.encode(QUERY), tiny_m3.encode(DOCUMENT))
    assert unbatched == pytest.approx(tiny_m3.compute_score(query, document), abs=1e-6)


def test_the_score_of_two_outputs_takes_tensors(tiny_m3, query, document):
    tensors = tiny_m3.encode_queries([QUERY], convert_to_numpy=False)
    assert tiny_m3.compute_score(tensors, document) == pytest.approx(tiny_m3.compute_score(query, document))


@pytest.mark.parametrize(("kept", "score"), [("dense_vecs", 0), ("lexical_weights", 1), ("colbert_vecs", 2)])
def test_the_score_of_two_outputs_means_over_what_both_have(tiny_m3, query, document, scores, kept, score):
    found = tiny_m3.compute_score(query, M3Output({kept: document[kept]}), [0.4, 0.2, 0.4])
    assert found == pytest.approx(scores[score], abs=1e-6)


def test_the_score_of_two_outputs_refuses_several_texts(tiny_m3, query):
    with pytest.raises(ValueError, match=r"p_reps holds 2 texts; score one at a time: p_reps\[0\]"):
        tiny_m3.compute_score(query, tiny_m3.encode(["a", "b"]))


def test_the_score_of_two_outputs_refuses_an_output_of_nothing(tiny_m3, query):
    with pytest.raises(ValueError, match="q_reps holds 0 texts"):
        tiny_m3.compute_score(M3Output(), query)


def test_the_score_of_two_outputs_refuses_outputs_without_a_common_representation(tiny_m3, query, document):
    dense, lexical = M3Output(dense_vecs=query["dense_vecs"]), M3Output(lexical_weights=document["lexical_weights"])
    with pytest.raises(ValueError, match="no representation"):
        tiny_m3.compute_score(dense, lexical)


def test_the_score_of_two_outputs_refuses_weights_that_leave_out_all_that_both_have(tiny_m3, query, document):
    dense = M3Output(dense_vecs=query["dense_vecs"])
    with pytest.raises(ValueError, match="the weights of dense add up to 0"):
        tiny_m3.compute_score(dense, document, [0, 1, 1])


@pytest.mark.parametrize("weights", [[1, 2], [1, 1, 1, 1], [0, 0, 0], [-1, 1, 1], [1, math.nan, 1], [math.inf, 1, 1]])
def test_the_score_of_two_outputs_refuses_weights_that_are_not_three_of_zero_or_more(tiny_m3, query, document, weights):
    with pytest.raises(ValueError, match=r"weights=.*: give three finite numbers of zero or more"):
        tiny_m3.compute_score(query, document, weights)


@pytest.mark.parametrize("other", ["a text", None, 5, [1]])
def test_the_score_of_two_outputs_refuses_something_else_on_the_other_side(tiny_m3, query, other):
    with pytest.raises(TypeError, match="p_reps"):
        tiny_m3.compute_score(query, other)


def test_the_score_of_pairs_gives_a_list_a_mode_with_a_float_a_pair(tiny_m3):
    found = tiny_m3.compute_score(PAIRS)
    assert list(found) == MODES
    assert all(len(scores) == 3 and all(type(score) is float for score in scores) for scores in found.values())


@pytest.mark.parametrize("weights", [None, [0.4, 0.2, 0.4], [1, 0.3, 1]])
def test_the_score_of_pairs_combines_the_scores_by_weights(tiny_m3, scores, weights):
    dense, sparse, colbert = scores
    found = tiny_m3.compute_score((QUERY, DOCUMENT), weights_for_different_modes=weights)
    assert found == pytest.approx(
        {
            "colbert": colbert,
            "sparse": sparse,
            "dense": dense,
            "sparse+dense": np.average([dense, sparse], weights=weights and weights[:2]),
            "colbert+sparse+dense": np.average([dense, sparse, colbert], weights=weights),
        },
        abs=1e-6,
    )


@pytest.mark.parametrize("form", [tuple, list])
def test_the_score_of_pairs_gives_floats_for_one_bare_pair(tiny_m3, form):
    found = tiny_m3.compute_score(form((QUERY, DOCUMENT)))
    assert set(found) == set(MODES)
    assert all(type(score) is float for score in found.values())


def test_the_score_of_pairs_gives_lists_for_a_list_of_one_pair(tiny_m3):
    alone, listed = tiny_m3.compute_score((QUERY, DOCUMENT)), tiny_m3.compute_score([[QUERY, DOCUMENT]])
    assert listed == {mode: [score] for mode, score in alone.items()}


def test_the_score_of_pairs_gives_empty_lists_for_no_pairs(tiny_m3):
    assert tiny_m3.compute_score([]) == {mode: [] for mode in MODES}


@pytest.mark.parametrize("batch_size", [1, 2, 256])
def test_the_score_of_pairs_does_not_depend_on_the_batch_size(tiny_m3, batch_size):
    found, expected = tiny_m3.compute_score(sentence_pairs=PAIRS, batch_size=batch_size), tiny_m3.compute_score(PAIRS)
    for mode in MODES:
        assert found[mode] == pytest.approx(expected[mode], abs=1e-6)


def test_the_score_of_pairs_cuts_queries_and_passages_to_their_lengths(tiny_m3):
    found = tiny_m3.compute_score((QUERY, DOCUMENT), max_query_length=3, max_passage_length=5)
    expected = tiny_m3.compute_score(
        tiny_m3.encode(QUERY, max_length=3), tiny_m3.encode(DOCUMENT, max_length=5), [1, 1, 1]
    )
    assert found["colbert+sparse+dense"] == pytest.approx(expected, abs=1e-6)


def test_the_score_of_pairs_is_nan_where_both_weights_of_a_mode_are_zero(tiny_m3):
    found = tiny_m3.compute_score((QUERY, DOCUMENT), weights_for_different_modes=[0, 0, 1])
    assert math.isnan(found["sparse+dense"])
    assert found["colbert+sparse+dense"] == found["colbert"]


@pytest.mark.parametrize("bad", [("a",), ("a", "b", "c"), ("a", None), "ab", None])
def test_the_score_of_pairs_names_the_position_of_what_is_no_pair(tiny_m3, bad):
    with pytest.raises(TypeError, match=r"sentence_pairs\[1\] is not a pair of two str"):
        tiny_m3.compute_score([("a", "b"), bad])


@pytest.mark.parametrize("bad", ["a text", 5, None])
def test_the_score_of_pairs_refuses_something_else_than_pairs(tiny_m3, bad):
    with pytest.raises(TypeError, match=r"sentence_pairs takes \(query, document\) or a list of them"):
        tiny_m3.compute_score(bad)


def test_the_score_of_pairs_refuses_a_model_without_heads(tiny_bert_directory):
    with pytest.raises(CheckpointError, match=r"has no sparse_linear\.pt"):
        BGEM3FlagModel(tiny_bert_directory).compute_score(PAIRS)
