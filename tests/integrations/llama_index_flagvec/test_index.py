"""LlamaIndex's own index, retriever and pipeline on our store: one pass a text, and nothing embedded twice."""

import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import TokenTextSplitter
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

from llama_index_flagvec import DeferredEmbedding, FlagEmbedding, FlagVectorStore, M3SparseEmbedding

QUERY = "How to cook rice."


@pytest.fixture
def vectors(counted_store):
    return FlagVectorStore(counted_store)


def index_of(vectors, nodes=()):
    storage = StorageContext.from_defaults(vector_store=vectors)
    return VectorStoreIndex(nodes=list(nodes), storage_context=storage, embed_model=vectors.embed_model)


def test_an_index_encodes_each_node_once_and_each_query_once(vectors, counting, recipes):
    index = index_of(vectors, recipes.nodes)
    assert counting.documents == [[node.text for node in recipes.nodes]]
    retriever = index.as_retriever(similarity_top_k=3, vector_store_query_mode="hybrid")
    found = retriever.retrieve(QUERY)
    assert counting.queries == [[QUERY]]
    hits = vectors.client.search(QUERY, 3, mode="hybrid")
    assert [one.node.node_id for one in found] == [hit.id for hit in hits]
    assert [one.score for one in found] == pytest.approx([hit.score for hit in hits], abs=1e-6)


async def test_an_index_that_awaits_encodes_each_text_once_as_well(vectors, counting, recipes):
    index = VectorStoreIndex.from_vector_store(vectors, embed_model=vectors.embed_model)
    await index.ainsert_nodes(recipes.nodes)
    found = await index.as_retriever(similarity_top_k=4).aretrieve(QUERY)
    assert len(found) == 4
    assert (counting.documents, counting.queries) == ([[node.text for node in recipes.nodes]], [[QUERY]])


def test_a_retrievers_options_reach_the_store(vectors, recipes):
    index = index_of(vectors, recipes.nodes)
    vegan = MetadataFilters(filters=[MetadataFilter(key="tags", value="vegan", operator="contains")])
    retriever = index.as_retriever(
        similarity_top_k=4, filters=vegan, doc_ids=["grains"], vector_store_kwargs={"rerank": "colbert"}
    )
    found = retriever.retrieve(QUERY)
    hits = vectors.client.search(QUERY, filter={"tags": "vegan"}, rerank="colbert")
    assert [one.node.node_id for one in found] == [hit.id for hit in hits]
    assert [one.score for one in found] == pytest.approx([hit.score for hit in hits], abs=1e-6)


def test_documents_are_refreshed_and_deleted_through_the_index(vectors):
    index = index_of(vectors)
    index.insert(Document(id_="rice", text="Rice is cooked."))
    index.insert(Document(id_="bread", text="Bread is baked."))
    index.update_ref_doc(Document(id_="rice", text="Rice is steamed."))
    assert sorted(node.text for node in vectors.get_nodes()) == ["Bread is baked.", "Rice is steamed."]
    index.delete_ref_doc("rice")
    index.delete_nodes([])
    assert [node.text for node in vectors.get_nodes()] == ["Bread is baked."]


def test_an_index_that_was_persisted_is_loaded_with_the_store_that_kept_its_nodes(vectors, recipes, tmp_path):
    index_of(vectors, recipes.nodes).storage_context.persist(str(tmp_path))
    storage = StorageContext.from_defaults(vector_store=vectors, persist_dir=str(tmp_path))
    index = load_index_from_storage(storage, embed_model=vectors.embed_model)
    found = index.as_retriever(similarity_top_k=9, vector_store_query_mode="hybrid").retrieve(QUERY)
    assert sorted(one.node.node_id for one in found) == ["bread", "eggs", "rice", "soup"]


def test_a_pipeline_writes_what_it_split_and_updates_what_changed(vectors, counting):
    pipeline = IngestionPipeline(
        transformations=[
            TokenTextSplitter(chunk_size=10, chunk_overlap=0, tokenizer=str.split),
            vectors.embed_model,
        ],
        vector_store=vectors,
        docstore=SimpleDocumentStore(),
    )
    long = Document(id_="rice", text="Rice is cooked in twice as much water. Rinse it first, then wait for it.")
    pipeline.run(documents=[long, Document(id_="bread", text="Bread is baked.")])
    nodes = vectors.get_nodes()
    assert sorted(node.text for node in nodes if node.ref_doc_id == "rice") == [
        "Rice is cooked in twice as much water.",
        "Rinse it first, then wait for it.",
    ]
    assert len(counting.documents) == 1
    pipeline.run(
        documents=[Document(id_="rice", text="Rice is steamed."), Document(id_="bread", text="Bread is baked.")]
    )
    assert sorted(node.text for node in vectors.get_nodes()) == ["Bread is baked.", "Rice is steamed."]
    assert counting.documents[1:] == [["Rice is steamed."]]


def test_a_pipeline_sends_embeddings_to_other_processes(tiny_m3):
    texts = ["Rice is cooked.", "Bread is baked."]
    pipeline = IngestionPipeline(transformations=[FlagEmbedding(tiny_m3)], disable_cache=True)
    nodes = pipeline.run(documents=[Document(text=text) for text in texts], num_workers=2)
    expected = FlagEmbedding(tiny_m3).get_text_embedding_batch(texts)
    assert sorted(node.text for node in nodes) == sorted(texts)
    for node in nodes:
        assert node.embedding == pytest.approx(expected[texts.index(node.text)], abs=1e-6)


def test_an_index_over_llama_indexs_own_store_shares_one_pass_with_a_sparse_embedding(counting, recipes):
    sparse = M3SparseEmbedding(counting)
    index = VectorStoreIndex(nodes=recipes.nodes, embed_model=FlagEmbedding(counting))
    texts = [node.text for node in recipes.nodes]
    assert sparse.get_text_embedding_batch(texts) == counting.encode_corpus(texts)["lexical_weights"]
    assert counting.documents == [texts, texts]
    assert index.as_retriever(similarity_top_k=1).retrieve(texts[1])[0].node.node_id == "bread"


def test_a_deferred_embedding_embeds_no_query():
    with pytest.raises(ValueError, match=r"encodes no queries.*FlagEmbedding\(model\) with other stores"):
        DeferredEmbedding().get_query_embedding(QUERY)
    assert DeferredEmbedding.from_dict(DeferredEmbedding().to_dict()).to_dict() == DeferredEmbedding().to_dict()
