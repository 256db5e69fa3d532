"""The alias module ``FlagEmbedding``, with and without the real distribution of that name."""

import os
import shutil
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
        "print(sorted(FlagEmbedding.__all__))\n"
        "print(all(getattr(FlagEmbedding, name) is getattr(flagvec, name) for name in FlagEmbedding.__all__))\n"
        "try:\n"
        "    import FlagEmbedding.inference\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error)",
        "-W",
        "error::UserWarning",
    )
    names, same, error = printed.splitlines()
    assert names == "['AbsEmbedder', 'BGEM3FlagModel', 'FlagAutoModel', 'FlagModel']"
    assert same == "True"
    assert "not a package" in error


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
    assert warning.startswith("flagvec's alias module hides the installed FlagEmbedding 1.4.2; uninstall it")
