"""Storage profiles and the indexes of filtered fields."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient, models

from flagvec import ColbertStorage, Document, StoreError
from flagvec.filters.portable import matches, parse_filter
from flagvec.store.schema import Schema
from flagvec_qdrant import QdrantEdgeStore, QdrantStore, client_models
from flagvec_qdrant.schema import PROFILES, max_colbert_rows, missing_indexes

SCHEMA = Schema("m3", dimension=4, sparse=True, colbert_dimension=4)
INDEXES = {
    "word": "keyword", "size.x-y": "float", "whole": "integer", "flag": "bool", "day": "datetime", "été": "keyword",
}  # fmt: skip

some = {
    "word": st.sampled_from(["a", "b", "", "\"'\\"]),
    "size.x-y": st.sampled_from([-1, 0, 0.5, 1, 1.0, 2020, 2020.5]),
    "whole": st.sampled_from([-1, 0, 1, 2020, 2**53 + 1, 2**63 - 1]),
    "flag": st.booleans(),
    "day": st.dates().map(str) | st.sampled_from(["2024-05-17T00:00:00Z", "soon"]),
    "été": st.sampled_from(["a", "米"]),
}


def nested(values):
    found = {}
    for path, value in values.items():
        outer, _, inner = path.partition(".")
        found[outer] = {inner: value} if inner else value
    return found


documents = st.fixed_dictionaries({}, optional={path: one | st.lists(one, max_size=2) for path, one in some.items()})
conditions = st.one_of(
    *(st.fixed_dictionaries({path: one | st.fixed_dictionaries({"in": st.lists(one)})}) for path, one in some.items()),
    st.fixed_dictionaries({"day": st.dates() | st.fixed_dictionaries({"gt": st.dates()})}),
    *(
        st.fixed_dictionaries({path: st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), bound, min_size=1)})
        for path, bound in (("size.x-y", st.sampled_from([0, 0.5, 1, 2020])), ("whole", st.sampled_from([0, 0.5, 1])))
    ),
    st.sampled_from(list(some)).map(lambda path: {path: {"exists": False}}),
)


@pytest.fixture
def indexed(seeded, tmp_path):
    with QdrantEdgeStore(seeded(), tmp_path, filter_fields=INDEXES) as store:
        store.create()
        yield store


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.lists(documents, min_size=5, max_size=15), st.lists(conditions, min_size=5, max_size=15))
def test_an_index_changes_nothing_of_what_a_filter_finds(indexed, values, filters):
    stored = [Document(str(number), "text", nested(one)) for number, one in enumerate(values)]
    indexed.add(stored)
    for filter in filters:
        expected = {document.id for document in stored if matches(parse_filter(filter), document.metadata)}
        assert {document.id for document in indexed.scroll(filter)} == expected, filter
    indexed.delete(str(number) for number in range(15))


def test_the_embedded_store_has_the_indexes_also_when_it_is_opened_again(indexed, seeded):
    types = {key: str(info.data_type) for key, info in indexed._edge._shard.info().payload_schema.items()}
    assert {key.replace('"', ""): kind.rpartition(".")[2].lower() for key, kind in types.items()} == {
        f"metadata.{path}": kind for path, kind in INDEXES.items()
    }
    indexed.close()
    with QdrantEdgeStore(seeded(), indexed.path, filter_fields=INDEXES) as again:
        assert again.count() == 0


def test_an_index_is_added_to_an_existing_store(seeded, tmp_path):
    with QdrantEdgeStore(seeded(), tmp_path) as store:
        store.create()
        store.add(Document("a", "text", {"word": "x"}))
    with QdrantEdgeStore(seeded(), tmp_path, filter_fields={"word": "keyword"}) as store:
        assert store.count({"word": "x"}) == 1
        assert list(store._edge._shard.info().payload_schema) == ["metadata.word"]


def test_an_index_of_another_type_is_refused_and_the_store_stays_free(indexed, seeded):
    indexed.close()
    with pytest.raises(StoreError, match=r"has an index of type 'keyword' on metadata\.word, not of type 'bool'"):
        QdrantEdgeStore(seeded(), indexed.path, filter_fields={"word": "bool"}).count()
    with QdrantEdgeStore(seeded(), indexed.path) as again:
        assert again.count() == 0


def test_only_missing_indexes_are_made():
    found = {'metadata."été"': "keyword", "metadata.n": "float"}
    wanted = {"metadata.été": "keyword", "metadata.n": "float", "metadata.new": "bool"}
    assert missing_indexes(wanted, found, "the store") == {"metadata.new": "bool"}


def test_the_local_mode_is_asked_for_no_index(seeded):
    store = QdrantStore(seeded(), QdrantClient(":memory:"), "articles", filter_fields={"word": "keyword"})
    store.create()
    assert store.count({"word": "x"}) == 0


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"storage": "tiny"}, ValueError, "storage='tiny': choose 'accurate' or 'balanced' or 'small'"),
        ({"filter_fields": {"word": "text"}}, ValueError, r"filter_fields\['word'\]='text': choose 'keyword'"),
        ({"filter_fields": {"a b": "bool"}}, ValueError, "this field cannot be filtered by"),
        ({"filter_fields": ["word"]}, TypeError, "takes a dict .* not list"),
    ],
)
def test_options_that_mean_nothing_are_refused(seeded, tmp_path, options, error, words):
    with pytest.raises(error, match=words):
        QdrantEdgeStore(seeded(), tmp_path, **options)


@pytest.mark.parametrize("storage", ["accurate", "balanced", "small"])
def test_every_profile_ranks_alike_before_and_after_optimizing(seeded, tmp_path, storage):
    def hits(store):
        return [[hit.id for hit in store.search(f"word{number} shared", limit=1)] for number in range(20)]

    with QdrantEdgeStore(seeded(), tmp_path, storage=storage) as store:
        store.create()
        store.add(Document(str(number), f"word{number} shared") for number in range(300))
        assert hits(store) == [[str(number)] for number in range(20)]
        store.optimize()
        assert hits(store) == [[str(number)] for number in range(20)]


@pytest.mark.skipif(not hasattr(models, "Memory"), reason="qdrant-client before 1.19 has no memory option")
def test_a_new_server_gets_the_memory_option():
    params = client_models.vector_params(SCHEMA, PROFILES["balanced"], has_memory=True)
    assert params["dense"].datatype == models.Datatype.FLOAT16
    assert (params["dense"].memory, params["dense"].on_disk) == (models.Memory.CACHED, None)
    assert params["dense"].quantization_config.scalar.memory == models.Memory.PINNED
    assert params["colbert"].memory == models.Memory.COLD
    assert params["colbert"].quantization_config is None
    sparse = client_models.sparse_params(PROFILES["balanced"], has_memory=True)["sparse"]
    assert sparse.index.memory == models.Memory.PINNED


def test_an_older_server_gets_the_on_disk_option():
    params = client_models.vector_params(SCHEMA, PROFILES["small"], has_memory=False)
    assert (getattr(params["dense"], "memory", None), params["dense"].on_disk) == (None, True)
    assert params["dense"].quantization_config.binary.always_ram is True
    assert params["colbert"].on_disk is True
    assert client_models.sparse_params(PROFILES["small"], has_memory=False)["sparse"].index.on_disk is False


@pytest.mark.parametrize("has_memory", [False, True])
def test_the_accurate_profile_leaves_placement_to_the_server(has_memory):
    params = client_models.vector_params(SCHEMA, PROFILES["accurate"], has_memory)
    for vector in params.values():
        assert vector.model_dump(exclude_none=True).keys().isdisjoint({"memory", "on_disk", "quantization_config"})
    assert params["dense"].datatype is None
    assert client_models.sparse_params(PROFILES["accurate"], has_memory)["sparse"].index is None


@pytest.mark.parametrize(
    ("version", "knows"), [((1, 18), False), ((1, 19), hasattr(models, "Memory")), ((2, 0), hasattr(models, "Memory"))]
)
def test_the_memory_option_is_for_servers_and_clients_since_1_19(version, knows):
    assert client_models.knows_memory(*version) == knows


@pytest.mark.parametrize(("dimension", "rows"), [(1024, 1023), (48, 21_845), (2, 524_287), (1_048_575, 1)])
def test_a_multivector_has_fewer_than_1048576_numbers(dimension, rows):
    assert max_colbert_rows(Schema("m3", dimension=4, sparse=True, colbert_dimension=dimension)) == rows
    assert rows * dimension < 1_048_576 <= (rows + 1) * dimension


def test_codes_may_be_of_any_number_of_vectors():
    schema = Schema("m3", dimension=4, sparse=True, colbert_dimension=1024, colbert_storage=ColbertStorage(bits=1))
    assert max_colbert_rows(schema) is None
