"""The alias module ``FlagEmbedding``, with and without the real distribution of that name."""

import os
import shutil
from importlib import import_module
from pathlib import Path

import pytest

import flagvec

ALIAS = Path(flagvec.__file__).parents[1] / "FlagEmbedding.py"

PRINT_ORIGIN = "import importlib.util; print(importlib.util.find_spec('FlagEmbedding').origin)"
IMPORT_AND_CATCH = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import FlagEmbedding
print(FlagEmbedding.__file__)
print(*[str(warning.message) for warning in caught if "FlagEmbedding" in str(warning.message)], sep="\\n")
"""


@pytest.fixture
def upstream(tmp_path):
    """A folder with a stand-in for the FlagEmbedding distribution, as pip installs it."""
    folder = tmp_path / "site-packages"
    (folder / "FlagEmbedding").mkdir(parents=True)
    (folder / "FlagEmbedding/__init__.py").write_text("BGEM3FlagModel = 'the real one'\n")
    metadata = folder / "FlagEmbedding-1.4.2.dist-info/METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: FlagEmbedding\nVersion: 1.4.2\n")
    return folder


def path_of(*folders):
    return os.pathsep.join(map(str, folders))


def test_the_alias_serves_flagvecs_classes_without_a_warning(run_python):
    printed = run_python(
        "import FlagEmbedding, flagvec\n"
        "shared = [name for name in FlagEmbedding.__all__ if hasattr(flagvec, name)]\n"
        "print(shared, all(getattr(FlagEmbedding, name) is getattr(flagvec, name) for name in shared))",
        "-W",
        "error::UserWarning",
    )
    assert printed.strip() == "['AbsEmbedder', 'BGEM3FlagModel', 'FlagAutoModel', 'FlagModel'] True"


@pytest.mark.parametrize(
    "module, names",
    [
        ("inference", ["BGEM3FlagModel", "FlagAutoModel", "FlagModel"]),
        ("inference.embedder", ["BGEM3FlagModel", "FlagModel"]),
        ("inference.embedder.encoder_only", ["BGEM3FlagModel", "FlagModel"]),
    ],
)
def test_upstreams_submodules_serve_flagvecs_classes(module, names):
    found = import_module(f"FlagEmbedding.{module}")
    assert [getattr(found, name) for name in names] == [getattr(flagvec, name) for name in names]


@pytest.mark.parametrize("module", ["FlagEmbedding", "FlagEmbedding.inference"])
def test_a_reranker_is_refused_with_what_to_use_instead(module):
    with pytest.raises(ImportError, match=rf"{module} has no FlagReranker, because flagvec stands in.*rerank="):
        exec(f"from {module} import FlagReranker")


@pytest.mark.parametrize("module", ["FlagEmbedding", "FlagEmbedding.inference.embedder"])
def test_a_decoder_is_refused_with_what_to_use_instead(module):
    with pytest.raises(ImportError, match=rf"{module} has no FlagLLMModel.*sentence_transformers\.SentenceTransformer"):
        exec(f"from {module} import FlagLLMModel")


def test_a_name_that_upstream_does_not_have_either_is_missing_as_in_any_module():
    import FlagEmbedding

    assert not hasattr(FlagEmbedding, "FlagEverything")
    with pytest.raises(ImportError, match="cannot import name 'FlagEverything'"):
        from FlagEmbedding import FlagEverything  # noqa: F401


def test_a_submodule_that_is_not_served_is_missing_as_in_any_package():
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'FlagEmbedding\.finetune'"):
        import FlagEmbedding.finetune  # noqa: F401


def test_an_installed_flagembedding_wins_in_the_same_folder(run_python, upstream):
    shutil.copy(ALIAS, upstream)
    assert run_python(PRINT_ORIGIN, "-S", PYTHONPATH=path_of(upstream)).strip() == str(
        upstream / "FlagEmbedding/__init__.py"
    )


def test_an_installed_flagembedding_wins_over_an_editable_flagvec(run_python, upstream):
    (upstream / "flagvec.pth").write_text(f"{ALIAS.parent}\n")
    found = run_python(f"import site; site.addsitedir({str(upstream)!r}); {PRINT_ORIGIN}", "-S", "-I")
    assert found.strip() == str(upstream / "FlagEmbedding/__init__.py")


def test_the_alias_comes_back_when_flagembedding_is_removed(run_python, upstream):
    (upstream / "flagvec.pth").write_text(f"{ALIAS.parent}\n")
    shutil.rmtree(upstream / "FlagEmbedding")
    found = run_python(f"import site; site.addsitedir({str(upstream)!r}); {PRINT_ORIGIN}", "-S", "-I")
    assert found.strip() == str(ALIAS)


def test_an_alias_that_hides_an_installed_flagembedding_warns(run_python, upstream):
    file, warning = run_python(IMPORT_AND_CATCH, PYTHONPATH=path_of(ALIAS.parent, upstream)).splitlines()
    assert file == str(ALIAS)
    assert warning.startswith("flagvec's alias module hides the installed FlagEmbedding 1.4.2: uninstall FlagEmbedding")
