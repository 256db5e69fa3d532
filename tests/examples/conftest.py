"""Makes the examples importable, and mini-M3 once a session."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The examples are no package. At the end of the path, as one of them has the name of the Elasticsearch client.
sys.path.append(str(Path(__file__).parents[2] / "examples"))

from flagvec import BGEM3FlagModel
from mini_m3.build import build_mini_m3


@pytest.fixture(scope="session")
def mini_m3(tmp_path_factory) -> Path:
    return build_mini_m3(tmp_path_factory.mktemp("checkpoints") / "mini-m3")


@pytest.fixture(scope="session")
def model(mini_m3) -> BGEM3FlagModel:
    return BGEM3FlagModel(mini_m3, pooling_method="mean", return_sparse=True, return_colbert_vecs=True)
