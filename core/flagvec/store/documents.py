"""What goes into a store and what comes out of a search."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flagvec.engine.unicode import valid_unicode

MAX_ID_BYTES = 512
# Deeper metadata would pass the nesting that protobuf, and so gRPC, allows; and some engines write it that then cannot
# read it back: qdrant-edge 0.9 accepts 200 levels and never opens that store again.
MAX_METADATA_DEPTH = 30

_LEAST_INTEGER, _GREATEST_INTEGER = -(2**63), 2**63 - 1

# Nearly all are dicts, which are told at once; an abstract class is asked in more time than the rest takes.
_MAPPINGS = (dict, Mapping)

_TEXT_IDS = uuid.UUID("6ee2ef35-0a4f-5d5b-8ef8-b2e6a2b2f6f1")


@dataclass(frozen=True, slots=True)
class Document:
    """A text to be indexed.

    Args:
        id: Any string of 1 to 512 bytes of UTF-8; adding the same id again replaces the document.
        text: The text that is encoded and given back with a hit.
        metadata: Values as JSON has them, nested up to 30 levels, given back unchanged (a tuple as a list).

    Example:
        >>> Document("guide-1", "How to cook rice.", {"lang": "en"}).id
        'guide-1'
    """

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result.

    Args:
        id: The document's id, as it was added.
        score: What the hits are ordered by, higher is better; its scale depends on mode and fusion.
        text: The document's text.
        metadata: The document's metadata, as it was added.
        scores: Each representation's own score in the model's scale, for those whose scores ordered the hits (none
            where ranks did), or with ``explain=True`` for all that the search used:
            ``dense`` the dot product of unit vectors (-1 to 1), ``sparse`` the dot product of lexical weights
            (0 and up), ``colbert`` the mean over query tokens of the best match (-1 to 1).

    Example:
        >>> Hit("guide-1", 0.83, "How to cook rice.", {"lang": "en"}, {"dense": 0.83}).scores["dense"]
        0.83
    """

    id: str
    score: float
    text: str
    metadata: Mapping[str, Any]
    scores: Mapping[str, float] = field(default_factory=dict)


def text_id(text: str) -> str:
    """Return the id that a store gives a bare text: a UUID that depends on the text alone.

    So a text that is added twice is stored once.

    Example:
        >>> text_id("How to cook rice.") == text_id("How to cook rice.")
        True
    """
    return str(uuid.uuid5(_TEXT_IDS, valid_unicode(text)))


def as_documents(documents: str | Document | Iterable[str | Document]) -> Iterable[Document]:
    """Return what was given to ``add`` as checked documents, a bare text with the id of `text_id`.

    A list or tuple is checked whole before this returns; any other iterable is checked as it is read.

    Raises:
        TypeError: Something else than a text or document, with its position; a text or id that is no ``str``;
            metadata that is no mapping or holds what JSON cannot.
        ValueError: An id that is empty, too long or not valid Unicode; metadata nested too deeply, or holding a number
            that is not finite or a whole number of more than 64 bits.
    """
    if isinstance(documents, (str, Document)):
        documents = [documents]
    elif isinstance(documents, (bytes, Mapping)) or not isinstance(documents, Iterable):
        raise TypeError(f"add takes a str, a Document or an iterable of these, not {type(documents).__name__}")
    checked = _checked_documents(documents)
    return list(checked) if isinstance(documents, Sequence) else checked


def checked_ids(ids: str | Iterable[str]) -> list[str]:
    """Return one id or many as a list of checked ids.

    Raises:
        TypeError: Something else than a ``str`` or an iterable of ``str``.
        ValueError: An id that no document can have.
    """
    if isinstance(ids, (bytes, Mapping)) or not isinstance(ids, Iterable):
        raise TypeError(f"ids takes a str or an iterable of str, not {type(ids).__name__}")
    return [_checked_id(name) for name in ([ids] if isinstance(ids, str) else ids)]


def _checked_documents(documents: Iterable[str | Document]) -> Iterator[Document]:
    for position, item in enumerate(documents):
        if isinstance(item, str):
            yield Document(text_id(item), valid_unicode(item))
        elif isinstance(item, Document):
            yield _checked_document(item)
        else:
            raise TypeError(f"documents[{position}] is {type(item).__name__}, not a str or a Document")


def _checked_document(document: Document) -> Document:
    name = _checked_id(document.id)
    if not isinstance(document.text, str):
        raise TypeError(f"document {name!r}: text is {type(document.text).__name__}, not str")
    if not isinstance(document.metadata, _MAPPINGS):
        raise TypeError(f"document {name!r}: metadata is {type(document.metadata).__name__}, not a mapping")
    metadata = document.metadata
    copied = dict(metadata) if _is_flat(metadata) else _plain_json(metadata, (name,))
    return Document(name, valid_unicode(document.text), copied)


def _checked_id(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a document id is a str, not {type(name).__name__}: {name!r:.80}")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ValueError(f"the id {name!r:.80} is not valid Unicode: it holds a lone surrogate") from None
    if not 1 <= size <= MAX_ID_BYTES:
        raise ValueError(f"the id {name!r:.80} has {size} bytes in UTF-8; an id has 1 to {MAX_ID_BYTES}")
    return name


def _is_flat(metadata: Mapping[Any, Any]) -> bool:
    """Return whether metadata is a dict of ASCII strings and plain numbers, as most is, with nothing to be changed."""
    if type(metadata) is not dict:
        return False
    for key, value in metadata.items():
        kind = type(value)
        if kind is str:
            is_plain = value.isascii()
        elif kind is int:
            is_plain = _LEAST_INTEGER <= value <= _GREATEST_INTEGER
        elif kind is float:
            is_plain = math.isfinite(value)
        else:
            is_plain = value is None or kind is bool
        if not (is_plain and type(key) is str and key.isascii()):
            return False
    return True


def _plain_json(value: Any, path: tuple[Any, ...]) -> Any:
    """Return a copy of `value` made of JSON's own types; `path` is the document's id and the keys that lead here."""
    if isinstance(value, str):
        if not value.isascii() and value != valid_unicode(value):
            raise ValueError(f"{_place(path)} is not valid Unicode: it holds a surrogate")
        return value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not _LEAST_INTEGER <= value <= _GREATEST_INTEGER:
            raise ValueError(f"{_place(path)} is {value}, over 64 bits: store it as a str")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{_place(path)} is {value}, which JSON cannot hold: store None or a str")
        return value
    if len(path) > MAX_METADATA_DEPTH:
        raise ValueError(f"{_place(path)[:80]}... is nested more than {MAX_METADATA_DEPTH} levels deep")
    if isinstance(value, _MAPPINGS):
        return {_plain_key(key, path): _plain_json(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_json(item, (*path, index)) for index, item in enumerate(value)]
    raise TypeError(
        f"{_place(path)} is {type(value).__name__}; metadata takes None, bool, int, float, str, list and dict"
    )


def _plain_key(key: Any, path: tuple[Any, ...]) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{_place(path)} has the key {key!r:.80}; metadata keys are str")
    if not key.isascii() and key != valid_unicode(key):
        raise ValueError(f"a key of {_place(path)} is not valid Unicode: it holds a surrogate")
    return key


def _place(path: tuple[Any, ...]) -> str:
    name, *keys = path
    return f"document {name!r}: metadata" + "".join(f"[{key!r}]" for key in keys)
