"""What other tools do to a store's documents, and `ElasticsearchStore.repair`."""

import asyncio
import base64
import logging

import numpy as np
import pytest
from elasticsearch.helpers import bulk, scan

from flagvec import Document, Weighted
from flagvec.m3_output import M3Output
from flagvec_elasticsearch import ElasticsearchStore
from flagvec_elasticsearch.schema import Layout, mappings

DOCUMENTS = [
    Document(str(number), text) for number, text in enumerate(["one two", "two three", "four one", "five", ""])
]
SEARCHES = [{"rerank": "colbert"}, {"fusion": Weighted()}]
OTHER_TOOLS = "because another tool removed or changed them"


def found(store, **options):
    hits = store.search("one two four", candidates=20, **options)
    return {
        hit.id: (pytest.approx(hit.score, abs=1e-5), pytest.approx(hit.scores["colbert"], abs=1e-5)) for hit in hits
    }


@pytest.fixture
def filled(store):
    """A store of codes."""
    store.add(DOCUMENTS)
    return store


@pytest.fixture
def halves(client, index, new_store):
    """A store on an index of layout 2, with ColBERT vectors in half precision."""
    store = new_store()
    client.indices.create(index=index, mappings=mappings(store.schema, Layout()))
    store.add(DOCUMENTS)
    return store


@pytest.fixture
def old(client, index, new_store):
    """A store on an index as it was before layout 2, with ColBERT vectors left out of _source."""
    store = new_store()
    mapping = mappings(store.schema, Layout())
    mapping["_meta"]["flagvec"]["version"] = 1
    mapping["_source"] = {"excludes": ["colbert"]}
    client.indices.create(index=index, mappings=mapping)
    store.add(DOCUMENTS)
    client.update(index=index, id="4", doc={"colbert_rows": None}, refresh=True)  # which layout 1 left out
    return store


@pytest.fixture
def change(client, index):
    """A function that changes fields of a document, as any other tool does."""
    return lambda name, **fields: client.update(index=index, id=name, doc=fields, refresh=True)


@pytest.fixture
def lost(caplog):
    """A function that returns the numbers in the warnings of lost vectors: of documents, and of candidates."""
    caplog.set_level(logging.WARNING, "flagvec")
    return lambda: [record.args[1:3] for record in caplog.records if OTHER_TOOLS in record.getMessage()]


@pytest.mark.parametrize("layout", ["filled", "halves"])
@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_an_update_by_another_tool_keeps_all_vectors(request, change, lost, layout, options):
    store = request.getfixturevalue(layout)
    before = found(store, **options)
    change("0", metadata={"seen": True})
    assert found(store, **options) == before
    assert store.get("0")[0].metadata == {"seen": True}
    assert not lost()


@pytest.mark.parametrize("layout", ["filled", "halves"])
@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_documents_that_are_copied_from_their_source_keep_all_vectors(request, client, index, seeded, layout, options):
    filled = request.getfixturevalue(layout)
    other = ElasticsearchStore(seeded(), client, f"{index}-copy")
    client.indices.create(index=other.index_name, mappings=client.indices.get_mapping(index=index)[index]["mappings"])
    try:
        # Elasticsearch 9 leaves dense vectors out of what it shows of _source, unless asked.
        hits = scan(client, index=index, query={"_source": {"exclude_vectors": False}})
        bulk(client, ({"_index": other.index_name, "_id": hit["_id"], "_source": hit["_source"]} for hit in hits))
        client.indices.refresh(index=other.index_name)
        assert found(other, **options) == found(filled, **options)
    finally:
        other.drop()


@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_a_document_without_its_colbert_vectors_is_ranked_by_what_it_has(old, change, lost, options):
    before = found(old, **options)
    change("0", metadata={"seen": True})
    after = found(old, **options)
    if "rerank" in options:
        assert after.keys() == before.keys() - {"0"}
    else:
        assert after.keys() == before.keys()
        [hit] = [hit for hit in old.search("one two four", **options) if hit.id == "0"]
        assert hit.scores["colbert"] == 0.0
        assert hit.score == pytest.approx((hit.scores["dense"] + hit.scores["sparse"]) / 3, abs=1e-5)
    assert {name: after[name] for name in after.keys() - {"0"}} == {name: before[name] for name in after.keys() - {"0"}}
    assert len(lost()) == 1


def test_one_warning_counts_the_documents_that_lost_their_vectors(old, change, lost):
    for name in ("0", "2"):
        change(name, metadata={"seen": True})
    for _ in range(3):
        old.search("one two four", candidates=20, rerank="colbert")
    assert lost() == [(2, 5)]


def test_what_is_lost_after_a_repair_is_logged_again(old, change, lost):
    for number in (1, 2):
        change("0", metadata={"seen": number})
        old.search("one two four", candidates=20, rerank="colbert")
        old.repair()
        assert lost() == [(1, 5)] * number


@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_update_by_query_and_reindex_keep_all_vectors(filled, client, index, seeded, lost, options):
    before = found(filled, **options)
    answer = client.options(ignore_status=[400, 405]).update_by_query(index=index, refresh=True)
    if "error" in answer:
        pytest.skip("this server lacks the module that has _update_by_query and _reindex")
    assert found(filled, **options) == before
    other = ElasticsearchStore(seeded(), client, f"{index}-copy")
    other.create()
    try:
        client.reindex(source={"index": index}, dest={"index": other.index_name}, refresh=True)
        assert found(other, **options) == before
    finally:
        other.drop()
    assert not lost()


@pytest.mark.parametrize("layout", ["filled", "halves", "old"])
def test_a_text_without_tokens_has_lost_nothing(request, lost, layout):
    store = request.getfixturevalue(layout)
    assert "4" in {hit.id for hit in store.search("one", limit=20, fusion=Weighted())}
    assert not lost()


def row_of_code(factor):
    """The code of a vector of 16 numbers at 4 bits, in base64."""
    return base64.b64encode((bytes(8) + np.array(factor, "<f2").tobytes()) * 2).decode()


OF_CODES = {
    "other length": {"codes": "AAAA"},
    "no codes": {"codes": None},
    "not base64": {"codes": "?" * 28},
    "not ASCII": {"codes": "é" * 28},
    "two values": {"codes": ["AAAA", "BBBB"]},
    "not finite": {"codes": row_of_code(np.nan)},
    "too long": {"codes": row_of_code(60_000)},
    "other count": {"rows": 3},
    "negative count": {"rows": -2},
    "huge count": {"rows": 2**31 - 1},
    "no count": {"rows": None},
    "several counts": {"rows": [1, 2]},
}
OF_HALVES = {
    "other length": {"colbert": "AAAA"},
    "no value": {"colbert": None},
    "odd bytes": {"colbert": base64.b64encode(bytes(61)).decode()},
    "two values": {"colbert": ["AAAA", "BBBB"]},
    "not finite": {"colbert": base64.b64encode(np.full((2, 16), np.nan, "<f2").tobytes()).decode()},
    "not of length one": {"colbert": base64.b64encode(np.full((2, 16), 60_000, "<f2").tobytes()).decode()},
    "other count": {"colbert_rows": 3},
    "negative count": {"colbert_rows": -2},
    "huge count": {"colbert_rows": 2**31 - 1},
    "no count": {"colbert_rows": None},
    "several counts": {"colbert_rows": [1, 2]},
}


DAMAGES = {
    "filled, nothing": ("filled", {"colbert": None}),
    "filled, several": ("filled", {"colbert": [{"codes": "AAAA"}, {"codes": "BBBB"}]}),
    **{f"filled, {name}": ("filled", {"colbert": damage}) for name, damage in OF_CODES.items()},
    **{f"halves, {name}": ("halves", damage) for name, damage in OF_HALVES.items()},
}


@pytest.mark.parametrize(("layout", "damage"), DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_damaged_colbert_vectors_count_as_lost(request, change, lost, layout, damage, options):
    filled = request.getfixturevalue(layout)
    before = found(filled, **options)
    change("0", **damage)
    after = found(filled, **options)
    assert after.keys() == (before.keys() - {"0"} if "rerank" in options else before.keys())
    assert {name: after[name] for name in after.keys() - {"0"}} == {name: before[name] for name in after.keys() - {"0"}}
    assert len(lost()) == 1


def test_repair_encodes_anew_what_lost_its_vectors_and_nothing_else(old, client, index, change, lost):
    before = found(old, fusion=Weighted())
    for name in ("0", "2"):
        change(name, metadata={"seen": True})
    untouched = client.get(index=index, id="1")["_version"]
    report = old.repair()
    assert (set(report.ok), report.failed) == ({"0", "2", "4"}, ())  # layout 1 does not say that 4 has no tokens
    assert found(old, fusion=Weighted()) == before
    assert client.get(index=index, id="1")["_version"] == untouched
    assert old.get("0")[0].metadata == {"seen": True}
    assert [document.id for document in old.scroll({"seen": True})] == ["0", "2"]
    assert not old.repair().ok
    assert not lost()


@pytest.mark.parametrize("layout", ["filled", "halves"])
def test_repair_mends_a_document_that_another_tool_wrote_without_vectors(request, client, index, lost, layout):
    filled = request.getfixturevalue(layout)
    before = found(filled, rerank="colbert")
    # Elasticsearch 9 leaves dense vectors out of what it shows of _source, unless asked.
    [hit] = client.search(index=index, query={"ids": {"values": ["0"]}}, source={"exclude_vectors": False})["hits"][
        "hits"
    ]
    others = {name: value for name, value in hit["_source"].items() if not name.startswith("colbert")}
    client.index(index=index, id="0", document=others, refresh=True)
    assert found(filled, rerank="colbert").keys() == before.keys() - {"0"}
    assert lost() == [(1, 5)]
    assert filled.repair().ok == ("0",)
    assert found(filled, rerank="colbert") == before


@pytest.mark.parametrize(("layout", "damage"), DAMAGES.values(), ids=DAMAGES)
def test_repair_finds_damaged_vectors_if_it_checks_all(request, change, layout, damage):
    filled = request.getfixturevalue(layout)
    before = found(filled, rerank="colbert")
    change("0", **damage)
    assert filled.repair(check_vectors=True).ok == ("0",)
    assert found(filled, rerank="colbert") == before


def test_repair_leaves_a_document_that_was_changed_meanwhile(old, change, seeded):
    change("0", metadata={"seen": True})

    class Slow(seeded):
        """A model during whose work another tool changes the document."""

        def encode_corpus(self, texts, **options) -> M3Output:
            change("0", metadata={"seen": False})
            return super().encode_corpus(texts, **options)

    old.model = Slow()
    report = old.repair()
    [failed] = report.failed
    assert (failed.id, failed.retryable) == ("0", False)
    assert failed.reason.startswith("version_conflict_engine_exception")
    assert failed.reason.endswith("the document was changed meanwhile: call repair() again")
    assert old.get("0")[0].metadata == {"seen": False}


def test_repair_goes_through_more_documents_than_one_request_brings(new_store, client, index):
    store = new_store()
    mapping = mappings(store.schema, Layout())
    mapping["_source"] = {"excludes": ["colbert"]}
    client.indices.create(index=index, mappings=mapping)
    names = [str(number) for number in range(600)]
    store.add(Document(name, f"one word{name}") for name in names)
    operations = [line for name in names for line in ({"update": {"_id": name}}, {"doc": {"metadata": {"seen": 1}}})]
    assert not client.bulk(index=index, operations=operations, refresh=True)["errors"]
    assert not store.search("one", rerank="colbert")
    assert sorted(asyncio.run(store.arepair()).ok) == sorted(names)
    assert len(store.search("one", limit=600, candidates=600, rerank="colbert")) == 600


def test_a_store_without_colbert_vectors_has_nothing_to_repair(new_store):
    store = new_store(colbert=False)
    store.create()
    store.add("one two")
    assert store.repair().ok == ()
