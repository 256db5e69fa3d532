"""Runs other people's code twice: on FlagEmbedding itself, and on flagvec's alias of that name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

# With this folder before site-packages on the path, its FlagEmbedding.py hides the installed distribution.
ALIAS = Path(__file__).parents[2] / "core"

# Some packages call pip at run time. A missing package has to fail the test, so this pip fails.
NO_PIP = """#!/bin/sh
echo "the code under test called pip $*" >&2
exit 1
"""


@dataclass(frozen=True)
class Results:
    """What a script wrote: arrays, JSON values, and other files in its folder."""

    folder: Path
    arrays: dict[str, Any]
    values: dict[str, Any]


@dataclass(frozen=True)
class BothResults:
    """What a script wrote on FlagEmbedding and on the alias."""

    upstream: Results
    alias: Results

    def assert_close(self, array: str) -> None:
        """Check that both wrote the same array to within 1e-5, and that it is neither empty nor all zeros."""
        upstream, alias = self.upstream.arrays[array], self.alias.arrays[array]
        assert upstream.dtype == alias.dtype
        assert np.isfinite(upstream).all() and upstream.any()
        np.testing.assert_allclose(alias, upstream, rtol=0, atol=1e-5)


def read_results(folder: Path) -> Results:
    with np.load(folder / "results.npz") as stored:
        arrays = dict(stored)
    return Results(folder, arrays, json.loads((folder / "results.json").read_text()))


@pytest.fixture(scope="session")
def bge_m3_hub(
    tmp_path_factory: pytest.TempPathFactory, tiny_m3_directory: Path, add_to_hub: Callable[..., None]
) -> Path:
    """A Hub cache with tiny-m3 as BAAI/bge-m3, with its 8,192 tokens: some peers take no other name or length."""
    cache, directory = tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("checkpoint") / "bge-m3"
    shutil.copytree(tiny_m3_directory, directory)
    lengthen(directory, 8192)
    add_to_hub(cache, "BAAI/bge-m3", directory)
    return cache


def lengthen(directory: Path, tokens: int) -> None:
    """Give an XLM-RoBERTa positions for `tokens` tokens by repeating the ones it has."""
    config, weights = directory / "config.json", directory / "model.safetensors"
    positions = tokens + 2  # RoBERTa leaves the first two unused.
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": positions}))
    tensors = load_file(weights)
    name = "embeddings.position_embeddings.weight"
    tensors[name] = np.resize(tensors[name], (positions, tensors[name].shape[1]))
    save_file(tensors, weights, metadata={"format": "pt"})


@pytest.fixture(scope="session")
def elasticsearch_url() -> str:
    """The server at ELASTICSEARCH_URL, which has to be set."""
    if not os.environ.get("ELASTICSEARCH_URL"):
        pytest.skip("ELASTICSEARCH_URL is not set")
    return os.environ["ELASTICSEARCH_URL"]


@pytest.fixture(scope="session")
def peer_environment(tmp_path_factory: pytest.TempPathFactory, bge_m3_hub: Path) -> dict[str, str]:
    """The environment variables of a peer: offline, with the Hub cache, and with a pip that fails."""
    programs = tmp_path_factory.mktemp("programs")
    pip = programs / "pip"
    pip.write_text(NO_PIP)
    pip.chmod(0o755)
    return {
        **os.environ,
        "HF_HUB_CACHE": str(bge_m3_hub),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "TOKENIZERS_PARALLELISM": "false",
    }


@pytest.fixture(scope="session")
def run_peer(peer_environment: dict[str, str]) -> Callable[..., str]:
    """Run a Python script or a str of code, on the alias or on FlagEmbedding, and return its output."""

    def run(script: Path | str, *arguments: Any, alias: bool) -> str:
        given = ["-c", script] if isinstance(script, str) else [str(script)]
        finished = subprocess.run(
            [sys.executable, *given, *map(str, arguments)],
            env=peer_environment | ({"PYTHONPATH": str(ALIAS)} if alias else {}),
            capture_output=True,
            text=True,
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    return run


@pytest.fixture(scope="session")
def run_on_both(run_peer: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., BothResults]:
    """Run a script on FlagEmbedding and on the alias; it writes results.npz and results.json to its first argument."""

    def run(script: Path, *arguments: Any) -> BothResults:
        results = []
        for alias in (False, True):
            folder = tmp_path_factory.mktemp("alias" if alias else "upstream")
            run_peer(script, folder, *arguments, alias=alias)
            results.append(read_results(folder))
        upstream, alias_results = results
        assert upstream.values["flag_embedding"] == "1.4.2"
        assert alias_results.values["flag_embedding"] == "flagvec"
        return BothResults(upstream, alias_results)

    return run
