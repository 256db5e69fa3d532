import json
import logging
from dataclasses import replace

import pytest

from flagvec import StoreError
from flagvec.store.schema import Schema

full = Schema("some/m3", dimension=48, sparse=True, colbert_dimension=32)
dense_only = Schema("some/bert", dimension=48, sparse=False, colbert_dimension=None)


def test_a_schema_holds_what_it_has_a_dimension_or_flag_for():
    assert full.representations == ("dense", "sparse", "colbert")
    assert dense_only.representations == ("dense",)


def test_a_schema_survives_json():
    assert Schema.from_json(json.loads(json.dumps(full.to_json()))) == full


def test_stores_of_one_shape_fit_whatever_the_models_name():
    full.check(Schema("elsewhere/m3", 48, True, 32), "the store")


def test_another_dimension_is_refused_with_both_numbers_and_the_model_to_use():
    with pytest.raises(StoreError) as caught:
        full.check(Schema("some/large", 1024, True, 32), "the store 'a'")
    assert str(caught.value) == (
        "the store 'a' holds dense vectors of 1024 dimensions, but is opened with the model 'some/m3' for dense "
        "vectors of 48 dimensions: open it with the model 'some/large', or make another store"
    )


@pytest.mark.parametrize(
    ("theirs", "ours", "words"),
    [
        ({"pooling": "cls"}, {"pooling": "mean"}, "vectors of cls pooling, but .* vectors of mean pooling"),
        ({"normalize": True}, {"normalize": False}, "made with normalize_embeddings=True"),
        (
            {"passage_instruction": "passage: "},
            {"passage_instruction": ""},
            "vectors of documents with the instruction 'passage: '",
        ),
    ],
)
def test_vectors_that_were_made_in_another_way_are_refused(theirs, ours, words):
    with pytest.raises(StoreError, match=words + ".*make the model with the same arguments"):
        replace(full, **ours).check(replace(full, **theirs), "the store")


def test_a_dense_store_of_another_pooling_is_not_told_to_leave_out_colbert():
    with pytest.raises(StoreError, match="make the model with the same arguments"):
        replace(dense_only, pooling="cls").check(replace(dense_only, pooling="mean"), "the store")


def test_what_an_older_store_does_not_say_is_not_compared():
    replace(full, pooling="mean", normalize=True, passage_instruction="p").check(full, "the store")


def test_another_query_instruction_is_only_logged(caplog):
    with caplog.at_level(logging.WARNING, "flagvec"):
        replace(full, query_instruction="new").check(replace(full, query_instruction="old"), "the store")
    assert "with the instruction 'old' and is opened with 'new'" in caplog.text


def test_a_schema_says_how_the_model_makes_vectors(tiny_m3):
    schema = Schema.of(tiny_m3)
    assert (schema.pooling, schema.normalize) == ("cls", True)
    assert (schema.passage_instruction, schema.query_instruction) == ("", "")


def test_all_differences_are_named():
    with pytest.raises(StoreError) as caught:
        dense_only.check(full, "the store")
    assert "holds lexical weights and ColBERT vectors of 32 dimensions" in str(caught.value)
    assert "no lexical weights and no ColBERT vectors" in str(caught.value)


@pytest.mark.parametrize(("found", "remedy"), [(None, "colbert=False"), (32, "colbert=True")])
def test_a_store_that_differs_in_colbert_alone_says_how_to_open_it(found, remedy):
    ours = Schema("some/m3", 48, True, 32 if found is None else None)
    with pytest.raises(StoreError, match=f"open it with {remedy}"):
        ours.check(Schema("some/m3", 48, True, found), "the store")
