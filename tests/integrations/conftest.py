"""The kinds of stores under test, each given by a ``factory.py`` in its package's folder, and what they are given.

A factory has a ``name``, ``skip_reason()``, ``make(model, name, **options)`` and ``cleanup(name)``. It may have
``stored_weights(weights)`` and ``stored_rows(rows)``, what its store makes of lexical weights and of a document's
ColBERT vectors; and ``change_codes(store, document_id, text)``, which puts a text in place of a document's codes as
another tool would, or removes them for None. A factory of a server may have ``server_url()``,
``make_at(url, model, name, **options)`` and ``is_write(method, path)``, for the tests that put a proxy in between.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flagvec.store.documents import text_id
from flagvec.store.encoding import encode_documents, encode_query

HERE = Path(__file__).parent


def load(path: Path) -> ModuleType:
    """Return a module that is in no package."""
    name = f"flagvec_tests.{path.parent.name}.{path.stem}"
    if name not in sys.modules:
        spec = spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = module = module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


reference_module = load(HERE / "reference.py")
seeded_module = load(HERE / "seeded_model.py")
FACTORIES = [factory for path in sorted(HERE.glob("*/factory.py")) for factory in load(path).FACTORIES]


def factory_of(request: pytest.FixtureRequest) -> Any:
    if (reason := request.param.skip_reason()) is not None:
        pytest.skip(reason)
    return request.param


@pytest.fixture(params=FACTORIES, ids=lambda factory: factory.name)
def factory(request: pytest.FixtureRequest) -> Any:
    """A kind of store."""
    return factory_of(request)


@pytest.fixture(params=[one for one in FACTORIES if hasattr(one, "make_at")], ids=lambda factory: factory.name)
def server_factory(request: pytest.FixtureRequest) -> Any:
    """A kind of store behind HTTP, where a proxy can be put in between."""
    return factory_of(request)


@pytest.fixture
def new_store(factory: Any) -> Iterator[Callable[..., Any]]:
    """A function that makes store objects, all on the same, at first empty, place."""
    name, stores = f"flagvec_test_{uuid.uuid4().hex}", []

    def make(model: Any, **options: Any) -> Any:
        stores.append(factory.make(model, name, **options))
        return stores[-1]

    yield make
    for store in stores:
        store.close()
    factory.cleanup(name)


@pytest.fixture
def seeded() -> Any:
    return seeded_module.SeededModel


@pytest.fixture
def store(new_store: Callable[..., Any], seeded: Any) -> Any:
    """An empty store of seeded vectors, all three representations."""
    made = new_store(seeded())
    made.create()
    return made


@pytest.fixture(scope="session")
def texts(tiny_m3: Any, golden: Any) -> list[str]:
    """The golden texts of distinct vectors: where two are equal, no order between them is right or wrong."""
    vectors = tiny_m3.encode(golden.texts)["dense_vecs"]
    return list({vector.tobytes(): text for vector, text in zip(vectors, golden.texts, strict=True)}.values())


@pytest.fixture(scope="session")
def queries(golden: Any) -> list[str]:
    return golden.queries


@pytest.fixture(scope="session", params=FACTORIES, ids=lambda factory: factory.name)
def golden_factory(request: pytest.FixtureRequest) -> Any:
    return factory_of(request)


@pytest.fixture(scope="session")
def golden_store(golden_factory: Any, tiny_m3: Any, texts: list[str]) -> Iterator[Any]:
    """A store of all golden texts, with everything the real tiny model gives; not to be written to."""
    name = f"flagvec_golden_{uuid.uuid4().hex}"
    with golden_factory.make(tiny_m3, name) as store:
        store.create()
        store.add(texts).raise_for_failures()
        yield store
    golden_factory.cleanup(name)


@pytest.fixture(scope="session")
def load_module() -> Callable[[Path], ModuleType]:
    return load


@pytest.fixture(scope="session")
def references() -> Callable[..., Any]:
    """A function that makes the numpy reference of ready vectors, for what a kind of store makes of them."""

    def make(ids: list[str], documents: list[Any], queries: dict[str, Any], factory: Any = None) -> Any:
        stored_weights = getattr(factory, "stored_weights", reference_module.unchanged)
        stored_rows = getattr(factory, "stored_rows", reference_module.unchanged)
        return reference_module.Reference(ids, documents, queries, stored_weights, stored_rows)

    return make


@pytest.fixture(scope="session")
def reference_of(references: Callable[..., Any]) -> Callable[..., Any]:
    """A function that makes the numpy reference of a model's texts and queries."""

    def make(model: Any, texts: list[str], queries: list[str], factory: Any = None) -> Any:
        names = [text_id(text) for text in texts]
        documents = encode_documents(model, texts, names, model.representations).all_valid()
        asked = {query: encode_query(model, query, model.representations) for query in queries}
        return references(names, documents, asked, factory)

    return make


@pytest.fixture(scope="session")
def golden_reference(
    golden_factory: Any, reference_of: Callable[..., Any], tiny_m3: Any, texts: list[str], queries: list[str]
) -> Any:
    return reference_of(tiny_m3, texts, queries, golden_factory)
