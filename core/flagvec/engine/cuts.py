"""Where a text can be cut without a change to the tokens in front of the cut.

A tokenizer normalises a text, splits it into words, and turns each word into tokens by itself. So a cut is safe if both
normalising and splitting treat its two sides separately. Tokenizers whose parts are not listed here are not cut.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tokenizers import Tokenizer, models

# These change one character after the other, or sequences that hold neither a space nor a line break.
_LOCAL_NORMALIZERS = frozenset(
    {
        "NFC",
        "NFD",
        "NFKC",
        "NFKD",
        "Nmt",
        "Lowercase",
        "StripAccents",
        "BertNormalizer",
        "Precompiled",
        "Prepend",
        "Strip",
    }
)
_SPLIT_AT_SPACES = frozenset({"BertPreTokenizer", "Whitespace", "WhitespaceSplit", "Metaspace", "ByteLevel"})
_SPLIT_FURTHER = frozenset({"Punctuation", "Digits"})
# Normalizers for several spaces, as converted SentencePiece models have them.
_RUNS_OF_SPACES = (" {2,}", r" +", r"\s+", r"\s{2,}")

# BERT's ideographs: the normalizer puts a space on each side of them. No normal form joins them to a neighbour.
_IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b81f\U0002b920-\U0002ceaf"
# A space between two characters that are no spaces. The next one combines with nothing and opens no special token.
_AT_SPACE = r"[!-~\w](?=[ \n]\w)"

# Finds the last safe cut between two positions of a text, None if there is none.
FindCut = Callable[[str, int, int], int | None]


def cut_finder(tokenizer: Tokenizer) -> FindCut | None:
    """Return what finds safe cuts for this tokenizer, or None if its parts do not show that a cut is safe."""
    normalizer, splitter = _parts(tokenizer.normalizer), _parts(tokenizer.pre_tokenizer)
    if not all(map(_is_local, normalizer)) or not splitter or not _splits_at_spaces(splitter):
        return None
    if any(re.search(r"\s", token.content.strip()) for token in tokenizer.get_added_tokens_decoder().values()):
        return None
    pattern = re.compile("|".join([_AT_SPACE, *_within_words(tokenizer, normalizer, splitter)]))

    def find(text: str, start: int, end: int) -> int | None:
        cut = None
        for match in pattern.finditer(text, start, end):
            cut = match.end()
        return cut

    return find


def _parts(component: Any) -> list[Mapping[str, Any]]:
    """Return the state of a normalizer or pre-tokenizer, sequences flattened."""
    return [] if component is None else list(_flat(json.loads(component.__getstate__())))


def _flat(state: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    inner = state.get("normalizers", state.get("pretokenizers")) if state["type"] == "Sequence" else None
    if inner is None:
        yield state
    else:
        for part in inner:
            yield from _flat(part)


def _is_local(normalizer: Mapping[str, Any]) -> bool:
    if normalizer["type"] != "Replace":
        return normalizer["type"] in _LOCAL_NORMALIZERS
    pattern = normalizer["pattern"]
    text = pattern.get("String")
    return pattern.get("Regex") in _RUNS_OF_SPACES if text is None else len(text) == 1 and not text.isspace()


def _splits_at_spaces(splitter: list[Mapping[str, Any]]) -> bool:
    kinds = {part["type"] for part in splitter}
    splitting = [
        part
        for part in splitter
        if part["type"] in _SPLIT_AT_SPACES and part.get("split", True) and part.get("use_regex", True)
    ]
    return bool(splitting) and kinds <= _SPLIT_AT_SPACES | _SPLIT_FURTHER


def _within_words(
    tokenizer: Tokenizer, normalizer: list[Mapping[str, Any]], splitter: list[Mapping[str, Any]]
) -> Iterator[str]:
    """Yield patterns of safe cuts in scripts that have no spaces."""
    if any(part.get("handle_chinese_chars") for part in normalizer):
        yield rf"[{_IDEOGRAPHS}](?=\w)"
    elif isinstance(tokenizer.model, models.Unigram) and any(part["type"] == "Metaspace" for part in splitter):
        alone = "".join(_characters_alone(tokenizer))
        if alone:
            yield rf"[{alone}](?=\w)"


def _characters_alone(tokenizer: Tokenizer) -> Iterator[str]:
    """Yield the ideographs that the vocabulary holds, but not as a part of a longer token.

    Any way to split a word into tokens has a boundary on both sides of such a character. So the best way for the whole
    word is the best way for its first part, followed by the best way for its second.
    """
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    joined = set[str]().union(*(piece for piece in vocabulary if len(piece) > 1))
    pattern = re.compile(f"[{_IDEOGRAPHS}]")
    for piece in vocabulary:
        if pattern.fullmatch(piece) and piece not in joined and _is_kept(piece, tokenizer.normalizer):
            yield piece


def _is_kept(text: str, normalizer: Any) -> bool:
    return normalizer is None or normalizer.normalize_str(text) == text
