"""Instructions reach the side they belong to, and no other."""

import numpy as np
import pytest

from flagvec import BGEM3FlagModel, FlagModel


@pytest.fixture(scope="module")
def model(tiny_bert_directory):
    return FlagModel(
        tiny_bert_directory,
        use_fp16=False,
        query_instruction_for_retrieval="search:",
        query_instruction_format="{} {}",
        passage_instruction_for_retrieval="stored",
        passage_instruction_format="{}: {}",
    )


@pytest.mark.parametrize(
    ("method", "seen"),
    [("encode_queries", "search: a text"), ("encode_corpus", "stored: a text"), ("encode", "a text")],
)
def test_each_method_puts_its_own_instruction_in_front(model, tiny_bert, method, seen):
    expected = tiny_bert.encode([seen])
    np.testing.assert_array_equal(getattr(model, method)(["a text"]), expected)
    np.testing.assert_allclose(getattr(model, method)("a text"), expected[0], atol=1e-6)


def test_streamed_texts_are_documents(model, tiny_bert):
    (batch,) = model.encode_stream(["a text"])
    np.testing.assert_array_equal(batch, tiny_bert.encode(["stored: a text"]))


def test_the_query_instruction_shows_in_the_lexical_weights_of_queries_alone(tiny_m3_directory):
    model = BGEM3FlagModel(
        tiny_m3_directory, use_fp16=False, return_sparse=True, query_instruction_for_retrieval="library "
    )
    instructed, plain = (
        {token for weights in model.convert_id_to_token(output["lexical_weights"]) for token in weights}
        for output in (model.encode_queries(["a text"]), model.encode_corpus(["a text"]))
    )
    assert "library" in instructed
    assert "library" not in plain


def test_an_instruction_for_one_call_replaces_the_models(model, tiny_bert):
    found = model.encode_queries(["a text"], instruction="find", instruction_format="{} -> {}")
    np.testing.assert_array_equal(found, tiny_bert.encode(["find -> a text"]))


def test_braces_in_a_text_are_text(model, tiny_bert):
    np.testing.assert_array_equal(model.encode_queries(["{} {0} {x}"]), tiny_bert.encode(["search: {} {0} {x}"]))


def test_a_literal_backslash_n_in_the_format_is_a_line_break(tiny_bert_directory):
    joined = FlagModel(tiny_bert_directory).get_detailed_instruct("Instruct: {}\\nQuery: {}", "find", "a\\nb")
    assert joined == "Instruct: find\nQuery: a\\nb"


def test_pairs_are_scored_without_instructions(tiny_m3, tiny_m3_directory):
    model = BGEM3FlagModel(tiny_m3_directory, use_fp16=False, query_instruction_for_retrieval="library ")
    pair = ("machine learning", "ML algorithms")
    assert model.compute_score(pair) == tiny_m3.compute_score(pair)


@pytest.mark.parametrize("argument", ["query_instruction_format", "passage_instruction_format"])
@pytest.mark.parametrize("template", ["{}", "{}{}{}", "{name}", "no braces", "{", None, 5])
def test_a_format_without_two_places_is_refused(tiny_bert_directory, argument, template):
    with pytest.raises(ValueError, match=rf"{argument}=.*give a str with two \{{\}}"):
        FlagModel(tiny_bert_directory, **{argument: template})


@pytest.mark.parametrize("template", ["{}", "{}{}{}", "no braces"])
def test_a_format_for_one_call_without_two_places_is_refused(tiny_bert, template):
    with pytest.raises(ValueError, match=r"instruction_format=.*give a str with two \{\}"):
        tiny_bert.encode(["a text"], instruction="find", instruction_format=template)
