import json
from dataclasses import replace

import numpy as np
import pytest
from pymilvus import DataType
from pymilvus.client.abstract import CollectionSchema
from pymilvus.client.prepare import Prepare
from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from flagvec import ColbertStorage, Document, StoreError
from flagvec.store.backend import Record
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors
from flagvec_milvus.convert import to_row
from flagvec_milvus.schema import Contents, Engine

LITE, OLD_SERVER, SERVER = Engine("milvus_lite-3.2.2"), Engine("2.5.4"), Engine("v2.6.4")
ALL = Schema("bge-m3", dimension=1024, sparse=True, colbert_dimension=128)
COMPACT = replace(ALL, colbert_storage=ColbertStorage(bits=4))
DENSE = Schema("bge-small", dimension=384, sparse=False, colbert_dimension=None)


def fields_of(schema, engine):
    described = Contents.of(schema, engine).create_arguments(engine)["schema"].to_dict()
    return {field["name"]: field for field in [*described["fields"], *described.get("struct_fields", [])]}


def indexes_of(schema, engine):
    return {index.field_name: index.get_index_configs() for index in Contents.of(schema, engine).index_params(engine)}


@pytest.mark.parametrize(
    ("version", "has_them"),
    [
        ("2.6.4", True),
        ("v2.6.4-gpu", True),
        ("2.7.0", True),
        ("3.0", True),
        ("2.6.3", False),
        ("2.6", False),
        ("v2.5.10", False),
        ("2.5-20250318-8de5174e-amd64", False),
        ("milvus_lite-3.2.2", False),
        ("unknown", False),
    ],
)
def test_struct_arrays_are_known_by_the_version(version, has_them):
    assert Engine(version).has_struct_arrays is has_them


def test_a_servers_collection_has_milvus_own_form_of_each_representation():
    fields, indexes = fields_of(ALL, SERVER), indexes_of(ALL, SERVER)
    assert (fields["id"]["type"], fields["id"]["is_primary"], fields["id"]["params"]) == (
        DataType.VARCHAR,
        True,
        {"max_length": 512},
    )
    assert (fields["dense"]["type"], fields["dense"]["params"]) == (DataType.FLOAT_VECTOR, {"dim": 1024})
    assert fields["sparse"]["type"] == DataType.SPARSE_FLOAT_VECTOR
    assert [field["params"] for field in fields["colbert"]["fields"]] == [{"dim": 128}]
    assert (indexes["dense"]["index_type"], indexes["dense"]["metric_type"]) == ("HNSW", "IP")
    assert indexes["sparse"] == {
        "index_type": "SPARSE_INVERTED_INDEX",
        "metric_type": "IP",
        "inverted_index_algo": "DAAT_MAXSCORE",
    }
    assert indexes["colbert[vector]"]["metric_type"] == "MAX_SIM_IP"
    assert indexes["terms"] == {"index_type": "INVERTED"}


@pytest.mark.parametrize("engine", [LITE, OLD_SERVER], ids=["lite", "2.5"])
def test_colbert_vectors_are_text_parts_without_struct_arrays(engine):
    colbert = fields_of(ALL, engine)["colbert"]
    assert (colbert["type"], colbert["element_type"]) == (DataType.ARRAY, DataType.VARCHAR)
    assert "colbert[vector]" not in indexes_of(ALL, engine)


def test_terms_are_indexed_on_a_server_and_one_string_on_lite():
    assert fields_of(ALL, SERVER)["terms"]["type"] == DataType.ARRAY
    assert fields_of(ALL, LITE)["terms"]["type"] == DataType.VARCHAR
    assert "terms" in indexes_of(ALL, SERVER)
    assert "terms" not in indexes_of(ALL, LITE)


def test_lite_compares_all_dense_vectors():
    assert indexes_of(ALL, LITE)["dense"] == {"index_type": "FLAT", "metric_type": "IP"}


@pytest.mark.parametrize("engine", [LITE, SERVER], ids=["lite", "server"])
def test_a_dense_model_has_a_dense_collection(engine):
    assert not {"sparse", "colbert"} & fields_of(DENSE, engine).keys()
    assert not {"sparse", "colbert[vector]"} & indexes_of(DENSE, engine).keys()


def description_of(contents, engine):
    arguments = contents.create_arguments(engine)
    if engine.is_lite:
        return {"description": "", "properties": arguments["properties"]}
    return arguments["schema"].to_dict()


@pytest.mark.parametrize("engine", [LITE, OLD_SERVER, SERVER], ids=["lite", "2.5", "2.6"])
@pytest.mark.parametrize("schema", [ALL, COMPACT, DENSE], ids=["all", "compact", "dense"])
def test_a_collection_says_what_it_holds(schema, engine):
    contents = Contents.of(schema, engine)
    assert Contents.found(description_of(contents, engine), "the collection 'x'") == contents


@pytest.mark.parametrize(("schema", "version"), [(ALL, 2), (COMPACT, 3)], ids=["all", "compact"])
@pytest.mark.parametrize("engine", [LITE, SERVER], ids=["lite", "server"])
def test_a_collection_says_who_made_it_and_an_older_flagvec_refuses_codes(engine, schema, version):
    kept = description_of(Contents.of(schema, engine), engine)
    about = json.loads(kept["description"] or kept["properties"]["flagvec"])
    assert (about["made_by"], about["version"], about["schema"]) == ("flagvec", version, schema.to_json())


def test_codes_are_text_parts_on_a_server_that_could_compare_vectors():
    colbert = fields_of(COMPACT, SERVER)["colbert"]
    assert (colbert["type"], colbert["element_type"]) == (DataType.ARRAY, DataType.VARCHAR)
    assert "colbert[vector]" not in indexes_of(COMPACT, SERVER)


def test_a_servers_description_of_a_long_name_and_instructions_is_short_enough():
    instruction = "为这个句子生成表示以用于检索相关文章：" * 3
    schema = replace(
        COMPACT, model="/models/" + "x" * 200, passage_instruction=instruction, query_instruction=instruction
    )
    assert len(description_of(Contents.of(schema, SERVER), SERVER)["description"].encode()) <= 1_024


def test_a_collection_of_an_older_flagvec_is_read():
    schema = {"model": "bge-m3", "dimension": 1024, "sparse": True, "colbert_dimension": 128}
    layout = {"native_colbert": False, "metadata_parts": False, "packed_terms": True}
    about = json.dumps({"flagvec": 2, "schema": schema, "layout": layout})
    found = Contents.found({"description": "", "properties": {"flagvec": about}}, "the collection 'x'")
    assert found == Contents.of(ALL, LITE)


@pytest.mark.parametrize("description", ["", "my documents", '{"other": 1}', "[1]", '{"made_by": "someone"}'])
def test_a_collection_of_others_is_refused(description):
    with pytest.raises(StoreError, match="the collection 'x' was not made by flagvec: choose another collection_name"):
        Contents.found({"description": description}, "the collection 'x'")


@pytest.mark.parametrize(
    ("about", "remedy"),
    [
        ({"flagvec": 1}, "layout 1, .* reads 2 and 3: drop it, create it anew and add its documents again"),
        ({"made_by": "flagvec", "version": 4}, "layout 4, .* reads 2 and 3: update flagvec"),
    ],
)
def test_a_collection_of_another_layout_is_refused(about, remedy):
    with pytest.raises(StoreError, match=f"the collection 'x' has {remedy}"):
        Contents.found({"description": json.dumps(about)}, "the collection 'x'")


def test_the_client_encodes_a_servers_rows_with_and_without_vectors_to_compare():
    contents = Contents.of(Schema("m3", dimension=4, sparse=True, colbert_dimension=2), SERVER)
    schema = schema_pb2.CollectionSchema()
    schema.ParseFromString(
        Prepare.create_collection_request("articles", contents.create_arguments(SERVER)["schema"]).schema
    )
    described = CollectionSchema(milvus_pb2.DescribeCollectionResponse(schema=schema)).dict()
    vectors = [
        TextVectors(np.full(4, 0.5, np.float32), {3: 0.5}, np.eye(2, dtype=np.float32)),
        TextVectors(np.full(4, 0.5, np.float32), {}, np.zeros((0, 2), np.float32)),
    ]
    records = [Record(Document(name, "text", {"n": 1}), found) for name, found in zip("ab", vectors, strict=True)]
    rows = [to_row(record, contents.layout) for record in records]
    request = Prepare.row_upsert_param(
        "articles", rows, "", described["fields"], described["struct_array_fields"], enable_dynamic=False
    )
    fields = {field.field_name: field for field in request.fields_data}
    assert request.num_rows == 2
    assert list(fields["id"].scalars.string_data.data) == ["a", "b"]
    (colbert,) = fields["colbert"].struct_arrays.fields
    assert [list(one.float_vector.data) for one in colbert.vectors.vector_array.data] == [[1, 0, 0, 1], []]
