"""What every store promises of its schema: making it, opening it again, refusing another; and of long documents."""

import pytest

from flagvec import Document, StoreError, Weighted

LONG = " ".join(str(number) for number in range(5_000))


def test_a_document_of_many_tokens_is_stored_with_its_colbert_vectors(store):
    store.add([Document("long", LONG), Document("short", "4999")]).raise_for_failures()
    hits = store.search("17 4999", rerank="colbert")
    assert [hit.id for hit in hits] == ["long", "short"]
    assert hits[0].score == pytest.approx(1.0, abs=1e-3)


def test_a_long_document_is_stored_where_colbert_is_left_out(new_store, seeded):
    store = new_store(seeded(), colbert=False)
    store.create()
    store.add(Document("long", LONG))
    assert store.search("4999", mode="sparse")[0].id == "long"


# At this dimension Qdrant takes 4,095 ColBERT vectors of a text.
WIDE = 256


@pytest.fixture
def wide_store(new_store, seeded):
    """A function that makes a store for which LONG has too many ColBERT vectors."""

    def make(**options):
        store = new_store(seeded(WIDE), **options)
        store.create()
        store.count()
        most = store._backend.max_colbert_rows(store.schema)
        if most is None or most >= 5_000:
            pytest.skip(f"{store!r} takes 5,000 ColBERT vectors of one text")
        return store, most

    return make


def test_a_document_of_too_many_colbert_vectors_is_refused_by_name_and_not_written(wide_store):
    store, most = wide_store()
    with pytest.raises(ValueError, match=f"document 'long' has 5000 ColBERT vectors; .* at most {most} a text"):
        store.add([Document("short", "one"), Document("long", LONG)])
    assert store.count() == 0


def test_a_query_of_too_many_colbert_vectors_is_refused(wide_store):
    store, _ = wide_store()
    store.add("4999")
    assert len(store.search(LONG)) == 1
    with pytest.raises(ValueError, match="the query has 5000 ColBERT vectors"):
        store.search(LONG, rerank="colbert")


def test_a_truncated_document_is_found_by_its_first_tokens(wide_store):
    store, _ = wide_store(colbert_overflow="truncate")
    store.add(Document("long", LONG)).raise_for_failures()
    assert store.search("17", rerank="colbert")[0].score == pytest.approx(1.0, abs=1e-3)
    assert store.search("4999", rerank="colbert")[0].score < 0.9


def test_a_pooled_document_is_found_by_all_of_its_tokens(wide_store):
    store, _ = wide_store(colbert_overflow="pool")
    store.add(Document("long", LONG)).raise_for_failures()
    for word in ("17", "2500", "4999"):
        # A vector stands for two neighbours at most, here random ones, at 45 degrees to either.
        assert store.search(word, rerank="colbert")[0].score > 0.6
    assert len(store.search(LONG, rerank="colbert")) == 1


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


def test_a_model_of_another_dimension_than_it_says_is_refused(new_store, seeded):
    class Lying(seeded):
        def encode_corpus(self, texts, **options):
            return seeded(self.dimension * 2).encode_corpus(texts, **options)

    store = new_store(Lying())
    store.create()
    with pytest.raises(ValueError, match="32 dimensions, not 16"):
        store.add("one")
    assert store.count() == 0


def test_what_was_added_is_there_when_the_store_is_opened_again(new_store, seeded):
    documents = [Document(name, f"shared {name}", {"name": name}) for name in "abc"]
    with new_store(seeded()) as store:
        store.create()
        store.add(documents)
        before = store.search("shared b", rerank="colbert")
    again = new_store(seeded())
    assert again.get(list("abc")) == documents
    assert again.search("shared b", rerank="colbert") == before
    assert again.count({"name": "b"}) == 1


@pytest.mark.parametrize("verb", ["create", "count", "scroll"])
def test_a_closed_store_says_so(store, verb):
    store.close()
    with pytest.raises(StoreError, match="was closed: make a new"):
        getattr(store, verb)()


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"pooling_method": "mean"}, "vectors of cls pooling, but .* vectors of mean pooling"),
        ({"normalize_embeddings": False}, "normalize_embeddings=True"),
        ({"passage_instruction_for_retrieval": "passage: "}, "documents with the instruction ''"),
    ],
)
def test_a_store_of_vectors_that_were_made_in_another_way_is_refused(new_store, seeded, attributes, words):
    def model(**others):
        made = seeded()
        for name, value in {
            "pooling_method": "cls",
            "normalize_embeddings": True,
            "passage_instruction_for_retrieval": None,
            **others,
        }.items():
            setattr(made, name, value)
        return made

    with new_store(model()) as store:
        store.create()
    with pytest.raises(StoreError, match=words):
        new_store(model(**attributes)).count()
    assert new_store(model()).count() == 0


def test_a_dropped_store_is_gone_and_can_be_created_again(store):
    store.add("one two")
    assert len(store) == 1
    store.drop()
    with pytest.raises(StoreError, match=r"does not exist: call create\(\) first"):
        store.count()
    store.drop()
    store.create()
    assert len(store) == 0
    store.add("one two")
    assert [hit.text for hit in store.search("one")] == ["one two"]
