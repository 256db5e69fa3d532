"""Arguments of Milvus' create and load calls: which a store passes on, and which it refuses."""

import pytest

from flagvec import StoreError
from flagvec.store.schema import Schema
from flagvec_milvus import MilvusStore, lite_client
from flagvec_milvus.schema import Contents, Engine
from flagvec_milvus.settings import checked_settings

SERVER = Engine("v2.6.4")
SCHEMA = Schema("m3", dimension=8, sparse=True, colbert_dimension=8)


def test_settings_go_to_the_calls_that_take_them():
    given = {"num_shards": 4, "replica_number": 2, "properties": {"mmap.enabled": True}}
    settings = checked_settings(given)
    assert settings.create == {"num_shards": 4, "properties": {"mmap.enabled": True}}
    assert settings.load == {"replica_number": 2}


def test_a_chosen_index_replaces_type_and_parameters_and_keeps_the_metric():
    index = {"index_type": "HNSW_SQ", "params": {"M": 16, "efConstruction": 200, "sq_type": "SQ8"}}
    settings = checked_settings({"index_params": {"dense": index}})
    made = {one.index_name: one for one in Contents.of(SCHEMA, SERVER).index_params(SERVER, settings.indexes)}
    assert (made["dense"].index_type, made["colbert_vector"].index_type) == ("HNSW_SQ", "HNSW")
    assert made["dense"].get_index_configs() == {
        "index_type": "HNSW_SQ",
        "metric_type": "IP",
        "M": 16,
        "efConstruction": 200,
        "sq_type": "SQ8",
    }


def test_milvus_lite_takes_no_settings(tiny_m3, tmp_path):
    store = MilvusStore(tiny_m3, lite_client(tmp_path / "a.db"), "articles", settings={"num_shards": 4})
    with pytest.raises(StoreError, match=r"settings\['num_shards'\], but Milvus Lite has one shard"):
        store.create()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schema": None}, r"settings\['schema'\] contradicts the schema"),
        ({"consistency_level": "Strong"}, "it is an argument of the store itself"),
        ({"shards": 2}, "is not known: settings takes num_shards, properties, replica_number"),
        ({"num_shards": 0}, r"settings\['num_shards'\]=0: it takes a whole number of at least 1"),
        ({"index_params": {"text": {}}}, r"\['text'\] is no field with vectors: name one of dense, colbert, sparse"),
        ({"index_params": {"dense": {"metric_type": "L2"}}}, r"\['metric_type'\] is not taken"),
        ({"index_params": {"dense": {"index_type": "IVF_FLAT"}}}, "the store searches HNSW, HNSW_SQ"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        checked_settings(settings)
