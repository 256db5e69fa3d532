"""LlamaIndex's nodes to flagvec's documents and back: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from llama_index.core import schema
from llama_index.core.schema import BaseNode, MetadataMode, TextNode
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from flagvec.engine.unicode import valid_unicode
from flagvec.store.documents import Document, Hit

# LlamaIndex's own metadata keys, except `_node_id` and `_node_text`. The first lets filters find a node by its id, and
# the second holds the node's own text if the encoded text differs from it.
NODE_ID = "_node_id"
DOCUMENT_ID = "ref_doc_id"
_NODE_CONTENT, _NODE_TYPE, _NODE_TEXT = "_node_content", "_node_type", "_node_text"

# LlamaIndex reads both as text nodes and fails if they have no text. An `ImageDocument` also fails if its image file is
# no longer there.
_WHOLE_DOCUMENTS = (schema.Document.class_name(), schema.ImageDocument.class_name())


def as_documents(nodes: Iterable[BaseNode]) -> Iterator[Document]:
    """Yield each node as the document that `to_document` makes of it.

    Raises:
        TypeError: An item is not a node; names its position.
    """
    for position, node in enumerate(nodes):
        if not isinstance(node, BaseNode):
            raise TypeError(f"nodes[{position}] is {type(node).__name__}, not a LlamaIndex node")
        yield to_document(node)


def to_document(node: BaseNode) -> Document:
    """Return a node as a document from which `to_node` makes the node again, without its embedding.

    The text is what LlamaIndex would embed: the node's text and the metadata that are not in
    ``excluded_embed_metadata_keys``. The metadata are the node's own, and the keys that LlamaIndex's stores add:
    ``_node_content``, ``_node_type``, and ``ref_doc_id``, ``doc_id`` and ``document_id``, which all hold the id of the
    node's document.
    """
    encoded = valid_unicode(node.get_content(MetadataMode.EMBED))
    # `remove_text` would lose what a `Node` holds beside its text, such as its type.
    metadata = node_to_metadata_dict(node, remove_text=isinstance(node, TextNode))
    metadata[_NODE_CONTENT] = valid_unicode(metadata[_NODE_CONTENT])
    metadata[NODE_ID] = node.node_id
    if (text := valid_unicode(node.get_content(MetadataMode.NONE))) != encoded:
        metadata[_NODE_TEXT] = text
    return Document(node.node_id, encoded, metadata)


def to_node(document: Document | Hit) -> BaseNode:
    """Return the node that a document was made of, and a ``TextNode`` for any other document.

    An ``ImageDocument`` comes back as a ``Document`` with the image.
    """
    metadata: dict[str, Any] = dict(document.metadata)
    if _NODE_CONTENT not in metadata:
        return TextNode(id_=document.id, text=document.text, metadata=metadata)
    if metadata[_NODE_TYPE] in _WHOLE_DOCUMENTS:
        return schema.Document.from_json(metadata[_NODE_CONTENT])
    node = metadata_dict_to_node(metadata)
    if isinstance(node, TextNode):
        node.text = metadata.get(_NODE_TEXT, document.text)
    return node
