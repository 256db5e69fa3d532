"""A text never raises for what it holds, and always gives finite unit vectors."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagvec import BGEM3FlagModel

ONE_MEGABYTE = 1_000_000
# Every code point, lone surrogates and control characters among them.
any_text = st.text(st.characters(exclude_categories=()), max_size=200)

ODD_TEXTS = {
    "nothing": "",
    "a space": " ",
    "only spaces": " \t\n\u3000\u00a0 ",
    "a NUL": "a\0b",
    "control characters": "".join(map(chr, range(32))),
    "a high surrogate": "\ud800",
    "a low surrogate": "a \udfff b",
    "surrogates the wrong way round": "\udc00\ud800",
    "a byte order mark": "\ufeffa",
    "the last code point": "\U0010ffff",
    "combining marks": "e" + "\u0301" * 500,
    "right to left": "\u202eשלום مرحبا",
    "special tokens": "<s> </s> <pad> <unk> [CLS] [SEP] [PAD] [UNK]",
    "format braces": "{} {0} {name} {{",
    "1 MB of words": "word " * (ONE_MEGABYTE // 5),
    "1 MB without a space": "x" * ONE_MEGABYTE,
    "1 MB of emoji": "🎉" * (ONE_MEGABYTE // 4),
    "1 MB of Chinese": "文" * (ONE_MEGABYTE // 3),
    "1 MB of spaces": " " * ONE_MEGABYTE,
    "1 MB of lone surrogates": "\ud800" * (ONE_MEGABYTE // 3),
}


def assert_sound(output):
    """Check that all values of an output of three representations can be stored and compared."""
    for vectors in (output["dense_vecs"], *output["colbert_vecs"]):
        assert np.isfinite(vectors).all()
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-5)
    for weights in output["lexical_weights"]:
        assert all(np.isfinite(weight) and weight > 0 for weight in weights.values())
        assert all(0 <= token < 3000 for token in weights)


@pytest.mark.parametrize("name", ODD_TEXTS)
def test_an_odd_text_gives_finite_unit_vectors(tiny_m3, tiny_bert, name):
    assert_sound(tiny_m3.encode([ODD_TEXTS[name]]))
    np.testing.assert_allclose(np.linalg.norm(tiny_bert.encode(ODD_TEXTS[name])), 1, atol=1e-5)


@given(texts=st.lists(any_text, max_size=5))
def test_any_texts_give_finite_unit_vectors(tiny_m3, texts):
    output = tiny_m3.encode(texts)
    assert output.num_texts == len(texts)
    assert_sound(output)


@given(text=any_text)
def test_any_text_gives_the_same_beside_others(tiny_m3, text):
    alone, beside = tiny_m3.encode([text])[0], tiny_m3.encode(["a", text, "a longer text of several words"])[1]
    np.testing.assert_allclose(alone["dense_vecs"], beside["dense_vecs"], rtol=0, atol=1e-5)
    assert alone["lexical_weights"][0].keys() == beside["lexical_weights"][0].keys()


@given(text=any_text)
def test_any_text_can_follow_an_instruction(tiny_bert, text):
    vector = tiny_bert.encode(text, instruction="search: \ud800", instruction_format="{}{}")
    np.testing.assert_allclose(np.linalg.norm(vector), 1, atol=1e-5)


@given(text=any_text)
def test_weights_of_any_text_read_as_words(tiny_m3, text):
    weights = tiny_m3.encode(text)["lexical_weights"]
    (named,) = tiny_m3.convert_id_to_token(weights)
    assert sorted(named.values()) == sorted(weights.values()) or len(named) < len(weights)


@pytest.mark.parametrize(
    ("text", "same"),
    [("\ud800", "\ufffd"), ("a \udfff b", "a \ufffd b"), ("\ud83c\udf89 party", "🎉 party")],
)
def test_surrogates_read_as_what_they_stand_for(tiny_m3, text, same):
    found, expected = tiny_m3.encode([text, same])["dense_vecs"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_text_without_tokens_has_no_lexical_weights_and_one_colbert_vector(tiny_m3):
    output = tiny_m3.encode("")
    assert output["lexical_weights"] == {}
    assert output["colbert_vecs"].shape == (1, 48)


def test_special_tokens_have_no_lexical_weight(tiny_m3_directory):
    model = BGEM3FlagModel(tiny_m3_directory, use_fp16=False, return_sparse=True)
    # A head that gives every token a weight, so that only the exclusion keeps them out.
    model.model.sparse_linear.weight.zero_()
    model.model.sparse_linear.bias.fill_(1.0)
    weights = model.encode("<s> library </s> <pad> <unk> \u0378")["lexical_weights"]
    (named,) = model.convert_id_to_token(weights)
    assert "library" in named
    assert not {"<s>", "</s>", "<pad>", "<unk>"} & named.keys()


@pytest.fixture(scope="module", params=["bert", "xlm-roberta", "gte"])
def without_template(request, tmp_path_factory, build_checkpoint):
    """A checkpoint whose tokenizer adds no special tokens, so that an empty text has no token at all."""
    # Heads of 32 numbers, which the kernels take.
    directory = build_checkpoint(tmp_path_factory.mktemp("bare") / request.param, request.param, heads=True, width=128)
    path = directory / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"post_processor": None}))
    return directory


BARE_TEXTS = ([""], ["", ""], ["a text", ""], ["", "a text", "", "b", ""], ["a " * 300, "", "b " * 300])


def check_texts_without_a_token(directory, pooling, bfloat16):
    options = {"use_fp16": False, "use_bf16": bfloat16, "return_sparse": True, "return_colbert_vecs": True}
    model = BGEM3FlagModel(directory, pooling, **options)
    assert model.tokenizer("").input_ids == []
    alone = model.encode("")["dense_vecs"]
    for texts in BARE_TEXTS:
        output = model.encode(texts)
        np.testing.assert_allclose(np.linalg.norm(output["dense_vecs"], axis=1), 1, atol=1e-2)
        for position in (position for position, text in enumerate(texts) if not text):
            np.testing.assert_allclose(output["dense_vecs"][position], alone, atol=0.05)
            assert output["lexical_weights"][position] == {}
            assert output["colbert_vecs"][position].shape == (0, 128)


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_text_without_a_token_gives_finite_unit_vectors(without_template, pooling, bfloat16):
    check_texts_without_a_token(without_template, pooling, bfloat16)


def test_a_text_without_a_token_gives_finite_unit_vectors_without_kernels(without_template, run_python):
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_text_content import check_texts_without_a_token
for pooling in ("cls", "mean"):
    check_texts_without_a_token({str(without_template)!r}, pooling, True)
"""
    run_python(code, FLAGVEC_KERNELS="0")
