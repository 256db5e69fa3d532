"""Texts whose activations overflow a number format: they run again in a wider one, or are refused by position."""

import gc
import warnings
import weakref

import numpy as np
import pytest
import torch

from flagvec import BGEM3FlagModel, FlagModel, NotFiniteError, embedder, forward_pass
from flagvec.engine import hidden_states, recast
from flagvec.finite import keeping_not_finite, texts_not_finite

# Those with the word "library" overflow. They are the longest, so that no other text is beside them in attention.
TEXTS = [
    "a library for zip archives and more",
    "reading and writing",
    "the library for other libraries",
    "hybrid search",
]
ALL = {"return_sparse": True, "return_colbert_vecs": True}


@pytest.fixture
def overflowing(tmp_path, overflowing_checkpoint):
    """A checkpoint whose first layer overflows float16, and only float16, in a text with "library"."""
    return overflowing_checkpoint(tmp_path / "float16", largest=1.2e4)


@pytest.fixture
def hopeless(tmp_path, overflowing_checkpoint):
    """A checkpoint whose first layer overflows every format in a text with "library"."""
    return overflowing_checkpoint(tmp_path / "float32", largest=2e38)


@pytest.fixture
def in_float16(monkeypatch):
    """Run models in float16 on this CPU, which the engine can and `choose_dtype` does not choose."""
    monkeypatch.setattr(embedder, "choose_dtype", lambda *arguments: torch.float16)


@pytest.fixture(params=[True, False], ids=["bfloat16", "float32"])
def device_with_bfloat16_or_not(request, monkeypatch):
    monkeypatch.setattr(recast, "cpu_has_bfloat16", lambda: request.param)
    return "bfloat16" if request.param else "float32"


def test_every_result_is_finite_and_near_that_of_float32(overflowing, monkeypatch, device_with_bfloat16_or_not):
    expected = BGEM3FlagModel(overflowing, use_fp16=False, **ALL).encode(TEXTS)
    monkeypatch.setattr(embedder, "choose_dtype", lambda *arguments: torch.float16)
    with pytest.warns(RuntimeWarning):
        found = BGEM3FlagModel(overflowing, **ALL).encode(TEXTS)
    np.testing.assert_allclose(found["dense_vecs"], expected["dense_vecs"], atol=1e-2, rtol=0)
    for position in range(len(TEXTS)):
        rows = found["colbert_vecs"][position], expected["colbert_vecs"][position]
        assert np.linalg.norm(rows[0] - rows[1], axis=1).max() < 3e-2
        assert found["lexical_weights"][position] == pytest.approx(expected["lexical_weights"][position], abs=3e-2)


def test_dense_vectors_point_where_those_of_float32_do(overflowing, monkeypatch, device_with_bfloat16_or_not):
    expected = FlagModel(overflowing, use_fp16=False).encode(TEXTS)
    monkeypatch.setattr(embedder, "choose_dtype", lambda *arguments: torch.float16)
    with pytest.warns(RuntimeWarning):
        found = FlagModel(overflowing).encode(TEXTS)
    cosines = (found * expected).sum(axis=1)
    assert (1 - cosines).max() < 1e-3


def test_one_warning_counts_the_texts_and_names_both_formats(overflowing, in_float16, device_with_bfloat16_or_not):
    with pytest.warns() as caught:
        FlagModel(overflowing).encode(TEXTS, batch_size=1)
    assert [str(warning.message) for warning in caught] == [
        "2 of 4 texts gave NaN or infinite numbers in float16 and ran again, "
        f"2 in {device_with_bfloat16_or_not}; use_bf16=True runs all texts in a wider format"
    ]


def test_other_texts_keep_their_result(overflowing, in_float16):
    model = BGEM3FlagModel(overflowing, **ALL)
    with pytest.warns(RuntimeWarning):
        found = model.encode(TEXTS)
    alone = model.encode([TEXTS[1], TEXTS[3]])
    np.testing.assert_array_equal(found["dense_vecs"][[1, 3]], alone["dense_vecs"])
    assert [found["lexical_weights"][place] for place in (1, 3)] == alone["lexical_weights"]


def test_nothing_is_warned_of_if_all_is_finite(overflowing, in_float16):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(FlagModel(overflowing).encode([TEXTS[1], TEXTS[3]])).all()


def test_tensors_on_the_device_are_finite_too(overflowing, in_float16):
    with pytest.warns(RuntimeWarning):
        found = BGEM3FlagModel(overflowing, **ALL).encode(TEXTS, convert_to_numpy=False)
    assert found["dense_vecs"].isfinite().all()
    assert all(rows.isfinite().all() for rows in found["colbert_vecs"])


def test_pooled_vectors_are_those_of_the_wider_format(overflowing, in_float16):
    model = BGEM3FlagModel(overflowing, **ALL)
    with pytest.warns(RuntimeWarning):
        pooled = model.encode(TEXTS, colbert_pool_factor=2)["colbert_vecs"]
        all_rows = model.encode(TEXTS)["colbert_vecs"]
    assert all(np.isfinite(rows).all() for rows in pooled)
    assert [len(rows) for rows in pooled] == [len(rows) // 2 for rows in all_rows]


def test_truncated_texts_are_named_once(overflowing, in_float16):
    with pytest.warns(RuntimeWarning):
        output = BGEM3FlagModel(overflowing).encode([*TEXTS, "library " * 50], max_length=16)
    assert output.truncated == (4,)


@pytest.mark.parametrize("use_bf16", [False, True])
def test_a_result_that_no_format_can_hold_is_an_error_with_its_positions(hopeless, use_bf16):
    model = FlagModel(hopeless, use_fp16=False, use_bf16=use_bf16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(NotFiniteError, match=r"texts 0, 2 \(of 4, counted from 0\) is NaN or infinite") as caught:
            model.encode(TEXTS)
    assert caught.value.positions == (0, 2)


def test_the_error_names_the_position_in_a_stream(hopeless):
    model = FlagModel(hopeless, use_fp16=False)
    stream = model.encode_stream(["reading", "writing", "search", "a library"], batch_size=2)
    next(stream)
    with pytest.raises(NotFiniteError, match=r"text 3 \(counted from 0\)"):
        next(stream)


@pytest.mark.parametrize("representation", ["dense", "sparse", "colbert"])
def test_each_representation_is_checked(hopeless, representation):
    names = {"dense": "return_dense", "sparse": "return_sparse", "colbert": "return_colbert_vecs"}
    asked = {argument: name == representation for name, argument in names.items()}
    with pytest.raises(NotFiniteError):
        BGEM3FlagModel(hopeless, use_fp16=False).encode(TEXTS, **asked)


def test_a_text_beside_one_without_a_finite_result_keeps_its_own(hopeless):
    model = FlagModel(hopeless, use_fp16=False)
    texts = ["reading and writing of files", "the library"]
    with keeping_not_finite():
        found = model.encode(texts)
    np.testing.assert_allclose(found[0], model.encode(texts[0]), atol=1e-5)
    assert np.isnan(found[1]).all()


def test_other_texts_are_encoded_where_a_result_that_is_not_finite_is_kept(hopeless):
    model = BGEM3FlagModel(hopeless, use_fp16=False, **ALL)
    with keeping_not_finite():
        output = model.encode(TEXTS)
    assert np.isnan(output["dense_vecs"]).any(axis=1).tolist() == [True, False, True, False]
    assert [any(np.isnan(list(weights.values()))) for weights in output["lexical_weights"]] == [
        True, False, True, False,
    ]  # fmt: skip


def test_a_model_holds_its_weights_once_after_texts_ran_again(overflowing, in_float16):
    model = FlagModel(overflowing)
    with pytest.warns(RuntimeWarning):
        model.encode(TEXTS)
    assert {weights.dtype for weights in model.model.parameters()} == {torch.float16}
    assert [encoder for encoder in vars(model).values() if isinstance(encoder, type(model._encoder))] == [
        model._encoder
    ]


@pytest.fixture
def copies(monkeypatch):
    """The format of each copy of a model, and which earlier copies were in memory when it was made."""
    made, alive = [], []

    def record(backbone, dtype):
        gc.collect()
        made.append((dtype, [earlier for earlier in alive if earlier() is not None]))
        copied = recast.recast(backbone, dtype)
        alive.append(weakref.ref(copied))
        return copied

    monkeypatch.setattr(hidden_states, "recast", record)
    monkeypatch.setattr(recast, "cpu_has_bfloat16", lambda: True)
    return made


def test_no_wider_copy_is_made_than_texts_need(overflowing, in_float16, copies):
    model = FlagModel(overflowing)
    with pytest.warns(RuntimeWarning):
        model.encode(TEXTS)
    assert copies == [(torch.bfloat16, [])]


def test_the_copy_in_bfloat16_is_gone_when_that_in_float32_is_made(overflowing, in_float16, copies, monkeypatch):
    model = FlagModel(overflowing)
    monkeypatch.setattr(forward_pass, "texts_not_finite", lambda found: np.array([0]))
    with pytest.raises(NotFiniteError), pytest.warns(RuntimeWarning):
        model.encode(TEXTS)
    assert copies == [(torch.bfloat16, []), (torch.float32, [])]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"text_sums": [1.0, np.nan, 2.0]}, [1]),
        ({"token_sums": [0.0, 1.0, -np.inf, 2.0], "lengths": [2, 1, 1]}, [1]),
        ({"text_sums": [np.inf, 0.0, 0.0], "token_sums": [0.0, 0.0, 0.0, np.nan], "lengths": [2, 1, 1]}, [0, 2]),
        ({"text_sums": [0.0, 1.0, 2.0], "token_sums": [0.0, 0.0, 0.0, 0.0], "lengths": [2, 1, 1]}, []),
        ({"dense_vecs": [[0.0, 1.0], [np.nan, 1.0]]}, [1]),
        ({"dense_vecs": [[0.0, 1.0], [np.inf, -np.inf]]}, [1]),
        ({"token_weights": [0.0, np.nan], "token_keys": [7, (1 << 32) | 9]}, [1]),
    ],
)
def test_texts_are_found_by_their_results_or_by_the_sums_of_an_accelerator(found, expected):
    tensors = {name: torch.tensor(values) for name, values in found.items()}
    assert texts_not_finite(tensors).tolist() == expected


def test_large_results_are_finite():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert texts_not_finite({"dense_vecs": torch.full((2, 8), 1e30)}).tolist() == []
