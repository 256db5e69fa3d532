"""Long documents in parts: of so many tokens, cut at sentence ends, with the ids of their parents."""

from __future__ import annotations

import pytest

from flagvec import Document
from flagvec.store.documents import InvalidDocument

pytest.importorskip("semantic_text_splitter")

import itertools

from flagvec.ingest.sources import BadRow
from flagvec.ingest.splitting import Splitter

SENTENCES = [f"Sentence number {number} has a few words." for number in range(20)]
LONG = Document("long", " ".join(SENTENCES), {"lang": "en"})


def tokens(model, text):
    return len(model.tokenizer(text, add_special_tokens=False)["input_ids"])


def test_a_short_document_stays_as_it_is(tiny_m3):
    document = Document("a", "  Short text.  ", {"n": 1})
    assert Splitter(tiny_m3, 100).split(document) == [document]
    assert Splitter(tiny_m3, 100).split(Document("e", "")) == [Document("e", "")]


def test_parts_end_where_sentences_end_and_hold_as_many_as_fit(tiny_m3):
    parts = Splitter(tiny_m3, 60).split(LONG)
    assert len(parts) > 2
    assert " ".join(part.text for part in parts) == LONG.text
    for part in parts:
        assert part.text.endswith(".")
        assert tokens(tiny_m3, part.text) <= 60
    for part, following in itertools.pairwise(parts):
        assert tokens(tiny_m3, f"{part.text} {following.text.split('.')[0]}.") > 60


def test_parts_have_their_number_in_the_id_and_the_parent_in_the_metadata(tiny_m3):
    parts = Splitter(tiny_m3, 60).split(LONG)
    assert [part.id for part in parts] == [f"long#{number}" for number in range(len(parts))]
    assert all(part.metadata == {"lang": "en", "parent": "long"} for part in parts)


def test_parts_overlap_by_whole_sentences(tiny_m3):
    parts = Splitter(tiny_m3, 60, overlap=25).split(LONG)
    for part, following in itertools.pairwise(parts):
        shared = following.text.split(". ")[0]
        assert shared in part.text
        assert tokens(tiny_m3, shared) <= 25
    without = Splitter(tiny_m3, 60).split(LONG)
    assert len(parts) > len(without)


def test_a_sentence_that_is_too_long_is_cut_between_words(tiny_m3):
    text = " ".join(f"word{number}" for number in range(200))
    parts = Splitter(tiny_m3, 30).split(Document("a", text))
    assert " ".join(part.text for part in parts) == text
    assert all(tokens(tiny_m3, part.text) <= 30 for part in parts)


@pytest.mark.parametrize("text", ["米" * 500, "\ud800 " * 300, "\x00" * 300, "😀" * 300], ids=ascii)
def test_any_text_is_split(tiny_m3, text):
    parts = Splitter(tiny_m3, 20).split(Document("a", text))
    assert all(tokens(tiny_m3, part.text) <= 20 for part in parts)


def test_no_part_is_cut_off_by_the_model(tiny_m3):
    splitter = Splitter(tiny_m3, tiny_m3.passage_max_length - 2)
    parts = splitter.split(Document("a", " ".join(SENTENCES * 20)))
    assert len(parts) > 1
    assert not tiny_m3.encode_corpus_output([part.text for part in parts], ["dense"], show_progress=False).truncated


def test_counting_is_not_changed_by_what_the_model_does_with_its_tokenizer(tiny_m3):
    before = Splitter(tiny_m3, 60).split(LONG)
    tiny_m3.encode(["a", "a longer text"])
    assert Splitter(tiny_m3, 60).split(LONG) == before
    assert tiny_m3.encode("some text")["dense_vecs"] is not None


def test_what_is_no_document_passes(tiny_m3):
    row = BadRow.at("docs.jsonl", 3, "not JSON")
    found = list(Splitter(tiny_m3, 60).split_all([row, LONG, Document("a", "short")]))
    assert found[0] is row
    assert found[-1] == Document("a", "short")
    assert found[1].id == "long#0"


def test_a_document_that_uses_the_key_parent_is_invalid_if_it_must_be_split(tiny_m3):
    given = Document("long", LONG.text, {"parent": "mine"})
    [found] = Splitter(tiny_m3, 60).split_all([given])
    assert isinstance(found, InvalidDocument)
    assert (found.id, found.document) == ("long", given)
    assert "has the key 'parent'" in str(found.error)
    short = Document("a", "short", {"parent": "mine"})
    assert list(Splitter(tiny_m3, 60).split_all([short])) == [short]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "tokens=0"),
        ((10, 10), "overlap=10, tokens=10: make overlap smaller"),
        ((10, -1), "overlap=-1"),
        (
            (511,),
            r"tokens=511: the model reads 512 tokens of a document, and adds 2 of them itself: choose at most 510",
        ),
    ],
)
def test_numbers_that_cannot_be_are_refused(tiny_m3, arguments, message):
    with pytest.raises(ValueError, match=message):
        Splitter(tiny_m3, *arguments)


@pytest.mark.parametrize("value", ["10", 1.5, True, None])
def test_a_number_that_is_none_is_refused(tiny_m3, value):
    with pytest.raises(TypeError, match="tokens takes a whole number"):
        Splitter(tiny_m3, value)


def test_a_tokenizer_that_is_set_to_cut_and_pad_counts_all_tokens(tiny_m3):
    wanted, tokenizer = Splitter(tiny_m3, 60).split(LONG), tiny_m3.tokenizer.backend_tokenizer
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=100)
    try:
        assert Splitter(tiny_m3, 60).split(LONG) == wanted
    finally:
        tokenizer.no_truncation()
        tokenizer.no_padding()
