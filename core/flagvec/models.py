"""The catalogue: the models that flagvec knows by name.

The entries follow the model cards on the Hugging Face Hub: BAAI's for BGE, intfloat's for E5, Alibaba-NLP's and
thenlper's for GTE, ibm-granite's for Granite, Snowflake's for Arctic Embed, nomic-ai's for Nomic Embed.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

Pooling = Literal["cls", "mean"]

_BGE_ENGLISH_QUERY = "Represent this sentence for searching relevant passages: "
_BGE_CHINESE_QUERY = "为这个句子生成表示以用于检索相关文章："


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known about a model before it is loaded.

    Args:
        name: The short name, which every model class takes.
        repository: ``organisation/name`` on the Hugging Face Hub. None for mini-m3, which ``flagvec[demo]`` brings.
        model_class: The class that `FlagAutoModel` loads it with.
        pooling: How hidden states become one dense vector: the first token's (``cls``) or their mean.
        dimension: Length of a dense vector.
        max_length: The longest input, in tokens.
        query_prompt: Text that goes in front of a retrieval query, None if the model needs none.
        passage_prompt: The same for a passage.
        license: The license of the weights, as the Hub spells it.
    """

    name: str
    repository: str | None
    model_class: Literal["FlagModel", "BGEM3FlagModel"]
    pooling: Pooling
    dimension: int
    max_length: int
    query_prompt: str | None = None
    passage_prompt: str | None = None
    license: str | None = None


class Catalogue(tuple[ModelCard, ...]):
    """Model cards that show as a table in a terminal or a notebook."""

    __slots__ = ()

    def __repr__(self) -> str:
        columns = _COLUMNS[:-1]  # the license does not fit on a screen
        rows = [list(columns), *(_as_row(card, columns, widest=_WIDEST_PROMPT) for card in self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)

    def _repr_html_(self) -> str:
        lines = [_html_row("th", _COLUMNS), *(_html_row("td", _as_row(card, _COLUMNS)) for card in self)]
        return f"<table>{''.join(lines)}</table>"


_COLUMNS = ("name", "model_class", "pooling", "dimension", "max_length", "query_prompt", "passage_prompt", "license")
_WIDEST_PROMPT = 14


def _as_row(card: ModelCard, columns: Iterable[str], widest: int | None = None) -> list[str]:
    values = {column: getattr(card, column) for column in columns}
    texts = {column: "" if value is None else str(value) for column, value in values.items()}
    return [_cut(text, widest) if column.endswith("_prompt") else text for column, text in texts.items()]


def _cut(text: str, widest: int | None) -> str:
    return text if widest is None or len(text) <= widest else f"{text[: widest - 3]}..."


def _html_row(tag: str, values: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(value)}</{tag}>' for value in values)}</tr>"


def list_models() -> Catalogue:
    """Return all known models, one `ModelCard` each; the result shows as a table.

    Example:
        >>> [card.name for card in list_models() if card.model_class == "BGEM3FlagModel"]
        ['bge-m3', 'mini-m3']
    """
    return CATALOGUE


def find_model(name: str) -> ModelCard | None:
    """Return the card of a short name or repository, whatever its case; None if it is not in the catalogue."""
    return _BY_NAME.get(name.lower())


def nearest_model_names(name: str) -> list[str]:
    """Return up to three short names that are spelled like `name`, the nearest first."""
    base = name.lower().rstrip("/").rsplit("/", 1)[-1]
    return get_close_matches(base, [card.name for card in CATALOGUE], n=3, cutoff=0.5)


def _flag(
    organisation: str,
    name: str,
    dimension: int,
    pooling: Pooling,
    query_prompt: str | None = None,
    passage_prompt: str | None = None,
    max_length: int = 512,
) -> ModelCard:
    repository, license = f"{organisation}/{name}", _LICENSES[organisation]
    return ModelCard(
        name, repository, "FlagModel", pooling, dimension, max_length, query_prompt, passage_prompt, license
    )


_LICENSES = {
    "BAAI": "mit",
    "intfloat": "mit",
    "thenlper": "mit",
    "Alibaba-NLP": "apache-2.0",
    "ibm-granite": "apache-2.0",
    "Snowflake": "apache-2.0",
    "nomic-ai": "apache-2.0",
}

CATALOGUE = Catalogue(
    (
        _flag("BAAI", "bge-large-en-v1.5", 1024, "cls", _BGE_ENGLISH_QUERY),
        _flag("BAAI", "bge-base-en-v1.5", 768, "cls", _BGE_ENGLISH_QUERY),
        _flag("BAAI", "bge-small-en-v1.5", 384, "cls", _BGE_ENGLISH_QUERY),
        _flag("BAAI", "bge-large-zh-v1.5", 1024, "cls", _BGE_CHINESE_QUERY),
        _flag("BAAI", "bge-base-zh-v1.5", 768, "cls", _BGE_CHINESE_QUERY),
        _flag("BAAI", "bge-small-zh-v1.5", 512, "cls", _BGE_CHINESE_QUERY),
        _flag("BAAI", "bge-large-en", 1024, "cls", _BGE_ENGLISH_QUERY),
        _flag("BAAI", "bge-base-en", 768, "cls", _BGE_ENGLISH_QUERY),
        _flag("BAAI", "bge-small-en", 384, "cls", _BGE_ENGLISH_QUERY),
        _flag("BAAI", "bge-large-zh", 1024, "cls", _BGE_CHINESE_QUERY),
        _flag("BAAI", "bge-base-zh", 768, "cls", _BGE_CHINESE_QUERY),
        _flag("BAAI", "bge-small-zh", 512, "cls", _BGE_CHINESE_QUERY),
        ModelCard("bge-m3", "BAAI/bge-m3", "BGEM3FlagModel", "cls", 1024, 8192, license="mit"),
        ModelCard("mini-m3", None, "BGEM3FlagModel", "mean", 384, 512, license="apache-2.0"),
        _flag("intfloat", "e5-large-v2", 1024, "mean", "query: ", "passage: "),
        _flag("intfloat", "e5-base-v2", 768, "mean", "query: ", "passage: "),
        _flag("intfloat", "e5-small-v2", 384, "mean", "query: ", "passage: "),
        _flag("intfloat", "multilingual-e5-large", 1024, "mean", "query: ", "passage: "),
        _flag("intfloat", "multilingual-e5-base", 768, "mean", "query: ", "passage: "),
        _flag("intfloat", "multilingual-e5-small", 384, "mean", "query: ", "passage: "),
        _flag("intfloat", "e5-large", 1024, "mean", "query: ", "passage: "),
        _flag("intfloat", "e5-base", 768, "mean", "query: ", "passage: "),
        _flag("intfloat", "e5-small", 384, "mean", "query: ", "passage: "),
        _flag("Alibaba-NLP", "gte-multilingual-base", 768, "cls", max_length=8192),
        _flag("Alibaba-NLP", "gte-large-en-v1.5", 1024, "cls", max_length=8192),
        _flag("Alibaba-NLP", "gte-base-en-v1.5", 768, "cls", max_length=8192),
        _flag("thenlper", "gte-large", 1024, "mean"),
        _flag("thenlper", "gte-base", 768, "mean"),
        _flag("thenlper", "gte-small", 384, "mean"),
        _flag("thenlper", "gte-large-zh", 1024, "cls"),
        _flag("thenlper", "gte-base-zh", 768, "cls"),
        _flag("thenlper", "gte-small-zh", 512, "cls"),
        _flag("Alibaba-NLP", "gte-modernbert-base", 768, "cls", max_length=8192),
        _flag("ibm-granite", "granite-embedding-english-r2", 768, "cls", max_length=8192),
        _flag("ibm-granite", "granite-embedding-small-english-r2", 384, "cls", max_length=8192),
        _flag("ibm-granite", "granite-embedding-97m-multilingual-r2", 384, "cls", max_length=32768),
        _flag("ibm-granite", "granite-embedding-311m-multilingual-r2", 768, "cls", max_length=32768),
        _flag("Snowflake", "snowflake-arctic-embed-l-v2.0", 1024, "cls", "query: ", max_length=8192),
        _flag("Snowflake", "snowflake-arctic-embed-m-v2.0", 768, "cls", "query: ", max_length=8192),
        _flag("nomic-ai", "nomic-embed-text-v1.5", 768, "mean", "search_query: ", "search_document: ", max_length=8192),
    )
)

_BY_NAME = {key.lower(): card for card in CATALOGUE for key in (card.name, card.repository) if key}
