"""LlamaIndex's BGEM3Index on the alias gives what it gives on FlagEmbedding."""

from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("search.py")
INPUTS = Path(__file__).parents[2] / "data/golden/inputs.json"


@pytest.fixture(scope="module", params=["null", "[0.4, 0.2, 0.4]"], ids=["equal", "weighted"])
def on_tiny_m3(request, run_on_both, tiny_m3_directory):
    return run_on_both(SCRIPT, INPUTS, tiny_m3_directory, request.param)


@pytest.fixture(scope="module")
def with_defaults(run_on_both):
    return run_on_both(SCRIPT, INPUTS, "BAAI/bge-m3", "null")


@pytest.fixture(scope="module")
def opened_on_the_alias(run_peer, with_defaults, tmp_path_factory):
    """Return the scores of the index that FlagEmbedding persisted, searched on the alias."""
    folder = tmp_path_factory.mktemp("opened")
    run_peer(SCRIPT, folder, INPUTS, "BAAI/bge-m3", "null", with_defaults.upstream.folder / "index", alias=True)
    with np.load(folder / "results.npz") as stored:
        return stored["persisted"]


def test_every_node_is_scored_as_by_flagembedding(on_tiny_m3):
    assert on_tiny_m3.alias.arrays["built"].shape == (20, 50)
    on_tiny_m3.assert_close("built")


def test_the_best_nodes_are_those_of_flagembedding(on_tiny_m3):
    assert on_tiny_m3.alias.values["best"] == on_tiny_m3.upstream.values["best"]


def test_an_index_with_all_defaults_scores_as_on_flagembedding(with_defaults):
    with_defaults.assert_close("built")


def test_a_persisted_index_scores_as_before(with_defaults):
    np.testing.assert_array_equal(with_defaults.alias.arrays["loaded"], with_defaults.alias.arrays["built"])


def test_a_persisted_index_scores_as_on_flagembedding(with_defaults):
    with_defaults.assert_close("loaded")


def test_an_index_that_flagembedding_persisted_opens_on_the_alias(with_defaults, opened_on_the_alias):
    np.testing.assert_allclose(opened_on_the_alias, with_defaults.upstream.arrays["loaded"], rtol=0, atol=1e-5)
