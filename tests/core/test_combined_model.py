"""`CombinedModel`: what a pair gives is what its two models give, and a store can tell one pair from another."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from flagvec import (
    BGEM3FlagModel,
    CheckpointError,
    ColbertFlagModel,
    CombinedModel,
    FlagModel,
    NotFiniteError,
    StoreError,
)
from flagvec.store.encoding import encode_documents, model_lock
from flagvec.store.schema import Schema

TEXTS = ["Rice, rinsed; then cooked!", "a library for zip archives", "", "long " * 300]


@pytest.fixture(scope="module")
def colbert(tmp_path_factory, colbert_checkpoint):
    directory = colbert_checkpoint(tmp_path_factory.mktemp("colbert") / "mine", document_length=100)
    return ColbertFlagModel(directory, use_fp16=False)


@pytest.fixture(scope="module")
def model(tiny_bert, colbert):
    return CombinedModel(tiny_bert, colbert=colbert)


@pytest.fixture(scope="module")
def m3_pair(tiny_m3, colbert):
    return CombinedModel(tiny_m3, colbert=colbert)


def assert_same(found, expected):
    assert len(found) == len(expected)
    for rows, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(rows, other)


@pytest.mark.parametrize("method", ["encode", "encode_queries", "encode_corpus"])
def test_each_method_gives_what_the_two_models_give(model, tiny_bert, colbert, method):
    found = getattr(model, method)(TEXTS)
    assert set(found) == {"dense_vecs", "colbert_vecs"}
    assert_same(found["dense_vecs"], getattr(tiny_bert, method)(TEXTS))
    assert_same(found["colbert_vecs"], getattr(colbert, method)(TEXTS)["colbert_vecs"])


def test_lexical_weights_come_from_the_dense_model_if_it_has_them(m3_pair, tiny_m3, colbert):
    found, dense = m3_pair.encode_corpus(TEXTS), tiny_m3.encode_corpus(TEXTS)
    assert m3_pair.representations == {"dense", "sparse", "colbert"}
    assert found["lexical_weights"] == dense["lexical_weights"]
    assert_same(found["dense_vecs"], dense["dense_vecs"])


def test_the_colbert_model_wins_over_the_dense_models_own_head(m3_pair, tiny_m3, colbert):
    assert tiny_m3.colbert_dimension != m3_pair.colbert_dimension == colbert.colbert_dimension
    assert_same(m3_pair.encode_corpus(TEXTS)["colbert_vecs"], colbert.encode_corpus(TEXTS)["colbert_vecs"])


def test_one_text_is_unbatched(model, tiny_bert, colbert):
    found = model.encode_queries(TEXTS[0])
    np.testing.assert_array_equal(found["dense_vecs"], tiny_bert.encode_queries(TEXTS[0]))
    np.testing.assert_array_equal(found["colbert_vecs"], colbert.encode_queries(TEXTS[0])["colbert_vecs"])


def test_both_models_read_the_texts_of_a_generator(model):
    assert model.encode_corpus(text for text in TEXTS).num_texts == len(TEXTS)


def test_tensors_are_given_if_asked_for(model):
    found = model.encode(TEXTS, convert_to_numpy=False)
    assert isinstance(found["dense_vecs"], torch.Tensor)
    assert isinstance(found["colbert_vecs"][0], torch.Tensor)


def test_a_stream_gives_what_the_list_gives(model):
    batches = list(model.encode_stream(TEXTS, batch_size=3))
    expected = model.encode_corpus(TEXTS)
    np.testing.assert_allclose(
        np.concatenate([one["dense_vecs"] for one in batches]), expected["dense_vecs"], atol=1e-5
    )
    assert [len(rows) for one in batches for rows in one["colbert_vecs"]] == [len(r) for r in expected["colbert_vecs"]]


class Counting(FlagModel):
    def encode(self, *arguments, **options):
        self.calls.append("dense")
        self.was_locked = model_lock(self).locked()
        return super().encode(*arguments, **options)


class CountingColbert(ColbertFlagModel):
    def encode(self, *arguments, **options):
        self.calls.append("colbert")
        self.was_locked = model_lock(self).locked()
        return super().encode(*arguments, **options)


@pytest.fixture
def counting(tiny_bert_directory, colbert):
    pair = CombinedModel(
        Counting(tiny_bert_directory, use_fp16=False),
        colbert=CountingColbert(colbert.model_name_or_path, use_fp16=False),
    )
    pair.dense_model.calls = pair.colbert_model.calls = []
    return pair


@pytest.mark.parametrize(
    ("representations", "calls"),
    [(["dense"], ["dense"]), (["colbert"], ["colbert"]), (["dense", "colbert"], ["dense", "colbert"])],
)
def test_each_model_that_is_needed_runs_once_and_no_other(counting, representations, calls):
    found = encode_documents(counting, TEXTS, TEXTS, representations).all_valid()
    assert counting.dense_model.calls == calls
    assert [set(one.present) for one in found] == [set(representations)] * len(TEXTS)


def test_each_model_is_locked_while_it_encodes_because_others_may_use_it_alone(counting):
    counting.encode_corpus(TEXTS)
    assert (counting.dense_model.was_locked, counting.colbert_model.was_locked) == (True, True)
    assert not model_lock(counting.dense_model).locked()


def test_lexical_weights_are_refused_if_the_dense_model_has_none(model):
    with pytest.raises(CheckpointError, match=r"return_sparse=True: .* gives no lexical weights"):
        model.encode(TEXTS, return_sparse=True)


def test_nothing_to_encode_is_refused(model):
    with pytest.raises(ValueError, match="nothing to encode"):
        model.encode(TEXTS, return_dense=False, return_colbert_vecs=False)


def test_an_unknown_argument_is_refused(model):
    with pytest.raises(TypeError, match="return_dence"):
        model.encode(TEXTS, return_dence=True)


def test_texts_that_either_model_cuts_off_are_named(tiny_bert_directory, colbert):
    short = FlagModel(tiny_bert_directory, use_fp16=False, passage_max_length=6)
    texts = ["one", "a library for zip archives and more", "long " * 300]
    model = CombinedModel(short, colbert=colbert)
    assert short.encode_corpus_output(texts, ["dense"]).truncated == (1, 2)
    assert colbert.encode_corpus(texts).truncated == (2,)
    for found in (
        model.encode_corpus(texts),
        model.encode_corpus_output(texts, ["dense", "colbert"]),
    ):
        assert found.truncated == (1, 2)
    long = CombinedModel(FlagModel(tiny_bert_directory, use_fp16=False), colbert=colbert)
    assert long.dense_model.passage_max_length > 300 > colbert.passage_max_length
    assert long.encode_corpus(texts).truncated == (2,)
    assert model.encode_corpus(texts, return_colbert_vecs=False).truncated == (1, 2)
    assert model.encode_corpus(texts, return_dense=False).truncated == (2,)


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory, overflowing_checkpoint):
    # In float32 it overflows too.
    return FlagModel(overflowing_checkpoint(tmp_path_factory.mktemp("big") / "model", 3e38), use_fp16=False)


def test_a_text_that_is_not_finite_is_refused_alone(overflowing, colbert):
    model = CombinedModel(overflowing, colbert=colbert)
    texts = ["rice", "a library", "bread"]
    with pytest.raises(NotFiniteError) as caught:
        model.encode_corpus(texts)
    assert caught.value.positions == (1,)
    encoded = encode_documents(model, texts, texts, ["dense", "colbert"])
    assert list(encoded.refused) == [1]
    assert "not finite" in encoded.refused[1]


def test_a_pickled_pair_gives_the_same(model):
    found = pickle.loads(pickle.dumps(model))
    assert_same(found.encode_corpus(TEXTS)["dense_vecs"], model.encode_corpus(TEXTS)["dense_vecs"])
    assert_same(found.encode_corpus(TEXTS)["colbert_vecs"], model.encode_corpus(TEXTS)["colbert_vecs"])


def test_a_deep_copy_is_the_pair_itself(model):
    assert copy.deepcopy(model) is model


def test_the_repr_names_both_models(model, tiny_bert, colbert):
    assert repr(model) == f"CombinedModel({tiny_bert!r}, colbert={colbert!r})"


def test_two_dense_models_are_refused(tiny_bert):
    with pytest.raises(TypeError, match=r"colbert=FlagModel\(.*\): give a ColbertFlagModel"):
        CombinedModel(tiny_bert, colbert=tiny_bert)


def test_a_colbert_model_in_the_place_of_the_dense_one_is_refused(tiny_bert, colbert):
    with pytest.raises(TypeError, match=r"dense=ColbertFlagModel\(.*: give a FlagModel or a BGEM3FlagModel"):
        CombinedModel(colbert, colbert=tiny_bert)


def test_a_name_is_refused(colbert):
    with pytest.raises(TypeError, match="dense='bge-m3': give a FlagModel or a BGEM3FlagModel"):
        CombinedModel("bge-m3", colbert=colbert)


def test_the_schema_records_both_models(model, tiny_bert, colbert):
    schema = Schema.of(model)
    assert schema.model == f"{tiny_bert.model_name_or_path} + {colbert.model_name_or_path}"
    assert schema.colbert_model == colbert.model_name_or_path
    assert (schema.dimension, schema.sparse, schema.colbert_dimension) == (tiny_bert.dimension, False, 8)
    assert Schema.from_json(schema.to_json()) == schema


def test_the_schema_records_the_instructions_of_both_models(tiny_bert_directory, colbert):
    dense = FlagModel(tiny_bert_directory, use_fp16=False, passage_instruction_for_retrieval="passage: ")
    own = ColbertFlagModel(colbert.model_name_or_path, use_fp16=False, passage_instruction_for_retrieval="read: ")
    assert Schema.of(CombinedModel(dense, colbert=own)).passage_instruction == "passage:  + read: "
    assert Schema.of(CombinedModel(dense, colbert=colbert)).passage_instruction == "passage:  + "
    assert Schema.of(CombinedModel(dense, colbert=own), colbert=False).passage_instruction == "passage: "


def test_without_colbert_vectors_the_schema_is_the_dense_models(m3_pair, tiny_m3):
    assert Schema.of(m3_pair, colbert=False) == Schema.of(tiny_m3, colbert=False)


def test_a_pair_that_has_moved_fits_its_store(model):
    schema = Schema.of(model)
    dense, colbert = (name.rpartition("/")[2] for name in schema.model.split(" + "))
    moved = replace(schema, model=f"/there/{dense} + /elsewhere/{colbert}", colbert_model=f"/elsewhere/{colbert}")
    moved.check(schema, "the store")


@pytest.mark.parametrize(("first", "second"), [("a", "other"), ("other", "b")])
def test_another_pair_of_the_same_dimensions_is_refused(model, first, second):
    theirs = replace(Schema.of(model), model="x/a + y/b", colbert_model="y/b")
    ours = replace(theirs, model=f"x/{first} + y/{second}", colbert_model=f"y/{second}")
    with pytest.raises(StoreError) as caught:
        ours.check(theirs, "the store 's'")
    assert str(caught.value) == (
        f"the store 's' holds vectors of 'x/a + y/b', but is opened with the model 'x/{first} + y/{second}' for "
        f"vectors of 'x/{first} + y/{second}': open it with the model 'x/a + y/b', or make another store"
    )


def test_a_single_model_of_the_same_dimensions_is_refused_where_a_pair_was(model):
    theirs = Schema.of(model)
    with pytest.raises(StoreError, match=r"open it with the model '.* \+ .*'"):
        replace(theirs, model="m3", colbert_model=None).check(theirs, "the store")


def test_a_pair_is_told_to_leave_colbert_out_if_the_store_has_none(model, tiny_bert):
    with pytest.raises(StoreError, match="open it with colbert=False"):
        Schema.of(model).check(Schema.of(tiny_bert), "the store")


def test_a_colbert_model_alone_is_told_of_the_pair(colbert):
    with pytest.raises(CheckpointError, match=r"pass CombinedModel\(dense_model, colbert=this_model\)"):
        Schema.of(colbert)


def test_a_bge_m3_without_lexical_weights_is_taken(tiny_bert_directory, colbert):
    model = CombinedModel(BGEM3FlagModel(tiny_bert_directory, use_fp16=False), colbert=colbert)
    assert model.representations == {"dense", "colbert"}
    assert set(model.encode_corpus(TEXTS)) == {"dense_vecs", "colbert_vecs"}
