"""Tokens are merged to the words that a reader sees, whatever vocabulary divided them."""

import pytest

from flagvec import BGEM3FlagModel, ColbertFlagModel
from flagvec.explain import read_text

ACCENTED = "The re\u0301sume\u0301's unbelievable nai\u0308ve fprintd"
WORDS = ["The", "re\u0301sume\u0301", "unbelievable", "nai\u0308ve", "fprintd"]
SCRIPTS = {
    "Arabic": ("مكتبة لمعالجة النُّصوص", ["مكتبة", "لمعالجة", "النُّصوص"]),
    "Hebrew": ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
    "Hindi": ("हिन्दी में", ["हिन्दी", "में"]),
    "emoji": ("👩‍👩‍👧 family", ["👩‍👩‍👧", "family"]),
}


def words_of(model, text):
    read = read_text(model, text, is_query=False)
    return [read.word(number) for number in range(len(read.words))]


@pytest.fixture(params=["WordPiece", "SentencePiece"])
def model(request, mini, tiny_m3):
    """A model of either kind of vocabulary."""
    return mini if request.param == "WordPiece" else tiny_m3


def test_pieces_are_merged_and_keep_their_combining_marks(model):
    found = words_of(model, ACCENTED)
    assert [word for word in found if word in WORDS] == WORDS


@pytest.mark.parametrize("script", SCRIPTS)
def test_words_of_other_scripts_stay_whole(model, script):
    text, words = SCRIPTS[script]
    assert words_of(model, text) == words


def test_each_character_of_a_script_without_spaces_is_a_word_if_it_is_a_token(mini):
    assert words_of(mini, "指纹识别") == ["指", "纹", "识", "别"]


def test_tokens_are_those_that_the_model_reads(model):
    texts = ["", "a", ACCENTED, "word " * 2_000]
    expected = model._tokenize(texts, model.passage_max_length)
    for position, text in enumerate(texts):
        read = read_text(model, text, is_query=False)
        assert list(read.ids) == expected.ids[position].tolist()
        assert read.truncated == (position in expected.truncated)


def test_the_instruction_is_part_of_what_is_read(tiny_m3_directory):
    model = BGEM3FlagModel(tiny_m3_directory, use_fp16=False, query_instruction_for_retrieval="Find this: ")
    assert read_text(model, "rice", is_query=True).text == "Find this: rice"
    assert read_text(model, "rice", is_query=False).text == "rice"


def test_tokens_with_vectors_are_as_many_as_the_vectors(model):
    text = "Rice is cooked, in water."
    [rows] = model.encode([text], return_colbert_vecs=True)["colbert_vecs"]
    assert len(read_text(model, text, is_query=False).vectors) == len(rows)


@pytest.mark.parametrize("is_query", [True, False])
def test_a_colbert_checkpoint_is_read_with_its_marker_and_without_skipped_tokens(
    colbert_checkpoint, tmp_path, is_query
):
    model = ColbertFlagModel(colbert_checkpoint(tmp_path), use_fp16=False)
    text = " the cat, sat "
    [rows] = model.encode([text], is_query=is_query)["colbert_vecs"]
    read = read_text(model, text, is_query=is_query, for_colbert=True)
    assert len(read.vectors) == len(rows)
    assert read.text == "the cat, sat"
