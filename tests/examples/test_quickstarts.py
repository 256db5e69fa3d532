"""Each short example runs as it is, in a process of its own, in an empty folder, and prints its result."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

EXAMPLES = Path(__file__).parents[2] / "examples"
QUICKSTART_OUTPUT = """\
dense   (2, 384)
colbert [(10, 384), (9, 384)]
sparse  {'.': 0.07, 'a': 0.15, 'in': 0.13, 'is': 0.2, 'hot': 0.36, 'bread': 0.4, 'oven': 0.38, 'baked': 0.38}
0.0328 Bread is baked in a hot oven. {'dense': 0.59, 'sparse': 0.03}
0.0161 Rice is cooked in twice as much water. {'dense': 0.18, 'sparse': 0.0}
"""


@pytest.fixture
def run_example(tmp_path):
    """Run an example in an empty folder and return what it printed."""

    def run(name):
        command = [sys.executable, EXAMPLES / f"{name}.py"]
        # Without QDRANT_URL the example for Qdrant needs no server.
        environment = {key: value for key, value in os.environ.items() if key != "QDRANT_URL"}
        finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    return run


def check_recipes(printed):
    """Bread is the best hit of the two searches without a filter; the filter leaves rice alone."""
    assert printed.count("{") >= 3
    hits = [line.split(maxsplit=1)[1].split()[0] for line in printed.splitlines() if line.startswith("  ")]
    assert len(hits) == 5
    assert (hits[0], hits[2], hits[4]) == ("Bread", "Bread", "Rice")


def test_the_quickstart_prints_the_same_in_each_run(run_example):
    assert run_example("quickstart") == QUICKSTART_OUTPUT
    assert run_example("quickstart") == QUICKSTART_OUTPUT


@pytest.mark.parametrize("name", ["qdrant_quickstart", "milvus_quickstart"])
def test_the_example_of_an_embedded_database_finds_the_recipe(run_example, name):
    check_recipes(run_example(name))


@pytest.mark.skipif("ELASTICSEARCH_URL" not in os.environ, reason="ELASTICSEARCH_URL is not set")
def test_the_example_of_elasticsearch_finds_the_recipe(run_example):
    with Elasticsearch(os.environ["ELASTICSEARCH_URL"]) as client:
        try:
            check_recipes(run_example("elasticsearch_quickstart"))
        finally:
            client.indices.delete(index="flagvec-example", ignore_unavailable=True)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*quickstart.py")), ids=lambda path: path.stem)
def test_a_short_example_is_under_40_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 40
