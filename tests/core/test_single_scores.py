"""The lexical and the ColBERT score, and lexical weights as words."""

import numpy as np
import pytest
import torch


def test_the_lexical_score_sums_the_products_over_shared_tokens(tiny_m3):
    found = tiny_m3.compute_lexical_matching_score({1: 0.5, 2: 0.25, 3: 1.0}, {2: 0.5, 3: 0.5, 4: 9.0})
    assert type(found) is float
    assert found == 0.625


@pytest.mark.parametrize(("first", "second"), [({}, {}), ({}, {1: 1.0}), ({1: 1.0}, {2: 1.0})])
def test_the_lexical_score_is_zero_where_no_token_is_shared(tiny_m3, first, second):
    assert tiny_m3.compute_lexical_matching_score(first, second) == 0.0


@pytest.mark.parametrize(
    ("first", "second"),
    [({"1": 0.5}, {1: 0.5}), ({1: 0.5}, {"1": 0.5}), ({"1": 0.5}, {"1": 0.5}), ({np.int64(1): 0.5}, {1: 0.5})],
)
def test_the_lexical_score_means_the_same_with_keys_as_str(tiny_m3, first, second):
    assert tiny_m3.compute_lexical_matching_score(first, second) == 0.25
    assert tiny_m3.compute_lexical_matching_score([first], [second]).tolist() == [[0.25]]


def test_the_lexical_score_of_two_lists_is_a_matrix_of_all_with_all(tiny_m3, golden):
    queries, texts = (tiny_m3.encode(t)["lexical_weights"] for t in (golden.queries[:4], golden.texts[:6]))
    found = tiny_m3.compute_lexical_matching_score(queries, texts)
    assert (found.shape, found.dtype) == ((4, 6), np.float64)
    expected = [[tiny_m3.compute_lexical_matching_score(query, text) for text in texts] for query in queries]
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(("first", "second"), [([], []), ([{1: 1.0}], []), ([], [{1: 1.0}])])
def test_the_lexical_score_of_an_empty_list_is_an_empty_matrix(tiny_m3, first, second):
    assert tiny_m3.compute_lexical_matching_score(first, second).shape == (len(first), len(second))


@pytest.mark.parametrize(("first", "second"), [({}, [{}]), ([{}], {}), (None, {}), ("ab", "ab")])
def test_the_lexical_score_refuses_a_dict_with_a_list(tiny_m3, first, second):
    with pytest.raises(TypeError, match="takes two dicts or two lists of dicts, not"):
        tiny_m3.compute_lexical_matching_score(first, second)


def test_the_colbert_score_is_the_mean_over_query_tokens_of_the_best_match(tiny_m3):
    query = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32)
    document = np.array([[0.6, 0.8, 0], [0, 0, 1], [0, 1, 0]], dtype=np.float32)
    assert tiny_m3.colbert_score(query, document) == pytest.approx((0.6 + 1) / 2)
    assert tiny_m3.colbert_score(document, query) == pytest.approx((0.8 + 0 + 1) / 3)


def test_the_colbert_score_has_item_and_is_a_float(tiny_m3):
    found = tiny_m3.colbert_score(np.eye(2), np.eye(2))
    assert isinstance(found, float)
    assert found.item() == 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_colbert_score_takes_tensors(tiny_m3, dtype):
    query, document = tiny_m3.encode(["machine learning", "ML algorithms"])["colbert_vecs"]
    tensors = (torch.from_numpy(vectors).to(dtype) for vectors in (query, document))
    assert tiny_m3.colbert_score(*tensors).item() == pytest.approx(tiny_m3.colbert_score(query, document), abs=1e-2)


def test_the_colbert_score_takes_a_tensor_that_needs_its_gradient(tiny_m3):
    assert tiny_m3.colbert_score(torch.eye(2, requires_grad=True), torch.eye(2)) == 1.0


@pytest.mark.parametrize(("rows", "others"), [(0, 2), (2, 0), (0, 0)])
def test_the_colbert_score_is_zero_without_vectors(tiny_m3, rows, others):
    assert tiny_m3.colbert_score(np.ones((rows, 3)), np.ones((others, 3))) == 0.0


@pytest.mark.parametrize(("first", "second"), [((2, 3), (2, 4)), ((3,), (2, 3)), ((1, 2, 3), (2, 3))])
def test_the_colbert_score_refuses_what_are_not_two_matrices_of_one_width(tiny_m3, first, second):
    with pytest.raises(ValueError, match="takes two matrices") as raised:
        tiny_m3.colbert_score(np.ones(first), np.ones(second))
    assert f"{first} and {second}" in str(raised.value)


def test_convert_id_to_token_gives_a_list_for_one_dict(tiny_m3):
    weights = tiny_m3.encode("library")["lexical_weights"]
    (named,) = tiny_m3.convert_id_to_token(weights)
    assert named == {"library": pytest.approx(max(weights.values()))}


def test_convert_id_to_token_gives_a_dict_a_text_for_a_list(tiny_m3):
    output = tiny_m3.encode(["library", "", "machine learning"])
    named = tiny_m3.convert_id_to_token(output["lexical_weights"])
    assert [bool(weights) for weights in named] == [True, False, True]
    assert tiny_m3.convert_id_to_token([]) == []


def test_convert_id_to_token_takes_keys_as_str(tiny_m3):
    weights = tiny_m3.encode("machine learning")["lexical_weights"]
    as_str = {str(token): weight for token, weight in weights.items()}
    assert tiny_m3.convert_id_to_token(as_str) == tiny_m3.convert_id_to_token(weights)


def test_convert_id_to_token_keeps_the_highest_weight_of_ids_that_read_the_same(tiny_m3):
    ids = [tiny_m3.tokenizer.convert_tokens_to_ids(token) for token in ("▁from", "from")]
    for weights in ((0.3, 0.2), (0.2, 0.3)):
        assert tiny_m3.convert_id_to_token(dict(zip(ids, weights, strict=True))) == [{"from": 0.3}]
