"""`ElasticsearchStore`: an index of an Elasticsearch cluster, through any ``Elasticsearch`` client."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from elasticsearch import Elasticsearch

from flagvec.ingest.report import WriteReport
from flagvec.late_interaction.storage import ColbertChoice, ColbertStorage
from flagvec.search.options import MAX_LIMIT, check_choice
from flagvec.store.base import HybridStore
from flagvec.store.vectors import ColbertOverflow
from flagvec_elasticsearch.backend import ElasticsearchBackend
from flagvec_elasticsearch.client import Index
from flagvec_elasticsearch.repair import RepairBackend
from flagvec_elasticsearch.schema import ColbertField, DenseIndex, SparseField

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder


class ElasticsearchStore(HybridStore):
    """Documents in an index of Elasticsearch 8.19, or of 9.1 and up, with any licence.

    The client stays the caller's: `close` does not close it, and its settings do not change. A client of version 9
    does not work with a server of version 8.

    `drop` deletes the index. If ``index_name`` is an alias, `drop` deletes the index behind it, because that is where
    the documents are, and with it all aliases of that index. `create` then makes an index of the name.

    Metadata may have any number of names, with values of any types. They are indexed as typed terms. A native filter
    is a query of ``elasticsearch.dsl``, or a `NativeFilter` of a query dict:
    ``NativeFilter({"term": {"typed.strings": "lang=en"}})`` finds a string.

    Limits of Elasticsearch: Sparse scores are up to 0.4 % low, because it keeps nine significant bits of a weight. The
    512 heaviest tokens of a longer query take part. A search finds up to 10,000 documents.

    Other tools may ``_update`` and ``_reindex`` documents, which keep their vectors. Only in an index that an older
    flagvec made, they lose their ColBERT vectors, and `repair` encodes these anew.

    No method needs a privilege of the cluster; ``docs/elasticsearch.md`` lists those of the index.

    Args:
        model: Encodes documents and queries.
        client: Any ``Elasticsearch`` client.
        index_name: An index, or an alias of one. `create` makes the index.
        colbert: How to keep ColBERT vectors, as in `HybridStore`. True and ``"compact"`` keep codes in ``_source``, and
            a search fetches those of its candidates. ``"native"`` is ``colbert_field="rank_vectors"``. An index that an
            older flagvec made keeps its float16 vectors.
        colbert_overflow: What happens to a text of more ColBERT vectors than the store takes, see `HybridStore`.
        max_limit: The most documents that one search may find; Elasticsearch itself finds at most 10,000.
        dense_index: How `create` has dense vectors indexed, one of Elasticsearch's ``index_options``. The default is
            ``"int8_hnsw"``. ``"hnsw"`` takes four times the memory, ``"bbq_hnsw"`` an eighth, and ``"flat"`` compares
            every document. Scores are exact with each, because hits of a quantised index are scored again in full.
        sparse_field: The field type that `create` gives lexical weights: ``"rank_features"``, which is the default, or
            ``"sparse_vector"``. Both find the same.
        colbert_field: The field type that `create` gives ColBERT vectors. ``"binary"``, the default, keeps what is
            compared here. ``"rank_vectors"`` lets Elasticsearch compare them, which needs an Enterprise licence.
        native_fusion: Let Elasticsearch fuse by reciprocal ranks in its ``rrf`` retriever, if the licence includes it
            as an Enterprise licence does. Otherwise flagvec fuses. The hits are the same but for exact ties.
        settings: Index settings for `create`, like ``{"number_of_shards": 3}``.

    Raises:
        ValueError: No index can have this name, an option is unknown, or ``colbert`` and ``colbert_field`` contradict
            each other.

    Example:
        >>> from elasticsearch import Elasticsearch
        >>> from flagvec import BGEM3FlagModel
        >>> model = BGEM3FlagModel("bge-m3")
        >>> store = ElasticsearchStore(model, Elasticsearch("http://127.0.0.1:9200"), "recipes")
        >>> store.create()
        >>> report = store.add(["Rice is cooked in water.", "Bread is baked in an oven."])
        >>> [hit.text for hit in store.search("Rice is cooked in water.", limit=1)]
        ['Rice is cooked in water.']
    """

    def __init__(
        self,
        model: AbsEmbedder,
        client: Elasticsearch,
        index_name: str,
        *,
        colbert: ColbertChoice = True,
        colbert_overflow: ColbertOverflow = "error",
        max_limit: int = MAX_LIMIT,
        dense_index: DenseIndex | None = None,
        sparse_field: SparseField | None = None,
        colbert_field: ColbertField | None = None,
        native_fusion: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        _check_name(index_name)
        check_choice("dense_index", dense_index, [None, *get_args(DenseIndex)])
        check_choice("sparse_field", sparse_field, [None, *get_args(SparseField)])
        check_choice("colbert_field", colbert_field, [None, *get_args(ColbertField)])
        self.client = client
        self.index_name = index_name
        colbert_field = _field_for(colbert, colbert_field)
        fields = {"dense_index": dense_index, "sparse_field": sparse_field, "colbert_field": colbert_field}
        self._chosen = {name: value for name, value in fields.items() if value is not None}
        self._index = ElasticsearchBackend(Index(client, index_name), self._chosen, dict(settings or {}), native_fusion)
        super().__init__(model, self._index, colbert=colbert, colbert_overflow=colbert_overflow, max_limit=max_limit)

    def repair(
        self, *, check_vectors: bool = False, show_progress: bool | None = None, timeout: float | None = None
    ) -> WriteReport:
        """Encode the documents anew that have lost their ColBERT vectors, as `add` writes them.

        Other tools can take the vectors away: by writing a whole document without them, or, in an index that an older
        flagvec made, by any ``_update``, ``_update_by_query`` or ``_reindex``. Searches rank such a document by what
        it has and log one warning. Repairing again is harmless.

        Args:
            check_vectors: Read the ColBERT vectors of all documents, to find damaged ones too. Without it, only
                documents that have none are read.
            show_progress: Show a progress bar. None shows one in a terminal or notebook after two seconds.
            timeout: Seconds that one request to the database may take; None for the client's own limit.

        Returns:
            Which documents have their vectors again, and which do not, with the reason. A document that someone
            changed meanwhile is not replaced.

        Raises:
            StoreError: The store does not exist, does not fit the model, or the database refused to be read.
        """
        if self.schema.colbert_dimension is None:
            return WriteReport(ok=(), failed=())
        backend = RepairBackend(Index(self.client, self.index_name), self._chosen, check_vectors)
        with HybridStore(self.model, backend, colbert_overflow=self.colbert_overflow) as damaged:
            documents = damaged.scroll(timeout=timeout)
            report = damaged.add(documents, on_error="report", show_progress=show_progress, timeout=timeout)
        self._index.lost.has_warned = False
        return report

    async def arepair(
        self, *, check_vectors: bool = False, show_progress: bool | None = None, timeout: float | None = None
    ) -> WriteReport:
        """Do as `repair` does."""
        return await asyncio.to_thread(
            self.repair, check_vectors=check_vectors, show_progress=show_progress, timeout=timeout
        )

    def leads_to(self, name: str) -> str | None:
        """Return the index that a name or an alias leads to; None if nothing has this name.

        Raises:
            StoreError: The database refused.
        """
        return self._opening.ask_unopened("be asked for aliases", lambda: self._index.leads_to(name))

    def switch_alias(self, alias: str) -> None:
        """Let an alias lead to this store, in one atomic request. It is made if it does not exist.

        Stores that were opened by the alias go on here if their model is the same. If this store's name is an alias
        itself, `alias` leads to the index behind it.

        Raises:
            StoreError: It is the name of an index, this store does not exist, or the database refused.
        """
        self._opening.opened()
        self._opening.ask("be given an alias", lambda timeout: self._index.switch_alias(alias), None)

    def __repr__(self) -> str:
        return f"ElasticsearchStore({self.schema.model!r}, {self.index_name!r})"


def _field_for(colbert: ColbertChoice, colbert_field: ColbertField | None) -> ColbertField | None:
    """Return the field type that both arguments choose; None for the default."""
    wanted: ColbertField | None = None
    if colbert == "native":
        wanted = "rank_vectors"
    elif colbert == "compact" or isinstance(colbert, ColbertStorage):
        wanted = "binary"
    if wanted and colbert_field not in (None, wanted):
        raise ValueError(
            f"colbert={colbert!r}, colbert_field={colbert_field!r}: these contradict each other; leave colbert_field "
            f"out, which is {wanted!r} then"
        )
    return wanted or colbert_field


def _check_name(name: str) -> None:
    # Elasticsearch reads "*" and "," as several indices, which the store may not own.
    if name != name.lower() or not re.fullmatch(r'[^\\/*?"<>| ,#:_+.-][^\\/*?"<>| ,#:]*', name):
        raise ValueError(
            f'index_name={name!r}: a name is in lower case, without \\ / * ? " < > | , # : and spaces, and does not '
            "begin with _ - + or ."
        )
