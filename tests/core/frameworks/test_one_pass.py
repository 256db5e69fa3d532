"""Dense vectors and lexical weights that are asked for apart come from one forward pass."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from flagvec.frameworks.one_pass import OnePass, one_pass

TEXTS = ["How to cook rice.", "Rinse it first.", "How to cook rice.", ""]


class Counted:
    """A model that notes what it was asked to encode, and how many asked at once."""

    def __init__(self, model):
        self.model = model
        self.dimension, self.representations = model.dimension, model.representations
        self.colbert_dimension = model.colbert_dimension
        self.encoded, self.at_once, self.most_at_once = [], 0, 0

    def encode_corpus(self, texts, **options):
        return self._encode(self.model.encode_corpus, texts, options)

    def encode_queries(self, texts, **options):
        return self._encode(self.model.encode_queries, texts, options)

    def _encode(self, encode, texts, options):
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.encoded.append(list(texts))
        output = encode(texts, **options)
        self.at_once -= 1
        return output


@pytest.fixture
def counted(tiny_m3):
    return Counted(tiny_m3)


@pytest.fixture
def shared(counted):
    shared = OnePass(counted)
    shared.serve("dense")
    shared.serve("sparse")
    return shared


def same(found, expected):
    np.testing.assert_allclose(found["dense_vecs"], expected["dense_vecs"], rtol=0, atol=1e-6)
    for weights, others in zip(found["lexical_weights"], expected["lexical_weights"], strict=True):
        assert weights == pytest.approx(others, abs=1e-6)


def test_the_second_of_two_calls_encodes_nothing_and_gives_the_same(shared, counted, tiny_m3):
    first, second = shared.documents(TEXTS), shared.documents(TEXTS)
    assert len(counted.encoded) == 1
    same(first, tiny_m3.encode_corpus(TEXTS, return_colbert_vecs=False))
    same(second, first)


def test_a_text_that_comes_twice_is_encoded_once(shared, counted):
    shared.documents(TEXTS)
    assert counted.encoded == [list(dict.fromkeys(TEXTS))]


def test_only_texts_that_are_new_are_encoded(shared, counted):
    shared.documents(TEXTS[:1])
    shared.documents([*TEXTS, "another"])
    assert counted.encoded[1] == [TEXTS[1], "", "another"]


def test_queries_and_documents_of_one_text_are_kept_apart(shared, counted):
    shared.documents(TEXTS[:1])
    shared.queries(TEXTS[:1])
    assert counted.encoded == [TEXTS[:1], TEXTS[:1]]


def test_what_a_caller_does_to_its_output_does_not_reach_the_next_caller(shared):
    first = shared.documents(TEXTS)
    expected = [dict(weights) for weights in first["lexical_weights"]]
    first["lexical_weights"][0].clear()
    first["dense_vecs"][:] = 0
    again = shared.documents(TEXTS)
    assert again["lexical_weights"] == expected
    assert again["dense_vecs"].any(axis=1).all()


def test_with_one_caller_nothing_more_is_encoded_and_nothing_is_kept(counted):
    shared = OnePass(counted)
    shared.serve("dense")
    assert list(shared.documents(TEXTS)) == ["dense_vecs"]
    shared.documents(TEXTS)
    assert counted.encoded == [TEXTS, TEXTS]


def test_what_was_used_longest_ago_goes_first(counted):
    shared = OnePass(counted, max_bytes=2_000)
    shared.serve("dense")
    shared.serve("sparse")
    many = [f"text number {number}" for number in range(50)]
    assert shared.documents(many)["dense_vecs"].shape == (50, counted.dimension)
    shared.documents(many[-1:])
    shared.documents(many[:1])
    assert counted.encoded[1:] == [many[:1]]


def test_no_texts_give_no_rows(shared, counted):
    output = shared.documents([])
    assert output["dense_vecs"].shape == (0, counted.dimension)
    assert output["lexical_weights"] == []


def test_a_model_that_cannot_give_a_representation_is_named(tiny_bert):
    with pytest.raises(ValueError, match="tiny-bert' gives no sparse representation"):
        OnePass(tiny_bert).serve("sparse")


def test_a_model_without_lexical_weights_serves_dense_vectors(tiny_bert):
    shared = OnePass(tiny_bert)
    shared.serve("dense")
    np.testing.assert_array_equal(shared.queries(TEXTS)["dense_vecs"], tiny_bert.encode_queries(TEXTS))


def test_all_who_embed_with_a_model_share_one_object_as_long_as_they_live(counted):
    shared = one_pass(counted)
    assert one_pass(counted) is shared
    gone = weakref.ref(shared)
    del shared
    gc.collect()
    assert gone() is None


def test_threads_take_turns_and_each_text_is_encoded_once(shared, counted):
    with ThreadPoolExecutor(8) as threads:
        outputs = list(threads.map(shared.documents, [TEXTS] * 32))
    assert counted.encoded == [list(dict.fromkeys(TEXTS))]
    assert counted.most_at_once == 1
    for output in outputs:
        same(output, outputs[0])
