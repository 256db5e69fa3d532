"""A node is the same after it was stored, whatever kind of node it is."""

import base64

import pytest
from llama_index.core.schema import (
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)

import flagvec
from llama_index_flagvec.nodes import as_documents, to_document, to_node

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
RELATIONSHIPS = {
    NodeRelationship.SOURCE: RelatedNodeInfo(node_id="book", metadata={"title": "Rice"}, hash="abc"),
    NodeRelationship.PREVIOUS: RelatedNodeInfo(node_id="page-1"),
    NodeRelationship.CHILD: [RelatedNodeInfo(node_id="line-1"), RelatedNodeInfo(node_id="line-2")],
}
NODES = {
    "with everything": TextNode(
        text="Rinse the rice.",
        metadata={"title": "Rice", "page": 3, "score": 0.5, "tags": ["a", "b"], "deep": {"x": [1, None]}, "no": None},
        excluded_embed_metadata_keys=["page"],
        excluded_llm_metadata_keys=["title"],
        relationships=RELATIONSHIPS,
        metadata_template="{key}={value}",
        metadata_separator="; ",
        text_template="[{metadata_str}] {content}",
        start_char_idx=7,
        end_char_idx=22,
        mimetype="text/markdown",
    ),
    "bare text": TextNode(text="Rinse the rice."),
    "no text": TextNode(text="", metadata={"title": "Rice"}),
    "nothing at all": TextNode(),
    "a key of LlamaIndex's own": TextNode(text="Rinse.", metadata={"doc_id": "mine", "_node_id": "mine too"}),
    "image": ImageNode(text="A pot.", image=PIXEL, image_url="http://example.org/pot.png", metadata={"page": 3}),
    "index": IndexNode(text="About rice.", index_id="rice"),
    "index of a node": IndexNode(text="About rice.", index_id="rice", obj=TextNode(text="Rinse.")),
    "resources": Node(
        text_resource=MediaResource(text="A pot.", mimetype="text/plain"),
        image_resource=MediaResource(url="http://example.org/pot.png"),
        metadata={"page": 3},
    ),
    "no resources": Node(),
    "whole document": Document(text="Rinse the rice.", metadata={"page": 3}),
    "whole document without text": Document(text="", metadata={"page": 3}),
}


@pytest.mark.parametrize("name", NODES)
def test_a_document_gives_the_node_back(name):
    assert to_node(to_document(NODES[name])) == NODES[name]


def test_every_store_gives_nodes_back_as_they_were(vectors):
    nodes = list(NODES.values())
    vectors.add(nodes)
    assert vectors.get_nodes([node.node_id for node in nodes]) == nodes


def test_what_is_encoded_is_what_llama_index_embeds():
    node = NODES["with everything"]
    assert to_document(node).text == node.get_content(MetadataMode.EMBED)
    assert to_document(node).text.endswith("] Rinse the rice.")


def test_a_text_that_is_encoded_as_it_is_is_stored_once():
    node = TextNode(text="Rinse the rice.", metadata={"page": 3}, excluded_embed_metadata_keys=["page"])
    document = to_document(node)
    assert "Rinse" in document.text
    assert "Rinse" not in str(document.metadata)


def test_an_image_document_comes_back_as_a_document_with_its_image(tmp_path):
    path = tmp_path / "pot.png"
    path.write_bytes(base64.b64decode(PIXEL))
    node = ImageDocument(text="A pot.", image_path=str(path))
    stored = to_document(node)
    path.unlink()
    found = to_node(stored)
    assert (type(found), found.text, found.id_) == (Document, "A pot.", node.id_)
    assert found.image_resource == node.image_resource


def test_an_embedding_is_not_stored():
    assert to_node(to_document(TextNode(text="Rinse.", embedding=[0.5]))).embedding is None


def test_a_document_that_was_not_a_node_becomes_a_text_node():
    node = to_node(flagvec.Document("a", "Rinse.", {"page": 3}))
    assert (type(node), node.node_id, node.text, node.metadata) == (TextNode, "a", "Rinse.", {"page": 3})


def test_a_lone_surrogate_in_a_text_is_replaced_as_in_every_store(vectors):
    node = TextNode(id_="a", text="Rinse \ud800 it.", metadata={"page": 3})
    vectors.add([node])
    assert vectors.get_nodes(["a"])[0].text == "Rinse \ufffd it."


def test_something_other_than_a_node_is_named_by_its_position():
    with pytest.raises(TypeError, match=r"nodes\[1\] is str, not a LlamaIndex node"):
        list(as_documents([TextNode(), "text"]))
