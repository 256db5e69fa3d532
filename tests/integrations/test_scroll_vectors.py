"""Vectors that stores give back: those that the model gave, as far as the database keeps them."""

from __future__ import annotations

import numpy as np
import pytest

from flagvec import ColbertStorage, Document
from flagvec.store.backend import Record
from flagvec.store.encoding import encode_documents
from flagvec.store.schema import Schema

TEXTS = [f"word{number} shared {'longer ' * (number % 3)}" for number in range(40)]
HALF = 1e-3


def reference(model, texts):
    return encode_documents(model, texts, texts, model.representations).all_valid()


def rows(record):
    """Return the number of a record's ColBERT vectors, or of their codes."""
    found = record.vectors.colbert if record.vectors.colbert_codes is None else record.vectors.colbert_codes
    return 0 if found is None else len(found)


def test_vectors_come_back_as_the_model_gave_them(store, factory):
    documents = [Document(f"id {number}", text, {"number": number}) for number, text in enumerate(TEXTS)]
    store.add(documents).raise_for_failures()
    expected = dict(zip((one.id for one in documents), reference(store.model, TEXTS), strict=True))
    records = list(store.scroll_vectors(batch_size=7))
    assert sorted((record.document for record in records), key=lambda one: one.id) == sorted(
        documents, key=lambda one: one.id
    )
    for record in records:
        found, wanted = record.vectors, expected[record.document.id]
        np.testing.assert_allclose(found.dense, wanted.dense, atol=1e-6)
        assert found.dense.dtype == np.float32
        assert found.sparse == pytest.approx(dict(wanted.sparse), rel=2**-8)
        if (storage := store.schema.colbert_storage) is not None:
            assert np.array_equal(found.colbert_codes, storage.encode(wanted.colbert))
        else:
            assert found.colbert.shape == wanted.colbert.shape
            np.testing.assert_allclose(found.colbert, wanted.colbert, atol=HALF)


@pytest.mark.parametrize("storage", [ColbertStorage(bits=4), ColbertStorage(bits=16), ColbertStorage(bits=2, pool=2)])
def test_codes_come_back_byte_by_byte(new_store, seeded, storage):
    store = new_store(seeded(), colbert=storage)
    store.create()
    documents = [Document(f"id {number}", text) for number, text in enumerate([*TEXTS, ""])]
    store.add(documents).raise_for_failures()
    wanted = [one.colbert for one in reference(store.model, [one.text for one in documents])]
    expected = {one.id: storage.encode(rows) for one, rows in zip(documents, wanted, strict=True)}
    found = {record.document.id: record.vectors for record in store.scroll_vectors()}
    assert found.keys() == expected.keys()
    for name, vectors in found.items():
        assert np.array_equal(vectors.colbert_codes, expected[name])
        assert vectors.colbert is None


def test_a_document_without_weights_and_rows_comes_back_without(store):
    store.add(["", "one"])
    empty, one = sorted(store.scroll_vectors(), key=lambda record: len(record.document.text))
    assert not empty.vectors.sparse
    assert not rows(empty)
    assert empty.vectors.dense is not None
    assert rows(one) == 1


def test_a_filter_chooses_whose_vectors_come(store):
    store.add([Document(str(number), text, {"number": number}) for number, text in enumerate(TEXTS)])
    found = [record.document.id for record in store.scroll_vectors({"number": {"gte": 37}}, batch_size=2)]
    assert sorted(found) == ["37", "38", "39"]


def test_a_store_without_colbert_vectors_gives_none(new_store, seeded):
    store = new_store(seeded(representations=["dense", "sparse"]))
    store.create()
    store.add(TEXTS)
    for record in store.scroll_vectors():
        assert record.vectors.dense.shape == (16,)
        assert record.vectors.sparse
        assert record.vectors.colbert is None


async def test_the_async_verb_gives_the_same(store):
    store.add(TEXTS)
    found = [record.document async for record in store.ascroll_vectors(batch_size=9)]
    assert found == [record.document for record in store.scroll_vectors()]


def test_vectors_in_half_precision_of_an_older_store_come_back(new_store, factory, seeded):
    if factory.name not in ("elasticsearch", "milvus-lite"):
        pytest.skip("older stores of this kind have them as the database compares them")
    store = new_store(seeded())
    store._backend.create(Schema.of(store.model))
    store.add([*TEXTS, ""])
    found = {record.document.text: record for record in store.scroll_vectors()}
    for text, wanted in zip(TEXTS, reference(store.model, TEXTS), strict=True):
        np.testing.assert_allclose(found[text].vectors.colbert, wanted.colbert, atol=HALF)
        assert found[text].vectors.colbert_codes is None
    assert rows(found[""]) == 0


def test_lexical_weights_of_a_sparse_vector_field_come_back(new_store, factory, seeded):
    if factory.name != "elasticsearch":
        pytest.skip("only Elasticsearch has such a field")
    from flagvec_elasticsearch.convert import as_compared

    store = new_store(seeded(), sparse_field="sparse_vector")
    store.create()
    store.add(TEXTS)
    found = {record.document.text: record.vectors.sparse for record in store.scroll_vectors()}
    version = tuple(map(int, store.client.info()["version"]["number"].split(".")[:2]))
    for text, vectors in zip(TEXTS, reference(store.model, TEXTS), strict=True):
        wanted = Record(Document("id", text), vectors)
        # Servers from 9.2 on keep no more of a weight than searches multiply.
        wanted = as_compared(wanted) if version >= (9, 2) else wanted
        assert found[text] == pytest.approx(dict(wanted.vectors.sparse), rel=1e-6)
