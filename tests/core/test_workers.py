"""A model on several devices gives what it gives on one, in the order of the input."""

import itertools

import numpy as np
import pytest
import torch

from flagvec import BGEM3FlagModel, FlagModel, NotFiniteError
from flagvec.engine.tokens import TokenWindow, batches_by_length
from flagvec.store.encoding import CHARACTERS_PER_BATCH, characters_per_batch
from flagvec.workers.shared_pass import batches_of_tasks

TEXTS = [f"Document {number} {'and so on ' * (number * 37 % 60)}" for number in range(700)]
TWO = ["cpu", "cpu"]


@pytest.fixture(scope="module")
def dense(tiny_bert_directory):
    with FlagModel(tiny_bert_directory, "mean", use_fp16=False, devices=TWO) as model:
        yield model, FlagModel(tiny_bert_directory, "mean", use_fp16=False, devices="cpu")


@pytest.fixture(scope="module")
def m3(tiny_m3_directory):
    options = {"use_fp16": False, "return_sparse": True, "return_colbert_vecs": True, "passage_max_length": 64}
    with BGEM3FlagModel(tiny_m3_directory, devices=TWO, **options) as model:
        yield model, BGEM3FlagModel(tiny_m3_directory, devices="cpu", **options)


def same(found, expected):
    np.testing.assert_allclose(found["dense_vecs"], expected["dense_vecs"], atol=1e-6)
    for one, other in zip(found["lexical_weights"], expected["lexical_weights"], strict=True):
        assert one == pytest.approx(other, abs=1e-6)
    for one, other in zip(found["colbert_vecs"], expected["colbert_vecs"], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_dense_vectors_are_those_of_one_device(dense):
    found, expected = (model.encode(TEXTS) for model in dense)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("use_bf16", [False, True], ids=["float32", "bfloat16"])
def test_results_are_those_of_one_device_bit_for_bit(tiny_m3_directory, use_bf16):
    texts = [*TEXTS, *(f"{text}, again" for text in TEXTS * 6)]  # more than a window
    options = {"use_fp16": False, "use_bf16": use_bf16, "return_sparse": True, "return_colbert_vecs": True}
    expected = BGEM3FlagModel(tiny_m3_directory, devices="cpu", **options).encode(texts, batch_size=100)
    with BGEM3FlagModel(tiny_m3_directory, devices=TWO, **options) as several:
        found = several.encode(texts, batch_size=100)
        assert several._workers is not None
    np.testing.assert_array_equal(found["dense_vecs"], expected["dense_vecs"])
    assert found["lexical_weights"] == expected["lexical_weights"]
    for one, other in zip(found["colbert_vecs"], expected["colbert_vecs"], strict=True):
        np.testing.assert_array_equal(one, other)


def test_tensors_are_those_of_one_device(dense):
    found, expected = (model.encode(TEXTS, convert_to_numpy=False) for model in dense)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_all_three_outputs_are_those_of_one_device(m3):
    found, expected = (model.encode(TEXTS) for model in m3)
    same(found, expected)
    assert found.truncated == expected.truncated
    assert found.truncated, "no text was long enough"


def test_queries_and_instructions_are_those_of_one_device(dense):
    found, expected = (model.encode(TEXTS, instruction="find: ", max_length=20) for model in dense)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_pooled_colbert_vectors_are_those_of_one_device(m3):
    found, expected = (model.encode(TEXTS, colbert_pool_factor=2) for model in m3)
    same(found, expected)


def test_a_stream_gives_batches_of_the_asked_size_in_order(m3):
    several, one = m3
    batches = [*several.encode_stream(iter(TEXTS), batch_size=300)]
    assert [batch.num_texts for batch in batches] == [300, 300, 100]
    for found, expected in zip(batches, one.encode_stream(iter(TEXTS), batch_size=300), strict=True):
        same(found, expected)


def test_a_stream_gives_the_whole_batches_before_a_wrong_text(dense):
    several, _ = dense
    found = []
    with pytest.raises(TypeError, match="650"):
        found.extend(several.encode_stream(itertools.chain(TEXTS[:650], [None]), batch_size=300))
    assert len(found) == 2


def test_an_attribute_that_is_set_later_counts(dense):
    several, one = dense
    several.normalize_embeddings = one.normalize_embeddings = False
    try:
        found, expected = several.encode(TEXTS), one.encode(TEXTS)
    finally:
        several.normalize_embeddings = one.normalize_embeddings = True
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() > 0.1


def test_workers_start_at_the_first_long_work_and_end_with_the_model(tiny_bert_directory):
    with FlagModel(tiny_bert_directory, "mean", devices=TWO) as model:
        model.encode(["short"] * 10)
        assert model._workers is None
        model.encode(TEXTS)
        processes = [worker.process for worker in model._workers._workers.values()]
        assert len(processes) == 2
    assert not any(process.is_alive() for process in processes)


def test_texts_that_are_not_finite_are_named_by_their_positions(tmp_path, overflowing_checkpoint):
    directory = overflowing_checkpoint(tmp_path / "float32", largest=2e38)
    texts = [*TEXTS]
    texts[5] = texts[600] = "the library for other libraries"
    with BGEM3FlagModel(directory, use_fp16=False, devices=TWO) as model, pytest.raises(NotFiniteError) as raised:
        model.encode(texts)
    assert raised.value.positions == (5, 600)


def lengths_in(window, batches):
    return [len(window.ids[place]) for batch in batches for place in batch]


def test_tasks_hold_the_batches_of_one_device_and_long_texts_come_first(dense):
    model, _ = dense
    window = model._encoder.window(model._tokenize(TEXTS, 512).ids, 100)
    tasks = batches_of_tasks(window, TWO)
    assert [*itertools.chain(*tasks)] == window.batches
    assert len(tasks) >= 8
    lengths = lengths_in(window, window.batches)
    assert lengths == sorted(lengths, reverse=True)


def test_a_batch_of_a_store_has_work_for_each_device(m3):
    several, one = m3
    assert characters_per_batch(one, has_colbert=True) == CHARACTERS_PER_BATCH
    assert characters_per_batch(several, has_colbert=True) == 4 * CHARACTERS_PER_BATCH
    three = ["cuda:0", "cuda:1", "cuda:2"]

    def tasks_of(texts):
        lengths = np.array([len(text) // 4 for text in texts])
        batches = [*batches_by_length(lengths, 256, 65_536, padded=False)]
        return batches_of_tasks(TokenWindow([np.zeros(length) for length in lengths], batches), three)

    batch = ["Rice is cooked in water. " * 20] * (6 * CHARACTERS_PER_BATCH // 500)
    assert len(tasks_of(batch)) >= len(three)
    assert len(tasks_of(batch[: len(batch) // 6])) < len(three), "one device's batch would do"


def test_no_texts_need_no_workers(dense):
    assert dense[0].encode([]).shape == (0, dense[0].dimension)
