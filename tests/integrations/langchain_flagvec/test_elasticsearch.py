"""What the strategies ask of Elasticsearch; tests/compat asks it."""

import copy
import json
import pickle

import numpy as np
import pytest
from elasticsearch.helpers.vectorstore import AsyncRetrievalStrategy, RetrievalStrategy

from flagvec import Weighted
from langchain_flagvec import AsyncElasticsearchStrategy, ElasticsearchEmbeddings, ElasticsearchStrategy
from langchain_flagvec.elasticsearch_queries import MOST_CANDIDATES

VECTOR = {"dense": [0.6, 0.8], "sparse": {"7": 0.5}}
CALL = {"text_field": "text", "vector_field": "vector", "k": 4, "num_candidates": 50}


def body_of(strategy, query="rice", vector=VECTOR, **changes):
    return strategy.es_query(query=query, query_vector=vector, **CALL | changes)


@pytest.fixture
def strategy(seeded):
    return ElasticsearchStrategy(seeded(2))


def test_a_text_becomes_an_object_of_both_representations_in_json(tiny_m3):
    [vector] = ElasticsearchEmbeddings(tiny_m3).embed_documents(["How to cook rice."])
    output = tiny_m3.encode_corpus(["How to cook rice."])
    assert vector == json.loads(json.dumps(vector))
    assert vector["dense"] == pytest.approx(output["dense_vecs"][0].tolist(), abs=1e-7)
    assert {int(token): weight for token, weight in vector["sparse"].items()} == output["lexical_weights"][0]


def test_both_representations_come_from_one_pass(noting):
    embeddings = ElasticsearchEmbeddings(noting)
    embeddings.embed_documents(["rice", "soup"])
    embeddings.embed_query("rice")
    assert noting.encoded == ["rice", "soup", "rice"]


async def test_the_async_methods_give_the_same(tiny_m3):
    embeddings = ElasticsearchEmbeddings(tiny_m3)
    assert await embeddings.aembed_documents(["rice"]) == embeddings.embed_documents(["rice"])
    assert await embeddings.aembed_query("rice") == embeddings.embed_query("rice")


def test_a_text_without_weights_has_both_keys_all_the_same(seeded):
    assert ElasticsearchEmbeddings(seeded(2)).embed_query("")["sparse"] == {}


def test_queries_get_the_query_instruction_and_documents_do_not(tiny_m3_directory, tiny_m3):
    from flagvec import BGEM3FlagModel

    model = BGEM3FlagModel(tiny_m3_directory, use_fp16=False, query_instruction_for_retrieval="find: ")
    embeddings, plain = ElasticsearchEmbeddings(model), ElasticsearchEmbeddings(tiny_m3)
    assert embeddings.embed_documents(["rice"]) == plain.embed_documents(["rice"])
    assert embeddings.embed_query("rice") == plain.embed_query("find: rice")


def test_vectors_that_are_not_of_length_1_are_refused(tiny_m3_directory):
    from flagvec import BGEM3FlagModel

    model = BGEM3FlagModel(tiny_m3_directory, use_fp16=False, normalize_embeddings=False)
    with pytest.raises(ValueError, match=r"the dense vector of texts\[0\] has length .* normalize_embeddings=True"):
        ElasticsearchEmbeddings(model).embed_documents(["rice"])


def test_embeddings_are_pickled_without_weights_and_copied_with_their_model(tiny_m3_directory):
    from flagvec import BGEM3FlagModel

    embeddings = ElasticsearchEmbeddings(BGEM3FlagModel(tiny_m3_directory, use_fp16=False))
    pickled = pickle.dumps(embeddings)
    assert len(pickled) < 1_000
    assert pickle.loads(pickled).embed_query("rice") == embeddings.embed_query("rice")
    assert copy.deepcopy(embeddings).model is embeddings.model


def test_each_strategy_is_the_client_s_own_kind(seeded):
    assert isinstance(ElasticsearchStrategy(seeded()), RetrievalStrategy)
    assert isinstance(AsyncElasticsearchStrategy(seeded()), AsyncRetrievalStrategy)


def test_a_strategy_is_pickled_and_copied_without_a_model(seeded, strategy):
    for again in (pickle.loads(pickle.dumps(strategy)), copy.deepcopy(strategy)):
        assert body_of(again) == body_of(strategy)
    assert not hasattr(strategy, "model")


def test_an_index_has_both_representations_in_the_vector_field(seeded):
    mapping, settings = ElasticsearchStrategy(seeded(16), dense_index="hnsw").es_mappings_settings(
        text_field="text", vector_field="vector", num_dimensions=2
    )
    assert settings == {}
    assert mapping["properties"] == {
        "text": {"type": "text"},
        "vector": {
            "properties": {
                "dense": {
                    "type": "dense_vector",
                    "dims": 16,
                    "index": True,
                    "similarity": "dot_product",
                    "index_options": {"type": "hnsw"},
                },
                "sparse": {"type": "rank_features"},
            }
        },
    }


def test_embeddings_of_plain_vectors_are_refused_before_the_index_is_made(strategy):
    with pytest.raises(
        ValueError, match=r"give vectors of 1024 numbers, .* embedding=ElasticsearchEmbeddings\(model\)"
    ):
        strategy.es_mappings_settings(text_field="text", vector_field="vector", num_dimensions=1024)


@pytest.mark.parametrize(
    ("query", "vector", "message"),
    [
        ("rice", [0.6, 0.8], "the query's vector is a list of numbers, .* embedding=ElasticsearchEmbeddings"),
        ("rice", None, "the query's vector is None, .* embedding=ElasticsearchEmbeddings"),
        (None, VECTOR, r"max_marginal_relevance_search, .* search by embedding\['dense'\], or use FlagVectorStore"),
    ],
    ids=["a list", "none", "an object without a query"],
)
def test_a_vector_of_another_kind_than_the_call_takes_is_refused(strategy, query, vector, message):
    with pytest.raises(ValueError, match=message):
        body_of(strategy, query, vector)


@pytest.mark.parametrize("query", ["rice", None])
def test_a_search_is_not_for_more_than_one_window(strategy, query):
    vector = VECTOR if query else VECTOR["dense"]
    body_of(strategy, query, vector, k=MOST_CANDIDATES)
    with pytest.raises(ValueError, match="k=5001, num_candidates=50: Elasticsearch ranks at most 5000"):
        body_of(strategy, query, vector, k=MOST_CANDIDATES + 1)


def test_a_search_by_a_vector_is_dense_whatever_its_length(strategy, seeded):
    body = body_of(strategy, None, [3.0, 4.0])
    assert body["query"]["knn"]["query_vector"] == pytest.approx([0.6, 0.8])
    assert body == body_of(ElasticsearchStrategy(seeded(2), mode="dense"), None, np.array([3.0, 4.0]))
    with pytest.raises(ValueError, match="mode='sparse' needs a query's text"):
        body_of(ElasticsearchStrategy(seeded(2), mode="sparse"), None, [3.0, 4.0])


def test_a_weight_of_0_leaves_a_representation_out(seeded):
    model = seeded(2)
    for mode, fusion in (("dense", Weighted(1, 0, 0)), ("sparse", Weighted(0, 1, 0))):
        assert body_of(ElasticsearchStrategy(model, fusion=fusion)) == body_of(ElasticsearchStrategy(model, mode=mode))


def test_weights_may_be_a_dict_whose_missing_weights_are_0(seeded):
    model = seeded(2)
    weighted = ElasticsearchStrategy(model, fusion=Weighted(1, 0.3, 0))
    assert body_of(ElasticsearchStrategy(model, fusion={"dense": 1, "sparse": 0.3})) == body_of(weighted)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mode": "lexical"}, ValueError, "mode='lexical': choose"),
        ({"fusion": "rrf"}, ValueError, "fusion='rrf': choose weights like .*; fusion by reciprocal ranks takes two"),
        ({"fusion": Weighted()}, ValueError, "needs colbert, .*: give it a weight of 0"),
        ({"fusion": Weighted(1, 1, 0), "mode": "dense"}, ValueError, "nothing to fuse"),
        ({"candidates": 0}, ValueError, "candidates=0: at least 1"),
        ({"candidates": 5_001}, ValueError, "candidates=5001: at most 5000"),
        ({"rescored": 10_001}, ValueError, "rescored=10001: at most 10000"),
        ({"rescored": "all"}, TypeError, "rescored takes a whole number, not str"),
        ({"dense_index": "ivf"}, ValueError, "dense_index='ivf': choose"),
    ],
    ids=str,
)
def test_bad_options_are_named(seeded, options, error, message):
    with pytest.raises(error, match=message):
        ElasticsearchStrategy(seeded(2), **options)


def test_what_is_no_model_with_lexical_weights_is_refused(tiny_bert):
    with pytest.raises(TypeError, match="model='bge-m3' is not a loaded model"):
        ElasticsearchStrategy("bge-m3")
    with pytest.raises(ValueError, match="needs sparse, but this store holds dense only"):
        ElasticsearchStrategy(tiny_bert)
    with pytest.raises(ValueError, match="gives no sparse representation"):
        ElasticsearchEmbeddings(tiny_bert)
