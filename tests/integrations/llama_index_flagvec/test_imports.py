"""Each name is imported when it is asked for, and says what it lacks."""

import subprocess
import sys

import pytest

import llama_index_flagvec

CORE_NAMES = sorted(set(llama_index_flagvec.__all__) - {"M3SparseEmbeddingFunction"})


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", CORE_NAMES)
def test_what_is_exported_is_there(name):
    assert getattr(llama_index_flagvec, name).__name__ == name
    assert dir(llama_index_flagvec) == sorted(llama_index_flagvec.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'FlagReader'"):
        _ = llama_index_flagvec.FlagReader


def test_without_llama_index_the_error_names_the_extra():
    asked = run("import sys; sys.modules['llama_index'] = None\nfrom llama_index_flagvec import FlagVectorStore")
    assert asked.returncode == 1
    assert "FlagVectorStore needs the package llama-index-core: pip install 'flagvec[llama-index]'" in asked.stderr


def test_without_its_milvus_store_only_the_function_for_that_is_missing():
    hidden = "import sys; sys.modules['llama_index.vector_stores'] = None\n"
    asked = run(hidden + "from llama_index_flagvec import M3SparseEmbeddingFunction")
    assert "needs the package llama-index-vector-stores-milvus: pip install" in asked.stderr
    assert run(hidden + "from llama_index_flagvec import M3SparseEmbedding, sparse_doc_fn").returncode == 0


def test_importing_the_package_imports_neither_llama_index_nor_torch():
    loaded = run("import sys, llama_index_flagvec; print(*sys.modules)")
    assert not {"torch", "llama_index", "llama_index.core"} & set(loaded.stdout.split())


def test_the_package_stands_on_the_core_alone():
    loaded = run(
        "import sys\n"
        "from llama_index_flagvec import ColbertRerank, FlagEmbedding, FlagVectorStore, sparse_doc_fn\n"
        "print(*sys.modules)"
    )
    assert loaded.returncode == 0, loaded.stderr
    assert not [name for name in loaded.stdout.split() if name.startswith(("flagvec_", "langchain"))]
