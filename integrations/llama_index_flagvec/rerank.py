"""`ColbertRerank`: nodes ordered by ColBERT."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from llama_index.core.bridge.pydantic import ConfigDict, Field
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from flagvec.embedder import AbsEmbedder
from flagvec.frameworks.rerank import best_by_colbert
from flagvec.search.options import whole_number
from llama_index_flagvec.described_model import DescribedModel, MadeAgain, as_model


class ColbertRerank(MadeAgain, BaseNodePostprocessor):
    """Orders the nodes that any retriever found by ColBERT, the mean over query tokens of the best match (MaxSim).

    It encodes the query and the nodes, what LlamaIndex embeds of these, each time. For nodes in a `FlagVectorStore`,
    its ``rerank="colbert"`` compares what is stored instead.

    Args:
        model: A flagvec model with a ColBERT head; or the description of one that ``to_dict`` gives.
        top_n: How many nodes are kept.
        options: LlamaIndex's own field: ``callback_manager``.

    Raises:
        TypeError: Something else than a model; ``top_n`` is no whole number.
        ValueError: A model without ColBERT vectors; ``top_n`` below 1; an unknown option.

    Example:
        >>> from flagvec import BGEM3FlagModel
        >>> from llama_index.core.schema import NodeWithScore, TextNode
        >>> nodes = [NodeWithScore(node=TextNode(text=text)) for text in ("Bread is baked.", "Rice is cooked.")]
        >>> rerank = ColbertRerank(BGEM3FlagModel("bge-m3"), top_n=1)
        >>> [found.text for found in rerank.postprocess_nodes(nodes, query_str="Rice is cooked.")]
        ['Rice is cooked.']
    """

    model_config = ConfigDict(extra="forbid")

    model: DescribedModel = Field(frozen=True, description="The model that encodes.")
    top_n: int = Field(description="How many nodes are kept.")

    def __init__(self, model: AbsEmbedder | Mapping[str, Any], top_n: int = 5, **options: Any) -> None:
        loaded = as_model(model)
        if "colbert" not in loaded.representations:
            raise ValueError(
                f"the model {loaded.model_name_or_path!r} gives no ColBERT vectors; a BGE-M3 style checkpoint does"
            )
        super().__init__(**{"model": loaded, "top_n": whole_number("top_n", top_n, at_least=1), **options})

    @classmethod
    def class_name(cls) -> str:
        """Return the name that a serialised one carries."""
        return "ColbertRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise ValueError("ColbertRerank orders nodes by a query: give query_str or query_bundle")
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
            found = [NodeWithScore(node=nodes[position].node, score=score) for position, score in best]
            event.on_end(payload={EventPayload.NODES: found})
        return found

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._postprocess_nodes, nodes, query_bundle)
