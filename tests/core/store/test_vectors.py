from types import MappingProxyType

import numpy as np
import pytest

from flagvec import BGEM3FlagModel, ColbertStorage, FlagModel, M3Output
from flagvec.store.encoding import dense_query, encode_documents, encode_query
from flagvec.store.vectors import NO_LIMIT, ColbertLimit, TextVectors
from flagvec.store.vectors import validated as validate

EVERYTHING = ("dense", "sparse", "colbert")


@pytest.fixture(scope="module")
def m3(tiny_m3_directory):
    return BGEM3FlagModel(tiny_m3_directory, use_fp16=False, query_instruction_for_retrieval="query: ")


def validated(output, names, limit=NO_LIMIT):
    return validate(output, names, limit).all_valid()


def unit(*shape):
    rows = np.random.default_rng(0).normal(size=shape)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def test_documents_get_all_vectors_of_a_three_headed_model(m3):
    texts = ["a first text", "and a second, longer one"]
    output = m3.encode_corpus(texts, return_dense=True, return_sparse=True, return_colbert_vecs=True)
    for position, vectors in enumerate(encode_documents(m3, texts, texts, EVERYTHING).all_valid()):
        np.testing.assert_array_equal(vectors.dense, output["dense_vecs"][position])
        np.testing.assert_array_equal(vectors.colbert, output["colbert_vecs"][position])
        assert vectors.sparse == output["lexical_weights"][position]


def test_a_representation_that_is_not_asked_for_is_not_encoded(m3):
    vectors = encode_query(m3, "a query", ("sparse",))
    assert (vectors.dense, vectors.colbert, vectors.present) == (None, None, ("sparse",))


@pytest.mark.parametrize("storage", [ColbertStorage(), ColbertStorage(bits=1, pool=2)])
def test_codes_take_the_place_of_colbert_vectors(m3, storage):
    texts = ["a first text", "and a second, longer one", ""]
    encoded = encode_documents(m3, texts, texts, EVERYTHING, colbert_storage=storage).all_valid()
    expected = m3.encode_corpus(texts, return_colbert_vecs=True).colbert_codes(storage)
    for vectors, codes in zip(encoded, expected, strict=True):
        assert vectors.colbert is None
        np.testing.assert_array_equal(vectors.colbert_codes, codes)
        assert ("colbert" in vectors.present) == (len(codes) > 0)


def test_a_text_that_is_refused_has_no_codes(m3):
    limit = ColbertLimit(3, "error")
    encoded = encode_documents(m3, ["a", "and a longer one"], ["a", "b"], EVERYTHING, limit, ColbertStorage())
    assert list(encoded.refused) == [1]
    assert [one.colbert_codes is None for one in encoded.vectors] == [False, True]


def test_a_query_gets_the_query_instruction_and_a_document_does_not(m3):
    dense = m3.encode(["query: rice", "rice"], return_sparse=False)["dense_vecs"]
    np.testing.assert_allclose(encode_query(m3, "rice", ("dense",)).dense, dense[0], atol=1e-6)
    np.testing.assert_allclose(encode_documents(m3, ["rice"], ["d"], ("dense",)).vectors[0].dense, dense[1], atol=1e-6)


def test_a_dense_model_gives_dense_vectors(tiny_bert):
    (vectors,) = encode_documents(tiny_bert, ["a text"], ["d"], ("dense",)).all_valid()
    np.testing.assert_array_equal(vectors.dense, tiny_bert.encode_corpus(["a text"])[0])
    assert vectors.present == ("dense",)


def test_a_model_that_gives_tensors_is_asked_for_arrays(tiny_m3_directory):
    model = BGEM3FlagModel(tiny_m3_directory, use_fp16=False, convert_to_numpy=False)
    assert isinstance(encode_query(model, "a query", EVERYTHING).dense, np.ndarray)


def test_a_model_that_does_not_normalise_is_refused_naming_the_document(tiny_bert_directory):
    model = FlagModel(tiny_bert_directory, normalize_embeddings=False, use_fp16=False)
    with pytest.raises(ValueError, match=r"dense vector of document 'b' has length .* normalize_embeddings=True"):
        encode_documents(model, ["a text"], ["document 'b'"], ("dense",)).all_valid()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_vector_that_is_not_finite_is_refused(bad):
    dense = unit(2, 4)
    dense[1, 2] = bad
    with pytest.raises(ValueError, match="the dense vector of second is not finite"):
        validated(M3Output(dense_vecs=dense), ["first", "second"])


def test_a_colbert_vector_that_is_not_finite_is_refused():
    rows = unit(3, 4)
    rows[2] = np.nan
    with pytest.raises(ValueError, match="ColBERT vector 2 of first is not finite"):
        validated(M3Output(colbert_vecs=[rows]), ["first"])


def test_vectors_rounded_to_half_precision_are_unit_vectors():
    half = unit(50, 1024).astype(np.float16)
    assert len(validated(M3Output(dense_vecs=half), [str(n) for n in range(50)])) == 50


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])
def test_a_lexical_weight_that_float32_cannot_hold_is_refused(bad):
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="first has a lexical weight that is not finite"):
        validated(M3Output(lexical_weights=[{5: bad}]), ["first"])


def test_lexical_weights_of_zero_and_less_are_left_out():
    (vectors,) = validated(M3Output(lexical_weights=[{5: 0.5, 6: 0.0, 7: -1.0, 8: 1e-45, 9: 1e-8, 10: 1e4}]), ["first"])
    assert vectors.sparse == {5: 0.5, 9: 1e-8, 10: 1e4}


def test_token_ids_that_went_through_json_become_numbers():
    (vectors,) = validated(M3Output(lexical_weights=[{"5": 0.5}]), ["first"])
    assert vectors.sparse == {5: 0.5}


@pytest.mark.parametrize("token", [-1, 2**32 - 2, 2**32, 2**64])
def test_a_token_id_that_is_no_unsigned_32_bit_number_is_refused(token):
    with pytest.raises(ValueError, match="token id outside 0 to 4294967293"):
        validated(M3Output(lexical_weights=[{token: 1.0}]), ["first"])


def test_a_text_of_too_many_colbert_vectors_is_refused_with_the_cap():
    validated(M3Output(colbert_vecs=[unit(8, 4)]), ["document 'a'"], ColbertLimit(8))
    with pytest.raises(ValueError, match=r"document 'b' has 9 ColBERT vectors; .* at most 8 a text"):
        validated(M3Output(colbert_vecs=[unit(9, 4)]), ["document 'b'"], ColbertLimit(8))


def test_truncation_keeps_the_first_colbert_vectors():
    (vectors,) = validated(M3Output(colbert_vecs=[unit(9, 4)]), ["d"], ColbertLimit(8, "truncate"))
    np.testing.assert_array_equal(vectors.colbert, unit(9, 4)[:8])


@pytest.mark.parametrize(("rows", "most"), [(9, 8), (8, 4), (100, 7), (5, 1)])
def test_pooling_keeps_as_many_unit_vectors_as_are_allowed(rows, most):
    (vectors,) = validated(M3Output(colbert_vecs=[unit(rows, 4)]), ["d"], ColbertLimit(most, "pool"))
    assert vectors.colbert.shape == (most, 4)
    np.testing.assert_allclose(np.linalg.norm(vectors.colbert, axis=1), 1, rtol=1e-6)


def test_pooling_takes_the_mean_of_neighbours():
    rows = unit(4, 8)
    (vectors,) = validated(M3Output(colbert_vecs=[rows]), ["d"], ColbertLimit(2, "pool"))
    means = rows.reshape(2, 2, 8).mean(axis=1)
    np.testing.assert_allclose(vectors.colbert, means / np.linalg.norm(means, axis=1, keepdims=True), rtol=1e-6)


def test_of_neighbours_that_cancel_out_pooling_keeps_the_first():
    rows = np.array([[1, 0], [-1, 0], [0, 1], [0, 1]], np.float32)
    (vectors,) = validated(M3Output(colbert_vecs=[rows]), ["d"], ColbertLimit(2, "pool"))
    np.testing.assert_array_equal(vectors.colbert, [[1, 0], [0, 1]])


def test_weights_are_plain_floats_whatever_the_models_are():
    (vectors,) = validated(M3Output(lexical_weights=[{5: np.float32(0.5), 6: np.float16(0.25)}]), ["first"])
    assert [type(weight) for weight in vectors.sparse.values()] == [float, float]


def test_one_text_of_other_numbers_does_not_change_those_of_its_batch():
    plain, whole, from_json = validated(M3Output(lexical_weights=[{5: 0.5}, {6: 1}, {"7": 0.25}]), ["a", "b", "c"])
    assert [plain.sparse, whole.sparse, from_json.sparse] == [{5: 0.5}, {6: 1.0}, {7: 0.25}]
    assert type(whole.sparse[6]) is float


@pytest.mark.parametrize("odd", [np.float64(0.5), np.float16(60_000), np.float32(0.5)])
def test_one_number_of_numpys_among_plain_ones_becomes_plain(odd):
    (vectors,) = validated(M3Output(lexical_weights=[{1: 0.5, 2: odd, 3: odd, 4: 0.5}]), ["first"])
    assert vectors.sparse == {1: 0.5, 2: float(odd), 3: float(odd), 4: 0.5}
    assert {type(weight) for weight in vectors.sparse.values()} == {float}


def test_token_ids_of_numpys_become_plain():
    (vectors,) = validated(M3Output(lexical_weights=[{1: 0.5, np.int32(2**31 - 1): 0.5, np.int32(5): 0.5}]), ["first"])
    assert vectors.sparse == {1: 0.5, 2**31 - 1: 0.5, 5: 0.5}
    assert {type(token) for token in vectors.sparse} == {int}


def test_weights_in_any_mapping_are_taken():
    (vectors,) = validated(M3Output(lexical_weights=[MappingProxyType({5: 0.5})]), ["first"])
    assert vectors.sparse == {5: 0.5}


def test_every_text_of_a_batch_needs_a_name():
    with pytest.raises(ValueError, match="zip"):
        validated(M3Output(lexical_weights=[{5: 0.5}, {6: 0.5}]), ["a"])


def test_empty_representations_are_not_present():
    vectors = TextVectors(unit(4), {}, np.empty((0, 4), np.float32))
    assert vectors.present == ("dense",)


def test_a_bad_vector_is_named_and_the_others_of_its_batch_stay_valid():
    dense = unit(3, 4)
    dense[1] *= 2
    encoded = validate(M3Output(dense_vecs=dense, lexical_weights=[{1: 0.5}, {1: 0.5}, {1: np.nan}]), ["a", "b", "c"])
    assert encoded.refused.keys() == {1, 2}
    assert "the dense vector of b has length 2" in encoded.refused[1]
    assert encoded.vectors[0].sparse == {1: 0.5}


def test_a_list_of_numbers_becomes_a_dense_query_of_length_1():
    query = dense_query([3.0, 4.0])
    assert list(query) == ["dense_vecs"]
    np.testing.assert_allclose(query["dense_vecs"], [[0.6, 0.8]])
    assert query["dense_vecs"].dtype == np.float32


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        ([], "not the shape \\(0,\\)"),
        ([[1.0, 2.0]], "not the shape \\(1, 2\\)"),
        ([0.0, 0.0], "length 0.0, which gives no direction"),
        ([1.0, float("nan")], "length nan"),
    ],
)
def test_an_embedding_without_a_direction_is_refused(embedding, message):
    with pytest.raises(ValueError, match=message):
        dense_query(embedding)
