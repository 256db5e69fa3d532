"""BGEM3SparseEmbeddingFunction of LlamaIndex's Milvus store on the alias gives what it gives on FlagEmbedding."""

from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("encode_sparse.py")
INPUTS = Path(__file__).parents[2] / "data/golden/inputs.json"


@pytest.fixture(scope="module")
def both(run_on_both):
    return run_on_both(SCRIPT, INPUTS)


@pytest.mark.parametrize("side", ["documents", "queries"])
def test_weights_are_those_of_flagembedding(both, side):
    both.assert_close(side)


def test_token_ids_are_int(both):
    assert both.alias.values["key_types"] == both.upstream.values["key_types"] == ["int"]
