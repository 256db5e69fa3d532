"""LangChain's documents and flagvec's: pure functions between the two."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

from langchain_core.documents import Document as LangChainDocument

from flagvec import Document, Hit


def to_flagvec(documents: Iterable[LangChainDocument], ids: Sequence[str | None] | None = None) -> list[Document]:
    """Return LangChain's documents as flagvec's; what was given stays as it is.

    Args:
        documents: The documents.
        ids: An id for each, before its own; a document with neither gets a random UUID.

    Raises:
        TypeError: Something else than an iterable of documents.
        ValueError: Another number of ids than of documents.
    """
    documents = _listed("documents", documents)
    for position, document in enumerate(documents):
        if not isinstance(document, LangChainDocument):
            raise TypeError(f"documents[{position}] is {type(document).__name__}, not a langchain_core Document")
    names = _as_many("ids", ids, len(documents), "documents")
    return [
        Document(name or document.id or str(uuid.uuid4()), document.page_content, document.metadata)
        for document, name in zip(documents, names, strict=False)
    ]


def texts_to_flagvec(
    texts: Iterable[str],
    metadatas: Sequence[Mapping[str, Any]] | None = None,
    ids: Sequence[str | None] | None = None,
) -> list[Document]:
    """Return texts as documents; one without an id gets a random UUID.

    Raises:
        TypeError: Something else than an iterable of texts.
        ValueError: Another number of metadatas or ids than of texts.
    """
    texts = _listed("texts", texts)
    all_metadata = _as_many("metadatas", metadatas, len(texts), "texts", otherwise={})
    names = _as_many("ids", ids, len(texts), "texts")
    return [
        Document(name or str(uuid.uuid4()), text, metadata)
        for text, metadata, name in zip(texts, all_metadata, names, strict=False)
    ]


def to_langchain(found: Document | Hit) -> LangChainDocument:
    """Return a document or hit as LangChain's document: its id, its text and its metadata, and nothing else."""
    return LangChainDocument(id=found.id, page_content=found.text, metadata=dict(found.metadata))


def _listed(argument: str, values: Iterable[Any]) -> list[Any]:
    if isinstance(values, (str, bytes, Mapping, LangChainDocument)) or not isinstance(values, Iterable):
        raise TypeError(f"{argument} takes a list, not one {type(values).__name__}")
    return list(values)


def _as_many(argument: str, values: Sequence[Any] | None, count: int, of: str, otherwise: Any = None) -> Iterable[Any]:
    if values is None:
        return repeat(otherwise)
    if isinstance(values, str) or len(values) != count:
        raise ValueError(f"{argument} takes one for each of the {count} {of}, not {_described(values)}")
    return values


def _described(values: Sequence[Any]) -> str:
    return "one str" if isinstance(values, str) else str(len(values))
