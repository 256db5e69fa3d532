"""`QdrantStore`: documents in a collection of Qdrant, through any ``QdrantClient``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flagvec.late_interaction.storage import ColbertChoice
from flagvec.search.options import MAX_LIMIT
from flagvec.store.base import HybridStore
from flagvec.store.vectors import ColbertOverflow
from flagvec_qdrant.client import ClientBackend
from flagvec_qdrant.schema import NO_FIELDS, FieldType, Layout, Storage
from flagvec_qdrant.settings import checked_settings

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from flagvec.embedder import AbsEmbedder


class QdrantStore(HybridStore):
    """Documents in a collection of a Qdrant server, of Qdrant Cloud, or of the client's local mode.

    The collection's metadata records that flagvec made it, and with which model. Other collections are refused.

    Local mode (``":memory:"`` or ``path=``) is written in Python, for tests and a few thousand documents.
    `QdrantEdgeStore` runs Qdrant's own engine in the process instead. Closing the store leaves the client open.

    Args:
        model: Encodes documents and queries.
        client: Any ``QdrantClient``. With ``prefer_grpc=True`` a server is written to about twice as fast. Over gRPC
            the client's own ``timeout``, 5 seconds by default, ends a request even if the verb's is longer. Give such a
            client ``grpc_options={"grpc.max_reconnect_backoff_ms": 1000}``: without it gRPC waits longer and longer
            before it connects again, and a server that is back seems away.
            With compact ColBERT vectors, let the server not compress its answers, because codes do not get smaller and
            a search takes up to ten times as long: over gRPC add ``"grpc.compression_enabled_algorithms_bitset": 1``
            to ``grpc_options``, over REST pass ``headers={"Accept-Encoding": "identity"}``.
        collection_name: The collection, or an alias of one; `create` makes it. The server must be Qdrant 1.16 or later.
        colbert: How to keep ColBERT vectors, if the model gives them. True and ``"native"`` keep them in float16, and
            Qdrant compares them. ``"compact"`` keeps codes in the payload, a fifteenth of the size, and compares those
            of a search's candidates here. A `ColbertStorage` chooses the codes. True opens every store.
        colbert_overflow: What happens to a text of more native ColBERT vectors than Qdrant takes, 1,023 at 1,024
            dimensions. ``"error"`` refuses it, ``"truncate"`` keeps its first vectors, ``"pool"`` replaces neighbouring
            vectors by their mean. Compact takes any number.
        max_limit: The most documents that one search may find. More take more memory here and on the server.
        storage: How much memory a new collection takes. ``"accurate"`` keeps dense vectors in float32. ``"balanced"``
            keeps them in float16 with an int8 copy in memory, and ColBERT vectors on disk. ``"small"`` keeps all
            vectors on disk, and a copy of the dense ones in memory, one bit a number. A copy finds candidates, and the
            full vectors rank them. Local mode keeps everything in memory in float32.
        filter_fields: The type of each metadata field that gets an index: ``"keyword"``, ``"float"`` (for any
            numbers), ``"integer"`` (if all are whole), ``"bool"`` or ``"datetime"``. An index makes filters by the
            field fast. A server in strict mode, like Qdrant Cloud, refuses to filter by other fields.
        settings: Further arguments of the client's ``create_collection`` for `create`, like ``{"shard_number": 6,
            "replication_factor": 2, "hnsw_config": {"m": 32}}``. Those that contradict the schema are refused.
            ``quantization_config`` is that of the dense vectors. Local mode ignores all of them, and so does a
            collection that exists.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> from qdrant_client import QdrantClient
        >>> model = BGEM3FlagModel("bge-m3")
        >>> store = QdrantStore(model, QdrantClient(":memory:"), "recipes")
        >>> store.create()
        >>> report = store.add(["Rice is cooked in water.", "Bread is baked in an oven."])
        >>> [hit.text for hit in store.search("Rice is cooked in water.", limit=1)]
        ['Rice is cooked in water.']
    """

    def __init__(
        self,
        model: AbsEmbedder,
        client: QdrantClient,
        collection_name: str,
        *,
        colbert: ColbertChoice = True,
        colbert_overflow: ColbertOverflow = "error",
        max_limit: int = MAX_LIMIT,
        storage: Storage = "accurate",
        filter_fields: Mapping[str, FieldType] = NO_FIELDS,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        layout = Layout.checked(storage, filter_fields)
        self._collection = ClientBackend(client, collection_name, layout, checked_settings(settings, layout))
        super().__init__(
            model, self._collection, colbert=colbert, colbert_overflow=colbert_overflow, max_limit=max_limit
        )
        self.client = client
        self.collection_name = collection_name

    def leads_to(self, name: str) -> str | None:
        """Return the collection that a name or an alias leads to; None if nothing has this name.

        Raises:
            StoreError: The database refused.
        """
        return self._opening.ask_unopened("be asked for aliases", lambda: self._collection.leads_to(name))

    def switch_alias(self, alias: str) -> None:
        """Let an alias lead to this store, in one atomic request. It is made if it does not exist.

        Stores that were opened by the alias go on here if their model is the same. If this store's name is an alias
        itself, `alias` leads to the collection behind it.

        Raises:
            StoreError: It is the name of a collection, this store does not exist, or the database refused.
        """
        self._opening.opened()
        self._opening.ask("be given an alias", lambda timeout: self._collection.switch_alias(alias), None)

    def __repr__(self) -> str:
        return f"QdrantStore({self.schema.model!r}, {self.collection_name!r})"
