"""A process that forked from one with an open edge store is refused it at once; the parent goes on."""

from __future__ import annotations

import json
import os

import pytest

FORMS = ("os.fork", "multiprocessing", "ProcessPoolExecutor", "preloaded server", "DataLoader")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture(scope="module")
def forked(tmp_path_factory):
    """What ``edge_fork_process.py`` said."""
    from children import Child

    with Child("edge_fork_process.py", tmp_path_factory.mktemp("fork"), seconds=120) as process:
        assert process.finish() == 0, process.errors
        return json.loads(process.lines[-1])


@pytest.mark.parametrize("form", FORMS)
def test_a_child_cannot_use_the_store_of_its_parent(forked, form):
    added, searched, closed, *_ = forked["children"][form]
    for refused in (added, searched):
        assert refused.startswith("StoreError: ")
        assert "forked: make the store after forking, or use a Qdrant server" in refused
    assert closed is None


@pytest.mark.parametrize("form", FORMS)
def test_a_child_cannot_open_the_directory_of_its_parent(forked, form):
    assert "is open in another process: close it there first" in forked["children"][form][3]


@pytest.mark.parametrize("form", FORMS)
def test_a_child_can_use_a_store_of_its_own(forked, form):
    assert forked["children"][form][4] == 20


def test_a_child_can_open_the_store_once_its_parent_has_closed_it_and_the_parent_again_after_the_child(forked):
    assert (forked["closed"], forked["reopened"]) == (len(forked["found"]), len(forked["found"]))


def test_the_parent_loses_nothing(forked):
    assert sorted(forked["acknowledged"]) == forked["found"]
