"""The engine's parts on their own: tokens, batches and reductions."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from flagvec.engine.reductions import as_dicts, first_rows, mean_rows, strongest_weights
from flagvec.engine.tokens import TextTokenizer, batches_by_length

TEXT = "one two three four five six seven"
lengths_of_texts = st.lists(st.integers(1, 600), max_size=60).map(lambda lengths: np.array(lengths, dtype=np.int64))


@given(lengths=lengths_of_texts, batch_size=st.integers(1, 20), budget=st.integers(1, 2000), padded=st.booleans())
def test_batches_hold_each_text_once_within_their_bounds(lengths, batch_size, budget, padded):
    batches = list(batches_by_length(lengths, batch_size, budget, padded))
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    for batch in batches:
        tokens = len(batch) * lengths[batch].max() if padded else lengths[batch].sum()
        assert 1 <= len(batch) <= batch_size
        assert len(batch) == 1 or tokens <= budget


@given(lengths=lengths_of_texts, batch_size=st.integers(1, 20), budget=st.integers(1, 2000))
def test_padded_batches_are_as_large_as_their_bounds_allow(lengths, batch_size, budget):
    batches = list(batches_by_length(lengths, batch_size, budget, padded=True))
    for batch, following in itertools.pairwise(batches):
        joined = [*batch, following[0]]
        assert len(joined) > batch_size or len(joined) * lengths[joined].max() > budget


@given(lengths=lengths_of_texts, batch_size=st.integers(1, 20), budget=st.integers(1, 2000))
def test_no_two_neighbouring_packed_batches_fit_into_one(lengths, batch_size, budget):
    batches = list(batches_by_length(lengths, batch_size, budget, padded=False))
    for batch, following in itertools.pairwise(batches):
        joined = [*batch, *following]
        assert len(joined) > batch_size or lengths[joined].sum() > budget


def test_packed_batches_share_the_tokens_evenly():
    lengths = np.random.default_rng(5).integers(20, 140, size=300)
    batches = list(batches_by_length(lengths, 256, 4_096, padded=False))
    tokens = [int(lengths[batch].sum()) for batch in batches]
    assert len(tokens) == -(-lengths.sum() // 4_096)
    assert max(tokens) - min(tokens) < 2 * 140


@given(lengths=lengths_of_texts, batch_size=st.integers(1, 20), budget=st.integers(1, 2000), padded=st.booleans())
def test_batches_go_from_the_longest_text_to_the_shortest(lengths, batch_size, budget, padded):
    batches = batches_by_length(lengths, batch_size, budget, padded)
    ordered = [lengths[position] for batch in batches for position in batch]
    assert ordered == sorted(lengths, reverse=True)


def test_the_last_token_of_each_text_stays_when_it_is_cut(tiny_m3_directory):
    tokenize = TextTokenizer(Tokenizer.from_file(str(tiny_m3_directory / "tokenizer.json")))
    (whole,), (cut,) = tokenize([TEXT], 512).ids, tokenize([TEXT], 6).ids
    assert cut.tolist() == [*whole[:5], whole[-1]]


def test_truncation_side_left_cuts_the_left_end(tiny_m3_directory):
    backend = Tokenizer.from_file(str(tiny_m3_directory / "tokenizer.json"))
    (whole,), (cut,) = (TextTokenizer(backend, "left")([TEXT], length).ids for length in (512, 6))
    assert cut.tolist() == [whole[0], *whole[-5:]]


def test_truncation_and_padding_stored_in_the_tokenizer_are_ignored(tiny_m3_directory):
    backend = Tokenizer.from_file(str(tiny_m3_directory / "tokenizer.json"))
    (expected,) = TextTokenizer(backend)([TEXT], 512).ids
    backend.enable_truncation(4)
    backend.enable_padding(length=64)
    (found,) = TextTokenizer(backend)([TEXT], 512).ids
    assert found.tolist() == expected.tolist()


def test_no_texts_have_no_tokens(tiny_m3_directory):
    assert TextTokenizer(Tokenizer.from_file(str(tiny_m3_directory / "tokenizer.json")))([], 512).ids == []


PACKED = torch.arange(12, dtype=torch.float32).reshape(6, 2)
STARTS = torch.tensor([0, 3, 4, 6])
TEXT_OF_ROW = torch.tensor([0, 0, 0, 1, 2, 2])


def test_the_first_row_of_each_text():
    assert first_rows(PACKED, STARTS).tolist() == [[0, 1], [6, 7], [8, 9]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_mean_row_of_each_text_is_float32(dtype):
    means = mean_rows(PACKED.to(dtype), STARTS, TEXT_OF_ROW)
    assert means.dtype == torch.float32
    assert means.tolist() == [[2, 3], [6, 7], [9, 10]]


def test_many_half_precision_rows_are_added_in_float32():
    rows = torch.full((10_000, 1), 0.1, dtype=torch.bfloat16)
    means = mean_rows(rows, torch.tensor([0, 10_000]), torch.zeros(10_000, dtype=torch.int64))
    assert means.item() == pytest.approx(float(rows[0]), rel=1e-4)


def test_the_strongest_weight_of_each_token_is_kept_within_its_text():
    found = strongest_weights(
        weights=torch.tensor([0.1, 0.5, 0.3, 0.2, 0.0, -1.0, 0.4]),
        token_ids=torch.tensor([7, 7, 9, 7, 8, 8, 2]),
        text_of_token=torch.tensor([0, 0, 0, 1, 1, 1, 1]),
        excluded_ids=torch.tensor([2]),
    )
    assert as_dicts(found, 2) == [{7: 0.5, 9: pytest.approx(0.3)}, {7: pytest.approx(0.2)}]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 5), st.floats(-1, 1, width=32)), min_size=1, max_size=8),
        min_size=1,
        max_size=6,
    )
)
def test_the_strongest_weights_equal_those_of_a_plain_loop(texts):
    tokens, weights = ([pair[column] for text in texts for pair in text] for column in (0, 1))
    found = strongest_weights(
        torch.tensor(weights, dtype=torch.float32),
        torch.tensor(tokens, dtype=torch.int64),
        torch.tensor([number for number, text in enumerate(texts) for _ in text]),
        torch.tensor([0, 3]),
    )
    expected = [{} for _ in texts]
    for strongest, text in zip(expected, texts, strict=True):
        for token, weight in text:
            if token not in (0, 3) and weight > strongest.get(token, 0):
                strongest[token] = weight
    assert as_dicts(found, len(texts)) == expected
