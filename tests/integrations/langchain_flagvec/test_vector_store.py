"""`FlagVectorStore` on every store: writing, reading and deleting."""

import copy
import pickle

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import InMemoryRecordManager, aindex, index

from flagvec import StoreError
from flagvec_milvus import MilvusStore, lite_client
from flagvec_qdrant import QdrantEdgeStore
from langchain_flagvec import FlagEmbeddings, FlagVectorStore

TEXTS = ["warm soup", "cold rice", "fresh bread"]


@pytest.fixture
def vector_store(store):
    return FlagVectorStore(store)


@pytest.fixture
def edge(tmp_path, seeded):
    with QdrantEdgeStore(seeded(), tmp_path / "index") as store:
        store.create()
        yield store


def documents_of(store):
    return {document.id: (document.text, document.metadata) for document in store.scroll()}


def test_texts_get_the_ids_and_the_metadata_that_are_given(vector_store):
    ids = vector_store.add_texts(iter(TEXTS), [{"n": 1}, {}, {"tags": ["a", "b"]}], ids=["1", "b/c", "米"])
    assert ids == ["1", "b/c", "米"]
    assert vector_store.get_by_ids(["米", "nowhere", "1"]) == [
        Document("fresh bread", id="米", metadata={"tags": ["a", "b"]}),
        Document("warm soup", id="1", metadata={"n": 1}),
    ]


def test_where_there_is_no_id_each_text_gets_its_own_even_an_equal_one(vector_store):
    ids = vector_store.add_texts(["warm soup", "warm soup", "cold rice"], ids=[None, None, "c"])
    assert len(set(ids)) == 3
    assert ids[2] == "c"
    assert vector_store.store.count() == 3
    assert len(vector_store.add_texts(TEXTS)) == 3
    assert vector_store.store.count() == 6


def test_ids_that_are_given_come_before_those_of_the_documents(vector_store):
    documents = [Document("warm soup", id="a"), Document("cold rice", id="b"), Document("fresh bread")]
    assert vector_store.add_documents(documents, ids=["x", None, "z"]) == ["x", "b", "z"]
    assert vector_store.add_documents(documents, ids=None)[:2] == ["a", "b"]
    assert [document.id for document in documents] == ["a", "b", None]


def test_documents_are_deleted_by_id_by_filter_or_all(vector_store):
    vector_store.add_texts([*TEXTS, "dark beer"], [{"n": n} for n in range(4)], ids=["0", "1", "2", "3"])
    assert vector_store.delete(["0", "nowhere"]) is True
    assert documents_of(vector_store.store).keys() == {"1", "2", "3"}
    assert vector_store.delete([]) is True
    assert vector_store.delete(filter={"n": {"gte": 3}}) is True
    assert documents_of(vector_store.store).keys() == {"1", "2"}
    assert vector_store.delete() is True
    assert vector_store.store.count() == 0


async def test_what_is_awaited_writes_reads_and_deletes_the_same(vector_store):
    assert await vector_store.aadd_texts(TEXTS[:2], ids=["a", "b"]) == ["a", "b"]
    assert await vector_store.aadd_documents([Document("fresh bread", id="c")], batch_size=1) == ["c"]
    assert [document.page_content for document in await vector_store.aget_by_ids(["c", "a"])] == [TEXTS[2], TEXTS[0]]
    assert await vector_store.adelete(["a"]) is True
    assert documents_of(vector_store.store).keys() == {"b", "c"}
    assert await vector_store.adelete() is True
    assert vector_store.store.count() == 0


def test_an_empty_filter_is_refused(edge):
    vector_store = FlagVectorStore(edge)
    vector_store.add_texts(TEXTS)
    with pytest.raises(ValueError, match="empty filter"):
        vector_store.delete(filter={})
    with pytest.raises(TypeError, match="either ids or filter"):
        vector_store.delete(["a"], filter={"n": 1})
    assert edge.count() == 3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("warm soup",), TypeError, "texts takes a list, not one str"),
        ((5,), TypeError, "texts takes a list"),
        ((TEXTS, [{}]), ValueError, "metadatas takes one for each of the 3 texts, not 1"),
        ((TEXTS, [{}, None, {}]), TypeError, "metadata is NoneType"),
        ((TEXTS, [{}, {"at": object()}, {}]), TypeError, "metadata\\['at'\\] is object"),
        ((["a", 1],), TypeError, "text is int"),
    ],
)
def test_bad_texts_are_refused_before_any_is_written(edge, arguments, error, message):
    with pytest.raises(error, match=message):
        FlagVectorStore(edge).add_texts(*arguments)
    assert edge.count() == 0


def test_bad_documents_ids_and_keywords_are_refused_before_any_is_written(edge):
    vector_store = FlagVectorStore(edge)
    with pytest.raises(TypeError, match=r"documents\[1\] is str"):
        vector_store.add_documents([Document("a"), "b"])
    with pytest.raises(TypeError, match="documents takes a list, not one Document"):
        vector_store.add_documents(Document("a"))
    with pytest.raises(ValueError, match="ids takes one for each of the 2 documents, not 1"):
        vector_store.add_documents([Document("a"), Document("b")], ids=["a"])
    with pytest.raises(ValueError, match="not one str"):
        vector_store.add_documents([Document("a"), Document("b")], ids="ab")
    with pytest.raises(ValueError, match="batch_size=0"):
        vector_store.add_texts(TEXTS, batch_size=0)
    with pytest.raises(TypeError, match="batchsize"):
        vector_store.add_texts(TEXTS, batchsize=2)
    assert edge.count() == 0


def test_a_batch_size_bounds_what_is_written_at_once(edge, monkeypatch):
    written, add = [], edge.add
    monkeypatch.setattr(edge, "add", lambda batch, **options: written.append(len(batch)) or add(batch, **options))
    assert len(FlagVectorStore(edge).add_texts([f"text {n}" for n in range(5)], batch_size=2)) == 5
    assert (written, edge.count()) == ([2, 2, 1], 5)


def test_no_texts_are_no_work_and_no_error(edge):
    assert FlagVectorStore(edge).add_texts([]) == []
    assert FlagVectorStore(edge).add_documents([]) == []


@pytest.fixture
def dropped(tmp_path, seeded):
    """A vector store whose collection somebody dropped."""
    client = lite_client(tmp_path / "milvus.db")
    with MilvusStore(seeded(), client, "dropped") as store:
        store.create()
        store.add("warm soup")
        client.drop_collection("dropped")
        yield FlagVectorStore(store)


async def test_texts_for_a_collection_that_is_gone_are_refused(dropped):
    with pytest.raises(StoreError, match="is gone: it was deleted or renamed"):
        dropped.add_texts(TEXTS[:2], ids=["a", "b"])
    with pytest.raises(StoreError, match="does not exist: call create"):
        await dropped.aadd_documents([Document("cold rice")])


def test_langchains_indexing_keeps_a_store_up_to_date(vector_store):
    records = InMemoryRecordManager("test")
    records.create_schema()

    def run(texts):
        documents = [Document(text, metadata={"source": text}) for text in texts]
        done = index(
            documents, records, vector_store, cleanup="full", source_id_key="source", key_encoder="sha256", batch_size=2
        )
        return done["num_added"], done["num_skipped"], done["num_deleted"]

    assert run(TEXTS) == (3, 0, 0)
    assert run([*TEXTS[1:], "dark beer"]) == (1, 2, 1)
    assert {text for text, _ in documents_of(vector_store.store).values()} == {*TEXTS[1:], "dark beer"}


async def test_langchains_indexing_works_when_awaited(edge):
    records = InMemoryRecordManager("test")
    await records.acreate_schema()
    documents = [Document(text) for text in TEXTS]
    for added in (3, 0):
        done = await aindex(documents, records, FlagVectorStore(edge), cleanup="full", key_encoder="sha256")
        assert done["num_added"] == added
    assert edge.count() == 3


def test_documents_make_a_store_in_a_directory_which_is_opened_again(tmp_path, tiny_m3):
    documents = [Document("warm soup", metadata={"n": 1}, id="a"), Document("cold rice")]
    made = FlagVectorStore.from_documents(documents, FlagEmbeddings(tiny_m3), path=tmp_path / "index", mode="sparse")
    assert made.similarity_search("soup", k=1) == [documents[0]]
    made.store.close()
    again = FlagVectorStore.from_texts(["fresh bread"], FlagEmbeddings(tiny_m3), path=tmp_path / "index")
    assert again.store.count() == 3
    again.store.close()


async def test_documents_go_into_a_store_that_is_given(new_store, tiny_m3):
    store = new_store(tiny_m3)
    embeddings = FlagEmbeddings(tiny_m3)
    await FlagVectorStore.afrom_documents([Document("warm soup", id="a")], embeddings, store=store)
    vector_store = await FlagVectorStore.afrom_texts(["cold rice"], embeddings, [{"n": 1}], ids=["b"], store=store)
    assert documents_of(store) == {"a": ("warm soup", {}), "b": ("cold rice", {"n": 1})}
    assert vector_store.store is store


def test_what_no_store_can_be_made_of_is_refused_before_one_is(tmp_path, edge, tiny_m3):
    embeddings, path = FlagEmbeddings(tiny_m3), tmp_path / "new"
    with pytest.raises(TypeError, match=r"store=.* or path="):
        FlagVectorStore.from_texts(TEXTS, embeddings)
    with pytest.raises(TypeError, match=r"store=.* or path="):
        FlagVectorStore.from_texts(TEXTS, embeddings, store=edge, path=path)
    with pytest.raises(TypeError, match=r"is DeterministicFakeEmbedding, .*: pass FlagEmbeddings"):
        FlagVectorStore.from_texts(TEXTS, DeterministicFakeEmbedding(size=6), path=path)
    with pytest.raises(ValueError, match="make both with one model"):
        FlagVectorStore.from_texts(TEXTS, embeddings, store=edge)
    with pytest.raises(ValueError, match="ids takes one for each"):
        FlagVectorStore.from_texts(TEXTS, embeddings, ids=["a"], path=path)
    with pytest.raises(TypeError, match="FlagVectorStore takes no argument 'colour'"):
        FlagVectorStore.from_texts(TEXTS, embeddings, path=path, colour="red")
    with pytest.raises(TypeError, match="store takes one of flagvec's stores"):
        FlagVectorStore.from_texts(TEXTS, embeddings, store=str(path))
    assert not path.exists()


def test_a_directory_is_free_again_after_its_texts_were_refused(tmp_path, tiny_m3):
    embeddings = FlagEmbeddings(tiny_m3)
    with pytest.raises(ValueError, match="fusion='none'"):
        FlagVectorStore.from_texts(TEXTS, embeddings, path=tmp_path / "index", fusion="none")
    with pytest.raises(TypeError, match="text is int"):
        FlagVectorStore.from_texts([*TEXTS, 1], embeddings, path=tmp_path / "index")
    made = FlagVectorStore.from_texts(TEXTS, embeddings, path=tmp_path / "index")
    assert made.store.count() == 3
    made.store.close()


def test_a_store_that_was_not_created_says_so(tmp_path, seeded):
    vector_store = FlagVectorStore(QdrantEdgeStore(seeded(), tmp_path / "new"))
    with pytest.raises(StoreError, match="call create"):
        vector_store.add_texts(TEXTS)


def test_from_documents_runs_twice_while_a_retriever_holds_the_first_store(tmp_path, tiny_m3):
    documents = [Document("warm soup", id="a"), Document("cold rice", id="b")]

    def run():
        return FlagVectorStore.from_documents(documents, FlagEmbeddings(tiny_m3), path=tmp_path / "index")

    retriever = run().as_retriever(search_kwargs={"k": 1})
    assert retriever.invoke("warm soup") == documents[:1]
    again = run()
    again.add_documents([Document("fresh bread", id="c")])
    assert again.store.count() == 3
    assert retriever.invoke("fresh bread")[0].id == "c"
    again.store.close()
    assert retriever.invoke("warm soup") == documents[:1]
    retriever.vectorstore.store.close()


def test_a_run_that_fails_leaves_the_first_store_open(tmp_path, tiny_m3):
    embeddings, path = FlagEmbeddings(tiny_m3), tmp_path / "index"
    first = FlagVectorStore.from_texts(["warm soup"], embeddings, ids=["a"], path=path)
    with pytest.raises(TypeError, match="text is int"):
        FlagVectorStore.from_texts([1], embeddings, path=path)
    assert first.similarity_search("soup") == [Document("warm soup", id="a")]
    first.store.close()


def test_a_path_is_taken_with_a_model_given_by_its_directory(tmp_path, tiny_m3_directory):
    stores = [
        FlagVectorStore.from_texts(["warm soup"], FlagEmbeddings(tiny_m3_directory), ids=["a"], path=tmp_path / "index")
        for _ in range(2)
    ]
    assert [store.similarity_search("soup") for store in stores] == [[Document("warm soup", id="a")]] * 2
    for store in stores:
        store.store.close()


def test_its_repr_names_the_store(edge):
    assert repr(FlagVectorStore(edge)) == f"FlagVectorStore({edge!r})"
    assert len(repr(FlagVectorStore(edge))) < 400


def test_only_a_store_of_flagvec_is_taken(tiny_m3):
    with pytest.raises(TypeError, match="like QdrantEdgeStore, not str"):
        FlagVectorStore("index")


def test_its_embeddings_are_those_of_the_stores_model(tmp_path, tiny_m3):
    vector_store = FlagVectorStore(QdrantEdgeStore(tiny_m3, tmp_path / "index"))
    assert isinstance(vector_store.embeddings, FlagEmbeddings)
    assert vector_store.embeddings.model is tiny_m3


def test_a_deep_copy_shares_the_store_and_a_pickle_is_refused(edge):
    vector_store = FlagVectorStore(edge, mode="dense")
    vector_store.add_texts(TEXTS, ids=["a", "b", "c"])
    copied = copy.deepcopy({"vector_store": vector_store})["vector_store"]
    assert copied is not vector_store
    assert copied.store is edge
    assert copied.similarity_search("soup") == vector_store.similarity_search("soup")
    with pytest.raises(TypeError, match="make the store where it is used"):
        pickle.dumps(vector_store)
