import subprocess
import sys

import pytest

import flagvec_elasticsearch


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("missing", ["elasticsearch", "elasticsearch.dsl", "orjson"])
def test_a_missing_package_is_named_with_the_line_that_installs_it(missing):
    hidden = f"import sys; sys.modules[{missing!r}] = None\n"
    asked = run(hidden + "from flagvec_elasticsearch import ElasticsearchStore")
    assert asked.returncode == 1
    assert f"ImportError: ElasticsearchStore needs the package {missing}" in asked.stderr
    assert "pip install 'flagvec[elasticsearch]'" in asked.stderr
    assert run(hidden + "import flagvec_elasticsearch").returncode == 0


def test_another_missing_package_keeps_its_own_error():
    asked = run("import sys; sys.modules['numpy'] = None\nfrom flagvec_elasticsearch import ElasticsearchStore")
    assert "flagvec[elasticsearch]" not in asked.stderr
    assert "numpy" in asked.stderr.splitlines()[-1]


def test_importing_the_store_imports_neither_torch_nor_another_store():
    loaded = run("import sys; from flagvec_elasticsearch import ElasticsearchStore; print(*sys.modules)")
    assert not {"torch", "transformers", "qdrant_client", "pymilvus"} & set(loaded.stdout.split())


def test_what_is_exported_is_there():
    assert dir(flagvec_elasticsearch) == flagvec_elasticsearch.__all__ == ["ElasticsearchStore"]
    assert flagvec_elasticsearch.ElasticsearchStore.__name__ == "ElasticsearchStore"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'OpenSearchStore'"):
        _ = flagvec_elasticsearch.OpenSearchStore
