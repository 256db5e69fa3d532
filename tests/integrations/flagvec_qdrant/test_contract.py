"""What every store promises of adding, getting, deleting and counting, over every engine."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flagvec import Document, StoreError, Weighted
from flagvec.retrieval.documents import text_id

# Each example is one more write to the store that the test was given.
on_one_store = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100)


@pytest.fixture
def store(new_store, seeded):
    store = new_store(seeded())
    store.create()
    return store


def test_a_new_store_is_empty(store):
    assert store.count() == 0


def test_documents_are_counted_and_come_back_as_they_were(store):
    documents = [
        Document(
            "guide-1", "how to cook rice", {"lang": "en", "year": 2020, "tags": ["a", "b"], "nested": {"x": None}}
        ),
        Document("guide-2", "how to bake bread"),
    ]
    assert store.add(documents) == ["guide-1", "guide-2"]
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
    assert store.add([Document("a", "one"), Document("b", "two"), Document("a", "three")]) == ["a", "b", "a"]
    assert (store.count(), store.get("a")[0].text) == (2, "three")


def test_a_bare_text_has_the_id_of_its_text(store):
    assert store.add("one two") == [text_id("one two")]
    store.add(["one two"])
    assert (store.count(), store.search("one")[0].id) == (1, text_id("one two"))


def test_a_generator_of_documents_is_added(store):
    assert len(store.add(Document(str(n), f"word{n}") for n in range(300))) == 300
    assert store.count() == 300
    assert store.search("word299", mode="sparse")[0].id == "299"


def test_adding_nothing_is_no_error(store):
    assert store.add([]) == []
    assert store.count() == 0


def test_what_was_added_is_found_at_once(store):
    for number in range(3):
        store.add(f"text{number} shared")
        assert len(store.search("shared", mode="sparse")) == number + 1


@on_one_store
@given(name=ids)
def test_any_string_of_up_to_512_bytes_is_an_id(store, name):
    if len(name.encode()) > 512:
        return
    store.add(Document(name, "some text"))
    assert store.get(name) == [Document(name, "some text")]
    store.delete(name)
    assert store.get(name) == []


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
    for _ in range(60):
        deep = [deep]
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


def test_a_document_that_the_store_cannot_take_is_refused_by_name_and_not_written(store):
    words = " ".join(str(number) for number in range(65_536))
    with pytest.raises(ValueError, match=r"document 'long' has 65536 ColBERT vectors; .* at most 65535 a text"):
        store.add(Document("long", words))
    assert store.count() == 0


def test_a_long_document_is_stored_where_colbert_is_left_out(new_store, seeded):
    store = new_store(seeded(), colbert=False)
    store.create()
    store.add(Document("long", " ".join(str(number) for number in range(20_000))))
    assert store.search("19999", mode="sparse")[0].id == "long"


def test_a_document_of_many_tokens_is_stored_with_its_colbert_vectors(store):
    store.add([Document("long", " ".join(str(number) for number in range(5_000))), Document("short", "4999")])
    hits = store.search("17 4999", rerank="colbert")
    assert [hit.id for hit in hits] == ["long", "short"]
    assert hits[0].score == pytest.approx(1.0, abs=1e-3)


def test_a_store_without_colbert_refuses_to_rank_by_it(new_store, seeded):
    store = new_store(seeded(), colbert=False)
    store.create()
    store.add("one two")
    assert store.search("one", fusion=Weighted(1, 1, 0))[0].scores.keys() == {"dense", "sparse"}
    with pytest.raises(ValueError, match="needs colbert"):
        store.search("one", rerank="colbert")


def test_creating_a_store_that_exists_keeps_its_documents(new_store, seeded):
    store = new_store(seeded())
    store.create()
    store.add("one")
    store.create()
    assert store.count() == 1
    store.close()
    again = new_store(seeded())
    again.create()
    assert again.count() == 1


def test_an_existing_store_is_used_without_create(new_store, seeded):
    with new_store(seeded()) as store:
        store.create()
        store.add("one two")
    assert [hit.text for hit in new_store(seeded()).search("one")] == ["one two"]


def test_a_store_that_does_not_exist_says_to_create_it(new_store, seeded):
    with pytest.raises(StoreError, match=r"does not exist: call create\(\) first"):
        new_store(seeded()).search("one")


@pytest.mark.parametrize("verb", ["create", "count"])
@pytest.mark.parametrize(
    ("model_options", "store_options", "words"),
    [
        ({"dimension": 8}, {}, "holds dense vectors of 16 dimensions and ColBERT vectors of 16 .* dense vectors of 8"),
        ({"representations": ["dense", "colbert"]}, {}, "holds lexical weights, but .* no lexical weights"),
        ({}, {"colbert": False}, "holds ColBERT vectors of 16 .* open it with colbert=True"),
    ],
)
def test_a_store_of_another_schema_is_refused_saying_how_it_differs(
    new_store, seeded, verb, model_options, store_options, words
):
    with new_store(seeded()) as store:
        store.create()
        store.add("one")
    other = new_store(seeded(**model_options), **store_options)
    with pytest.raises(StoreError, match=words):
        getattr(other, verb)()
    # The refused object holds nothing: one that fits opens the store beside it.
    assert new_store(seeded()).count() == 1


def test_a_store_made_without_colbert_says_how_to_open_it(new_store, seeded):
    with new_store(seeded(), colbert=False) as store:
        store.create()
    with pytest.raises(StoreError, match=r"holds no ColBERT vectors, .* open it with colbert=False"):
        new_store(seeded()).count()


def test_the_representation_of_a_store_names_model_and_place(store):
    assert "'seeded'" in repr(store)
    assert type(store).__name__ in repr(store)
