"""What the tests of the LlamaIndex package share: a model that counts, and a vector store over every kind of store."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture
def counting(load_module, tiny_m3_directory):
    """A real model that notes what it was asked to encode."""
    model_class = load_module(Path(__file__).with_name("counting_model.py")).CountingModel
    return model_class(tiny_m3_directory, use_fp16=False, return_sparse=True, return_colbert_vecs=True)


@pytest.fixture
def counted_store(new_store, counting):
    """An empty store of each kind, its vectors from the counting model."""
    store = new_store(counting)
    store.create()
    return store


@pytest.fixture
def vectors(store):
    """A LlamaIndex vector store over each kind of store, its vectors seeded."""
    from llama_index_flagvec import FlagVectorStore

    return FlagVectorStore(store)


@pytest.fixture(scope="session")
def recipes():
    """Some nodes: two from one document, one from another, one from none."""
    from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

    def node(name, text, document=None, **metadata):
        source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)} if document else {}
        return TextNode(
            id_=name,
            text=text,
            metadata=metadata,
            excluded_embed_metadata_keys=list(metadata),
            relationships=source,
        )

    return SimpleNamespace(
        nodes=[
            node("rice", "rice is cooked in water", "grains", minutes=20, tags=["vegan", "side"], day="2024-05-17"),
            node("bread", "bread is baked in an oven", "grains", minutes=180, tags=["vegan", "baking"]),
            node("soup", "soup is simmered in water", "soups", minutes=60, tags=[], day="2024-06-01T12:00:00Z"),
            node("eggs", "eggs are fried in butter", minutes=10.0),
        ]
    )
