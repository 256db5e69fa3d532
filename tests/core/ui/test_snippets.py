"""The words that a hit marks, and the part of a text that it shows."""

from flagvec import BGEM3FlagModel
from flagvec.explain.excerpts import Mark
from flagvec.ui.snippets import shared_marks, snippet


def test_marks_are_the_words_that_share_tokens_with_a_query(mini_m3):
    text = "Bread is baked; rice is cooked."
    weights = mini_m3.encode_queries(["rice is baked"], return_sparse=True)["lexical_weights"][0]
    marks = shared_marks(mini_m3, weights, text)
    assert [text[mark.start : mark.end] for mark in marks] == ["is", "baked", "rice", "is"]
    assert max(mark.strength for mark in marks) == 1.0


def test_marks_are_in_the_text_and_not_in_the_models_instruction():
    model = BGEM3FlagModel("mini-m3", use_fp16=False, passage_instruction_for_retrieval="Bread or rice: ")
    weights = model.encode_queries(["rice"], return_sparse=True)["lexical_weights"][0]
    text = "Cook the rice."
    assert [text[mark.start : mark.end] for mark in shared_marks(model, weights, text)][:1] == ["rice"]


def test_a_snippet_is_where_the_marks_are():
    text = "filler " * 200 + "here is the needle in it " + "filler " * 200
    start = text.index("needle")
    shown = snippet(text, [Mark(start, start + 6, 1.0)])
    assert ("needle", 1.0) in shown["segments"] and shown["cut_before"] and shown["cut_after"]


def test_the_pieces_of_a_snippet_are_the_text():
    text = "Rice is cooked."
    shown = snippet(text, [Mark(0, 4, 0.5), Mark(8, 14, 1.0)])
    assert shown == {
        "segments": [("Rice", 0.5), (" is ", 0.0), ("cooked", 1.0), (".", 0.0)], "cut_before": False, "cut_after": False
    }  # fmt: skip


def test_a_long_text_without_spaces_is_cut():
    shown = snippet("a" * 100_000, [])
    assert sum(len(piece) for piece, _ in shown["segments"]) < 1_000
