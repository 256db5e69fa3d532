"""Make the modules of examples/ importable, and load mini-M3 once a session."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The examples are scripts, not a package.
sys.path.append(str(Path(__file__).parents[2] / "examples"))

from flagvec import BGEM3FlagModel


@pytest.fixture(scope="session")
def model() -> BGEM3FlagModel:
    return BGEM3FlagModel("mini-m3")
