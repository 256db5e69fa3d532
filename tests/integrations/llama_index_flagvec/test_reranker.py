"""ColBERT orders the nodes of any retriever."""

import json
import pickle

import pytest
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from flagvec.scoring import colbert_score
from llama_index_flagvec import ColbertRerank

QUERY = "How to cook rice."
TEXTS = ["Bread is baked.", "Rice is cooked.", "", "How to cook rice.", "Rice is cooked."]


@pytest.fixture
def nodes():
    return [NodeWithScore(node=TextNode(id_=str(n), text=text), score=0.5) for n, text in enumerate(TEXTS)]


def test_nodes_are_ordered_by_colberts_score(tiny_m3, nodes):
    asked = tiny_m3.encode_queries(QUERY)["colbert_vecs"]
    expected = [float(colbert_score(asked, rows)) for rows in tiny_m3.encode_corpus(TEXTS)["colbert_vecs"]]
    found = ColbertRerank(tiny_m3).postprocess_nodes(nodes, query_str=QUERY)
    assert [one.score for one in found] == pytest.approx(sorted(expected, reverse=True), abs=1e-6)
    assert [one.score for one in found] == pytest.approx([expected[int(one.node.node_id)] for one in found], abs=1e-6)
    assert found[0].node.text == QUERY


def test_nodes_of_one_score_stay_in_their_order(tiny_m3, nodes):
    found = ColbertRerank(tiny_m3).postprocess_nodes(nodes, query_str=QUERY)
    assert [one.node.node_id for one in found if one.node.text == "Rice is cooked."] == ["1", "4"]


def test_no_more_than_top_n_are_kept_and_what_came_in_is_left_as_it_was(tiny_m3, nodes):
    found = ColbertRerank(tiny_m3, top_n=2).postprocess_nodes(nodes, QueryBundle(QUERY))
    assert len(found) == 2
    assert found[0].node is nodes[3].node
    assert [one.score for one in nodes] == [0.5] * 5


def test_query_and_nodes_are_one_pass_each(counting, nodes):
    ColbertRerank(counting).postprocess_nodes(nodes, query_str=QUERY)
    assert (counting.queries, counting.documents) == ([[QUERY]], [TEXTS])


def test_embedded_metadata_count(counting):
    node = TextNode(text="Rinse it.", metadata={"title": "Rice"})
    ColbertRerank(counting).postprocess_nodes([NodeWithScore(node=node)], query_str=QUERY)
    assert counting.documents == [["title: Rice\n\nRinse it."]]


async def test_awaiting_gives_the_same(tiny_m3, nodes):
    rerank = ColbertRerank(tiny_m3, top_n=3)
    assert await rerank.apostprocess_nodes(nodes, query_str=QUERY) == rerank.postprocess_nodes(nodes, query_str=QUERY)


def test_no_nodes_give_no_nodes_and_a_missing_query_is_refused(tiny_m3, nodes):
    rerank = ColbertRerank(tiny_m3)
    assert rerank.postprocess_nodes([], query_str=QUERY) == []
    with pytest.raises(ValueError, match="pass query_str or query_bundle"):
        rerank.postprocess_nodes(nodes)


def test_json_and_pickle_give_an_equal_reranker(tiny_m3, nodes):
    rerank = ColbertRerank(tiny_m3, top_n=2)
    assert json.loads(rerank.to_json())["top_n"] == 2
    for again in (ColbertRerank.from_json(rerank.to_json()), pickle.loads(pickle.dumps(rerank))):
        assert again.postprocess_nodes(nodes, query_str=QUERY) == rerank.postprocess_nodes(nodes, query_str=QUERY)


@pytest.mark.parametrize(("top_n", "error"), [(0, ValueError), ("3", TypeError), (True, TypeError)])
def test_an_invalid_number_of_nodes_is_refused(tiny_m3, top_n, error):
    with pytest.raises(error, match="top_n"):
        ColbertRerank(tiny_m3, top_n)


def test_a_model_without_colbert_vectors_is_refused(tiny_bert):
    with pytest.raises(ValueError, match="tiny-bert' gives no ColBERT vectors"):
        ColbertRerank(tiny_bert)


def test_a_model_that_gives_colbert_vectors_only_orders_nodes_also_after_serialising(
    colbert_checkpoint, tmp_path, nodes
):
    rerank = ColbertRerank(str(colbert_checkpoint(tmp_path / "colbert")))
    asked = rerank.model.encode_queries(QUERY)["colbert_vecs"]
    expected = [float(colbert_score(asked, rows)) for rows in rerank.model.encode_corpus(TEXTS)["colbert_vecs"]]
    for one in (rerank, ColbertRerank.from_dict(rerank.to_dict())):
        found = one.postprocess_nodes(nodes, query_str=QUERY)
        assert [node.score for node in found] == pytest.approx(sorted(expected, reverse=True), abs=1e-5)
