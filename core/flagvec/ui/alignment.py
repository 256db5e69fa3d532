"""Why a document fits a query: shared words with their weights, and which words answer which."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flagvec.m3_output import M3Output
from flagvec.store.encoding import encoded_output
from flagvec.ui.snippets import Mark, segments
from flagvec.ui.words import Word, words_of

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

# Marks beyond this are not looked for, because a snippet is short.
_READ = 8_000
_LONGEST_SHOWN = 12_000
_MOST_WORDS = 600
# In the heatmap. A wider one cannot be read.
_MOST_COLUMNS = 24
_END = "[end]"


class Explainer:
    """Explains hits with the model of a store.

    Args:
        model: The store's model.
        representations: What the store holds.
    """

    def __init__(self, model: AbsEmbedder, representations: Collection[str]) -> None:
        self._model = model
        self._held = tuple(representations)
        self._tokenizer = getattr(model, "tokenizer", None)

    def marks(self, query: M3Output, texts: Sequence[str]) -> list[list[Mark]]:
        """Return for each text where the words are that share tokens with a query.

        Args:
            query: What the model gave for the query.
            texts: Documents. Only their beginnings are read.

        Returns:
            Beginning, end and weight of each such word. The query's largest weight counts as 1.
        """
        weights = query["lexical_weights"][0] if "lexical_weights" in query else {}
        if not weights or self._tokenizer is None:
            return [[] for _ in texts]
        most = max(weights.values())
        found = words_of(self._tokenizer, [text[:_READ] for text in texts], _READ)
        return [
            [
                (word.start, word.end, max(weights.get(token, 0.0) for token in word.ids) / most)
                for word in words
                if any(token in weights for token in word.ids)
            ]
            for words in found
        ]

    def explain(self, query: str, encoded: M3Output, text: str) -> dict[str, Any]:
        """Return the shared words and the alignment of a document.

        Args:
            query: The query.
            encoded: What the model gave for it.
            text: The document, which is encoded here.

        Returns:
            ``shared``, the tokens in common with both weights and their product; ``alignment``, or None if there are no
            ColBERT vectors to compare; ``segments``, the beginning of the document in marked pieces.
        """
        document = encoded_output(self._model, [text], self._held)
        [marks] = self.marks(encoded, [text])
        return {
            "shared": self._shared(encoded, document),
            "alignment": self._alignment(query, encoded, text, document),
            "segments": segments(text, marks, 0, _LONGEST_SHOWN),
            "characters": len(text),
            "shown": min(len(text), _LONGEST_SHOWN),
        }

    def _shared(self, query: M3Output, document: M3Output) -> list[dict[str, Any]]:
        if "lexical_weights" not in query or self._tokenizer is None:
            return []
        ours, theirs = query["lexical_weights"][0], document["lexical_weights"][0]
        rows = [
            {
                "word": self._tokenizer.decode([token]).strip(),
                "query": float(ours[token]),
                "document": float(theirs[token]),
                "product": float(ours[token]) * float(theirs[token]),
            }
            for token in ours
            if token in theirs
        ]
        return sorted(rows, key=lambda row: -row["product"])

    def _alignment(self, query: str, encoded: M3Output, text: str, document: M3Output) -> dict[str, Any] | None:
        if self._tokenizer is None or "colbert_vecs" not in encoded:
            return None
        [asked] = words_of(self._tokenizer, [query], self._model.query_max_length)
        [told] = words_of(self._tokenizer, [text], self._model.passage_max_length)
        similarities = np.asarray(encoded["colbert_vecs"][0]) @ np.asarray(document["colbert_vecs"][0]).T
        # Another number of rows than of tokens comes from an instruction, a marker or pooling.
        if (
            not asked
            or not told
            or not all(
                max(words[-1].tokens) <= rows for words, rows in zip((asked, told), similarities.shape, strict=True)
            )
        ):
            return None
        return _table(query, asked, text, told[:_MOST_WORDS], similarities)


def _table(query: str, asked: list[Word], text: str, told: list[Word], similarities: NDArray[Any]) -> dict[str, Any]:
    """Return the similarities of words, the largest of their tokens, with each word's part of the score.

    A row of the similarities is a token of the query. The first token has none, because BGE-M3 leaves it out.
    """
    rows = [[position - 1 for position in word.tokens] for word in asked]
    names = [query[word.start : word.end] for word in asked]
    rest = sorted(set(range(len(similarities))) - {row for one in rows for row in one})
    if rest:
        rows, names = [*rows, rest], [*names, _END]
    columns = [[position - 1 for position in word.tokens] for word in told]
    table = np.array([[similarities[np.ix_(row, column)].max() for column in columns] for row in rows])
    parts = similarities.max(axis=1)
    chosen = _columns(table)
    return {
        "query": [
            {"word": name, "part": float(parts[row].sum() / len(parts)), "best": int(best), "similarity": float(most)}
            for name, row, best, most in zip(names, rows, table.argmax(axis=1), table.max(axis=1), strict=True)
        ],
        "words": [[text[word.start : word.end], word.start, word.end] for word in told],
        "columns": chosen,
        "table": [[round(float(value), 3) for value in row] for row in table],
        "score": float(parts.mean()),
    }


def _columns(table: NDArray[Any]) -> list[int]:
    """Return which words of the document the heatmap shows: those that answer, and then the most similar ones."""
    answers = list(dict.fromkeys(table.argmax(axis=1).tolist()))
    similar = [int(one) for one in np.argsort(-table.max(axis=0), kind="stable") if one not in answers]
    return sorted((answers + similar)[:_MOST_COLUMNS])
