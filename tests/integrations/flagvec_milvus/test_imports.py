import subprocess
import sys

import pytest

import flagvec_milvus


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", ["MilvusStore", "lite_client"])
def test_a_missing_package_is_named_with_the_line_that_installs_it(name):
    asked = run(f"import sys; sys.modules['pymilvus'] = None\nfrom flagvec_milvus import {name}")
    assert asked.returncode == 1
    assert f"ImportError: {name} needs the package pymilvus: pip install 'flagvec[milvus]'" in asked.stderr


def test_importing_the_store_imports_no_torch():
    loaded = run("import sys, flagvec_milvus; from flagvec_milvus import MilvusStore; print(*sys.modules)")
    assert not {"torch", "transformers", "milvus_lite"} & set(loaded.stdout.split())


def test_importing_the_store_warns_of_nothing():
    asked = run("import warnings; warnings.simplefilter('error')\nfrom flagvec_milvus import MilvusStore, lite_client")
    assert (asked.returncode, asked.stderr) == (0, "")


def test_what_is_exported_is_there():
    assert dir(flagvec_milvus) == sorted(flagvec_milvus.__all__)
    assert all(getattr(flagvec_milvus, name).__name__ == name for name in flagvec_milvus.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'MilvusCloud'"):
        _ = flagvec_milvus.MilvusCloud
