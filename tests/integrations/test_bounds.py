"""What would hurt a database is refused on every store, by one clear error and before any work."""

import pytest

from flagvec import Document, StoreError

TOO_LARGE = [
    ({"limit": 10**9}, r"limit=1000000000: at most 10,000 documents; scroll\(\) .* max_limit"),
    ({"candidates": 10_001}, "candidates=10001: at most 10,000 documents"),
    ({"limit": 2**64}, "limit=<a whole number of 65 bits>: at most"),
    ({"timeout": 10**400}, "timeout=<a whole number of 1329 bits>: give a number of seconds"),
    ({"min_score": 10**400, "mode": "dense"}, "min_score=<a whole number"),
    ({"fusion": {"dense": 10**400}}, "dense=<a whole number of 1329 bits>"),
    ({"fusion": {"dense": 1e308, "sparse": 1e308}}, "divide them by one number"),
    ({"filter": {"or": [{"tag": "a"}] * 2_000}}, "filter has 2,001 conditions, and a store takes 1,000"),
    ({"filter": {"tag": {"in": list(range(10_001))}}}, "filter has 10,001 values, and a store takes 10,000"),
    ({"filter": {"tag": "x" * (5 * 2**20)}}, "bytes of text, and a store takes 4,194,304"),
    ({"filter": {"number": 2**64}}, r"number'\]\['eq'\] is <a whole number of 65 bits>, over 64 bits"),
]


@pytest.fixture
def absent(new_store, seeded):
    """A store that was not created, so that whatever reaches its database is a `StoreError`."""
    return new_store(seeded())


@pytest.mark.parametrize(("options", "words"), TOO_LARGE, ids=[words[:30] for _, words in TOO_LARGE])
def test_a_search_that_is_too_large_is_refused_before_any_work(absent, options, words):
    with pytest.raises(ValueError, match=words):
        absent.search("query", **options)


def test_other_verbs_refuse_what_is_too_large_before_any_work(absent):
    many = {"or": [{"tag": "a"}] * 2_000}
    for call in (absent.count, lambda filter: absent.delete(filter=filter), lambda filter: list(absent.scroll(filter))):
        with pytest.raises(ValueError, match="filter has 2,001 conditions"):
            call(many)
    for size in (10_001, 2**64):
        with pytest.raises(ValueError, match=r"batch_size=.*: at most 10,000 documents"):
            absent.scroll(batch_size=size)
    for bad in (10**400, float("inf"), 1e300):
        with pytest.raises(ValueError, match=r"timeout=.*: give a number of seconds"):
            absent.count(timeout=bad)


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**63) - 1, pytest.param(10**5000, id="5,000 digits")])
def test_a_whole_number_of_metadata_beyond_64_bits_is_refused_by_place(store, number):
    with pytest.raises(ValueError, match=r"document 'a': metadata\['n'\] is .*, which is over 64 bits: store it as a"):
        store.add(Document("a", "text", {"n": number}))
    store.add(Document("a", "text", {"n": [2**63 - 1, -(2**63)]}))
    assert [document.metadata for document in store.get("a")] == [{"n": [2**63 - 1, -(2**63)]}]


def test_the_constructor_sets_another_limit(new_store, seeded):
    store = new_store(seeded(), max_limit=3)
    store.create()
    store.add([f"word{number}" for number in range(5)])
    assert len(store.search("word", limit=3, mode="dense")) == 3
    assert len(list(store.scroll(batch_size=3))) == 5
    for call in (lambda: store.search("word", limit=4), lambda: store.scroll(batch_size=4)):
        with pytest.raises(ValueError, match="=4: at most 3 documents"):
            call()


@pytest.mark.parametrize("bad", [0, -1, 1.5, None])
def test_a_limit_that_finds_nothing_is_refused(new_store, seeded, bad):
    with pytest.raises((ValueError, TypeError), match="max_limit"):
        new_store(seeded(), max_limit=bad)


def test_a_limit_beyond_the_databases_own_is_taken_or_refused_with_what_to_do(new_store, seeded):
    store = new_store(seeded(), max_limit=10**6)
    store.create()
    store.add([f"word{number}" for number in range(5)])
    try:
        assert len(store.search("word", limit=50_000, mode="dense")) == 5
    except ValueError as error:
        assert "limit=50000" in str(error)
        assert "scroll" in str(error)


LARGEST = {
    "conditions": {"or": [{f"field{number}": "a"} for number in range(998)] + [{"tag": "x"}]},
    "strings": {"tag": {"in": [f"{number}" for number in range(9_999)] + ["x"]}},
    "whole numbers": {"year": {"in": [2024, *range(5_000, 14_999)]}},
    "text": {"tag": {"in": ["y" * (4 * 2**20 - 7), "x"]}},
    "levels": None,
}
nested = {"tag": "x"}
for _ in range(15):
    nested = {"or": [nested, {"tag": "y"}], "year": 2024}
LARGEST["levels"] = nested


@pytest.mark.parametrize("what", LARGEST)
def test_a_filter_of_the_largest_size_is_taken_or_refused_with_what_to_do(store, what):
    store.add([Document("a", "word", {"tag": "x", "year": 2024}), Document("b", "word", {"tag": "z", "year": 1})])
    try:
        assert [hit.id for hit in store.search("word", filter=LARGEST[what])] == ["a"]
        assert store.count(LARGEST[what]) == 1
    except ValueError as error:
        assert "comparisons, and Milvus Lite makes up to 1,000" in str(error)
    except StoreError as error:  # a server whose own limit is lower
        assert "could not be searched" in str(error)
