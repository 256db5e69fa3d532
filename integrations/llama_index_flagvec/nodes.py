"""LlamaIndex's nodes as documents of a store, and documents as nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from llama_index.core import schema
from llama_index.core.schema import BaseNode, MetadataMode, TextNode
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from flagvec.engine.unicode import valid_unicode
from flagvec.store.documents import Document

# Beside the keys of LlamaIndex itself: filters find a node by its id, which is no metadata, and a node's own text is
# kept where the text that was encoded is another.
NODE_ID = "_node_id"
DOCUMENT_ID = "ref_doc_id"
_NODE_CONTENT, _NODE_TYPE, _NODE_TEXT = "_node_content", "_node_type", "_node_text"

# LlamaIndex reads these back as text nodes, and fails where they have no text. An image document itself looks for its
# image when it is made, and fails where that is not there.
_WHOLE_DOCUMENTS = (schema.Document.class_name(), schema.ImageDocument.class_name())


def as_documents(nodes: Iterable[BaseNode]) -> Iterator[Document]:
    """Yield each node as the document that `to_document` makes of it.

    Raises:
        TypeError: Something else than a node, with its position.
    """
    for position, node in enumerate(nodes):
        if not isinstance(node, BaseNode):
            raise TypeError(f"nodes[{position}] is {type(node).__name__}, not a LlamaIndex node")
        yield to_document(node)


def to_document(node: BaseNode) -> Document:
    """Return a node as a document: what LlamaIndex would embed of it, and metadata that it is made of again.

    The text is the node's with those of its metadata that are not in ``excluded_embed_metadata_keys``. The metadata are
    the node's own, as JSON has them, beside what LlamaIndex's stores keep: ``_node_content``, ``_node_type``,
    ``ref_doc_id`` with ``doc_id`` and ``document_id``, which stand for the id of the document that the node is from.
    """
    encoded = valid_unicode(node.get_content(MetadataMode.EMBED))
    # A `Node` keeps more about its text than the text, which is left in; a `TextNode` does not.
    metadata = node_to_metadata_dict(node, remove_text=isinstance(node, TextNode))
    metadata[_NODE_CONTENT] = valid_unicode(metadata[_NODE_CONTENT])
    metadata[NODE_ID] = node.node_id
    if (text := valid_unicode(node.get_content(MetadataMode.NONE))) != encoded:
        metadata[_NODE_TEXT] = text
    return Document(node.node_id, encoded, metadata)


def to_node(document: Document) -> BaseNode:
    """Return the node that a document was made of; of a document that never was one, a ``TextNode``.

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
