"""LangChain's documents to flagvec's and back: pure functions."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document as LangChainDocument

from flagvec import Document, Hit


def to_flagvec(documents: Iterable[LangChainDocument], ids: Sequence[str | None] | None = None) -> list[Document]:
    """Return LangChain's documents as flagvec's, without changing them.

    Args:
        documents: The documents.
        ids: An id for each, which replaces the document's own. A document with neither gets a random UUID.

    Raises:
        TypeError: Something other than an iterable of documents.
        ValueError: The numbers of ids and documents differ.
    """
    documents = _listed("documents", documents)
    for position, document in enumerate(documents):
        if not isinstance(document, LangChainDocument):
            raise TypeError(f"documents[{position}] is {type(document).__name__}, not a langchain_core Document")
    names = _one_for_each("ids", ids, len(documents), "documents")
    return [
        Document(name or document.id or str(uuid.uuid4()), document.page_content, document.metadata)
        for document, name in zip(documents, names, strict=True)
    ]


def texts_to_flagvec(
    texts: Iterable[str],
    metadatas: Sequence[Mapping[str, Any]] | None = None,
    ids: Sequence[str | None] | None = None,
) -> list[Document]:
    """Return texts as documents; a text without an id gets a random UUID.

    Raises:
        TypeError: Something other than an iterable of texts.
        ValueError: The numbers of texts and of metadatas or ids differ.
    """
    texts = _listed("texts", texts)
    all_metadata = _one_for_each("metadatas", metadatas, len(texts), "texts", default={})
    names = _one_for_each("ids", ids, len(texts), "texts")
    return [
        Document(name or str(uuid.uuid4()), text, metadata)
        for text, metadata, name in zip(texts, all_metadata, names, strict=True)
    ]


def to_langchain(found: Document | Hit, with_scores: bool = False) -> LangChainDocument:
    """Return a document or hit as LangChain's document: its id, text and metadata.

    Args:
        found: What a store returned.
        with_scores: Add a hit's score to the metadata as ``score``, and those of the representations as ``scores``.
    """
    document = LangChainDocument(id=found.id, page_content=found.text, metadata=dict(found.metadata))
    if with_scores and isinstance(found, Hit):
        document.metadata |= {"score": found.score, "scores": dict(found.scores)}
    return document


def _listed(argument: str, values: Iterable[Any]) -> list[Any]:
    if isinstance(values, (str, bytes, Mapping, LangChainDocument)) or not isinstance(values, Iterable):
        raise TypeError(f"{argument} takes a list, not one {type(values).__name__}")
    return list(values)


def _one_for_each(
    argument: str, values: Sequence[Any] | None, count: int, items: str, default: Any = None
) -> Sequence[Any]:
    if values is None:
        return [default] * count
    if isinstance(values, str) or len(values) != count:
        given = "one str" if isinstance(values, str) else len(values)
        raise ValueError(f"{argument} takes one for each of the {count} {items}, not {given}")
    return values
