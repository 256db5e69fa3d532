"""Texts longer than ``max_length`` are cut off and counted."""

import numpy as np
import pytest

from flagvec import FlagModel, M3Output

SHORT, LONG = "a short text", "word " * 50
TEXTS = [LONG, SHORT, "", LONG, SHORT]


def test_the_texts_that_were_cut_off_are_named_by_position(tiny_m3):
    assert tiny_m3.encode(TEXTS, max_length=10).truncated == (0, 3)
    assert tiny_m3.encode(TEXTS).truncated == ()


def test_a_text_of_just_the_limit_is_not_cut_off(tiny_m3):
    # The first token has no ColBERT vector.
    tokens = len(tiny_m3.encode(LONG)["colbert_vecs"]) + 1
    assert tiny_m3.encode(LONG, max_length=tokens).truncated == ()
    assert tiny_m3.encode(LONG, max_length=tokens - 1).truncated == (0,)


def test_positions_count_over_all_that_is_tokenised_at_a_time(tiny_m3, monkeypatch):
    monkeypatch.setattr("flagvec.forward_pass.WINDOW", 2)
    assert tiny_m3.encode(TEXTS * 2, max_length=10, batch_size=3).truncated == (0, 3, 5, 8)


@pytest.mark.parametrize("options", [{"convert_to_numpy": False}, {"return_dense": False}])
def test_every_output_names_them(tiny_m3, options):
    assert tiny_m3.encode_corpus(TEXTS, max_length=10, **options).truncated == (0, 3)
    assert tiny_m3.encode_queries(TEXTS, max_length=10, **options).truncated == (0, 3)


def test_one_text_is_at_position_zero(tiny_m3):
    output = tiny_m3.encode(LONG, max_length=10)
    assert output.truncated == output.as_batch().truncated == (0,)


def test_an_instruction_counts(tiny_m3):
    assert tiny_m3.encode([SHORT], max_length=10, instruction=LONG).truncated == (0,)


def test_the_output_of_a_corpus_is_the_same_for_both_classes(tiny_m3_directory, tiny_m3, tiny_bert):
    for model in (tiny_m3, tiny_bert):
        output = model.encode_corpus_output(["word " * 600, SHORT], ["dense"], show_progress=False)
        assert type(output) is M3Output
        assert list(output) == ["dense_vecs"]
        assert output["dense_vecs"].shape == (2, 48)
        assert output.truncated == (0,)


def test_the_output_of_a_corpus_has_the_representations_asked_for(tiny_m3):
    output = tiny_m3.encode_corpus_output(TEXTS, ["sparse", "colbert"])
    assert list(output) == ["lexical_weights", "colbert_vecs"]


def test_the_output_of_a_corpus_is_an_array_whatever_the_model_gives(tiny_bert_directory):
    model = FlagModel(tiny_bert_directory, use_fp16=False, convert_to_numpy=False)
    assert isinstance(model.encode_corpus_output(TEXTS, ["dense"])["dense_vecs"], np.ndarray)


def test_the_output_of_a_corpus_is_what_a_subclass_makes_of_it(tiny_bert_directory):
    class Lowercase(FlagModel):
        def encode_corpus(self, corpus, *arguments, **options):
            return super().encode_corpus([text.lower()[:20] for text in corpus], *arguments, **options)

    model = Lowercase(tiny_bert_directory, use_fp16=False, passage_max_length=12)
    output = model.encode_corpus_output(["SOME text", LONG], ["dense"])
    np.testing.assert_array_equal(output["dense_vecs"], model.encode(["some text", LONG[:20]]))
    assert output.truncated == ()


def test_the_output_of_a_corpus_does_not_name_the_texts_of_an_earlier_call(tiny_bert):
    tiny_bert.encode([LONG], max_length=10)
    assert tiny_bert.encode_corpus_output([SHORT], ["dense"]).truncated == ()
