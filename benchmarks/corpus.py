"""Random outputs with the shape of BGE-M3's, the same in every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flagvec import Document, M3Output
from ready_model import ReadyModel

DIMENSION = 1024
VOCABULARY = 250_002
DOCUMENT_TERMS, QUERY_TERMS = 60, 8
TEXT_CHARACTERS = 500
COLBERT_ROWS, COLBERT_QUERY_ROWS = 200, 12
_WORDS = ("water", "oven", "butter", "flour", "slowly", "until", "golden", "and", "then", "serve")


@dataclass(frozen=True)
class Corpus:
    """Documents and queries with ready outputs.

    Args:
        documents: Texts of some 500 characters with a little metadata.
        queries: Texts.
        model: Returns the output of each.
    """

    documents: Sequence[Document]
    queries: Sequence[str]
    model: ReadyModel


def make_corpus(documents: int, queries: int, seed: int = 0, with_colbert: bool = False) -> Corpus:
    """Return a corpus of random dense vectors, and of lexical weights whose tokens follow Zipf's law.

    Args:
        documents: The number of documents.
        queries: The number of queries.
        seed: Chooses the numbers.
        with_colbert: Add random ColBERT vectors: 0.8 MB a document.
    """
    generator = np.random.default_rng(seed)
    texts = [_text(f"Document {number}:", generator) for number in range(documents)]
    asked = [f"Query {number}" for number in range(queries)]
    dense = _unit_rows(documents + queries, generator)
    terms = [DOCUMENT_TERMS] * documents + [QUERY_TERMS] * queries
    output = M3Output(dense_vecs=dense, lexical_weights=[_weights(count, generator) for count in terms])
    if with_colbert:
        rows = [COLBERT_ROWS] * documents + [COLBERT_QUERY_ROWS] * queries
        output["colbert_vecs"] = [_unit_rows(count, generator) for count in rows]
    model = ReadyModel([*texts, *asked], output)
    stored = [
        Document(f"document-{number}", text, {"number": number, "language": "en"}) for number, text in enumerate(texts)
    ]
    return Corpus(stored, asked, model)


def _text(start: str, generator: np.random.Generator) -> str:
    words = generator.choice(_WORDS, size=TEXT_CHARACTERS // 5)
    return f"{start} {' '.join(words)}"[:TEXT_CHARACTERS]


def _unit_rows(count: int, generator: np.random.Generator) -> NDArray[np.float32]:
    rows = generator.standard_normal((count, DIMENSION), dtype=np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def _weights(terms: int, generator: np.random.Generator) -> dict[int, float]:
    # By Zipf's law, the logarithm of a token's rank is uniform.
    tokens = np.unique(np.exp(generator.uniform(0, np.log(VOCABULARY), size=terms)).astype(np.int64))
    weights = generator.uniform(0.01, 0.4, size=len(tokens)).astype(np.float32)
    return dict(zip(tokens.tolist(), weights.tolist(), strict=True))
