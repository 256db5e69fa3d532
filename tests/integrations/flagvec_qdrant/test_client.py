import uuid
from dataclasses import replace
from threading import Thread

import pytest
from qdrant_client import QdrantClient, models

from flagvec import Document, StoreError
from flagvec_qdrant import QdrantStore


@pytest.fixture
def client():
    client = QdrantClient(":memory:")
    yield client
    client.close()


@pytest.fixture
def store(client, seeded):
    store = QdrantStore(seeded(), client, "articles")
    store.create()
    return store


def test_the_schema_is_qdrants_own_for_each_representation(store, client):
    params = client.get_collection("articles").config.params
    dense, colbert = params.vectors["dense"], params.vectors["colbert"]
    assert (dense.size, dense.distance, dense.multivector_config) == (16, models.Distance.COSINE, None)
    assert (colbert.size, colbert.datatype, colbert.hnsw_config.m) == (16, models.Datatype.FLOAT16, 0)
    assert colbert.multivector_config.comparator == models.MultiVectorComparator.MAX_SIM
    assert params.sparse_vectors["sparse"].modifier is None


def test_a_dense_model_gets_a_dense_schema(client, tiny_bert):
    QdrantStore(tiny_bert, client, "dense").create()
    params = client.get_collection("dense").config.params
    assert list(params.vectors) == ["dense"]
    assert not params.sparse_vectors


def test_closing_a_store_leaves_the_client_open(store, client):
    store.close()
    assert client.collection_exists("articles")


def test_two_collections_of_one_client_are_kept_apart(store, client, seeded):
    other = QdrantStore(seeded(), client, "letters")
    other.create()
    other.add("one")
    assert (store.count(), other.count()) == (0, 1)


def test_a_collection_that_another_creates_at_the_same_time_is_taken(client, seeded, monkeypatch):
    stores = [QdrantStore(seeded(), client, "articles") for _ in range(2)]
    create_collection = client.create_collection

    def after_another(*given, **more):
        monkeypatch.setattr(client, "create_collection", create_collection)
        stores[1].create()
        stores[1].add("one")
        return create_collection(*given, **more)

    monkeypatch.setattr(client, "create_collection", after_another)
    stores[0].create()
    assert stores[0].count() == 1


CALLS = ["collection_exists", "get_collection", "info", "create_collection", "upsert", "count", "delete_collection"]


@pytest.mark.parametrize("call", CALLS)
def test_the_stores_of_a_local_client_take_turns(client, seeded, monkeypatch, call):
    one, other = (QdrantStore(seeded(), client, name) for name in ("articles", "letters"))
    answer, taken = getattr(client, call), []

    def take():
        if other._backend._calling.acquire(blocking=False):
            taken.append(call)
            other._backend._calling.release()

    def looked_at(*given, **more):
        thread = Thread(target=take)
        thread.start()
        thread.join()
        return answer(*given, **more)

    monkeypatch.setattr(client, call, looked_at)
    one.create()
    one.add("text")
    one.count()
    one.drop()
    assert taken == []


def test_a_persistent_client_finds_the_documents_again(seeded, tmp_path):
    client = QdrantClient(path=str(tmp_path))
    store = QdrantStore(seeded(), client, "articles")
    store.create()
    store.add(Document("a", "one two", {"n": 1}))
    client.close()
    client = QdrantClient(path=str(tmp_path))
    (hit,) = QdrantStore(seeded(), client, "articles").search("one", rerank="colbert")
    client.close()
    assert (hit.id, hit.text, hit.metadata) == ("a", "one two", {"n": 1})


FOREIGN = {
    "dense": models.VectorParams(size=16, distance=models.Distance.COSINE),
    "colbert": models.VectorParams(
        size=16,
        distance=models.Distance.DOT,
        multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
    ),
}


@pytest.mark.parametrize("metadata", [None, {}, {"owner": "me"}, {"made_by": "another", "version": 1}])
@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.create(),
        lambda store: store.add("text"),
        lambda store: store.search("text"),
        lambda store: store.delete(filter={"n": 1}),
        lambda store: store.drop(),
    ],
    ids=["create", "add", "search", "delete", "drop"],
)
def test_a_collection_of_somebody_else_is_refused_and_stays_as_it_was(client, seeded, use, metadata):
    client.create_collection(
        "foreign", FOREIGN, sparse_vectors_config={"sparse": models.SparseVectorParams()}, metadata=metadata
    )
    client.upsert("foreign", [models.PointStruct(id=1, vector={}, payload={"metadata": {"n": 1}})])
    with pytest.raises(StoreError, match=r"the collection 'foreign' was not made by flagvec: choose another coll"):
        use(QdrantStore(seeded(), client, "foreign"))
    assert client.count("foreign").count == 1


def test_the_metadata_say_who_made_the_collection_and_how(store, client):
    metadata = client.get_collection("articles").config.metadata
    assert (metadata["made_by"], metadata["version"]) == ("flagvec", 1)
    assert metadata["schema"] == store.schema.to_json()


def test_a_collection_of_a_former_version_is_opened(client, seeded):
    client.create_collection(
        "old",
        FOREIGN,
        sparse_vectors_config={"sparse": models.SparseVectorParams()},
        metadata={"flagvec_model": "seeded"},
    )
    store = QdrantStore(seeded(), client, "old")
    store.create()
    store.add("one two")
    assert [hit.text for hit in store.search("one")] == ["one two"]
    with pytest.raises(StoreError, match="holds lexical weights"):
        QdrantStore(seeded(representations=["dense", "colbert"]), client, "old").count()


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"version": 3}, "has layout 3; this version of flagvec reads layouts 1 and 2: update flagvec"),
        ({"version": 1}, "is damaged: KeyError.'schema'"),
        ({"version": 1, "schema": {"model": "seeded"}}, "is damaged: KeyError.'dimension'"),
        ({"version": 1, "schema": None}, "is damaged"),
    ],
)
def test_a_collection_of_another_layout_is_refused(client, seeded, metadata, words):
    client.create_collection("other", FOREIGN, metadata={"made_by": "flagvec", **metadata})
    with pytest.raises(StoreError, match=f"the collection 'other' {words}"):
        QdrantStore(seeded(), client, "other").create()


def test_a_native_filter_is_taken_as_it_is(store):
    store.add([Document("a", "text", {"n": 1}), Document("b", "text", {"n": 2})])
    condition = models.FieldCondition(key="metadata.n", match=models.MatchValue(value=2))
    assert [hit.id for hit in store.search("text", filter=models.Filter(must=[condition]))] == ["b"]
    assert store.count(models.Filter(must_not=[condition])) == 1


@pytest.mark.parametrize("empty", [models.Filter(), models.Filter(must=[], should=[])])
def test_an_empty_native_filter_deletes_nothing(store, empty):
    store.add(["one", "two"])
    with pytest.raises(ValueError, match=r"filter=Filter\(\): an empty filter holds for every document: .* drop\(\)"):
        store.delete(filter=empty)
    assert store.count() == 2


def test_a_write_is_split_into_requests_of_bounded_size(store, monkeypatch):
    requests = []
    upsert = store.client.upsert

    def recorded(name, points, **options):
        requests.append(points)
        return upsert(name, points, **options)

    monkeypatch.setattr(store.client, "upsert", recorded)
    store._backend.limits = replace(store._backend.limits, bytes=100_000)
    store.add([Document(str(number), "word " * 100) for number in range(20)])
    sizes = [len(models.PointsList(points=points).model_dump_json()) for points in requests]
    assert len(requests) > 5
    assert max(sizes) <= 100_000
    assert store.count() == 20


def test_a_collection_that_somebody_deleted_is_a_store_error(store, client):
    store.count()
    client.delete_collection("articles")
    with pytest.raises(StoreError, match="the collection 'articles' is gone: it was deleted or renamed") as raised:
        store.count()
    assert isinstance(raised.value.__cause__, ValueError)


def test_a_server_that_keeps_no_metadata_is_refused_before_the_collection_is_made(client, seeded, monkeypatch):
    old = client.info().model_copy(update={"version": "1.15.5"})
    monkeypatch.setattr(client, "info", lambda: old)
    with pytest.raises(StoreError, match=r"the server is Qdrant 1\.15\.5, .* update it to 1\.16 or later"):
        QdrantStore(seeded(), client, "articles").create()
    assert not client.collection_exists("articles")


def test_local_mode_compares_chosen_points_without_searching_all(store, client, monkeypatch):
    store.add(Document(str(number), f"word{number} shared") for number in range(20))
    searches = []
    query_batch_points = client.query_batch_points
    monkeypatch.setattr(
        client,
        "query_batch_points",
        lambda *given, **more: searches.append(given) or query_batch_points(*given, **more),
    )
    explained = store.search("word3 shared", rerank="colbert", explain=True)
    assert len(searches) == 1
    for representation in ("dense", "sparse"):
        own = {hit.id: hit.score for hit in store.search("word3 shared", 20, mode=representation)}
        for hit in explained:
            assert hit.scores[representation] == pytest.approx(own.get(hit.id, 0.0), abs=1e-6)


def test_candidates_of_several_requests_are_all_compared(any_client, seeded, monkeypatch):
    monkeypatch.setattr("flagvec_qdrant.client.POINTS_PER_REQUEST", 3)
    name = f"flagvec_test_{uuid.uuid4().hex}"
    store = QdrantStore(seeded(), any_client, name, colbert="compact")
    store.create()
    try:
        store.add(Document(str(number), f"word{number} shared") for number in range(8))
        hits = store.search("shared word5", mode="dense", rerank="colbert")
        assert {hit.id for hit in hits} == {str(number) for number in range(8)}
        assert hits[0].id == "5"
    finally:
        store.drop()
