"""Dense vectors and lexical weights in langchain-elasticsearch's own store: its embeddings and search strategies.

The store writes a document's embedding into one field, and passes a query's embedding to its strategy, both unchanged.
Therefore `ElasticsearchEmbeddings` return an object with both representations, and the strategies map its parts to a
``dense_vector`` and to ``rank_features``. A search is one request without scripts, within the Basic licence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from elasticsearch.helpers.vectorstore import AsyncRetrievalStrategy, RetrievalStrategy
from langchain_core.embeddings import Embeddings

from flagvec.search.fusion import Weighted
from flagvec.search.options import DEFAULT_CANDIDATES, Mode, SearchKeywords, SearchOptions, check_choice, whole_number
from flagvec.store.schema import Schema
from flagvec.store.vectors import TextVectors, validated
from flagvec_elasticsearch.convert import unit
from flagvec_elasticsearch.filters import Query
from flagvec_elasticsearch.schema import DENSE, SPARSE, DenseIndex, Layout, dense_property
from langchain_flagvec.elasticsearch_queries import MOST_CANDIDATES, MOST_RESCORED, OneRequest
from langchain_flagvec.views import ModelView, check_model, text_names

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

# With 6,000 documents, 99.9 % of the ten best hits of 150 queries were those of flagvec's own store.
DEFAULT_RESCORED = 2_000

# A document's or query's object has these.
_FIELDS = (DENSE, SPARSE)


class ElasticsearchEmbeddings(ModelView, Embeddings):
    """A model's dense vectors and lexical weights in one object, for `ElasticsearchStrategy`.

    The ``a`` methods do the same in a worker thread.

    Args:
        model: A loaded `BGEM3FlagModel` that normalises its vectors.
        batch_size: The most texts that the model encodes at once; None for the model's own ``batch_size``.
        show_progress: Show a progress bar while documents are encoded; None shows one after two seconds in a terminal
            or notebook.

    Raises:
        TypeError: ``model`` is not a loaded model.
        ValueError: The model gives no lexical weights, or ``batch_size`` is below 1.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> embeddings = ElasticsearchEmbeddings(BGEM3FlagModel("bge-m3"))
        >>> vector = embeddings.embed_query("how do I make a loaf?")
        >>> sorted(vector), len(vector["dense"])
        (['dense', 'sparse'], 1024)
    """

    parts = ("dense", "sparse")

    def embed_documents(self, texts: list[str]) -> list[Any]:
        """Return one object for each document, with its dense vector and its weights by token id.

        Raises:
            TypeError: A single str, or an item that is not a str; names its position.
            ValueError: A vector or weight that the database cannot take; names the text by its position.
        """
        output = self._documents(texts)
        names = text_names(len(output["lexical_weights"]))
        return [_as_object(vectors) for vectors in validated(output, names).all_valid()]

    def embed_query(self, text: str) -> Any:
        """Return the object of a query, with the form and the errors of `embed_documents`."""
        return _as_object(validated(self._query(text), ["the query"]).all_valid()[0])


class _Strategy:
    """What both strategies share; `ElasticsearchStrategy` describes it."""

    def __init__(
        self,
        model: AbsEmbedder,
        *,
        mode: Mode = "hybrid",
        fusion: Weighted | Mapping[str, float] | None = None,
        candidates: int = DEFAULT_CANDIDATES,
        rescored: int = DEFAULT_RESCORED,
        dense_index: DenseIndex = "int8_hnsw",
    ) -> None:
        check_model(model)
        check_choice("dense_index", dense_index, get_args(DenseIndex))
        self._shares = _checked_shares(model, mode, fusion)
        self._candidates = _checked_number("candidates", candidates, MOST_CANDIDATES)
        self._rescored = _checked_number("rescored", rescored, MOST_RESCORED)
        self._dimension = model.dimension
        self._layout = Layout(dense_index)

    def needs_inference(self) -> bool:
        """Return True, because the store encodes documents and queries itself."""
        return True

    def es_mappings_settings(
        self, *, text_field: str, vector_field: str, num_dimensions: int | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the mapping and the settings of a new index.

        Raises:
            ValueError: The store's embeddings are not `ElasticsearchEmbeddings`.
        """
        # The store takes ``len`` of an embedded query for the number of dimensions; ours are objects of two keys.
        if num_dimensions != len(_FIELDS):
            raise ValueError(
                f"the store's embeddings give vectors of {num_dimensions} numbers, and this strategy takes objects: "
                "make the store with embedding=ElasticsearchEmbeddings(model), and without num_dimensions"
            )
        vectors = {DENSE: dense_property(self._dimension, self._layout), SPARSE: {"type": "rank_features"}}
        return {"properties": {text_field: {"type": "text"}, vector_field: {"properties": vectors}}}, {}

    def es_query(
        self,
        *,
        query: str | None,
        query_vector: Any,
        text_field: str,
        vector_field: str,
        k: int,
        num_candidates: int,
        filter: Sequence[Query] = (),
    ) -> dict[str, Any]:
        """Return the body of a search.

        Args:
            query: The query's text; None in a search by a vector.
            query_vector: What `ElasticsearchEmbeddings` return for the query; in a search by a vector a list of
                numbers, which is compared with dense vectors alone.
            text_field: Not used.
            vector_field: The field that holds the documents' objects.
            k: The most hits to return, at most 5,000.
            num_candidates: How many documents each leg finds, if that is more than the strategy's ``candidates``.
            filter: Elasticsearch queries; documents that meet all of them take part.

        Raises:
            ValueError: The vector does not suit the call, or ``k`` or ``num_candidates`` is too large.
        """
        vectors = self._checked_object(query, query_vector)
        candidates = max(self._candidates, num_candidates, k)
        if candidates > MOST_CANDIDATES:
            raise ValueError(
                f"k={k}, num_candidates={num_candidates}: Elasticsearch ranks at most {MOST_CANDIDATES} documents of "
                "each leg in one request; choose smaller numbers"
            )
        search = OneRequest(vector_field, vectors[DENSE], vectors[SPARSE], candidates, list(filter))
        if query is None or SPARSE not in self._shares:
            return search.by_dense(k)
        if DENSE not in self._shares:
            return search.by_sparse()
        return search.by_both(self._shares, max(self._rescored, candidates), self._layout.is_quantised)

    def _checked_object(self, query: str | None, vector: Any) -> Mapping[str, Any]:
        if isinstance(vector, Mapping):
            if query is not None:
                return vector
            raise ValueError(
                "searches by a vector, such as max_marginal_relevance_search, cannot use lexical weights: search by "
                "embedding['dense'], or use FlagVectorStore"
            )
        if query is not None or vector is None:
            given = "None" if vector is None else "a list of numbers"
            raise ValueError(
                f"the query's vector is {given}, and this strategy takes an object of both representations: make the "
                "store with embedding=ElasticsearchEmbeddings(model)"
            )
        if DENSE not in self._shares:
            raise ValueError(
                "mode='sparse' needs a query's text, and a search by a vector has none: choose mode='dense'"
            )
        return {DENSE: unit(np.asarray(vector, dtype=np.float32)).tolist(), SPARSE: {}}


class ElasticsearchStrategy(_Strategy, RetrievalStrategy):
    """How ``langchain_elasticsearch.ElasticsearchStore`` searches with `ElasticsearchEmbeddings`.

    A hybrid search scores each candidate of either leg by the weighted mean of its dense and its lexical score, as
    ``flagvec_elasticsearch.ElasticsearchStore`` does. As it is a single request, it knows the dense scores of the
    ``rescored`` nearest documents of a shard only. Other candidates, and those with a negative dense score, count as if
    it were 0.

    Args:
        model: The model of the store's `ElasticsearchEmbeddings`.
        mode: ``"hybrid"``, ``"dense"`` or ``"sparse"``.
        fusion: The weights of both scores in a hybrid search, as a `Weighted` or a dict like
            ``{"dense": 1, "sparse": 0.3}``; None weighs them alike. Fusion by reciprocal ranks takes an Enterprise
            licence, or two requests, which ``flagvec_elasticsearch.ElasticsearchStore`` sends.
        candidates: How many documents each leg finds, at most 5,000; more if the store asks for more.
        rescored: For how many of the nearest documents a hybrid search computes the dense score, at most 10,000. The
            time grows with it.
        dense_index: The type of the ``index_options`` of the ``dense_vector``.

    Raises:
        TypeError: ``model`` is not a loaded model, or a number is of another type.
        ValueError: A model without lexical weights, or an option that is unknown, out of range or in conflict with
            another.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> strategy = ElasticsearchStrategy(BGEM3FlagModel("bge-m3"), fusion={"dense": 1, "sparse": 0.3})
        >>> mapping, settings = strategy.es_mappings_settings(
        ...     text_field="text", vector_field="vector", num_dimensions=2
        ... )
        >>> sorted(mapping["properties"]["vector"]["properties"])
        ['dense', 'sparse']
    """


class AsyncElasticsearchStrategy(_Strategy, AsyncRetrievalStrategy):
    """`ElasticsearchStrategy` for ``langchain_elasticsearch.AsyncElasticsearchStore``, with the same arguments."""


def _as_object(vectors: TextVectors) -> dict[str, Any]:
    assert vectors.dense is not None and vectors.sparse is not None, "both are asked for"
    weights = {str(token): weight for token, weight in vectors.sparse.items()}
    return {DENSE: unit(vectors.dense).tolist(), SPARSE: weights}


def _checked_shares(model: AbsEmbedder, mode: Mode, fusion: Weighted | Mapping[str, float] | None) -> dict[str, float]:
    """Return the share of each representation that the search uses in a hit's score."""
    if fusion is not None and not isinstance(fusion, (Weighted, Mapping)):
        raise ValueError(
            f"fusion={fusion!r}: choose weights like {{'dense': 1, 'sparse': 0.3}}; fusion by reciprocal ranks takes "
            "two requests, which flagvec_elasticsearch.ElasticsearchStore sends"
        )
    schema = Schema.of(model, colbert=False)
    fused: SearchKeywords = {} if fusion is None else {"fusion": fusion}
    options = SearchOptions.checked(schema, mode=mode, **fused)
    weights = options.weights or Weighted(dense=1, sparse=1, colbert=0)
    return weights.shares() if len(options.legs) > 1 else {options.legs[0]: 1.0}


def _checked_number(name: str, value: Any, at_most: int) -> int:
    if (number := whole_number(name, value, at_least=1)) > at_most:
        raise ValueError(f"{name}={number}: at most {at_most}")
    return number
