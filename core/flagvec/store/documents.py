"""What goes into a store, `Document`, and what comes out of a search, `Hit`."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias, overload

from flagvec.arguments import refuse_tables_and_sets
from flagvec.engine.unicode import valid_unicode
from flagvec.extras import extra
from flagvec.store.metadata import plain_metadata
from flagvec.store.tables import documents_of_rows

if TYPE_CHECKING:
    from typing_extensions import Self

    from flagvec.search.options import SearchOptions

MAX_ID_BYTES = 512

_KEYS = ("id", "text", "metadata")
_SHOWN_CHARACTERS = 60
_SHOWN_HITS = 20
_TEXT_IDS = uuid.UUID("6ee2ef35-0a4f-5d5b-8ef8-b2e6a2b2f6f1")


@dataclass(frozen=True, slots=True, repr=False)
class Document:
    """A text to be indexed.

    Args:
        id: Any string of 1 to 512 bytes of UTF-8. Adding the same id again replaces the document.
        text: The text that is encoded, and that a hit gives back.
        metadata: Values as JSON has them, nested up to 30 levels. A store gives them back unchanged, except that a
            tuple becomes a list, a numpy scalar a Python number, a date or time its ISO 8601 string, a UUID or path
            its string, and an Enum its value.

    Example:
        >>> Document("guide-1", "How to cook rice.", {"lang": "en"})
        Document('guide-1', 'How to cook rice.', {'lang': 'en'})
    """

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Document({self.id!r}, {shortened(str(self.text))!r}, {shortened(repr(self.metadata), 2)})"

    @classmethod
    def from_records(
        cls,
        rows: Any,
        *,
        text: str = "text",
        id: str | None = None,
        metadata: Sequence[str] | None = None,
    ) -> list[Self]:
        """Return a document for each row of a table.

        Args:
            rows: A list of dicts, a pandas or polars DataFrame, an Arrow table, or a ``datasets.Dataset``.
            text: The column of the texts.
            id: The column of the ids; numbers become strings. With None the id depends on the text alone.
            metadata: The columns that become metadata; None takes all others. A missing value (NaN, NaT, NA) of a
                pandas DataFrame becomes None.

        Raises:
            TypeError: ``rows`` is something else, or a text is not a ``str``; names the row.
            ValueError: A column does not exist; names those that do.

        Example:
            >>> Document.from_records([{"no": 7, "body": "How to cook rice.", "lang": "en"}], text="body", id="no")
            [Document('7', 'How to cook rice.', {'lang': 'en'})]
        """
        return [
            cls(text_id(body) if name is None else name, body, values)
            for name, body, values in documents_of_rows(rows, text, id, metadata)
        ]


@dataclass(frozen=True, slots=True)
class Origin:
    """The search that found a hit, which `flagvec.explain.explain` needs.

    Args:
        query: What was searched for; None for ready vectors.
        options: The search's options.
    """

    query: str | None
    options: SearchOptions


@dataclass(frozen=True, slots=True, repr=False)
class Hit:
    """One search result.

    Args:
        id: The document's id, as it was added.
        score: What the hits are ordered by; higher is better. Its scale depends on mode and fusion.
        text: The document's text.
        metadata: The document's metadata.
        scores: Each representation's own score in the model's scale: ``dense`` is the dot product of unit vectors
            (-1 to 1), ``sparse`` the dot product of lexical weights (0 and up), ``colbert`` the mean over query tokens
            of the best match (-1 to 1). It holds the scores that ordered the hits, which is nothing for ``"rrf"``.
            With ``explain=True`` it holds all that the search used.
        origin: The search that found it; None for a hit that another source made. It takes no part in comparisons.

    Example:
        >>> Hit("guide-1", 0.83, "How to cook rice.", {"lang": "en"}, {"dense": 0.83})
        Hit('guide-1', 0.8300, 'How to cook rice.')
    """

    id: str
    score: float
    text: str
    metadata: Mapping[str, Any]
    scores: Mapping[str, float] = field(default_factory=dict)
    origin: Origin | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        return f"Hit({self.id!r}, {self.score:.4f}, {shortened(self.text)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # The origin may hold a filter of a database's client, which cannot be pickled.
        return type(self), (self.id, self.score, self.text, self.metadata, self.scores)

    def _repr_html_(self) -> str:
        from flagvec.explain.hits_html import hits_html

        return hits_html([self])


class Hits(list[Hit]):
    """The hits of one search, best first: a list, with views of them.

    In a notebook it shows rank, score, a bar for each representation, the beginning of the text with the query's words
    marked, and the metadata. `rich.print` shows the same in a terminal. A slice has these views too.

    Args:
        hits: The hits.

    Example:
        >>> hits = Hits([Hit("guide-1", 0.83, "How to cook rice.", {"lang": "en"})])
        >>> hits[:1]
        [Hit('guide-1', 0.8300, 'How to cook rice.')]
    """

    @overload
    def __getitem__(self, at: SupportsIndex) -> Hit: ...
    @overload
    def __getitem__(self, at: slice) -> Hits: ...
    def __getitem__(self, at: SupportsIndex | slice) -> Hit | Hits:
        found = super().__getitem__(at)
        return Hits(found) if isinstance(found, list) else found

    def __repr__(self) -> str:
        if len(self) <= _SHOWN_HITS:
            return super().__repr__()
        shown = ", ".join(map(repr, self[:_SHOWN_HITS]))
        return f"[{shown}, ... {len(self) - _SHOWN_HITS:,} more]"

    def to_pandas(self) -> Any:
        """Return a DataFrame with a row for each hit, best first.

        Its columns are ``rank`` from one, ``id``, ``score``, ``text``, ``score_dense`` and so on for each
        representation that was scored, and ``metadata.<key>`` for each key. What a hit lacks is NaN.

        Raises:
            ImportError: pandas is not installed.
        """
        with extra("notebook"):
            import pandas
        rows = [
            {
                "rank": rank,
                "id": hit.id,
                "score": hit.score,
                "text": hit.text,
                **{f"score_{name}": score for name, score in hit.scores.items()},
                **{f"metadata.{key}": value for key, value in hit.metadata.items()},
            }
            for rank, hit in enumerate(self, start=1)
        ]
        return pandas.DataFrame(rows) if rows else pandas.DataFrame(columns=["rank", "id", "score", "text"])

    def _repr_html_(self) -> str:
        from flagvec.explain.hits_html import hits_html

        return hits_html(self)

    def __rich__(self) -> Any:
        from flagvec.explain.terminal import hits_table

        return hits_table(self)


DocumentLike: TypeAlias = str | Document | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class InvalidDocument:
    """A document that no store can hold.

    Args:
        id: Its id, or its position if the id itself is invalid.
        error: Why, as the ``TypeError`` or ``ValueError`` that `as_documents` would raise.
        document: The document as it was given; None if it was not one.
    """

    id: str
    error: TypeError | ValueError
    document: Document | None


def characters_of(document: Document | InvalidDocument) -> int:
    """Return the number of characters in a document's text, and 0 for an invalid document, which is not encoded."""
    return len(document.text) if isinstance(document, Document) else 0


def text_id(text: str) -> str:
    """Return the id that a store gives a text without one: a UUID that depends on the text alone.

    A text that is added twice is therefore stored once.

    Example:
        >>> text_id("How to cook rice.") == text_id("How to cook rice.")
        True
    """
    return str(uuid.uuid5(_TEXT_IDS, valid_unicode(text)))


def listed_documents(
    documents: DocumentLike | Iterable[DocumentLike | InvalidDocument],
) -> Iterable[DocumentLike | InvalidDocument]:
    """Return what was given to ``add`` as an iterable of one or many.

    Raises:
        TypeError: It is a table, a set, bytes, or not an iterable; says what to pass instead.
    """
    if isinstance(documents, (str, Document, Mapping)):
        return [documents]
    refuse_tables_and_sets(documents, "documents", "pass Document.from_records(table, text='...')")
    if isinstance(documents, bytes) or not isinstance(documents, Iterable):
        raise TypeError(f"documents={documents!r:.80}: add takes a str, a Document, a dict, or an iterable of these")
    return documents


def checked_documents(
    documents: Iterable[DocumentLike | InvalidDocument],
) -> Iterator[Document | InvalidDocument]:
    """Yield each document with a valid id and plain metadata, or what is wrong with it.

    A document of a class of its own stays of that class.
    """
    for position, item in enumerate(documents):
        if isinstance(item, InvalidDocument):
            yield item
            continue
        given: Document | None = None
        try:
            given = _as_document(item, position)
            yield checked_document(given)
        except (TypeError, ValueError) as error:
            yield InvalidDocument(_id_or_position(given, position), error, given)


def _id_or_position(document: Document | None, position: int) -> str:
    try:
        return _checked_id(None if document is None else document.id)
    except (TypeError, ValueError):
        return f"documents[{position}]"


def checked_document(document: Document) -> Document:
    """Return a document whose metadata are a copy in JSON's own types.

    Raises:
        TypeError: An id or text that is not a ``str``; metadata that is not a mapping or holds what JSON cannot.
        ValueError: An id that is empty, too long or not valid Unicode; metadata nested too deeply, or with a number
            that is not finite or a whole number of more than 64 bits.
    """
    name = _checked_id(document.id)
    if not isinstance(document.text, str):
        raise TypeError(f"document {name!r}: text is {type(document.text).__name__}, not str")
    text, metadata = valid_unicode(document.text), plain_metadata(document.metadata, f"document {name!r}")
    if type(document) is Document:
        return Document(name, text, metadata)
    return replace(document, id=name, text=text, metadata=metadata)


def checked_ids(ids: str | Iterable[str]) -> list[str]:
    """Return one id or many as a list of checked ids.

    Raises:
        TypeError: Something other than a ``str`` or an iterable of ``str``.
        ValueError: An id that no document can have.
    """
    if isinstance(ids, (bytes, Mapping)) or not isinstance(ids, Iterable):
        raise TypeError(f"ids takes a str or an iterable of str, not {type(ids).__name__}")
    return [_checked_id(name) for name in ([ids] if isinstance(ids, str) else ids)]


def shortened(text: str, lines: int = 1) -> str:
    """Return the first characters of a text, with an ellipsis if it goes on; 60 characters a line."""
    most = _SHOWN_CHARACTERS * lines
    return text if len(text) <= most else f"{text[:most]}..."


def _as_document(item: Any, position: int) -> Document:
    if isinstance(item, str):
        return Document(text_id(item), item)
    if isinstance(item, Document):
        return item
    if not isinstance(item, Mapping):
        raise TypeError(f"documents[{position}] is {type(item).__name__}, not a str, a Document or a dict")
    if unknown := [key for key in item if key not in _KEYS]:
        raise ValueError(
            f"documents[{position}] has the key {unknown[0]!r}; a document has the keys 'text', 'id' and 'metadata': "
            "put other values into metadata, or use Document.from_records(rows)"
        )
    if not isinstance(item.get("text"), str):
        raise TypeError(f"documents[{position}]['text'] is {type(item.get('text')).__name__}, not str")
    name = item.get("id")
    metadata = item.get("metadata")
    return Document(text_id(item["text"]) if name is None else name, item["text"], {} if metadata is None else metadata)


def _checked_id(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"id={name!r:.80}: a document's id is a str, not {type(name).__name__}")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ValueError(f"id={name!r:.80} holds a lone surrogate, which is not valid Unicode") from None
    if not 1 <= size <= MAX_ID_BYTES:
        raise ValueError(f"id={name!r:.80} has {size} bytes in UTF-8; an id has 1 to {MAX_ID_BYTES}")
    return name
