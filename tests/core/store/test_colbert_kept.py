"""In which form a store keeps ColBERT vectors, over a database that keeps what it is given in memory."""

import logging
from dataclasses import replace

import pytest

from flagvec import ColbertStorage, Document, HybridStore, StoreError
from flagvec.late_interaction.stored import codes_to_text, lost_codes, prepared_query, scores_of_codes
from flagvec.scoring import colbert_score, dense_score
from flagvec.search.exact import by_scores
from flagvec.search.lost import LostColbert
from flagvec.store.backend import Backend
from flagvec.store.documents import Hit
from flagvec.store.schema import Schema

TEXTS = [
    "How to cook rice in a pot with water.",
    "Bread is baked in an oven.",
    "Rinse the rice first, and then rinse it once more.",
]
NATIVE = Schema("models/m3", dimension=8, sparse=False, colbert_dimension=16)


class Memory(Backend):
    """Documents in a dict; `stored` outlives the store, as a database does."""

    name = "the memory"

    def __init__(self, stored, compares=True):
        self.stored = stored
        self.compares = compares
        self.lost = LostColbert(self.name)

    def describe(self):
        return self.stored.get("schema")

    def compares_colbert(self):
        return self.compares

    def create(self, schema):
        self.stored.update(schema=Schema.from_json(schema.to_json()), rows={})

    def open(self, schema):
        self.storage = schema.colbert_storage
        self.codec = None if self.storage is None else self.storage.codec(schema.colbert_dimension)

    def drop(self):
        self.stored.clear()

    def prepare(self, records):
        return list(records)

    def write(self, records, timeout):
        for record in records:
            codes = record.vectors.colbert_codes
            kept = record.vectors.colbert if codes is None else codes_to_text(codes)
            self.stored["rows"][record.document.id] = [record.document, record.vectors.dense, kept]
        return []

    def search(self, query, options):
        rows = self.stored["rows"]
        legs = {"dense": {name: float(dense_score(query.dense, dense)) for name, (_, dense, _) in rows.items()}}
        ranked = by_scores(query, legs, options, lambda missing: {"colbert": self.scores(query, missing["colbert"])})
        return [Hit(one.id, one.score, rows[one.id][0].text, {}, one.scores) for one in ranked]

    def scores(self, query, ids):
        kept = {name: self.stored["rows"][name][2] for name in ids}
        if self.codec is None:
            return {name: float(colbert_score(query.colbert, rows)) for name, rows in kept.items()}
        scores = scores_of_codes(prepared_query(query.colbert, self.codec), kept)
        self.lost.count(lost_codes(kept, scores), len(kept))
        return scores

    def classify(self, error):
        return None

    get = delete = delete_where = count = scroll = scroll_vectors = None


@pytest.fixture
def stored():
    return {}


@pytest.fixture
def new_store(stored, tiny_m3):
    def make(colbert=True, compares=True):
        return HybridStore(tiny_m3, Memory(stored, compares), colbert=colbert)

    return make


def found_by_colbert(store, query):
    return {hit.id: hit.score for hit in store.search(query, mode="dense", rerank="colbert")}


@pytest.mark.parametrize(
    ("colbert", "compares", "kept"),
    [
        (True, True, None),
        (True, False, ColbertStorage(bits=4)),
        ("native", True, None),
        ("compact", True, ColbertStorage(bits=4)),
        ("compact", False, ColbertStorage(bits=4)),
        (ColbertStorage(pool=2, seed=7), True, ColbertStorage(bits=4, pool=2, seed=7)),
        (ColbertStorage(bits=1), False, ColbertStorage(bits=1)),
    ],
)
def test_a_new_store_keeps_vectors_in_the_form_that_was_chosen(new_store, stored, colbert, compares, kept):
    store = new_store(colbert, compares)
    store.create()
    assert store.schema.colbert_storage == stored["schema"].colbert_storage == kept


def test_a_new_store_without_colbert_vectors_has_no_form_of_them(new_store):
    store = new_store(False, compares=False)
    store.create()
    assert (store.schema.colbert_dimension, store.schema.colbert_storage) == (None, None)


def test_native_is_refused_where_the_database_does_not_compare(new_store, stored):
    with pytest.raises(StoreError) as raised:
        new_store("native", compares=False).create()
    assert str(raised.value) == (
        "the memory is to hold ColBERT vectors with colbert='native', but the database does not compare them itself: "
        "choose colbert='compact', or True for what suits the database"
    )
    assert stored == {}


@pytest.mark.parametrize("made", ["native", "compact", ColbertStorage(bits=2, pool=3)])
@pytest.mark.parametrize("compares", [True, False])
def test_true_opens_a_store_of_every_form(new_store, made, compares):
    with new_store(made) as store:
        store.create()
        kept = store.schema.colbert_storage
    store = new_store(True, compares)
    store.create()
    assert store.schema.colbert_storage == kept


@pytest.mark.parametrize("again", ["compact", ColbertStorage(bits=2, pool=3)])
def test_a_store_opens_with_the_choice_that_made_it(new_store, again):
    new_store(ColbertStorage(bits=2, pool=3)).create()
    store = new_store(again)
    store.create()
    assert store.schema.colbert_storage == ColbertStorage(bits=2, pool=3)


@pytest.mark.parametrize(
    ("made", "opened", "compares", "found", "given"),
    [
        ("native", "compact", True, "as 'native'", "'compact'"),
        ("native", "compact", False, "in half precision, as an older flagvec did", "'compact'"),
        ("native", "native", False, "in half precision, as an older flagvec did", "'native'"),
        ("compact", "native", True, "as ColbertStorage(bits=4, pool=1, seed=0)", "'native'"),
        (
            "compact",
            ColbertStorage(bits=1),
            True,
            "as ColbertStorage(bits=4, pool=1, seed=0)",
            "ColbertStorage(bits=1, pool=1, seed=0)",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["create", "add"])
def test_a_store_of_another_form_is_refused_with_both(new_store, verb, made, opened, compares, found, given):
    with new_store(made) as store:
        store.create()
    with pytest.raises(StoreError) as raised:
        getattr(new_store(opened, compares), verb)(*[TEXTS] * (verb == "add"))
    assert str(raised.value) == (
        f"the memory keeps ColBERT vectors {found}, but is opened with colbert={given}: open it with colbert=True, "
        "which takes what the store has, or make another store"
    )


def test_a_store_that_is_made_anew_gets_the_form_of_a_new_one(new_store):
    with new_store("compact") as first:
        first.create()
    store = new_store(True)
    store.create()
    store.drop()
    store.create()
    assert store.schema.colbert_storage is None


@pytest.mark.parametrize("choice", [None, 1, 0.5, ["compact"], {"bits": 1}])
def test_a_choice_of_another_type_is_refused(new_store, choice):
    with pytest.raises(TypeError, match="give True, False, 'native', 'compact' or ColbertStorage"):
        new_store(choice)


def test_an_unknown_choice_is_refused(new_store):
    with pytest.raises(
        ValueError, match="colbert='small': choose True, False, 'native', 'compact' or a ColbertStorage"
    ):
        new_store("small")


@pytest.mark.parametrize("storage", [ColbertStorage(), ColbertStorage(bits=1, pool=2), ColbertStorage(bits=16)])
def test_scores_are_those_of_the_decoded_codes(new_store, tiny_m3, storage):
    store = new_store(storage)
    store.create()
    store.add([Document(str(number), text) for number, text in enumerate(TEXTS)])
    query = tiny_m3.encode_queries("rice")["colbert_vecs"]
    codec = storage.codec(tiny_m3.colbert_dimension)
    vectors = tiny_m3.encode_corpus(TEXTS)["colbert_vecs"]
    expected = {str(n): colbert_score(query, codec.decode(storage.encode(rows))) for n, rows in enumerate(vectors)}
    assert found_by_colbert(store, "rice") == pytest.approx(expected, abs=1e-4)


def test_a_document_is_written_as_codes_and_without_its_vectors(new_store, stored):
    store = new_store("compact")
    store.create()
    store.add(Document("rice", TEXTS[0]))
    assert isinstance(stored["rows"]["rice"][2], str)


@pytest.mark.parametrize("damage", [None, "", "rice", "AAAA", 3])
def test_lost_codes_never_fail_a_search_and_are_logged_once(new_store, stored, caplog, damage):
    store = new_store("compact")
    store.create()
    store.add([Document(str(number), text) for number, text in enumerate(TEXTS)])
    stored["rows"]["1"][2] = damage
    with caplog.at_level(logging.WARNING, "flagvec"):
        hits = store.search("rice", mode="dense", rerank="colbert")
        store.search("bread", mode="dense", rerank="colbert")
    assert {hit.id for hit in hits} == {"0", "2"}
    # An empty text is what a document without tokens has.
    warned = [] if damage == "" else ["the memory: 1 of the 3 candidates of a search have no usable ColBERT vectors"]
    assert [record.getMessage().partition(", because")[0] for record in caplog.records] == warned


def test_a_schema_with_codes_survives_json():
    schema = replace(NATIVE, colbert_storage=ColbertStorage(bits=1, pool=2, seed=3))
    assert schema.to_json()["colbert_storage"] == {"bits": 1, "pool": 2, "seed": 3}
    assert Schema.from_json(schema.to_json()) == schema


def test_a_schema_of_an_older_version_has_no_codes():
    older = {name: value for name, value in NATIVE.to_json().items() if name != "colbert_storage"}
    assert Schema.from_json(older) == NATIVE


@pytest.mark.parametrize("unknown", [{"bits": 3, "pool": 1, "seed": 0}, {"bits": 1, "book": "x"}, "compact"])
def test_codes_of_a_newer_version_are_refused(unknown):
    with pytest.raises(StoreError, match=r"keeps ColBERT vectors as .*, which this version .* cannot read: update"):
        Schema.from_json({**NATIVE.to_json(), "colbert_storage": unknown})
