"""What `explain` returns: the parts of a score, the shared tokens and the alignment, as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flagvec.explain.reading import ReadText

if TYPE_CHECKING:
    from flagvec.store.documents import Hit

# Stores compute in float32, and in other orders than numpy.
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Part:
    """What one representation adds to a score.

    Args:
        name: ``"dense"``, ``"sparse"`` or ``"colbert"``.
        amount: What it adds. The amounts of all parts add up to the score.
        score: The representation's own score, in the model's scale.
        weight: What `score` is multiplied by; None if ranks are fused.
        rank: The document's rank among the candidates of this representation, from one; None if weights are fused, or
            if it is not among them.
    """

    name: str
    amount: float
    score: float
    weight: float | None
    rank: int | None


@dataclass(frozen=True, slots=True)
class SharedToken:
    """A token that query and document have in common.

    Args:
        id: The token's id.
        piece: The token as text.
        query_words: The numbers of the query's words that hold it.
        document_words: The numbers of the document's words that hold it.
        query_weight: Its lexical weight in the query.
        document_weight: Its lexical weight in the document, as the store compares it.
        product: The product of both weights. All products add up to the sparse score.
    """

    id: int
    piece: str
    query_words: tuple[int, ...]
    document_words: tuple[int, ...]
    query_weight: float
    document_weight: float
    product: float


@dataclass(frozen=True, eq=False)
class Alignment:
    """Which of a document's ColBERT vectors answers which of the query's.

    Args:
        query: The query, as the ColBERT model reads it.
        document: The document, as the ColBERT model reads it.
        matrix: (query vectors, document vectors) float32, the dot products.
        query_tokens: For each query vector the positions of its tokens in `query`; several if vectors were pooled.
        document_tokens: The same for each document vector.
    """

    query: ReadText
    document: ReadText
    matrix: NDArray[np.float32]
    query_tokens: tuple[tuple[int, ...], ...]
    document_tokens: tuple[tuple[int, ...], ...]

    @property
    def score(self) -> float:
        """The mean over query vectors of the best dot product, 0.0 if either side has none."""
        return float(self.best_products.mean(dtype=np.float64)) if self.matrix.size else 0.0

    @property
    def best_products(self) -> NDArray[np.float32]:
        """(query vectors,) float32, the best dot product of each."""
        return np.asarray(self.matrix.max(axis=1) if self.matrix.size else np.zeros(len(self.matrix), np.float32))

    @property
    def best(self) -> NDArray[np.intp]:
        """(query vectors,) the number of the document vector that answers each."""
        return self.matrix.argmax(axis=1) if self.matrix.size else np.zeros(len(self.matrix), np.intp)

    @cached_property
    def by_word(self) -> WordAlignment:
        """The same for words; tokens of one word are merged."""
        rows, columns = groups(self.query, self.query_tokens), groups(self.document, self.document_tokens)
        if not self.matrix.size:
            return WordAlignment(rows, columns, np.zeros((len(rows), len(columns)), np.float32), (), ())
        merged = np.stack([self.matrix[:, list(column.vectors)].max(axis=1) for column in columns], axis=1)
        products = np.stack([merged[list(row.vectors)].mean(axis=0) for row in rows])
        best = tuple(int(at) for at in products.argmax(axis=1))
        amounts = tuple(float(self.best_products[list(row.vectors)].sum() / len(self.matrix)) for row in rows)
        return WordAlignment(rows, columns, products, best, amounts)


@dataclass(frozen=True, slots=True)
class WordVectors:
    """The ColBERT vectors of a word.

    Args:
        label: The word, several words if their vectors were pooled, or the name of a special token.
        words: The numbers of the words; empty for a special token.
        vectors: The numbers of the vectors.
    """

    label: str
    words: tuple[int, ...]
    vectors: tuple[int, ...]


@dataclass(frozen=True, eq=False, slots=True)
class WordAlignment:
    """`Alignment` for words.

    Args:
        query: The query's words.
        document: The document's words.
        matrix: (query words, document words) float32. For each document word its best dot product, as the mean over
            the query word's vectors.
        best: For each query word the number of the document word that answers it best.
        amounts: What each query word adds to the ColBERT score. They add up to it.
    """

    query: tuple[WordVectors, ...]
    document: tuple[WordVectors, ...]
    matrix: NDArray[np.float32]
    best: tuple[int, ...]
    amounts: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a hit has its score.

    In a notebook it shows the parts of the score, the document with the matched words marked, the shared tokens and
    the alignment. `figure` draws the same for a paper, and `rich.print` shows it in a terminal.

    Args:
        hit: The hit.
        parts: What each representation adds to the score.
        scores: The scores of all representations that the store holds, also of those that took no part.
        query: The query, as the model reads it for the lexical weights.
        document: The document, in the same way.
        shared: The tokens that both have in common, the largest product first.
        alignment: Which document token answers which query token; None if the store holds no ColBERT vectors.
    """

    hit: Hit
    parts: tuple[Part, ...]
    scores: Mapping[str, float]
    query: ReadText
    document: ReadText
    shared: tuple[SharedToken, ...]
    alignment: Alignment | None

    @property
    def score(self) -> float:
        """The sum of the parts."""
        return sum(part.amount for part in self.parts)

    @property
    def adds_up(self) -> bool:
        """Whether the parts add up to the hit's score, within 1e-4. If not, the store changed since the search."""
        return abs(self.score - self.hit.score) <= TOLERANCE

    @property
    def word_products(self) -> dict[int, float]:
        """What each of the document's words takes part in: the products of its shared tokens, by the word's number."""
        found: dict[int, float] = {}
        for token in self.shared:
            for number in token.document_words:
                found[number] = found.get(number, 0.0) + token.product
        return found

    def figure(self, width: float = 7.0) -> Any:
        """Return a matplotlib Figure with the parts, the shared tokens and the alignment.

        Args:
            width: Its width in inches.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from flagvec.explain.figures import explanation_figure

        return explanation_figure(self, width)

    def __repr__(self) -> str:
        parts = " + ".join(f"{part.name} {part.amount:.4f}" for part in self.parts) or "nothing"
        return f"Explanation({self.hit.id!r}, {self.hit.score:.4f} = {parts}, {len(self.shared)} shared tokens)"

    def _repr_html_(self) -> str:
        from flagvec.explain.explanation_html import explanation_html

        return explanation_html(self)

    def __rich__(self) -> Any:
        from flagvec.explain.terminal import explanation_panel

        return explanation_panel(self)


def groups(read: ReadText, tokens: Sequence[tuple[int, ...]]) -> tuple[WordVectors, ...]:
    """Return the vectors of each word, in the order of the text; vectors of the same words are merged.

    Args:
        read: The text.
        tokens: For each vector the positions of its tokens.
    """
    found: dict[tuple[Any, ...], list[int]] = {}
    for number, positions in enumerate(tokens):
        words = tuple(dict.fromkeys(read.word_of_token[at] for at in positions if at in read.word_of_token))
        # Special tokens of one name are merged, so that a filled query has one row for its mask tokens.
        found.setdefault(words or ("special", *(read.piece(at) for at in positions)), []).append(number)
    return tuple(_word_vectors(read, key, vectors) for key, vectors in found.items())


def _word_vectors(read: ReadText, key: tuple[Any, ...], vectors: Sequence[int]) -> WordVectors:
    if key[0] == "special":
        return WordVectors(" ".join(key[1:]) or "-", (), tuple(vectors))
    return WordVectors(" ".join(read.word(number) for number in key), key, tuple(vectors))
