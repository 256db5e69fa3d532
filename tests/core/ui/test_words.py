"""Words of a text, and the part of it that a hit shows."""

import pytest

from flagvec.ui.snippets import snippet
from flagvec.ui.words import words_of


def written(tokenizer, text, longest=512):
    [words] = words_of(tokenizer, [text], longest)
    return [text[word.start : word.end] for word in words]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Unbelievably synchronised filesystems", ["Unbelievably", "synchronised", "filesystems"]),
        ("naïve café", ["naïve", "café"]),
        ("", []),
        ("   ", []),
    ],
)
def test_pieces_become_words(mini_m3, tiny_m3, text, words):
    assert written(mini_m3.tokenizer, text) == words
    assert written(tiny_m3.tokenizer, text) == words


def test_characters_of_scripts_without_spaces_stay_apart(mini_m3, tiny_m3):
    assert written(mini_m3.tokenizer, "東京 in 日本") == ["東", "京", "in", "日", "本"]
    assert "".join(written(tiny_m3.tokenizer, "東京都に住む")) == "東京都に住む"


def test_words_end_where_the_model_stops_reading(mini_m3):
    assert written(mini_m3.tokenizer, "one two three four five", longest=5) == ["one", "two", "three"]


def test_a_snippet_is_where_the_marks_are():
    text = "filler " * 200 + "here is the needle in it " + "filler " * 200
    start = text.index("needle")
    shown = snippet(text, [(start, start + 6, 1.0)])
    assert ("needle", 1.0) in shown["segments"] and shown["cut_before"] and shown["cut_after"]


def test_the_pieces_of_a_snippet_are_the_text():
    text = "Rice is cooked."
    shown = snippet(text, [(0, 4, 0.5), (8, 14, 1.0)])
    assert shown == {
        "segments": [("Rice", 0.5), (" is ", 0.0), ("cooked", 1.0), (".", 0.0)], "cut_before": False, "cut_after": False
    }  # fmt: skip


def test_a_long_text_without_spaces_is_cut():
    shown = snippet("a" * 100_000, [])
    assert sum(len(piece) for piece, _ in shown["segments"]) < 1_000
