"""What `import flagvec` gives, what it loads, and what may import what."""

import ast
import inspect
import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

import flagvec

CORE = Path(flagvec.__file__).parent
DOCUMENTED = {
    "AbsEmbedder", "BGEM3FlagModel", "ColbertFlagModel", "CombinedModel", "FlagAutoModel", "FlagModel", "M3Output",
    "Document", "FailedWrite", "Hit", "Hits", "HybridStore", "NativeFilter", "SearchOptions", "Weighted", "WriteReport",
    "EncodedDocument", "IngestReport", "Journal", "list_models", "ColbertCodec", "ColbertStorage", "maxsim",
    "FlagvecError", "CheckpointError", "JournalError", "ModelNotFoundError", "NotFiniteError", "StoreDownError",
    "StoreError", "WriteError",
}  # fmt: skip
INTEGRATIONS = {
    "flagvec_qdrant", "flagvec_milvus", "flagvec_elasticsearch", "flagvec_ray",
    "langchain_flagvec", "llama_index_flagvec",
}  # fmt: skip
DATABASE_CLIENTS = {"qdrant_client", "qdrant_edge", "pymilvus", "elasticsearch", "langchain_core", "llama_index", "ray"}

# An import that loads few modules is fast on every machine, and counting them gives the same answer on every run.
MOST_MODULES_OF_OURS = 25
IMPORTED = """
import json, sys
before = set(sys.modules)
import flagvec
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def imports_of(path):
    """Yield the full names of all modules that a file imports, at its top or later."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def core_files():
    return sorted(CORE.rglob("*.py"))


def public_members():
    """Yield each public function and class of core, and each public method defined in one."""
    for path in core_files():
        parts = path.relative_to(CORE.parent).with_suffix("").parts
        module = import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
        yield module.__name__, module
        for name, member in vars(module).items():
            if name.startswith("_") or getattr(member, "__module__", None) != module.__name__:
                continue
            if inspect.isclass(member) or inspect.isfunction(member):
                yield f"{module.__name__}.{name}", member
            if inspect.isclass(member):
                yield from (
                    (f"{module.__name__}.{name}.{inner}", method)
                    for inner, method in vars(member).items()
                    if not inner.startswith("_") and (inspect.isfunction(method) or isinstance(method, property))
                )


def test_import_loads_few_modules_of_ours_and_of_others_only_numpy(run_python):
    imported = json.loads(run_python(IMPORTED))
    ours = [name for name in imported if name.partition(".")[0] == "flagvec"]
    assert 0 < len(ours) <= MOST_MODULES_OF_OURS, ours
    packages = {name.partition(".")[0] for name in imported}
    assert packages - sys.stdlib_module_names - {"flagvec"} == {"numpy"}


def test_the_public_names_are_the_documented_ones():
    assert set(flagvec.__all__) == DOCUMENTED
    assert flagvec.__all__ == sorted(flagvec.__all__)


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_every_public_name_resolves_to_itself(name):
    assert getattr(flagvec, name).__name__ == name


def test_the_names_shown_are_the_public_ones():
    assert dir(flagvec) == flagvec.__all__


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'flagvec' has no attribute 'FlagReranker'"):
        flagvec.FlagReranker  # noqa: B018


def test_every_public_member_has_a_docstring():
    for name, member in public_members():
        # Python itself gives a dataclass its signature.
        assert member.__doc__, name
        assert not member.__doc__.startswith(f"{name.rsplit('.', 1)[-1]}("), name


def test_core_imports_no_integration_and_no_database_client():
    forbidden = INTEGRATIONS | DATABASE_CLIENTS
    found = {(path.name, name) for path in core_files() for name in imports_of(path) if name.split(".")[0] in forbidden}
    assert found == set()


def test_the_engine_imports_nothing_of_flagvec_but_itself():
    found = {
        (path.name, name)
        for path in (CORE / "engine").glob("*.py")
        for name in imports_of(path)
        if name.startswith("flagvec") and not name.startswith("flagvec.engine")
    }
    assert found == set()
