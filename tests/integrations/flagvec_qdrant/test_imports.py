import subprocess
import sys

import pytest

import flagvec_qdrant


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("store", "missing", "extra", "other"),
    [
        ("QdrantEdgeStore", "qdrant_edge", "edge", "QdrantStore"),
        ("QdrantStore", "qdrant_client", "qdrant", "QdrantEdgeStore"),
    ],
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(store, missing, extra, other):
    hidden = f"import sys; sys.modules[{missing!r}] = None\n"
    asked = run(hidden + f"from flagvec_qdrant import {store}")
    assert asked.returncode == 1
    assert f"ImportError: {store} needs the package" in asked.stderr
    assert f"pip install 'flagvec[{extra}]'" in asked.stderr
    assert run(hidden + f"from flagvec_qdrant import {other}").returncode == 0


def test_importing_the_stores_imports_neither_torch_nor_the_other_engine():
    loaded = run("import sys, flagvec_qdrant; from flagvec_qdrant import QdrantEdgeStore; print(*sys.modules)")
    assert not {"torch", "transformers", "qdrant_client"} & set(loaded.stdout.split())


def test_what_is_exported_is_there():
    assert dir(flagvec_qdrant) == sorted(flagvec_qdrant.__all__)
    assert all(getattr(flagvec_qdrant, name).__name__ == name for name in flagvec_qdrant.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'QdrantCloud'"):
        _ = flagvec_qdrant.QdrantCloud
