"""A process that forked from one with an open Milvus Lite database is refused it at once; the parent goes on."""

import json
import os

import pytest

FORMS = ("os.fork", "multiprocessing", "ProcessPoolExecutor", "preloaded server", "DataLoader")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture(scope="module")
def forked(tmp_path_factory):
    """What ``milvus_lite_fork_process.py`` said."""
    from children import Child

    directory = tmp_path_factory.mktemp("fork")
    with Child("milvus_lite_fork_process.py", directory, seconds=120) as process:
        assert process.finish() == 0, process.errors
        return json.loads(process.lines[-1])


@pytest.mark.parametrize("form", FORMS)
def test_a_child_cannot_use_the_store_of_its_parent(forked, form):
    assert "can use it: open it after the fork" in forked["children"][form][0]


@pytest.mark.parametrize("form", FORMS)
def test_a_child_cannot_open_the_database_of_its_parent(forked, form):
    assert "If another process has it open, end that process" in forked["children"][form][1]


@pytest.mark.parametrize("form", FORMS)
def test_a_child_can_use_a_database_of_its_own(forked, form):
    assert forked["children"][form][2] == 20


def test_the_parent_loses_nothing(forked):
    assert sorted(forked["acknowledged"]) == forked["found"]
