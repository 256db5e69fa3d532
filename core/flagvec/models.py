"""The catalogue: the models flagvec knows by name, each as its model card describes it.

Sources are the models' cards on the Hugging Face Hub: BAAI's for BGE, intfloat's for E5, Alibaba-NLP's and
thenlper's for GTE. Prompts are given to retrieval queries and passages; None is no prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

Pooling = Literal["cls", "mean"]

_BGE_ENGLISH_QUERY = "Represent this sentence for searching relevant passages: "
_BGE_CHINESE_QUERY = "为这个句子生成表示以用于检索相关文章："


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of a model before it is loaded.

    Args:
        name: The short name, taken in place of the repository.
        repository: ``organisation/name`` on the Hugging Face Hub.
        model_class: Which class serves it.
        pooling: How its hidden states become one dense vector.
        dimension: Length of its dense vector.
        max_length: The longest input it takes, in tokens.
        query_prompt: What goes in front of a retrieval query.
        passage_prompt: What goes in front of a passage.
    """

    name: str
    repository: str
    model_class: Literal["FlagModel", "BGEM3FlagModel"]
    pooling: Pooling
    dimension: int
    max_length: int
    query_prompt: str | None = None
    passage_prompt: str | None = None


def find_model(name: str) -> ModelCard | None:
    """Return the catalogue's entry for a short name or a repository, in any case, or None."""
    return _BY_NAME.get(name.lower())


def nearest_model_names(name: str) -> list[str]:
    """Return up to three short names of the catalogue that look like `name`, the nearest first."""
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
    repository = f"{organisation}/{name}"
    return ModelCard(name, repository, "FlagModel", pooling, dimension, max_length, query_prompt, passage_prompt)


CATALOGUE: tuple[ModelCard, ...] = (
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
    ModelCard("bge-m3", "BAAI/bge-m3", "BGEM3FlagModel", "cls", 1024, 8192),
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
)

_BY_NAME = {key.lower(): card for card in CATALOGUE for key in (card.name, card.repository)}
