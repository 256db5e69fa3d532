"""Arguments of ``create_collection``: which a store passes on, and which it refuses."""

import pytest
from qdrant_client import QdrantClient, models

from flagvec_qdrant import QdrantStore


def test_a_collection_is_made_with_the_settings(any_client, place, tiny_m3):
    settings = {
        "shard_number": 3,
        "write_consistency_factor": 1,
        "hnsw_config": {"m": 24},
        "optimizers_config": models.OptimizersConfigDiff(indexing_threshold=30_000),
        "quantization_config": {"scalar": {"type": "int8", "always_ram": True}},
    }
    store = QdrantStore(tiny_m3, any_client, place("set"), settings=settings)
    store.create()
    store.add(["rice", "soup"])
    assert [hit.text for hit in store.search("rice", limit=1)] == ["rice"]
    if any_client.init_options["location"] == ":memory:":
        return  # local mode has no such things
    found = any_client.get_collection(place("set")).config
    assert (found.params.shard_number, found.hnsw_config.m) == (3, 24)
    assert found.optimizer_config.indexing_threshold == 30_000
    assert found.params.vectors["dense"].quantization_config.scalar.type == "int8"
    assert found.params.vectors["colbert"].quantization_config is None
    assert found.quantization_config is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vectors_config": {}}, r"settings\['vectors_config'\] contradicts the schema"),
        ({"metadata": {}}, "it holds the description of the store"),
        ({"shards": 3}, r"settings\['shards'\] is not known: settings takes shard_number, replication_factor"),
        ({"shard_number": "many"}, r"settings\['shard_number'\]='many'"),
        ({"hnsw_config": {"mm": 3}}, r"settings\['hnsw_config'\]\['mm'\]=3"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(settings, message, tiny_m3):
    with pytest.raises(ValueError, match=message):
        QdrantStore(tiny_m3, QdrantClient(":memory:"), "articles", settings=settings)


def test_two_quantisations_contradict_each_other(tiny_m3):
    settings = {"quantization_config": {"scalar": {"type": "int8"}}}
    with pytest.raises(ValueError, match="contradicts the storage profile, which quantises to binary"):
        QdrantStore(tiny_m3, QdrantClient(":memory:"), "articles", storage="small", settings=settings)


def test_settings_that_are_no_mapping_are_refused(tiny_m3):
    with pytest.raises(TypeError, match="settings takes a dict"):
        QdrantStore(tiny_m3, QdrantClient(":memory:"), "articles", settings=[1])
