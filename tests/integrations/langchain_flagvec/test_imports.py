import subprocess
import sys

import pytest

import langchain_flagvec


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("name", "package", "install"),
    [
        ("FlagEmbeddings", "langchain_core", "'flagvec[langchain]'"),
        ("FlagVectorStore", "langchain_core", "'flagvec[langchain]'"),
        ("FlagRetriever", "langchain_core", "'flagvec[langchain]'"),
        ("ColbertReranker", "langchain_core", "'flagvec[langchain]'"),
        ("FlagTranslator", "langchain_core", "'flagvec[langchain]'"),
        ("M3SparseEmbeddings", "langchain_qdrant", "langchain-qdrant"),
        ("MilvusSparseEmbeddings", "langchain_milvus", "langchain-milvus"),
        ("ElasticsearchStrategy", "elasticsearch", "langchain-elasticsearch"),
        ("AsyncElasticsearchStrategy", "orjson", "'flagvec[elasticsearch]'"),
    ],
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(name, package, install):
    asked = run(f"import sys; sys.modules[{package!r}] = None\nfrom langchain_flagvec import {name}")
    assert asked.returncode == 1
    assert f"ImportError: {name} needs the package {package}: pip install {install}" in asked.stderr


def test_each_works_without_the_packages_of_the_others():
    without = "langchain_qdrant", "langchain_milvus", "elasticsearch", "qdrant_client", "pymilvus", "qdrant_edge"
    names = "FlagEmbeddings", "FlagVectorStore", "FlagRetriever", "FlagTranslator", "ColbertReranker"
    hide = f"import sys; sys.modules.update(dict.fromkeys({without!r}))"
    assert run(f"{hide}\nfrom langchain_flagvec import {', '.join(names)}").stderr == ""


def test_importing_embeddings_imports_no_torch():
    pytest.importorskip("langchain_milvus")
    loaded = run(
        "import sys\nfrom langchain_flagvec import FlagEmbeddings, MilvusSparseEmbeddings\nprint(*sys.modules)"
    )
    assert "langchain_flagvec.milvus" in loaded.stdout.split()
    assert not {"torch", "transformers"} & set(loaded.stdout.split())


def test_what_is_exported_is_there():
    pytest.importorskip("langchain_milvus")
    pytest.importorskip("langchain_qdrant")
    assert dir(langchain_flagvec) == sorted(langchain_flagvec.__all__)
    assert all(getattr(langchain_flagvec, name).__name__ == name for name in langchain_flagvec.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'FlagLoader'"):
        _ = langchain_flagvec.FlagLoader
