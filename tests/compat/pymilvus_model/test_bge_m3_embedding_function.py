"""pymilvus.model's BGEM3EmbeddingFunction on the alias gives what it gives on FlagEmbedding."""

from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("embed.py")
INPUTS = Path(__file__).parents[2] / "data/golden/inputs.json"
CALLS = ["documents", "queries", "called"]

HIDE_AND_EMBED = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None  # find_spec gives None
from pymilvus.model.hybrid import BGEM3EmbeddingFunction
try:
    BGEM3EmbeddingFunction(sys.argv[2], device="cpu")
except ValueError as error:
    print(error)
"""
RERANK = """
from pymilvus.model.reranker import BGERerankFunction
try:
    BGERerankFunction("BAAI/bge-reranker-v2-m3", device="cpu")
except ImportError as error:
    print(error)
"""


@pytest.fixture(scope="module", params=["pymilvus.model", "milvus_model"])
def both(request, run_on_both, tiny_m3_directory):
    return run_on_both(SCRIPT, request.param, tiny_m3_directory, INPUTS)


@pytest.mark.parametrize("call", CALLS)
def test_dense_vectors_are_those_of_flagembedding(both, call):
    both.assert_close(f"{call}_dense")


@pytest.mark.parametrize("call", CALLS)
def test_sparse_rows_are_those_of_flagembedding(both, call):
    both.assert_close(f"{call}_sparse")


@pytest.mark.parametrize("call", CALLS)
def test_colbert_vectors_are_those_of_flagembedding(both, call):
    assert (both.alias.arrays[f"{call}_colbert_lengths"] == both.upstream.arrays[f"{call}_colbert_lengths"]).all()
    both.assert_close(f"{call}_colbert")


def test_the_sparse_matrix_is_csr_over_the_vocabulary(both):
    expected = {"sparse_format": "csr", "sparse_dtype": "float64", "sparse_shape": [50, 3000], "dense_is_a_list": True}
    assert {key: both.alias.values[key] for key in expected} == expected
    assert {key: both.upstream.values[key] for key in expected} == expected


def test_the_dimensions_are_those_of_flagembedding(both):
    assert both.alias.values["dim"] == both.upstream.values["dim"] == {"dense": 48, "colbert_vecs": 48, "sparse": 3000}


def test_the_alias_itself_needs_neither_datasets_nor_peft(both):
    assert both.alias.values["imported"] == []


@pytest.mark.parametrize("missing", ["datasets", "peft"])
def test_the_peer_calls_pip_where_a_package_is_missing_that_only_it_asks_for(run_peer, tiny_m3_directory, missing):
    printed = run_peer(HIDE_AND_EMBED, missing, tiny_m3_directory, alias=True)
    assert f"Command 'pip install -q {missing}' returned non-zero exit status 1" in printed


def test_the_peers_reranker_is_refused_with_what_to_use_instead(run_peer):
    assert "has no FlagAutoReranker, because flagvec stands in for FlagEmbedding here" in run_peer(RERANK, alias=True)
