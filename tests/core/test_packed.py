"""Packed batches equal padded ones, for each architecture and in any mix of lengths."""

import itertools

import numpy as np
import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModel

from flagvec.engine.hidden_states import HiddenStateEncoder, uncounted_id
from flagvec.engine.packed import (
    PackedBatch,
    attend_packed,
    can_pack,
    even_number,
    runs_of_equal_length,
    token_positions,
)

TOLERANCE = 1e-5
CPU = torch.device("cpu")
VOCABULARY = range(5, 1000)
PADDING_ID = 1


@pytest.fixture(scope="module", params=["bert", "xlm-roberta", "gte", "modernbert", "nomic_bert"])
def checkpoint(request, tmp_path_factory, build_checkpoint):
    return build_checkpoint(tmp_path_factory.mktemp("packed") / request.param, request.param, seed=5)


@pytest.fixture(scope="module")
def packed(checkpoint):
    return HiddenStateEncoder(AutoModel.from_pretrained(checkpoint).eval().requires_grad_(False), CPU, padding_id=1)


@pytest.fixture(scope="module")
def padded(checkpoint):
    encoder = HiddenStateEncoder(AutoModel.from_pretrained(checkpoint).eval().requires_grad_(False), CPU, padding_id=1)
    encoder._backbone.set_attn_implementation("sdpa")
    encoder._is_packed = False
    return encoder


def texts_of(lengths, seed=0):
    random = np.random.default_rng(seed)
    return [random.choice(VOCABULARY, length) for length in lengths]


def states_by_text(encoder, texts, batch_size=256):
    found = {}
    for positions, batch in encoder.run([encoder.window(texts, batch_size)], reduce=lambda batch: batch):
        found.update(zip(positions.tolist(), batch.states.split(batch.packed.lengths), strict=True))
    return [found[position] for position in range(len(texts))]


def assert_same_states(left, right):
    for one, other in zip(left, right, strict=True):
        torch.testing.assert_close(one, other, atol=TOLERANCE, rtol=0)


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=20), batch_size=st.integers(1, 20))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mix_of_lengths_gives_the_same_as_padding(packed, padded, lengths, batch_size):
    texts = texts_of(lengths)
    oldest = (5, 18) if packed._backbone.config.model_type == "modernbert" else (5, 0)
    release = tuple(map(int, transformers.__version__.split(".")[:2]))
    assert packed._is_packed or release < oldest, "older versions of transformers do not take another attention"
    assert_same_states(states_by_text(packed, texts, batch_size), states_by_text(padded, texts))


def test_a_backbone_that_keeps_its_own_attention_runs_padded(padded, checkpoint, monkeypatch):
    monkeypatch.setattr(transformers.PreTrainedModel, "set_attn_implementation", lambda self, name: None)
    backbone = AutoModel.from_pretrained(checkpoint).eval().requires_grad_(False)
    encoder = HiddenStateEncoder(backbone, CPU, padding_id=1)
    texts = texts_of([40, 3, 17])
    assert_same_states(states_by_text(encoder, texts), states_by_text(padded, texts))


def states_for_attention(tokens, heads_first=False):
    shape = (4, tokens, 8) if heads_first else (tokens, 4, 8)
    parts = torch.randn(3, *shape, generator=torch.Generator().manual_seed(7))
    return [part.transpose(0, 1) if heads_first else part for part in parts]


@given(
    lengths=st.lists(st.integers(1, 420), min_size=1, max_size=6), filling=st.integers(0, 20), heads_first=st.booleans()
)
@settings(max_examples=50, deadline=None)
def test_attention_of_a_text_does_not_depend_on_other_texts(lengths, filling, heads_first):
    batch = PackedBatch.of(texts_of(lengths), CPU).filled_up(sum(lengths) + filling, padding_id=1)
    states = states_for_attention(len(batch.token_ids), heads_first)
    attended = attend_packed(*states, batch)
    alone = [part[: sum(lengths)].split(lengths) for part in states]
    for found, *own in zip(attended[: sum(lengths)].split(lengths), *alone, strict=True):
        query, key, value = (part.transpose(0, 1) for part in own)
        expected = torch.softmax(query @ key.transpose(1, 2) / 8**0.5, dim=-1) @ value
        torch.testing.assert_close(found, expected.transpose(0, 1), atol=TOLERANCE, rtol=0)


@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=6), filling=st.integers(0, 20), reach=st.integers(0, 150)
)
@settings(max_examples=50, deadline=None)
def test_local_attention_reads_the_tokens_in_reach_and_no_others(lengths, filling, reach):
    batch = PackedBatch.of(texts_of(lengths), CPU).filled_up(sum(lengths) + filling, padding_id=1)
    states = states_for_attention(len(batch.token_ids))
    attended = attend_packed(*states, batch, reach=reach)
    alone = [part[: sum(lengths)].split(lengths) for part in states]
    for found, *own in zip(attended[: sum(lengths)].split(lengths), *alone, strict=True):
        query, key, value = (part.transpose(0, 1) for part in own)
        position = torch.arange(len(found))
        is_far = (position[:, None] - position).abs() > reach
        scores = (query @ key.transpose(1, 2) / 8**0.5).masked_fill(is_far, -torch.inf)
        expected = torch.softmax(scores, dim=-1) @ value
        torch.testing.assert_close(found, expected.transpose(0, 1), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("length", [1, 15, 16, 17, 31, 250])
def test_rows_after_a_text_do_not_change_it(length):
    batch = PackedBatch.of(texts_of([length, length, 20]), CPU)
    states = states_for_attention(2 * length + 20)
    others = [torch.cat([part[:length], 100 * part[length:]]) for part in states]
    assert torch.equal(attend_packed(*states, batch)[:length], attend_packed(*others, batch)[:length])


def test_a_text_gives_the_same_alone_and_among_others(packed):
    texts = texts_of([40, 3, 17, 17, 60, 1, 17])
    together = states_by_text(packed, texts)
    assert_same_states(together, [states_by_text(packed, [text])[0] for text in texts])


def test_the_order_of_texts_does_not_matter(packed):
    texts = texts_of([9, 30, 9, 50, 2])
    backwards = states_by_text(packed, texts[::-1])
    assert_same_states(states_by_text(packed, texts), backwards[::-1])


def test_a_packed_model_still_takes_padded_batches_from_its_users(packed, padded):
    first, second = texts_of([12, 5])
    token_ids = torch.full((2, 12), 1)
    token_ids[0], token_ids[1, :5] = torch.from_numpy(first), torch.from_numpy(second)
    mask = torch.arange(12) < torch.tensor([[12], [5]])
    given_padded = packed._backbone(input_ids=token_ids, attention_mask=mask.long()).last_hidden_state
    assert_same_states([given_padded[0], given_padded[1, :5]], states_by_text(padded, [first, second]))


def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(packed, monkeypatch):
    texts = texts_of([30, 20, 10, 40, 5, 6, 7, 8])
    expected = states_by_text(packed, texts)
    forward, failed = packed._forward, []

    def forward_with_little_memory(batch):
        if sum(map(len, batch)) > 50:
            failed.append(len(batch))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(batch)

    monkeypatch.setattr(packed, "_forward", forward_with_little_memory)
    monkeypatch.setattr(packed, "_token_budget", packed._token_budget)
    budget = packed._token_budget
    assert_same_states(states_by_text(packed, texts), expected)
    assert failed[0] == len(texts)
    assert packed._token_budget < budget


def test_one_text_that_does_not_fit_is_an_error(packed, monkeypatch):
    def fail(batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(packed, "_forward", fail)
    budget = packed._token_budget
    with pytest.raises(torch.OutOfMemoryError):
        states_by_text(packed, texts_of([4, 5, 6]))
    assert packed._token_budget == budget, "what filled the memory may be gone by the next call"


def test_other_errors_of_the_device_are_not_swallowed(packed, monkeypatch):
    def fail(batch):
        raise RuntimeError("device-side assert")

    monkeypatch.setattr(packed, "_forward", fail)
    with pytest.raises(RuntimeError, match="device-side assert"):
        states_by_text(packed, texts_of([4, 5]))


def test_positions_restart_with_each_text():
    assert PackedBatch.of(texts_of([3, 1, 2]), CPU).positions.tolist() == [0, 1, 2, 0, 0, 1]
    assert PackedBatch.of(texts_of([3, 1, 2]), CPU, uncounted_id=1).positions.tolist() == [2, 3, 4, 2, 2, 3]


@given(texts=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), min_size=1, max_size=5))
def test_positions_of_the_roberta_family_do_not_count_padding(texts):
    starts = np.cumsum([0, *map(len, texts)], dtype=np.int32)
    positions = token_positions(np.concatenate(texts).astype(np.int64), starts, PADDING_ID)
    for text, found in zip(texts, np.split(positions, starts[1:-1]), strict=True):
        numbers = itertools.count(PADDING_ID + 1)
        assert found.tolist() == [PADDING_ID if token == PADDING_ID else next(numbers) for token in text]


def test_a_text_may_hold_the_token_that_pads_others(packed, padded):
    texts = texts_of([12, 5, 30])
    texts[0][4:6] = texts[1][0] = texts[2][-1] = PADDING_ID
    assert_same_states(states_by_text(packed, texts), states_by_text(padded, texts))


def test_filling_belongs_to_no_text():
    batch = PackedBatch.of(texts_of([3, 1]), CPU).filled_up(8, padding_id=1)
    assert batch.token_ids[4:].tolist() == [1, 1, 1, 1]
    assert batch.lengths == [3, 1]
    assert batch.positions.tolist() == [0, 1, 2, 0, 0, 0, 0, 0]


@given(st.integers(1, 100_000))
def test_even_number_adds_few_rows(tokens):
    rows = even_number(tokens)
    assert tokens <= rows < max(tokens * 9 / 8, tokens + 8)
    assert even_number(rows) == rows


def test_few_different_numbers_of_rows_occur():
    assert {even_number(tokens) for tokens in range(3_900, 4_097)} == {3_968, 4_096}
    assert len({even_number(tokens) for tokens in range(1, 4_097)}) == 64


def test_roberta_has_a_token_that_is_not_counted(checkpoint):
    backbone = AutoModel.from_pretrained(checkpoint)
    assert uncounted_id(backbone) == (backbone.config.pad_token_id if "roberta" in str(checkpoint) else None)


def test_runs_are_neighbours_of_one_length():
    assert list(runs_of_equal_length([5, 5, 3, 2, 2, 2])) == [(0, 2, 5), (10, 1, 3), (13, 3, 2)]


@pytest.fixture
def gpu_of(monkeypatch):
    """Pretend that the CUDA device has some compute capability."""

    def of(capability, has_flash_attention=True):
        monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: has_flash_attention)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        return torch.device("cuda", 0)

    return of


@pytest.mark.parametrize("capability", [(8, 0), (8, 9), (9, 0), (12, 0)])
def test_half_precision_is_packed_on_cuda_and_everything_on_cpu(gpu_of, capability):
    pytest.importorskip("torch.nn.attention.varlen", reason="torch has packed attention for CUDA from 2.10 on")
    cuda = gpu_of(capability)
    assert can_pack(cuda, torch.float16, 64) and can_pack(cuda, torch.bfloat16, 64)
    assert not can_pack(cuda, torch.float32, 64)
    assert can_pack(CPU, torch.float32, 64) and can_pack(CPU, torch.float32, 64, locally=True)
    assert not can_pack(torch.device("mps"), torch.float16, 64)


@pytest.mark.parametrize("has_windows", [True, False])
def test_local_attention_is_packed_on_cuda_if_torch_has_windows(gpu_of, monkeypatch, has_windows):
    pytest.importorskip("torch.nn.attention.varlen", reason="torch has packed attention for CUDA from 2.10 on")
    monkeypatch.setattr("flagvec.engine.packed._has_windows", lambda: has_windows)
    assert can_pack(gpu_of((9, 0)), torch.float16, 64, locally=True) == has_windows


@pytest.mark.parametrize("capability", [(7, 0), (7, 5)])
def test_gpus_before_ampere_run_padded_because_flash_attention_refuses_them(gpu_of, capability):
    assert not can_pack(gpu_of(capability), torch.float16, 64)


def test_a_torch_without_flash_attention_runs_padded_on_cuda(gpu_of):
    assert not can_pack(gpu_of((9, 0), has_flash_attention=False), torch.float16, 64)


def test_heads_that_the_kernel_refuses_run_padded_on_cuda(gpu_of):
    assert not can_pack(gpu_of((9, 0)), torch.float16, 12)
    assert not can_pack(gpu_of((9, 0)), torch.float16, 320)
    assert can_pack(CPU, torch.float16, 12)
