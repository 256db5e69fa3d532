"""Every store's hits can be explained, and the parts add up to the score that its database gave."""

import pytest

from flagvec import Weighted

SEARCHES = {
    "dense": {"mode": "dense"},
    "sparse": {"mode": "sparse"},
    "rrf": {},
    "rerank": {"rerank": "colbert"},
    "weights": {"fusion": Weighted(dense=1, sparse=0.3, colbert=1)},
}


@pytest.mark.parametrize("options", SEARCHES.values(), ids=SEARCHES)
def test_the_parts_add_up_to_the_score(golden_store, queries, options):
    explained = 0
    for query in queries[:20]:
        for hit in golden_store.search(query, limit=4, **options)[::3]:
            explanation = golden_store.explain(query, hit)
            assert explanation.score == pytest.approx(hit.score, abs=1e-4), (query, hit)
            explained += 1
    assert explained > 20


def test_vectors_of_chosen_documents_come_in_the_order_of_their_ids(golden_store):
    ids = [document.id for document in golden_store.scroll()][:3]
    records = golden_store.vectors([ids[2], "not there", ids[0]])
    assert [record.document.id for record in records] == [ids[2], ids[0]]
    assert all(record.vectors.dense is not None for record in records)
