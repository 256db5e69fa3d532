"""Both of a model's representations in langchain-elasticsearch's own store: embeddings, and strategies to search them.

The store writes what its embeddings give of a document into one field, and hands what they give of a query to its
strategy, both as they are. So `ElasticsearchEmbeddings` gives an object of both representations, and the strategies
map it to a ``dense_vector`` and ``rank_features``. A search is one request of what the Basic licence has, no scripts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from elasticsearch.helpers.vectorstore import AsyncRetrievalStrategy, RetrievalStrategy
from langchain_core.embeddings import Embeddings

from flagvec.search.fusion import Weighted
from flagvec.search.options import DEFAULT_CANDIDATES, Mode, SearchOptions, check_choice, whole_number
from flagvec.store.encoding import TextVectors, validated
from flagvec.store.schema import Schema
from flagvec_elasticsearch.convert import unit
from flagvec_elasticsearch.filters import Query
from flagvec_elasticsearch.schema import DENSE, SPARSE, DenseIndex, Layout, dense_property
from langchain_flagvec.elasticsearch_queries import MOST_CANDIDATES, MOST_RESCORED, OneRequest
from langchain_flagvec.views import ModelView, check_model

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder

# With 6,000 documents, 99.9 % of the ten best hits of 150 queries were those of flagvec's own store.
DEFAULT_RESCORED = 2_000

# A document's or query's object has these.
_FIELDS = (DENSE, SPARSE)


class ElasticsearchEmbeddings(ModelView, Embeddings):
    """A model's dense vectors and lexical weights, both at once, for `ElasticsearchStrategy`.

    The ``a`` methods do the same in a worker thread.

    Args:
        model: A loaded `BGEM3FlagModel` that normalises its vectors.
        batch_size: The most texts that go through the model at once; the model's own ``batch_size`` if None.
        show_progress: Show a progress bar while documents are encoded.

    Raises:
        TypeError: The model is none.
        ValueError: The model gives no lexical weights, or a ``batch_size`` below 1.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> embeddings = ElasticsearchEmbeddings(BGEM3FlagModel("bge-m3"))
        >>> vector = embeddings.embed_query("how do I make a loaf?")
        >>> sorted(vector), len(vector["dense"])
        (['dense', 'sparse'], 1024)
    """

    parts = ("dense", "sparse")

    def embed_documents(self, texts: list[str]) -> list[Any]:
        """Return, for each document, an object of its dense vector and its weights by token id.

        Args:
            texts: Documents; an empty list gives an empty one.

        Raises:
            TypeError: A bare str, or an item that is no str; names its position.
            ValueError: A vector or weight that the database cannot take; names the text by its position.
        """
        output = self._documents(texts)
        names = [f"texts[{position}]" for position in range(len(output["lexical_weights"]))]
        return [_as_object(vectors) for vectors in validated(output, names)]

    def embed_query(self, text: str) -> Any:
        """Return the object of a query, as `embed_documents` returns those of documents.

        Raises:
            TypeError: The query is no str.
            ValueError: A vector or weight that the database cannot take.
        """
        return _as_object(validated(self._query(text), ["the query"])[0])


class _Strategy:
    """What both strategies do; `ElasticsearchStrategy` says what that is."""

    def __init__(
        self,
        model: AbsEmbedder,
        *,
        mode: Mode = "hybrid",
        fusion: Weighted | None = None,
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
        """Return True, for documents and queries come with vectors."""
        return True

    def es_mappings_settings(
        self, *, text_field: str, vector_field: str, num_dimensions: int | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the mapping and the settings of a new index.

        Raises:
            ValueError: The store's embeddings are no `ElasticsearchEmbeddings`.
        """
        # The store takes the length of a query's vector for its dimensions.
        if num_dimensions != len(_FIELDS):
            raise ValueError(
                f"the store's embeddings give vectors of {num_dimensions} numbers, which this strategy does not take: "
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
            query: The query's text, or None in a search by a vector.
            query_vector: What `ElasticsearchEmbeddings` gives of the query; in a search by a vector a list of numbers,
                which is compared with dense vectors alone.
            text_field: Has no part in the search.
            vector_field: The field that holds the documents' objects.
            k: The most hits to return, 5,000 at most.
            num_candidates: How many documents each leg finds, if that is more than the strategy's ``candidates``.
            filter: Elasticsearch queries that all hold for the documents that take part.

        Raises:
            ValueError: A vector of another kind than the call takes, or too many hits or candidates.
        """
        vectors = self._checked_object(query, query_vector)
        candidates = max(self._candidates, num_candidates, k)
        if candidates > MOST_CANDIDATES:
            raise ValueError(
                f"k={k}, num_candidates={num_candidates}: Elasticsearch ranks at most {MOST_CANDIDATES} documents of "
                "each leg in one request: ask for fewer"
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
                "a search by a vector, and max_marginal_relevance_search, which is one, cannot be of lexical weights: "
                "search by embedding['dense'], or use FlagVectorStore"
            )
        if query is not None or vector is None:
            given = "None" if vector is None else "a list of numbers"
            raise ValueError(
                f"the query's vector is {given}, which this strategy does not take: make the store with "
                "embedding=ElasticsearchEmbeddings(model)"
            )
        if DENSE not in self._shares:
            raise ValueError("mode='sparse' is for queries in words, not for a search by a vector")
        return {DENSE: unit(np.asarray(vector, dtype=np.float32)).tolist(), SPARSE: {}}


class ElasticsearchStrategy(_Strategy, RetrievalStrategy):
    """How ``langchain_elasticsearch.ElasticsearchStore`` searches by what `ElasticsearchEmbeddings` gives.

    A hybrid search scores each candidate that either leg finds by the weighted mean of both its scores, which are those
    of ``flagvec_elasticsearch.ElasticsearchStore``. It is a single request, and so computes dense scores of the nearest
    documents only: a candidate of the lexical leg that is not among the ``rescored`` nearest of its shard counts as one
    of dense score 0, and so does one of a negative score.

    Args:
        model: The model of the store's `ElasticsearchEmbeddings`.
        mode: ``"hybrid"``, ``"dense"`` or ``"sparse"``.
        fusion: What dense and lexical scores count in a hybrid search; the same if None. Fusion by reciprocal ranks
            takes an Enterprise licence, or two requests, which ``flagvec_elasticsearch.ElasticsearchStore`` makes.
        candidates: How many documents each leg finds, 5,000 at most; more where the store asks for more.
        rescored: Of how many nearest documents a hybrid search knows the dense score, 10,000 at most. More take longer.
        dense_index: The type of the ``index_options`` of the ``dense_vector``.

    Raises:
        TypeError: The model or a number is none.
        ValueError: A model without lexical weights, or an option that is unknown, out of range or in conflict with
            another.

    Example:
        >>> from elasticsearch.helpers.vectorstore import VectorStore
        >>> from flagvec import BGEM3FlagModel, Weighted
        >>> strategy = ElasticsearchStrategy(BGEM3FlagModel("bge-m3"), fusion=Weighted(dense=1, sparse=0.3, colbert=0))
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


def _checked_shares(model: AbsEmbedder, mode: Mode, fusion: Weighted | None) -> dict[str, float]:
    """Return what the score of each representation counts that the search uses."""
    if fusion is not None and not isinstance(fusion, Weighted):
        raise ValueError(
            f"fusion={fusion!r}: choose a Weighted(dense=..., sparse=..., colbert=0); fusion by reciprocal ranks takes "
            "two requests, which flagvec_elasticsearch.ElasticsearchStore makes"
        )
    schema = Schema.of(model, colbert=False)
    if fusion is None:
        options = SearchOptions.checked(schema, mode=mode)
        fusion = Weighted(dense=1, sparse=1, colbert=0)
    else:
        options = SearchOptions.checked(schema, mode=mode, fusion=fusion)
    return fusion.shares() if len(options.legs) > 1 else {options.legs[0]: 1.0}


def _checked_number(name: str, value: Any, at_most: int) -> int:
    if (number := whole_number(name, value, at_least=1)) > at_most:
        raise ValueError(f"{name}={number}: at most {at_most}")
    return number
