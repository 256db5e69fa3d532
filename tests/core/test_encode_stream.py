"""`encode_stream`: bounded batches from any iterable."""

import itertools

import numpy as np
import pytest

TEXTS = [f"text number {number}" for number in range(10)]


class CountingTexts:
    """An endless iterable that knows how much was read of it."""

    def __init__(self):
        self.read = 0

    def __iter__(self):
        for number in itertools.count():
            self.read += 1
            yield f"text number {number}"


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(3, [3, 3, 3, 1]), (5, [5, 5]), (10, [10]), (256, [10]), (1, [1] * 10)]
)
def test_batches_have_the_size_asked_for_and_the_last_what_is_left(tiny_bert, batch_size, sizes):
    assert [len(batch) for batch in tiny_bert.encode_stream(TEXTS, batch_size=batch_size)] == sizes


def test_batches_come_in_the_order_of_the_texts(tiny_bert):
    batches = list(tiny_bert.encode_stream((text for text in TEXTS), batch_size=4))
    np.testing.assert_allclose(np.concatenate(batches), tiny_bert.encode(TEXTS), atol=1e-6)


def test_batches_of_three_representations_are_outputs(tiny_m3):
    batches = list(tiny_m3.encode_stream(TEXTS, batch_size=4))
    assert [batch.num_texts for batch in batches] == [4, 4, 2]
    assert [list(weights) for batch in batches for weights in batch["lexical_weights"]] == [
        list(weights) for weights in tiny_m3.encode(TEXTS)["lexical_weights"]
    ]


def test_the_model_sets_the_size_by_default(tiny_bert):
    assert len(next(tiny_bert.encode_stream(CountingTexts()))) == tiny_bert.batch_size


def test_never_more_than_a_batch_is_read_ahead(tiny_bert):
    texts = CountingTexts()
    stream = tiny_bert.encode_stream(texts, batch_size=4)
    assert texts.read == 0
    for batches in range(1, 4):
        next(stream)
        assert texts.read == 4 * batches


def test_options_reach_every_batch(tiny_m3):
    batches = list(tiny_m3.encode_stream(TEXTS, batch_size=6, max_length=4, return_dense=False, return_sparse=False))
    assert [list(batch) for batch in batches] == [["colbert_vecs"]] * 2
    assert {len(vectors) for batch in batches for vectors in batch["colbert_vecs"]} == {3}


def test_an_empty_iterable_gives_nothing(tiny_m3):
    assert list(tiny_m3.encode_stream(iter([]))) == []


def test_an_error_names_the_position_in_the_stream_after_the_batches_before_it(tiny_bert):
    stream = tiny_bert.encode_stream([*TEXTS[:5], None], batch_size=2)
    assert [len(next(stream)), len(next(stream))] == [2, 2]
    with pytest.raises(TypeError, match=r"sentences\[5\] is NoneType, not str"):
        next(stream)


def test_one_str_is_refused(tiny_bert):
    with pytest.raises(TypeError, match="takes an iterable of texts, not one str; use encode_corpus"):
        next(tiny_bert.encode_stream("a text"))


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, True, "8"])
def test_a_batch_size_that_is_none_is_refused(tiny_bert, batch_size):
    with pytest.raises(ValueError, match="give a whole number of texts, at least 1"):
        next(tiny_bert.encode_stream(TEXTS, batch_size=batch_size))


@pytest.mark.parametrize("texts", [None, 5, {"a": 1}])
def test_something_else_than_an_iterable_of_texts_is_refused(tiny_bert, texts):
    with pytest.raises(TypeError, match=r"sentences takes .* not"):
        next(tiny_bert.encode_stream(texts))
