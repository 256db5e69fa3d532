"""What every store promises of adding, getting, deleting, counting and scrolling."""

import asyncio
import uuid
from datetime import date, datetime
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from flagvec import BGEM3FlagModel, Document
from flagvec.store.documents import text_id
from flagvec.store.metadata import MAX_METADATA_DEPTH

# Each example is one more write to the store that the test was given.
on_one_store = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
HOSTILE_IDS = [
    "a/b", "../x", "%2F", "a b", "'", '"', "\\", "' or 1 == 1 or '", '" || "" == "', "{ids}", "${x}", "a\nb",
    "\x00", "\x7f", "_id", "null", "*", "米", "😀", "\u202e", "e\u0301", "x" * 512, "é" * 256, "😀" * 128,
]  # fmt: skip
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100)


def test_a_new_store_is_empty(store):
    assert store.count() == 0


def test_documents_are_counted_and_come_back_as_they_were(store):
    documents = [
        Document(
            "guide-1", "how to cook rice", {"lang": "en", "year": 2020, "tags": ["a", "b"], "nested": {"x": None}}
        ),
        Document("guide-2", "how to bake bread"),
    ]
    assert store.add(documents).ok == ("guide-1", "guide-2")
    assert store.count() == 2
    assert store.get(["guide-2", "guide-1"]) == documents[::-1]


def test_a_document_added_twice_is_stored_once(store):
    document = Document("a", "one two", {"n": 1})
    store.add(document)
    store.add([document, document])
    assert (store.count(), store.get("a")) == (1, [document])


def test_adding_an_id_again_replaces_the_whole_document(store):
    store.add(Document("a", "one two", {"old": True}))
    store.add(Document("a", "three", {"new": True}))
    assert store.get("a") == [Document("a", "three", {"new": True})]
    assert store.search("one", mode="sparse") == []
    assert [hit.id for hit in store.search("three", mode="sparse")] == ["a"]


def test_of_one_id_in_one_call_the_last_document_is_kept(store):
    assert store.add([Document("a", "one"), Document("b", "two"), Document("a", "three")]).ok == ("a", "b")
    assert (store.count(), store.get("a")[0].text) == (2, "three")


def test_a_bare_text_has_the_id_of_its_text(store):
    assert store.add("one two").ok == (text_id("one two"),)
    store.add(["one two"])
    assert (store.count(), store.search("one")[0].id) == (1, text_id("one two"))


def test_a_generator_of_documents_is_added(store):
    assert len(store.add(Document(str(n), f"word{n}") for n in range(300)).ok) == 300
    assert store.count() == 300
    assert store.search("word299", mode="sparse")[0].id == "299"


def test_adding_nothing_is_no_error(store):
    assert store.add([]).ok == ()
    assert store.count() == 0


def test_what_was_added_is_found_at_once(store):
    for number in range(3):
        store.add(f"text{number} shared")
        assert len(store.search("shared", mode="sparse")) == number + 1


@on_one_store
@given(name=ids)
def test_any_string_of_up_to_512_bytes_is_an_id(store, name):
    assume(len(name.encode()) <= 512)
    store.add(Document(name, "some text")).raise_for_failures()
    assert store.get(name) == [Document(name, "some text")]
    store.delete(name)
    assert store.get(name) == []


@pytest.mark.parametrize("name", HOSTILE_IDS, ids=ascii)
def test_an_id_is_taken_as_it_is(store, name):
    store.add([Document(name, "one two"), Document("other", "one")]).raise_for_failures()
    assert store.search("two", mode="sparse")[0].id == name
    store.delete(name)
    assert [document.id for document in store.scroll()] == ["other"]


@pytest.mark.parametrize("name", ["", "x" * 513, "é" * 257, "\ud800"], ids=ascii)
def test_an_id_that_is_empty_too_long_or_no_text_is_refused_before_anything_is_sent(store, name):
    with pytest.raises(ValueError, match=r"an id has 1 to 512|lone surrogate"):
        store.add([Document("a", "one"), Document(name, "two")])
    with pytest.raises(ValueError, match=r"an id has 1 to 512|lone surrogate"):
        store.get(name)
    assert store.count() == 0


def test_ids_that_look_alike_are_kept_apart(store):
    alike = ["1", "01", "1 ", "1.0", "é", "e\u0301", "A", "a", str(2**64), "0c5a0f3d-8e5b-5c0e-9d0a-5d1f6a4f7c11"]
    store.add([Document(name, f"text of {name}") for name in alike])
    assert [document.id for document in store.get(alike)] == alike


@on_one_store
@given(text=st.text(st.characters()))
def test_any_text_is_stored(store, text):
    store.add(Document("a", text))
    (document,) = store.get("a")
    assert document.text == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def test_extreme_metadata_comes_back_unchanged(store):
    deep = "bottom"
    for _ in range(MAX_METADATA_DEPTH - 1):
        deep = {"deeper": deep}
    metadata = {
        "": "empty key", "a.b[0]": 1, "id": "own id", "text": None, "metadata": {}, "int": [2**63 - 1, -(2**63)],
        "float": [1e308, 5e-324, 0.1 + 0.2], "bool": [True, False], "quotes": "\"'\\\x00\n", "米": "😀", "deep": deep,
        "long": "x" * 1_000_000,
    }  # fmt: skip
    store.add(Document("a", "one", metadata))
    assert store.get("a")[0].metadata == metadata
    assert store.search("one")[0].metadata == metadata


def test_getting_keeps_the_order_asked_for_and_leaves_out_what_is_not_there(store):
    store.add([Document(name, f"text {name}") for name in "abc"])
    assert [document.id for document in store.get(["c", "missing", "a", "c"])] == ["c", "a", "c"]
    assert store.get([]) == []


def test_deleted_documents_are_gone_and_the_others_stay(store):
    store.add([Document(name, f"shared {name}") for name in "abcd"])
    store.delete(["a", "c", "missing"])
    assert store.count() == 2
    assert {hit.id for hit in store.search("shared")} == {"b", "d"}
    store.delete([])
    store.delete(name for name in "b")
    assert [document.id for document in store.get(list("abcd"))] == ["d"]


def test_documents_are_deleted_by_a_filter(store):
    store.add([Document(name, f"shared {name}", {"kind": kind}) for name, kind in zip("abcd", "xyxy", strict=True)])
    store.delete(filter={"kind": "x"})
    assert {document.id for document in store.scroll()} == {"b", "d"}
    store.delete(filter={"kind": "z"})
    assert store.count() == 2


def test_a_scroll_brings_every_document_once(store):
    documents = [Document(str(number), f"word{number}", {"number": number}) for number in range(57)]
    store.add(documents)
    for size in (1, 10, 57, 1000):
        found = list(store.scroll(batch_size=size))
        assert len(found) == 57
        assert {document.id: document for document in found} == {document.id: document for document in documents}
    assert {document.id for document in store.scroll({"number": {"lt": 5}}, batch_size=2)} == set("01234")


def test_an_empty_store_is_scrolled_to_nothing(store):
    assert list(store.scroll()) == []


def test_documents_that_are_found_are_counted(store):
    store.add([Document(str(number), "text", {"even": number % 2 == 0}) for number in range(7)])
    assert (store.count(), store.count({"even": True}), store.count({"even": {"ne": True}})) == (7, 4, 3)


@pytest.mark.parametrize("metadata", [{}, {"none": None}, {"empty": {}, "list": []}, {"deep": {"er": {"est": [1]}}}])
def test_metadata_may_be_missing_empty_and_nested(store, metadata):
    store.add([Document("a", "one", metadata)])
    assert store.get("a")[0].metadata == metadata
    assert next(store.scroll()).metadata == metadata


def test_a_timeout_of_plenty_changes_nothing(store):
    store.add("one two", timeout=60).raise_for_failures()
    assert len(store.search("one", timeout=60)) == store.count(timeout=60) == 1
    [document] = store.scroll(timeout=60)
    assert store.get(document.id, timeout=60) == [document]
    store.delete(document.id, timeout=60)
    assert store.count() == 0


async def test_every_verb_works_for_code_that_awaits(new_store, seeded):
    async with new_store(seeded()) as store:
        await store.acreate()
        report = await store.aadd([Document(name, f"shared {name}", {"name": name}) for name in "abc"])
        assert report.ok == ("a", "b", "c")
        assert [hit.id for hit in await store.asearch("b", mode="sparse")] == ["b"]
        assert [document.id for document in await store.aget(["c", "a"])] == ["c", "a"]
        await store.adelete("a")
        await store.adelete(filter={"name": "b"})
        assert await store.acount() == 1
        assert [document.id async for document in store.ascroll()] == ["c"]


async def test_calls_that_overlap_do_not_disturb_one_another(store):
    async def work(worker):
        for turn in range(3):
            await store.aadd(Document(f"{worker}-{turn}", f"shared word{worker}"))
            assert len(await store.asearch(f"word{worker}", mode="sparse")) == turn + 1

    await asyncio.gather(*(work(worker) for worker in range(4)))
    assert await store.acount() == 12


def test_values_that_are_not_json_are_stored_as_json_has_them_and_filtered_by(store):
    metadata = {
        "score": np.float64(0.5),
        "count": np.int64(7),
        "flag": np.bool_(True),
        "when": datetime(2024, 5, 17, 10, 30),
        "day": date(2024, 5, 17),
        "id": uuid.UUID(int=1),
        "path": PurePosixPath("a/b"),
    }
    store.add(Document("a", "one two", metadata))
    (found,) = store.get("a")
    assert found.metadata == {
        "score": 0.5,
        "count": 7,
        "flag": True,
        "when": "2024-05-17T10:30:00",
        "day": "2024-05-17",
        "id": str(uuid.UUID(int=1)),
        "path": "a/b",
    }
    assert store.count({"score": 0.5, "count": {"gte": 7}, "flag": True, "when": {"gt": date(2024, 5, 17)}}) == 1


def test_a_bad_document_is_reported_while_the_others_are_written(store):
    report = store.add(
        [Document("good", "one two"), Document("bad", "one", {"x": object()}), {"text": "three", "id": "dict"}],
        on_error="report",
    )
    assert report.ok == ("good", "dict")
    assert [(failure.id, failure.document.text) for failure in report.failed] == [("bad", "one")]
    assert store.count() == 2


def test_a_data_frame_is_refused_and_nothing_is_written(store):
    pandas = pytest.importorskip("pandas")
    with pytest.raises(TypeError, match=r"DataFrame.*from_records"):
        store.add(pandas.DataFrame({"text": ["one"]}))
    assert store.count() == 0


def test_a_document_without_finite_vectors_is_reported_and_the_others_are_written(
    new_store, overflowing_checkpoint, tmp_path
):
    model = BGEM3FlagModel(overflowing_checkpoint(tmp_path / "overflowing", largest=2e38), use_fp16=False)
    store = new_store(model)
    store.create()
    documents = [Document("a", "reading and writing"), Document("b", "a library for zip archives")]
    report = store.add(documents, on_error="report")
    assert (report.ok, store.count()) == (("a",), 1)
    (failed,) = report.failed
    assert (failed.id, failed.retryable, failed.document) == ("b", False, documents[1])
    assert failed.reason == "the dense vector of document 'b' is not finite: the model or its checkpoint is broken"
