"""`FlagTranslator`: filters for LangChain's ``SelfQueryRetriever``."""

from __future__ import annotations

from typing import Any

from langchain_core.structured_query import Comparator, Comparison, Operation, Operator, StructuredQuery, Visitor

from flagvec.filters.dates import read_moment


class FlagTranslator(Visitor):
    """Translates the structured queries that a language model writes into filters of every flagvec store.

    Pass it to ``SelfQueryRetriever``, which knows no translator for `FlagVectorStore` by itself::

        SelfQueryRetriever.from_llm(llm, vector_store, contents, fields, structured_query_translator=FlagTranslator())

    The language model may use all comparators except ``contain`` and ``like``, because no flagvec store searches
    within strings of metadata. ``eq`` holds for a list that has the value among its elements. Dates and times are
    compared with metadata in ISO 8601.

    Example:
        >>> recent = Comparison(comparator=Comparator.GTE, attribute="year", value=2020)
        >>> english = Comparison(comparator=Comparator.EQ, attribute="lang", value="en")
        >>> both = Operation(operator=Operator.AND, arguments=[recent, english])
        >>> FlagTranslator().visit_structured_query(StructuredQuery(query="rice", filter=both))
        ('rice', {'filter': {'and': [{'year': {'gte': 2020}}, {'lang': {'eq': 'en'}}]}})
    """

    allowed_comparators = tuple(one for one in Comparator if one not in (Comparator.CONTAIN, Comparator.LIKE))
    allowed_operators = tuple(Operator)

    def visit_operation(self, operation: Operation) -> dict[str, Any]:
        """Return a filter that holds if all, any or none of the arguments hold."""
        filters = [argument.accept(self) for argument in operation.arguments]
        if operation.operator is Operator.NOT:
            return {"not": {"or": filters}}
        return {operation.operator.value: filters}

    def visit_comparison(self, comparison: Comparison) -> dict[str, Any]:
        """Return a filter on one field.

        Raises:
            ValueError: The comparator is not supported, or a date is not in ISO 8601.
        """
        if comparison.comparator not in self.allowed_comparators:
            raise ValueError(
                f"{comparison.comparator.value}({comparison.attribute!r}, {comparison.value!r:.80}): flagvec's filters "
                f"cannot search within strings; choose {', '.join(one.value for one in self.allowed_comparators)}"
            )
        value = comparison.value
        plain = [_plain(one) for one in value] if isinstance(value, (list, tuple)) else _plain(value)
        return {comparison.attribute: {comparison.comparator.value: plain}}

    def visit_structured_query(self, structured_query: StructuredQuery) -> tuple[str, dict[str, Any]]:
        """Return the text to search for, and the keywords of the search: ``filter`` if the query has one."""
        if structured_query.filter is None:
            return structured_query.query, {}
        return structured_query.query, {"filter": structured_query.filter.accept(self)}


def _plain(value: Any) -> Any:
    """Return a value of a query, with a date like ``{"date": "2024-05-17", "type": "date"}`` as a datetime."""
    if not isinstance(value, dict) or value.get("type") not in ("date", "datetime"):
        return value
    text = value.get(value["type"])
    moment = read_moment(text) if isinstance(text, str) else None
    if moment is None:
        raise ValueError(f"{text!r:.80} is not a date or time in ISO 8601, such as 2024-05-17 or 2024-05-17T10:30:00")
    return moment
