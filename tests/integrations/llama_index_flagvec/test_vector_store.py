"""LlamaIndex's vector store interface on every store: nodes in, nodes found, nodes out."""

import copy
import json
import pickle
import uuid
from dataclasses import replace

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters, VectorStoreQuery, VectorStoreQueryMode

from flagvec import Document, StoreError, Weighted, WriteError
from llama_index_flagvec import FlagEmbedding, FlagVectorStore

QUERY = "rice in water"
VEGAN = MetadataFilters(filters=[MetadataFilter(key="tags", value="vegan", operator="contains")])
BAKED = MetadataFilters(filters=[MetadataFilter(key="tags", value="BAK", operator="text_match_insensitive")])
FRIED = MetadataFilters(filters=[MetadataFilter(key="tags", value="fry", operator="text_match")])


@pytest.fixture
def filled(vectors, recipes):
    vectors.add(recipes.nodes)
    return vectors


def query(mode="default", limit=10, **options):
    return VectorStoreQuery(query_str=QUERY, similarity_top_k=limit, mode=VectorStoreQueryMode(mode), **options)


def ids(nodes):
    return sorted(node.node_id for node in nodes)


def test_add_returns_the_ids_and_the_nodes_are_found_at_once(vectors, recipes):
    assert vectors.add(recipes.nodes) == ["rice", "bread", "soup", "eggs"]
    assert ids(vectors.get_nodes()) == ["bread", "eggs", "rice", "soup"]
    assert vectors.add([]) == []


def test_a_node_of_the_same_id_is_replaced(filled):
    filled.add([TextNode(id_="rice", text="rice is steamed")])
    assert filled.get_nodes(["rice"])[0].text == "rice is steamed"
    assert len(filled.get_nodes()) == 4


@pytest.mark.parametrize(
    ("mode", "options", "search"),
    [
        ("default", {}, {}),
        ("hybrid", {}, {"mode": "hybrid"}),
        ("hybrid", {"alpha": 0.25}, {"fusion": Weighted(dense=0.25, sparse=0.75, colbert=0)}),
        ("hybrid", {"alpha": 1}, {"fusion": Weighted(dense=1, sparse=0, colbert=0)}),
        ("semantic_hybrid", {}, {"rerank": "colbert"}),
        ("sparse", {}, {"mode": "sparse"}),
        ("text_search", {}, {"mode": "sparse"}),
    ],
)
def test_a_query_gives_the_hits_of_the_stores_own_search(filled, store, recipes, mode, options, search):
    found = filled.query(query(mode, **options))
    hits = store.search(QUERY, **search)
    assert hits
    assert found.ids == [hit.id for hit in hits]
    assert found.similarities == pytest.approx([hit.score for hit in hits], abs=1e-6)
    nodes = {node.node_id: node for node in recipes.nodes}
    assert list(found.nodes) == [nodes[name] for name in found.ids]


@pytest.mark.parametrize("mode", ["default", "mmr"])
def test_an_embedding_without_a_text_makes_a_dense_search(filled, store, mode):
    vector = store.model.encode_queries([QUERY], True, False, False, True)["dense_vecs"][0]
    ready = VectorStoreQuery(query_embedding=vector.tolist(), similarity_top_k=3, mode=VectorStoreQueryMode(mode))
    dense = FlagVectorStore(store, default_mode="dense")
    found, expected = filled.query(ready), dense.query(query(mode, limit=3))
    assert found.ids == expected.ids
    assert found.similarities == pytest.approx(expected.similarities, abs=1e-6)


def test_nodes_below_the_least_score_are_left_out(filled):
    best = filled.query(query("sparse")).similarities[0]
    assert filled.query(query("sparse"), min_score=best).similarities == [best]


def test_the_number_of_nodes_is_that_of_the_query(filled):
    assert len(filled.query(query(limit=2)).nodes) == 2
    assert len(filled.query(query("sparse", limit=2, sparse_top_k=1)).nodes) == 1
    assert len(filled.query(query("hybrid", limit=2, hybrid_top_k=3)).nodes) == 3


@pytest.mark.parametrize("threshold", [0.3, 0.5, 1.0])
def test_mmr_chooses_what_llama_indexs_own_store_chooses(counted_store, counting, threshold):
    vectors = FlagVectorStore(counted_store)
    texts = ["rice water", "rice water pot", "rice stone", "stone", "water"]
    nodes = [TextNode(id_=str(number), text=text) for number, text in enumerate(texts)]
    vectors.add(nodes)
    expected, found = (
        index.as_retriever(
            similarity_top_k=4, vector_store_query_mode="mmr", vector_store_kwargs={"mmr_threshold": threshold}
        ).retrieve(QUERY)
        for index in (
            VectorStoreIndex(nodes, embed_model=FlagEmbedding(counting)),
            VectorStoreIndex.from_vector_store(vectors, embed_model=vectors.embed_model),
        )
    )
    assert [one.node_id for one in found] == [one.node_id for one in expected]
    assert [one.score for one in found] == pytest.approx([one.score for one in expected], abs=1e-5)


def test_mmr_passes_over_what_repeats_the_node_before(vectors, store):
    texts = ["rice water", "rice water", "rice water pot", "rice stone", "stone"]
    vectors.add([TextNode(id_=str(number), text=text) for number, text in enumerate(texts)])
    names = [hit.id for hit in store.search(QUERY, mode="dense")]
    # Of two equal texts only one is among the first, unless nothing but the query counts.
    first_two = vectors.query(query("mmr", limit=2, mmr_threshold=0.5)).ids
    assert set(first_two) != {"0", "1"}
    assert vectors.query(query("mmr", limit=2, mmr_threshold=1.0)).ids == names[:2]
    assert vectors.query(query("mmr", limit=1, mmr_threshold=0.0)).ids == names[:1]


def test_mmr_encodes_the_query_once_and_what_it_chooses_from_once(counted_store, counting, recipes):
    vectors = FlagVectorStore(counted_store)
    vectors.add(recipes.nodes)
    counting.documents.clear()
    vectors.query(query("mmr", limit=2))
    assert counting.queries == [[QUERY]]
    assert [sorted(texts) for texts in counting.documents] == [sorted(node.text for node in recipes.nodes)]


@pytest.mark.parametrize(
    ("restriction", "expected"),
    [
        ({"filters": VEGAN}, ["bread", "rice"]),
        ({"node_ids": ["eggs", "rice", "nobody"]}, ["eggs", "rice"]),
        ({"filters": BAKED}, ["bread"]),
        ({"doc_ids": ["grains"]}, ["bread", "rice"]),
        ({"doc_ids": ["grains", "soups"], "node_ids": ["soup", "rice"], "filters": VEGAN}, ["rice"]),
        ({"node_ids": [], "doc_ids": []}, ["bread", "eggs", "rice", "soup"]),
        ({"node_ids": ["nobody"]}, []),
    ],
)
@pytest.mark.parametrize("mode", ["default", "mmr"])
def test_a_query_finds_the_nodes_that_it_is_restricted_to(filled, mode, restriction, expected):
    found = filled.query(query(mode, **restriction))
    assert sorted(found.ids) == ids(found.nodes) == expected
    assert len(found.similarities) == len(expected)


def test_nodes_are_got_by_ids_in_their_order_by_filters_or_by_both(filled):
    assert [node.node_id for node in filled.get_nodes(["soup", "nobody", "rice"])] == ["soup", "rice"]
    assert ids(filled.get_nodes(filters=VEGAN)) == ["bread", "rice"]
    assert ids(filled.get_nodes(["soup", "rice"], VEGAN)) == ["rice"]
    assert filled.get_nodes([]) == filled.get_nodes([], VEGAN) == []


def test_the_nodes_of_a_document_are_deleted(filled):
    filled.delete("grains")
    filled.delete("nobody")
    assert ids(filled.get_nodes()) == ["eggs", "soup"]


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ({"node_ids": ["rice", "nobody"]}, ["bread", "eggs", "soup"]),
        ({"filters": VEGAN}, ["eggs", "soup"]),
        ({"filters": BAKED}, ["eggs", "rice", "soup"]),
        ({"filters": FRIED}, ["bread", "eggs", "rice", "soup"]),
        ({"node_ids": ["rice", "soup"], "filters": VEGAN}, ["bread", "eggs", "soup"]),
        ({"node_ids": []}, ["bread", "eggs", "rice", "soup"]),
        ({"node_ids": [], "filters": VEGAN}, ["bread", "eggs", "rice", "soup"]),
    ],
)
def test_nodes_are_deleted_by_ids_by_filters_or_by_both(filled, arguments, left):
    filled.delete_nodes(**arguments)
    assert ids(filled.get_nodes()) == left


def test_deleting_needs_ids_or_filters(filled):
    with pytest.raises(TypeError, match=r"takes node_ids, filters or both: to delete all nodes, call clear\(\)"):
        filled.delete_nodes()
    with pytest.raises(ValueError, match=r"empty filters hold for every node: to delete all nodes, call clear\(\)"):
        filled.delete_nodes(filters=MetadataFilters(filters=[]))
    assert len(filled.get_nodes()) == 4


def test_clear_deletes_everything_and_the_store_can_be_used_on(filled, store, recipes):
    store.add(Document("plain", "no node"))
    filled.clear()
    assert store.count() == 0
    filled.add(recipes.nodes[:1])
    assert filled.query(query()).ids == ["rice"]


async def test_each_async_method_does_as_its_twin(vectors, recipes):
    assert await vectors.async_add(recipes.nodes) == ["rice", "bread", "soup", "eggs"]
    for mode in ("default", "sparse", "mmr"):
        found, expected = await vectors.aquery(query(mode)), vectors.query(query(mode))
        assert (found.ids, list(found.nodes)) == (expected.ids, list(expected.nodes))
        assert found.similarities == pytest.approx(expected.similarities, abs=1e-6)
    for arguments in ((), (["soup", "rice"],), (None, VEGAN), (None, BAKED), (["soup", "rice"], VEGAN)):
        assert await vectors.aget_nodes(*arguments) == vectors.get_nodes(*arguments)
    await vectors.adelete("soups")
    assert ids(vectors.get_nodes()) == ["bread", "eggs", "rice"]
    await vectors.adelete_nodes(["eggs"])
    await vectors.adelete_nodes(filters=VEGAN, node_ids=["bread"])
    assert ids(vectors.get_nodes()) == ["rice"]
    await vectors.aclear()
    assert vectors.get_nodes() == []


def test_documents_that_were_added_to_the_store_itself_are_found(vectors, store):
    store.add(Document("plain", "rice in a pot", {"tags": ["vegan"]}))
    found = vectors.query(query(filters=VEGAN))
    assert [(node.node_id, node.text, node.metadata) for node in found.nodes] == [
        ("plain", "rice in a pot", {"tags": ["vegan"]})
    ]


def test_a_store_without_lexical_weights_searches_dense_by_default_and_refuses_the_rest(new_store, tiny_bert):
    store = new_store(tiny_bert)
    store.create()
    vectors = FlagVectorStore(store)
    vectors.add([TextNode(id_="rice", text="rice")])
    expected = [hit.score for hit in store.search(QUERY, mode="dense")]
    assert vectors.query(query()).similarities == pytest.approx(expected, abs=1e-6)
    for mode in ("hybrid", "sparse", "text_search"):
        with pytest.raises(ValueError, match="needs sparse, but this store holds dense only"):
            vectors.query(query(mode))


def test_a_write_that_fails_is_an_exception_with_the_report(server_factory, seeded, recipes, load_module, request):
    proxies = load_module(request.path.parents[1] / "faulty_proxy.py")
    name = f"flagvec_llama_index_{uuid.uuid4().hex}"
    faults = []
    direct = server_factory.make(seeded(), name)
    direct.create()

    def choose(method, path):
        return proxies.Fault.LOST_REQUEST if faults and server_factory.is_write(method, path) else None

    with proxies.FaultyProxy(server_factory.server_url(), choose) as proxy:
        store = server_factory.make_at(proxy.url, seeded(), name)
        store._backend.limits = replace(store._backend.limits, attempts=2, first_pause=0.01, jitter=0.01)
        vectors = FlagVectorStore(store)
        vectors.add(recipes.nodes[:1])
        faults.append("all that comes")
        with pytest.raises(WriteError, match="0 of 3 documents were written; 'bread': ") as raised:
            vectors.add(recipes.nodes[1:])
        store.close()
    assert [failure.id for failure in raised.value.report.failed] == ["bread", "soup", "eggs"]
    assert isinstance(raised.value, StoreError)
    assert pickle.loads(pickle.dumps(raised.value)).report == raised.value.report
    assert [document.id for document in direct.scroll()] == ["rice"]
    direct.close()
    server_factory.cleanup(name)


async def test_nodes_for_a_collection_that_is_gone_are_refused(load_module, request, seeded, recipes):
    milvus_lite = load_module(request.path.parents[1] / "flagvec_milvus/factory.py").FACTORIES[0]
    name = f"flagvec_llama_index_{uuid.uuid4().hex}"
    with milvus_lite.make(seeded(), name) as store:
        store.create()
        vectors = FlagVectorStore(store)
        vectors.add(recipes.nodes)
        milvus_lite.cleanup(name)
        with pytest.raises(StoreError, match="is gone: it was deleted or renamed"):
            vectors.add(recipes.nodes)
        with pytest.raises(StoreError, match="does not exist: call create"):
            await vectors.async_add(recipes.nodes)


def test_its_options_travel_as_a_dict_and_the_store_does_not(store):
    vectors = FlagVectorStore(
        store, default_mode="hybrid", fusion=Weighted(dense=1, sparse=0.3, colbert=0), candidates=7
    )
    data = json.loads(vectors.to_json())
    assert data == vectors.to_dict()
    again = FlagVectorStore.from_dict(data, store=store)
    assert (again.default_mode, again.fusion, again.candidates) == ("hybrid", vectors.fusion, 7)
    with pytest.raises(TypeError, match=r"cannot be pickled.*from_dict\(data, store=store\)"):
        pickle.dumps(vectors)
    assert copy.deepcopy(vectors).client is copy.copy(vectors).client is store


def test_a_representation_without_a_weight_has_a_weight_of_0(filled, store):
    vectors = FlagVectorStore(store, fusion={"dense": 1, "sparse": 0.3})
    assert vectors.fusion == Weighted(dense=1, sparse=0.3, colbert=0)
    again = FlagVectorStore.from_dict(json.loads(vectors.to_json()), store=store)
    expected = [hit.score for hit in store.search(QUERY, fusion={"dense": 1, "sparse": 0.3})]
    for found in (
        vectors.query(query()),
        again.query(query()),
        filled.query(query(), fusion={"dense": 1, "sparse": 0.3}),
    ):
        assert found.similarities == pytest.approx(expected, abs=1e-6)


def test_a_repr_names_the_store_and_the_options_that_are_set(store):
    assert repr(FlagVectorStore(store)) == f"FlagVectorStore({store!r})"
    vectors = FlagVectorStore(store, default_mode="dense", candidates=7)
    assert repr(vectors) == f"FlagVectorStore({store!r}, default_mode='dense', candidates=7)"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"default_mode": "bm25"}, ValueError, "mode='bm25': choose 'dense' or 'sparse' or 'hybrid'"),
        ({"fusion": "sum"}, ValueError, "fusion"),
        ({"fusion": {"dense": -1}}, ValueError, "dense=-1"),
        ({"rerank": "cohere"}, ValueError, "rerank='cohere': choose None or 'colbert'"),
        ({"candidates": 0}, ValueError, "candidates=0: at least 1"),
        ({"fusion": Weighted(), "rerank": "colbert"}, ValueError, "weights have no effect"),
        ({"similarity": "dot"}, TypeError, "similarity"),
    ],
)
def test_invalid_options_are_refused(store, options, error, message):
    with pytest.raises(error, match=message):
        FlagVectorStore(store, **options)


def test_something_other_than_a_store_is_refused(seeded):
    with pytest.raises(TypeError, match=r"store takes one of flagvec's stores.*not SeededModel"):
        FlagVectorStore(seeded())


@pytest.mark.parametrize(
    "call",
    [
        lambda vectors: vectors.add([], batch_size=3),
        lambda vectors: vectors.delete("a", batch_size=3),
        lambda vectors: vectors.delete_nodes(["a"], batch_size=3),
        lambda vectors: vectors.get_nodes(["a"], batch_size=3),
    ],
    ids=["add", "delete", "delete_nodes", "get_nodes"],
)
def test_an_unknown_argument_is_named(vectors, call):
    with pytest.raises(TypeError, match="unexpected keyword argument 'batch_size'"):
        call(vectors)


def test_a_store_that_does_not_exist_says_what_to_call(new_store, seeded, recipes):
    with pytest.raises(StoreError, match=r"does not exist: call create\(\) first"):
        FlagVectorStore(new_store(seeded())).add(recipes.nodes)
