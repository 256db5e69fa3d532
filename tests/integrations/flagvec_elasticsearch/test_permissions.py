"""The privileges in docs/elasticsearch.md: enough for what is sent, and, on a server with security, enough in fact."""

import json
import re
from pathlib import Path

import pytest
from elasticsearch import ApiError

from flagvec import Document, StoreError
from flagvec_elasticsearch import ElasticsearchStore

SECTION = Path(__file__, "../../../../docs/elasticsearch.md").resolve().read_text().partition("\n## Permissions\n")[2]
SECTION = SECTION.partition("\n## ")[0]
KEYS = {key["name"]: key for key in map(json.loads, re.findall(r"```json\n(.*?)```", SECTION, re.DOTALL))}

# The index privilege that permits a request, by the actions that Elasticsearch's IndexPrivilege.java lists for each.
NEEDED = {
    ("GET", ""): "view_index_metadata",  # indices:admin/get
    ("GET", "/_settings/index.uuid"): "view_index_metadata",  # indices:monitor/settings/get
    ("POST", "/_msearch"): "read",  # indices:data/read/msearch
    ("POST", "/_mget"): "read",  # indices:data/read/mget
    ("POST", "/_count"): "read",  # indices:data/read/search
    ("POST", "/_pit"): "read",  # indices:data/read/open_point_in_time
    ("POST", "/_delete_by_query"): "delete",  # indices:data/write/delete/byquery
    ("POST", "/_refresh"): "maintenance",  # indices:admin/refresh
    ("PUT", ""): "create_index",  # indices:admin/create
    ("DELETE", ""): "delete_index",  # indices:admin/delete
}
# A point in time belongs to its index. Everyone may close one.
WITHOUT_INDEX = {
    ("POST", "/_search"): "read",
    ("DELETE", "/_pit"): None,
    ("POST", "/_aliases"): "manage",  # indices:admin/aliases
}
METHODS = {
    "search": lambda store: [store.search("one", rerank=rerank) for rerank in ("colbert", None)],
    "search_vectors": lambda store: store.search_vectors(
        store.model.encode_queries(["one"], True, True, True, True), mode="hybrid"
    ),
    "get": lambda store: store.get("a"),
    "count": lambda store: store.count(),
    "scroll": lambda store: list(store.scroll()),
    "add": lambda store: store.add(Document("b", "one three")),
    "delete": lambda store: [store.delete("a"), store.delete(filter={"n": 1})],
    "repair": lambda store: store.repair(),
    "create": lambda store: [store.drop(), ElasticsearchStore(store.model, store.client, store.index_name).create()],
    "drop": lambda store: store.drop(),
    "leads_to": lambda store: store.leads_to(f"{store.index_name}-live"),
    "switch_alias": lambda store: store.switch_alias(f"{store.index_name}-live"),
}


def documented(method):
    """Return the privileges of a method in the page's table."""
    [row] = [line for line in SECTION.splitlines() if line.startswith("|") and f"`{method}`" in line.split("|")[1]]
    return set(re.findall(r"`(\w+)`", row.split("|")[2]))


def needed(requests, index, method):
    """Return the privileges that permit requests, given the method of the store that sent them."""
    found = set()
    for verb, path in requests:
        assert path != "/", "GET / takes the cluster privilege monitor"
        if (verb, path) in WITHOUT_INDEX:
            found.add(WITHOUT_INDEX[verb, path])
        elif path == f"/{index}/_bulk":
            found.add(
                "delete" if method == "delete" else "index"
            )  # indices:data/write/delete, indices:data/write/index
        else:
            assert path.startswith(f"/{index}")
            found.add(NEEDED[verb, path.removeprefix(f"/{index}").removeprefix("-live")])
    return found - {None}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_sends_no_request_that_needs_other_privileges_than_the_page_lists(
    store, new_store, index, requests, method
):
    store.add(Document("a", "one two", {"n": 1}))
    requests.clear()
    METHODS[method](new_store())
    sent = needed(requests, index, method)
    if method == "create":  # which drops the store first here
        sent.discard("delete_index")
    if method == "delete":  # Elasticsearch reads what a query chooses
        sent.add("read")
    assert requests
    assert sent | ({"index"} if method == "repair" else set()) == documented(method)


def test_native_fusion_asks_for_the_licence_and_does_without(new_store, store, requests):
    store.add("one two")
    requests.clear()
    assert new_store(native_fusion=True).search("one")
    assert ("GET", "/_license") in requests


@pytest.fixture
def with_key(client, index, seeded):
    """A function that makes a store whose client has only an API key of the page, for the index of this test."""

    def make(name):
        wanted = json.loads(json.dumps(KEYS[name]).replace('["articles"]', json.dumps([index])))
        try:
            key = client.security.create_api_key(**wanted)
        except ApiError as error:
            pytest.skip(f"this server has no API keys, or the user may not make them: {error.meta.status}")
        limited = client.options(api_key=key["encoded"], basic_auth=None)
        return ElasticsearchStore(seeded(), limited, index)

    return make


def test_a_key_for_searching_searches_and_does_nothing_else(with_key, store):
    store.add(Document("a", "one two", {"n": 1}))
    limited = with_key("articles-search")
    for method in ("search", "search_vectors", "get", "count", "scroll"):
        assert METHODS[method](limited)
    for method in ("add", "delete", "drop"):
        with pytest.raises(StoreError, match=r"docs/permissions\.md"):
            METHODS[method](limited)
    assert store.count() == 1


def test_a_key_for_writing_writes_and_searches_and_makes_no_index(with_key, store):
    store.add(Document("a", "one two", {"n": 1}))
    limited = with_key("articles-write")
    for method in ("search", "add", "repair", "delete"):
        METHODS[method](limited)
    assert [document.id for document in store.scroll()] == ["b"]
    with pytest.raises(StoreError, match=r"docs/permissions\.md"):
        limited.drop()


def test_a_key_for_everything_makes_and_deletes_the_index(with_key, client, index):
    limited = with_key("articles-all")
    limited.create()
    limited.add(Document("a", "one two"))
    assert limited.search("one")
    limited.drop()
    assert not client.indices.exists(index=index)


def test_a_key_without_maintenance_writes_and_says_that_searches_find_it_later(with_key, store, monkeypatch, caplog):
    [rights] = KEYS["articles-write"]["role_descriptors"]["write"]["indices"]
    monkeypatch.setitem(rights, "privileges", ["read", "index", "view_index_metadata"])
    assert with_key("articles-write").add(Document("a", "one two")).ok == ("a",)
    assert "lacks the index privilege 'maintenance'" in caplog.text
    assert store.get("a")
