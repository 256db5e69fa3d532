"""`MilvusStore`: documents in a collection of Milvus Lite, a Milvus server or Zilliz Cloud."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from flagvec.late_interaction.storage import ColbertChoice
from flagvec.search.options import MAX_LIMIT, check_choice
from flagvec.store.base import HybridStore
from flagvec.store.vectors import ColbertOverflow
from flagvec_milvus.backend import MilvusBackend
from flagvec_milvus.client import CollectionClient, ConsistencyLevel
from flagvec_milvus.settings import checked_settings

if TYPE_CHECKING:
    from pymilvus import MilvusClient

    from flagvec.embedder import AbsEmbedder


class MilvusStore(HybridStore):
    """Documents in a collection of Milvus: Milvus Lite in a file, a server from 2.5 on, or Zilliz Cloud.

    Milvus Lite (``MilvusClient("recipes.db")``, or `lite_client`) runs in this process and is for some ten thousand
    documents. What `add` and `delete` did there survives a power loss once they return. A forked process cannot use it:
    open it after the fork. The client remains yours: `close` does not close it.

    A filter is a dict or an expression of Milvus, such as ``'metadata["year"] > 2020'``. Expressions see the field
    ``metadata``, which is JSON. On a server, metadata over 65,535 bytes are stored beside it, and only dicts find them.

    A text has at most 65,535 bytes of UTF-8. On a server, the metadata of one document have at most 4,096 terms to
    filter by: a string counts as one, a number as up to 17, a date as up to 18.

    Args:
        model: Encodes documents and queries.
        client: Any ``MilvusClient``.
        collection_name: The collection; `create` makes it.
        colbert: How to keep ColBERT vectors, as in `HybridStore`. Servers from 2.6.4 on compare them, so True is
            ``"native"`` there. Elsewhere it is ``"compact"``. A collection that an older flagvec made elsewhere keeps
            its float16 vectors.
        colbert_overflow: What happens to a text of more ColBERT vectors than the store takes, as in `HybridStore`.
        max_limit: The most documents that one search may find. A server finds at most 16,384.
        consistency_level: What a search, get or count is sure to find: ``"Session"`` what this process wrote,
            ``"Strong"`` what any process wrote. Milvus' documentation describes the others. Milvus Lite is always
            strong.
        settings: What `create` takes of the client's names: ``num_shards`` and ``properties`` of
            ``create_collection``, and ``index_params`` of the fields ``dense``, ``sparse`` and ``colbert``, like
            ``{"dense": {"index_type": "HNSW_SQ", "params": {"M": 16, "sq_type": "SQ8"}}}``. ``replica_number`` and
            ``resource_groups`` of ``load_collection`` are for a collection that is not loaded yet. Those that
            contradict the schema are refused. Milvus Lite takes none.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> from flagvec_milvus import MilvusStore, lite_client
        >>> model = BGEM3FlagModel("bge-m3")
        >>> store = MilvusStore(model, lite_client("recipes.db"), "recipes")
        >>> store.create()
        >>> report = store.add(["Rice is cooked in water.", "Bread is baked in an oven."])
        >>> [hit.text for hit in store.search("Rice is cooked in water.", limit=1)]
        ['Rice is cooked in water.']
    """

    def __init__(
        self,
        model: AbsEmbedder,
        client: MilvusClient,
        collection_name: str,
        *,
        colbert: ColbertChoice = True,
        colbert_overflow: ColbertOverflow = "error",
        max_limit: int = MAX_LIMIT,
        consistency_level: ConsistencyLevel = "Session",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        check_choice("consistency_level", consistency_level, get_args(ConsistencyLevel))
        calls = CollectionClient(client, collection_name, consistency_level, checked_settings(settings))
        backend = MilvusBackend(calls)
        super().__init__(model, backend, colbert=colbert, colbert_overflow=colbert_overflow, max_limit=max_limit)
        self.client = client
        self.collection_name = collection_name

    def __repr__(self) -> str:
        return f"MilvusStore({self.schema.model!r}, {self.collection_name!r})"
