import json

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
        "the store 'a' holds dense vectors of 1024 dimensions, but 'some/m3' is to give it dense vectors of 48 "
        "dimensions: open it with the model that it was made with, 'some/large', or make another"
    )


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
