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


@pytest.mark.parametrize(
    ("vectors", "sparse", "words"),
    [
        (models.VectorParams(size=16, distance=models.Distance.COSINE), None, "no vector named 'dense'"),
        ({"dense": models.VectorParams(size=16, distance=models.Distance.EUCLID)}, None, "'dense' is Euclid"),
        (
            {
                "dense": models.VectorParams(size=16, distance=models.Distance.COSINE),
                "colbert": models.VectorParams(size=16, distance=models.Distance.COSINE),
            },
            None,
            "'colbert' is Cosine, multivector None",
        ),
        (
            {"dense": models.VectorParams(size=16, distance=models.Distance.COSINE)},
            {"sparse": models.SparseVectorParams(modifier=models.Modifier.IDF)},
            "modifier idf of its vector 'sparse'",
        ),
    ],
)
def test_a_collection_that_cannot_hold_the_documents_is_refused_with_the_reason(client, seeded, vectors, sparse, words):
    client.create_collection("foreign", vectors_config=vectors, sparse_vectors_config=sparse)
    with pytest.raises(StoreError, match=f"the collection 'foreign' cannot hold .* {words}"):
        QdrantStore(seeded(), client, "foreign").create()


def test_a_collection_that_the_user_made_with_the_same_vectors_is_used(client, tiny_bert):
    client.create_collection(
        "own", vectors_config={"dense": models.VectorParams(size=tiny_bert.dimension, distance=models.Distance.DOT)}
    )
    store = QdrantStore(tiny_bert, client, "own")
    store.create()
    store.add("one")
    assert store.count() == 1


def test_a_write_is_split_into_requests_of_bounded_size(store, monkeypatch):
    requests = []
    upsert = store.client.upsert

    def recorded(name, points, **options):
        requests.append(points)
        return upsert(name, points, **options)

    monkeypatch.setattr(store.client, "upsert", recorded)
    monkeypatch.setattr(QdrantStore, "_MAX_REQUEST_BYTES", 100_000)
    store.add([Document(str(number), "word " * 100) for number in range(20)])
    sizes = [len(models.PointsList(points=points).model_dump_json()) for points in requests]
    assert len(requests) > 5
    assert max(sizes) <= 100_000
    assert store.count() == 20


def test_errors_of_the_database_pass_through(store, client):
    store.count()
    client.delete_collection("articles")
    with pytest.raises(ValueError, match="articles not found"):
        store.count()
