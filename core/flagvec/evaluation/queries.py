"""`JudgedQuery`: a query and the documents that it should find."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from more_itertools import chunked

from flagvec.arguments import refuse_tables_and_sets
from flagvec.ingest.splitting import PARENT

if TYPE_CHECKING:
    from flagvec.store.base import HybridStore
    from flagvec.store.documents import Hit

_IDS_AT_ONCE = 1_000
_FIRST_PART = "#0"
_SHOWN_IDS = 3


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    """A query and the documents that it should find.

    Args:
        id: Unique among the queries.
        text: The query.
        relevant: The ids of the documents that it should find, each with a grade of 1 or more. Only nDCG tells grades
            apart.

    Raises:
        ValueError: No document is relevant.
    """

    id: str
    text: str
    relevant: Mapping[str, int]

    def __post_init__(self) -> None:
        if not self.relevant:
            raise ValueError(f"query {self.id!r} has no relevant document: name at least one, or leave the query out")

    @classmethod
    def of(cls, row: Any, name: str) -> JudgedQuery:
        """Return the query of a dict with the keys ``query`` (or ``text``), ``relevant`` and, if wanted, ``id``.

        Args:
            row: The dict; ``relevant`` is a list of ids, or a dict of grades by id. A grade of 0 means not relevant.
            name: The id of a query without one.

        Raises:
            TypeError: It is not a dict, or a value has another type.
            ValueError: A key is missing, or no document is relevant.
        """
        if isinstance(row, cls):
            return row
        if not isinstance(row, Mapping):
            raise TypeError(f"a query is a dict with the keys 'query' and 'relevant', not {type(row).__name__}")
        text = row.get("query", row.get("text"))
        if not isinstance(text, str):
            raise ValueError(f"{_has(row)} and no text of a query: add the key 'query'")
        if "relevant" not in row:
            raise ValueError(
                f"{_has(row)} and not 'relevant': add a list of the ids that the query should find, or name a file of "
                "judgements with qrels"
            )
        given = row.get("id", row.get("_id"))
        return cls(name if given is None else str(given), text, _graded(row["relevant"]))


@dataclass(frozen=True, slots=True)
class JudgedQueries(Sequence[JudgedQuery]):
    """Queries with their relevant documents, in order.

    Args:
        queries: The queries.
        notes: What was left out while they were read, a sentence each.
    """

    queries: tuple[JudgedQuery, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, queries: Iterable[Any]) -> JudgedQueries:
        """Return queries that were given as `JudgedQuery` objects or as the dicts that `JudgedQuery.of` takes.

        Raises:
            TypeError: Something other than an iterable of these; names the query's position.
            ValueError: There is no query, an id comes twice, or one is not valid; names the query's position.
        """
        if isinstance(queries, cls):
            return queries
        refuse_tables_and_sets(queries, "queries", "pass table.to_dict('records') or a list of dicts")
        if isinstance(queries, (str, bytes, Mapping)) or not isinstance(queries, Iterable):
            raise TypeError(
                f"queries takes a list of dicts with the keys 'query' and 'relevant', not {type(queries).__name__}; "
                "read_queries reads files"
            )
        found: dict[str, JudgedQuery] = {}
        for position, row in enumerate(queries):
            try:
                query = JudgedQuery.of(row, str(position + 1))
            except (TypeError, ValueError) as error:
                raise type(error)(f"queries[{position}]: {error}") from None
            if query.id in found:
                raise ValueError(f"queries[{position}]: the id {query.id!r} came before; give each query its own")
            found[query.id] = query
        if not found:
            raise ValueError("queries is empty: at least one query is needed")
        return cls(tuple(found.values()))

    def __iter__(self) -> Iterator[JudgedQuery]:
        return iter(self.queries)

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, index: Any) -> Any:
        return self.queries[index]


def check_relevant_are_stored(store: HybridStore, queries: JudgedQueries) -> str | None:
    """Return a sentence that counts the relevant documents that a store does not have; None if it has all.

    Such a document counts as not found, so that measures are lower than they could be.

    Raises:
        ValueError: The store has none of them; says how ids of the store look.
    """
    wanted = list(dict.fromkeys(name for query in queries for name in query.relevant))
    stored = _stored_of(store, wanted)
    # Splitting leaves short documents whole.
    stored |= {one.removesuffix(_FIRST_PART) for one in _stored_of(store, [f"{name}{_FIRST_PART}" for name in wanted])}
    if not stored:
        first = next(iter(store.scroll(batch_size=1)), None)
        if first is None:
            raise ValueError("the store is empty: add documents first")
        raise ValueError(
            f"the store has none of the {len(wanted):,} relevant ids, like {wanted[0]!r}; its own are like "
            f"{first.id!r}: name the column of the ids when you add the documents, as flagvec ingest --id _id does"
        )
    if not (missing := [name for name in wanted if name not in stored]):
        return None
    touched = sum(any(name not in stored for name in query.relevant) for query in queries)
    shown = ", ".join(map(repr, missing[:_SHOWN_IDS])) + (", ..." if len(missing) > _SHOWN_IDS else "")
    return (
        f"{len(missing):,} of {len(wanted):,} relevant documents are not in the store ({shown}) and count as not "
        f"found, for {touched:,} of {len(queries):,} queries"
    )


def document_of(hit: Hit) -> str:
    """Return the id of the document that was found: of a part that ``--split`` made, the id of the whole document."""
    parent = hit.metadata.get(PARENT)
    return parent if isinstance(parent, str) and hit.id.startswith(f"{parent}#") else hit.id


def _stored_of(store: HybridStore, ids: Sequence[str]) -> set[str]:
    return {one.id for part in chunked(ids, _IDS_AT_ONCE) for one in store.get(part)}


def _graded(relevant: Any) -> dict[str, int]:
    if isinstance(relevant, Mapping):
        return {str(name): value for name, grade in relevant.items() if (value := checked_grade(grade)) > 0}
    if isinstance(relevant, (str, bytes)) or not isinstance(relevant, Iterable):
        raise TypeError(f"relevant takes a list of ids or a dict of grades by id, not {type(relevant).__name__}")
    return {str(name): 1 for name in relevant}


def checked_grade(grade: Any) -> int:
    """Return a grade of relevance, also one that was read as text.

    Raises:
        ValueError: It is not a whole number.
    """
    try:
        number = float(grade)
        if number != int(number):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"the grade {grade!r} is not a whole number: 0 is not relevant, 1 and up is") from None
    return int(number)


def _has(row: Mapping[str, Any]) -> str:
    return f"it has {', '.join(map(repr, list(row)[:6])) or 'no keys'}"
