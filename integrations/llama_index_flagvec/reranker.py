"""`ColbertRerank`: orders the nodes of any retriever by ColBERT."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.bridge.pydantic import ConfigDict, Field
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from flagvec.frameworks.rerank import best_by_colbert
from flagvec.search.options import whole_number
from llama_index_flagvec.views import ModelLike, ModelView, as_model


class ColbertRerank(ModelView, BaseNodePostprocessor):
    """Orders nodes by the score of a BGE-M3 style or ColBERT model, and keeps the best.

    The score is the mean over the query's tokens of the best match among the node's tokens, between -1 and 1. Each
    call encodes the query and all nodes, with the metadata that LlamaIndex embeds. If a `FlagVectorStore` holds ColBERT
    vectors, its own ``rerank="colbert"`` gives the same order without encoding nodes again.

    Serialising, pickling, copying and awaiting work as in `FlagEmbedding`.

    Args:
        model: A `BGEM3FlagModel` or `ColbertFlagModel`, the name or directory of a model that gives ColBERT vectors, or
            the dict that ``to_dict`` gives for it.
        top_n: How many nodes to keep.
        options: LlamaIndex's own field ``callback_manager``.

    Raises:
        TypeError: ``model`` is something else, or ``top_n`` is not a whole number.
        ValueError: The model gives no ColBERT vectors, ``top_n`` is below 1, or an option is unknown.
        FlagvecError: There is no such model, or its checkpoint cannot be used.

    Example:
        >>> from llama_index.core.schema import NodeWithScore, TextNode
        >>> nodes = [NodeWithScore(node=TextNode(text=text)) for text in ("Bread is baked.", "Rice is cooked.")]
        >>> rerank = ColbertRerank("bge-m3", top_n=1)
        >>> [found.text for found in rerank.postprocess_nodes(nodes, query_str="Rice is cooked.")]
        ['Rice is cooked.']
    """

    model_config = ConfigDict(extra="forbid")

    top_n: int = Field(description="How many nodes are kept.")

    def __init__(self, model: ModelLike, top_n: int = 5, **options: Any) -> None:
        loaded = as_model(model)
        if "colbert" not in loaded.representations:
            raise ValueError(
                f"the model {loaded.model_name_or_path!r} gives no ColBERT vectors: choose a BGE-M3 style one, whose "
                "directory has colbert_linear.pt, or a ColBERT model"
            )
        super().__init__(**{"model": loaded, "top_n": whole_number("top_n", top_n, at_least=1), **options})

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        return [("model", self.model.model_name_or_path), ("top_n", self.top_n)]

    @classmethod
    def class_name(cls) -> str:
        """Return the class's name in serialised data."""
        return "ColbertRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise ValueError("ColbertRerank has no query to order the nodes by: pass query_str or query_bundle")
        if not nodes:
            return []
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self.model.model_name_or_path,
            EventPayload.QUERY_STR: query_bundle.query_str,
            EventPayload.TOP_K: self.top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            texts = [found.node.get_content(MetadataMode.EMBED) for found in nodes]
            names = [f"node {found.node.node_id!r}" for found in nodes]
            best = best_by_colbert(self.model, query_bundle.query_str, texts, names, self.top_n)
            kept = [NodeWithScore(node=nodes[position].node, score=score) for position, score in best]
            event.on_end(payload={EventPayload.NODES: kept})
        return kept

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._postprocess_nodes, nodes, query_bundle)
