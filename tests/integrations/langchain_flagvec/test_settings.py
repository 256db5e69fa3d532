"""A file of `flagvec tune` in the frameworks' classes."""

import pytest

from flagvec import Weighted
from flagvec.search.settings import load_settings, save_settings
from flagvec_qdrant import QdrantEdgeStore


@pytest.fixture
def options(tmp_path):
    save_settings(tmp_path / "s.json", {"fusion": Weighted(0.1, 0.9, 0), "candidates": 50})
    return load_settings(tmp_path / "s.json")


def test_each_class_takes_the_settings(tmp_path, tiny_m3, options):
    from llama_index.core.vector_stores.types import VectorStoreQuery

    import langchain_flagvec
    import llama_index_flagvec

    with QdrantEdgeStore(tiny_m3, tmp_path / "index") as store:
        store.create()
        store.add(["warm soup", "cold soup", "cold rice"])
        hits = store.search("cold soup", 3, **options)
        texts = [hit.text for hit in hits]
        retriever = langchain_flagvec.FlagRetriever(store=store, k=3, **options)
        vectors = langchain_flagvec.FlagVectorStore(store, **options)
        nodes = llama_index_flagvec.FlagVectorStore(store, **options)
        assert [one.page_content for one in retriever.invoke("cold soup")] == texts
        assert [one.page_content for one in vectors.similarity_search("cold soup", k=3)] == texts
        found = nodes.query(VectorStoreQuery(query_str="cold soup", similarity_top_k=3))
        assert found.similarities == pytest.approx([hit.score for hit in hits])
