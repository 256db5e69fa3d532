"""Searches with ready vectors find what searches with the text find."""

import copy
import pickle

import numpy as np
import pytest

from flagvec import M3Output, Weighted

SEARCHES = {
    "dense": {"mode": "dense"},
    "sparse": {"mode": "sparse"},
    "rrf": {},
    "weighted": {"fusion": Weighted()},
    "rerank": {"rerank": "colbert", "candidates": 15},
}


@pytest.fixture(scope="module")
def encoded(tiny_m3, queries):
    return tiny_m3.encode_queries(queries[:4], return_dense=True, return_sparse=True, return_colbert_vecs=True)


@pytest.mark.parametrize("options", SEARCHES.values(), ids=SEARCHES)
def test_ready_vectors_find_what_their_text_finds(golden_store, queries, encoded, options):
    for position, query in enumerate(queries[:4]):
        expected = golden_store.search(query, **options)
        found = golden_store.search_vectors(encoded[position], **options)
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-6)
        assert {hit.id for hit in found} == {hit.id for hit in expected}


async def test_a_search_that_is_awaited_finds_the_same(golden_store, encoded):
    assert await golden_store.asearch_vectors(encoded[0]) == golden_store.search_vectors(encoded[0])


def test_one_text_encoded_from_a_bare_string_is_taken(store, seeded):
    store.add(["warm soup", "cold rice"])
    vector = seeded().encode_queries(["warm soup"], True, False, False, True)["dense_vecs"][0]
    assert store.search_vectors(M3Output(dense_vecs=vector), 1, mode="dense")[0].text == "warm soup"


def test_vectors_that_the_search_cannot_use_are_refused_before_it(store, seeded):
    dense = np.eye(16, dtype=np.float32)
    with pytest.raises(TypeError, match="takes an M3Output"):
        store.search_vectors([0.5, 0.5])
    with pytest.raises(ValueError, match="2 queries"):
        store.search_vectors(M3Output(dense_vecs=dense[:2]), mode="dense")
    with pytest.raises(ValueError, match="holds no sparse"):
        store.search_vectors(M3Output(dense_vecs=dense[:1]))
    with pytest.raises(ValueError, match="16 dimensions"):
        store.search_vectors(M3Output(dense_vecs=dense[:1, :8]), mode="dense")
    with pytest.raises(ValueError, match="length 2"):
        store.search_vectors(M3Output(dense_vecs=2 * dense[:1]), mode="dense")


def test_a_deep_copy_of_a_store_is_the_store(store):
    assert copy.deepcopy({"store": store})["store"] is store


def test_a_store_is_not_pickled(store):
    with pytest.raises(TypeError, match="make the store where it is used"):
        pickle.dumps(store)
