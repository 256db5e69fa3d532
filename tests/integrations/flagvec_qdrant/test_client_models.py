"""What a server is sent, over REST and over gRPC."""

import json
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from qdrant_client import QdrantClient, grpc, models
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc

from flagvec import Document, M3Output, Weighted
from flagvec.filters.portable import parse_filter
from flagvec.search.options import SearchOptions
from flagvec.store.backend import Record
from flagvec.store.metadata import MAX_METADATA_DEPTH
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors
from flagvec_qdrant import QdrantStore, client_models
from flagvec_qdrant.filters import native_filter
from flagvec_qdrant.schema import PROFILES, description
from flagvec_qdrant.search import ranking

EVERY_CONDITION = {
    "lang": "en", "n": {"gte": 1, "lt": 2.5}, "big": 2**60, "flag": {"ne": True}, "any": {"in": ["a", 1, False]},
    "day": {"gt": datetime(2024, 5, 17, 12, 0, 0, 123)}, "gone": {"exists": False}, "or": [{"a.été": 1}, {"or": []}],
}  # fmt: skip
EYE = np.eye(4, dtype=np.float32)


class WholeNumbers:
    """Gives vectors of zeros and ones, which JSON must not write as whole numbers."""

    model_name_or_path, representations = "whole", frozenset({"dense", "sparse", "colbert"})
    dimension = colbert_dimension = 4

    def encode_corpus(self, texts, **options):
        count = len(texts)
        return M3Output(dense_vecs=EYE[:count], lexical_weights=[{7: 1}] * count, colbert_vecs=[EYE[:2]] * count)


def test_whole_numbers_go_out_as_floats_so_that_a_matrix_is_not_taken_for_a_sparse_vector(
    http_server, rest_client, as_opened
):
    store = as_opened(QdrantStore(WholeNumbers(), rest_client, "articles"))
    assert store.add(Document("a", "text"), timeout=2.5).ok == ("a",)
    [(method, path, body)] = http_server.requests
    assert (method, path) == ("PUT", "/collections/articles/points?wait=true&timeout=3")
    vector = body["points"][0]["vector"]
    assert "[1.0,0.0,0.0,0.0]" in json.dumps(vector["dense"], separators=(",", ":"))
    assert all(type(number) is float for row in vector["colbert"] for number in row)
    assert all(type(number) is float for number in vector["sparse"]["values"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nothing_that_is_not_finite_reaches_the_server(http_server, rest_client, as_opened, bad):
    class Broken(WholeNumbers):
        def encode_corpus(self, texts, **options):
            return super().encode_corpus(texts) | {"lexical_weights": [{7: bad}]}

    store = as_opened(QdrantStore(Broken(), rest_client, "articles"))
    with pytest.raises(ValueError, match="not finite"):
        store.add("text")
    assert http_server.requests == []


def test_every_condition_survives_the_way_through_grpc():
    written = native_filter(parse_filter(EVERY_CONDITION), client_models.TERMS)
    again = GrpcToRest.convert_filter(RestToGrpc.convert_filter(written))
    assert without_empty(again.model_dump()) == without_empty(written.model_dump())


def without_empty(value):
    """Return a model's values without the lists that gRPC makes of what is not there."""
    if isinstance(value, dict):
        return {key: without_empty(item) for key, item in value.items() if key == "has_id" or item not in (None, [])}
    return [without_empty(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "options", [{}, {"mode": "dense"}, {"mode": "sparse"}, {"fusion": Weighted()}, {"rerank": "colbert"}], ids=str
)
def test_every_search_can_be_said_over_grpc_with_its_filter_where_points_are_found(options):
    query = TextVectors(EYE[0], {3: 0.5}, EYE[:2])
    schema = Schema("m3", dimension=4, sparse=True, colbert_dimension=4)
    stage = ranking(query, SearchOptions.checked(schema, **options))
    where = native_filter(parse_filter({"lang": "en"}), client_models.TERMS)
    request = client_models.request(stage, client_models.vectors(query), where, has_indexes=True)
    RestToGrpc.convert_query_request(request, "articles")
    assert filters_at_the_bottom(request) == [where] * count_at_the_bottom(request)


def filters_at_the_bottom(stage):
    if not stage.prefetch:
        return [stage.filter]
    assert stage.filter is None
    return [found for source in stage.prefetch for found in filters_at_the_bottom(source)]


def count_at_the_bottom(stage):
    return sum(map(count_at_the_bottom, stage.prefetch)) if stage.prefetch else 1


def test_dense_candidates_are_rescored_where_they_are_quantised():
    query = TextVectors(dense=EYE[0])
    schema = Schema("m3", dimension=4, sparse=False, colbert_dimension=None)
    stage = ranking(query, SearchOptions.checked(schema))
    request = client_models.request(stage, client_models.vectors(query), None, has_indexes=True)
    assert request.params.quantization == models.QuantizationSearchParams(rescore=True, oversampling=3.0)


@pytest.mark.parametrize("has_memory", [False, client_models.knows_memory(1, 19)])
@pytest.mark.parametrize("profile", PROFILES)
def test_a_collection_survives_the_way_through_grpc(profile, has_memory):
    schema = Schema("m3", dimension=4, sparse=True, colbert_dimension=4)
    vectors = client_models.vector_params(schema, PROFILES[profile], has_memory)
    sparse = client_models.sparse_params(PROFILES[profile], has_memory)
    params = GrpcToRest.convert_collection_params(
        grpc.CollectionParams(
            vectors_config=RestToGrpc.convert_vectors_config(vectors),
            sparse_vectors_config=RestToGrpc.convert_sparse_vector_config(sparse),
        )
    )
    assert (params.vectors, params.sparse_vectors) == (vectors, sparse)
    assert client_models.schema_of_params(params, "m3") == schema


def test_a_description_survives_the_way_through_grpc():
    written = description(Schema("m3", dimension=4, sparse=True, colbert_dimension=None))
    sent = grpc.CollectionConfig(metadata=RestToGrpc.convert_payload(written))
    received = grpc.CollectionConfig.FromString(sent.SerializeToString())
    assert GrpcToRest.convert_payload(received.metadata) == written


def test_a_point_survives_the_way_through_grpc():
    metadata = {"n": 2**60, "f": 1.0, "list": [None, True, {"é": "\x00"}], "": {}}
    record = Record(Document("a", "text", metadata), TextVectors(EYE[0], {3: 0.5}, EYE[:2]))
    point = client_models.point(record)
    again = GrpcToRest.convert_payload(RestToGrpc.convert_point_struct(point).payload)
    assert again == point.payload
    assert type(again["metadata"]["f"]) is float


@pytest.mark.parametrize("deeper", [lambda inner: [inner], lambda inner: {"a": inner}], ids=["lists", "objects"])
def test_metadata_as_deep_as_is_taken_are_read_on_both_ends_of_grpc(deeper):
    metadata = {"a": "bottom"}
    for _ in range(MAX_METADATA_DEPTH - 1):
        metadata = {"a": deeper(metadata["a"])}
    document = Document("a", "text", metadata)
    point = RestToGrpc.convert_point_struct(client_models.point(Record(document, TextVectors(EYE[0]))))
    upsert = grpc.UpsertPoints(collection_name="articles", points=[point]).SerializeToString()
    [received] = grpc.UpsertPoints.FromString(upsert).points
    hit = grpc.BatchResult(result=[grpc.ScoredPoint(payload=received.payload)])
    answer = grpc.QueryBatchResponse(result=[hit]).SerializeToString()
    found = grpc.QueryBatchResponse.FromString(answer).result[0].result[0]
    assert GrpcToRest.convert_payload(found.payload)["metadata"] == metadata


def test_a_key_is_in_no_representation_message_or_log(as_opened, caplog):
    client = QdrantClient(url="https://127.0.0.1:9", api_key="verysecret", timeout=1, check_compatibility=False)
    store = as_opened(QdrantStore(WholeNumbers(), client, "articles"))
    assert "verysecret" not in repr(store)
    store._backend.limits = replace(store._backend.limits, attempts=1)
    report = store.add("text", on_error="report")
    assert report.failed[0].retryable
    assert "verysecret" not in repr(report) + caplog.text
