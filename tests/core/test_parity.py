"""Equality with FlagEmbedding 1.4.2 in float32, on its stored outputs."""

import numpy as np
import pytest

from flagvec import FlagModel

TOLERANCE = 1e-5
LENGTHS = {"full": 128, "short": 16}
SCORES = {"scores_default": None, "scores_04_02_04": [0.4, 0.2, 0.4]}


@pytest.fixture(scope="module", params=LENGTHS)
def length(request):
    return request.param


@pytest.fixture(scope="module")
def output(tiny_m3, golden, length):
    return tiny_m3.encode(golden.texts, max_length=LENGTHS[length])


def test_dense_vectors_equal_flagembedding(output, golden, length):
    np.testing.assert_allclose(output["dense_vecs"], golden.arrays[f"m3_{length}_dense"], rtol=0, atol=TOLERANCE)


def test_colbert_vectors_have_the_rows_of_flagembedding(output, golden, length):
    assert [len(vectors) for vectors in output["colbert_vecs"]] == golden.arrays[f"m3_{length}_colbert_len"].tolist()


def test_colbert_vectors_equal_flagembedding(output, golden, length):
    found = np.concatenate(output["colbert_vecs"])
    np.testing.assert_allclose(found, golden.arrays[f"m3_{length}_colbert"], rtol=0, atol=TOLERANCE)


def test_lexical_weights_have_the_tokens_of_flagembedding(output, golden, length):
    expected = [{int(token) for token in weights} for weights in golden.values[length]]
    assert [set(weights) for weights in output["lexical_weights"]] == expected


def test_lexical_weights_equal_flagembedding(output, golden, length):
    for found, expected in zip(output["lexical_weights"], golden.values[length], strict=True):
        assert found == pytest.approx({int(token): weight for token, weight in expected.items()}, rel=0, abs=TOLERANCE)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_pooled_vectors_equal_flagembedding(tiny_bert_directory, golden, pooling, normalize):
    model = FlagModel(
        tiny_bert_directory,
        pooling_method=pooling,
        normalize_embeddings=normalize,
        use_fp16=False,
        query_instruction_for_retrieval="Represent this query: ",
    )
    for key, found in (
        ("bert", model.encode(golden.texts, max_length=128)),
        ("bertq", model.encode_queries(golden.queries, max_length=128)),
    ):
        np.testing.assert_allclose(found, golden.arrays[f"{key}_{pooling}_{normalize}"], rtol=0, atol=TOLERANCE)


def test_lexical_scores_equal_flagembedding(tiny_m3, golden):
    queries, texts = (
        tiny_m3.encode(texts, max_length=128)["lexical_weights"] for texts in (golden.queries, golden.texts)
    )
    found = tiny_m3.compute_lexical_matching_score(queries, texts)
    np.testing.assert_allclose(found, golden.arrays["lexical_matrix"], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("key", SCORES)
def test_scores_of_pairs_equal_flagembedding(tiny_m3, golden, key):
    found = tiny_m3.compute_score(
        list(zip(golden.queries, golden.texts[:20], strict=True)),
        max_query_length=128,
        max_passage_length=128,
        weights_for_different_modes=SCORES[key],
    )
    assert list(found) == list(golden.values[key])
    for mode, scores in golden.values[key].items():
        assert found[mode] == pytest.approx(scores, rel=0, abs=TOLERANCE), mode
