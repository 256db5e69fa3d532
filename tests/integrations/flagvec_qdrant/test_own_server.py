"""Servers that the tests start, stop and start again, with the program at QDRANT_BINARY; skipped without it."""

import base64
import hashlib
import hmac
import json
from contextlib import ExitStack

import pytest
from qdrant_client import models

from flagvec import Document, StoreError, WriteError
from flagvec_qdrant import QdrantStore

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")

REMEDY = r"Index required but not found .* To create it, name the field in filter_fields=\{...\}"


@pytest.fixture(params=["rest", "grpc"])
def wire(request):
    return request.param


@pytest.fixture
def store(server, wire, seeded):
    """A store of three documents."""
    client = server.client(wire)
    made = QdrantStore(seeded(), client, "articles")
    made.create()
    made.add([Document(name, f"shared {name}", {"lang": "en"}) for name in "abc"])
    yield made
    made.drop()
    client.close()


def token(key, **claims):
    """Return a JSON Web Token that is signed with a server's key."""

    def written(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    parts = [{"alg": "HS256", "typ": "JWT"}, claims]
    signed = b".".join(written(json.dumps(part).encode()) for part in parts)
    return (signed + b"." + written(hmac.new(key.encode(), signed, hashlib.sha256).digest())).decode()


def as_user(server, wire, model, access, **options):
    claims = [{"collection": "articles", "access": access}]
    return QdrantStore(model, server.client(wire, token(server.key, access=claims)), "articles", **options)


VERBS = {
    "search": lambda store: [hit.id for hit in store.search("shared a", filter={"lang": "en"}, timeout=30)],
    "get": lambda store: store.get("a", timeout=30),
    "count": lambda store: store.count({"lang": "en"}, timeout=30),
    "scroll": lambda store: sorted(document.id for document in store.scroll({"lang": "en"}, timeout=30)),
}


@pytest.mark.parametrize("use", VERBS.values(), ids=VERBS)
def test_a_token_to_read_one_collection_is_enough_to_read(store, server, wire, seeded, use):
    assert use(as_user(server, wire, seeded(), "r")) == use(store)


def test_a_token_to_write_one_collection_is_enough_to_write(store, server, wire, seeded):
    user = as_user(server, wire, seeded(), "rw", filter_fields={"lang": "keyword"})
    user.add(Document("new", "text"))
    user.delete("a")
    user.delete(filter={"lang": "en"})
    assert [document.id for document in store.scroll()] == ["new"]


def test_a_token_to_read_does_not_write(store, server, wire, seeded):
    with pytest.raises(WriteError, match="0 of 1 documents were written"):
        as_user(server, wire, seeded(), "r").add("text")
    assert store.count() == 3


def test_a_token_to_read_makes_no_index(store, server, wire, seeded):
    with pytest.raises(StoreError, match=r"could not be opened: .*articles"):
        as_user(server, wire, seeded(), "r", filter_fields={"lang": "keyword"}).count({"lang": "en"})


def test_a_token_to_read_is_enough_if_the_index_is_there(store, server, wire, seeded):
    QdrantStore(seeded(), store.client, "articles", filter_fields={"lang": "keyword"}).count()
    user = as_user(server, wire, seeded(), "r", filter_fields={"lang": "keyword"})
    assert user.count({"lang": "en"}) == 3


@pytest.fixture
def alias(store):
    """The name ``live``, which leads to the collection."""
    create = models.CreateAlias(collection_name="articles", alias_name="live")
    store.client.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])
    return "live"


def test_a_token_that_names_the_alias_is_enough(store, server, wire, seeded, alias):
    client = server.client(wire, token(server.key, access=[{"collection": alias, "access": "rw"}]))
    user = QdrantStore(seeded(), client, alias)
    user.add(Document("new", "shared new"))
    assert user.count() == store.count() == 4


def test_a_token_that_names_the_collection_does_not_open_its_alias(store, server, wire, seeded, alias):
    client = server.client(wire, token(server.key, access=[{"collection": "articles", "access": "rw"}]))
    with pytest.raises(StoreError, match=r"could not be opened: .*live"):
        QdrantStore(seeded(), client, alias).count()


def test_a_token_to_manage_the_server_switches_aliases(store, server, wire, seeded, alias):
    QdrantStore(seeded(), server.client(wire, token(server.key, access="m")), "articles").switch_alias("other")
    assert store.leads_to("other") == store.leads_to(alias) == "articles"


def test_a_token_to_write_one_collection_switches_no_alias(store, server, wire, seeded):
    with pytest.raises(StoreError, match="could not be given an alias"):
        as_user(server, wire, seeded(), "rw").switch_alias("live")
    assert store.leads_to("live") is None


def test_a_token_for_another_collection_is_refused(store, server, wire, seeded):
    stranger = server.client(wire, token(server.key, access=[{"collection": "letters", "access": "rw"}]))
    with pytest.raises(StoreError, match="could not be opened"):
        QdrantStore(seeded(), stranger, "articles").count()


STRICT = {
    "search": lambda store: store.search("text", filter={"lang": "en"}),
    "count": lambda store: store.count({"lang": "en"}),
    "scroll": lambda store: list(store.scroll({"lang": "en"})),
    "delete": lambda store: store.delete(filter={"lang": "en"}),
}


@pytest.mark.parametrize("use", STRICT.values(), ids=STRICT)
def test_in_strict_mode_a_filter_without_an_index_names_filter_fields(store, server, wire, seeded, use):
    strict = models.StrictModeConfig(enabled=True, unindexed_filtering_retrieve=False, unindexed_filtering_update=False)
    store.client.update_collection("articles", strict_mode_config=strict)
    with pytest.raises(StoreError, match=REMEDY):
        use(store)
    use(QdrantStore(seeded(), store.client, "articles", filter_fields={"lang": "keyword"}))


def test_reads_over_the_rate_limit_come_through(store):
    limited = models.StrictModeConfig(enabled=True, read_rate_limit=60)
    store.client.update_collection("articles", strict_mode_config=limited)
    assert [store.count(timeout=30) for _ in range(70)] == [3] * 70


def test_an_add_of_more_than_a_minute_of_the_rate_limit_is_written_in_parts(store):
    store.client.update_collection(
        "articles", strict_mode_config=models.StrictModeConfig(enabled=True, write_rate_limit=60)
    )
    store.add([Document(f"new {number}", f"shared {number}") for number in range(61)])
    assert store.count() == 64


@pytest.mark.parametrize("use", VERBS.values(), ids=VERBS)
def test_a_read_comes_through_a_server_that_is_killed_and_started_again(store, server, use):
    expected = use(store)
    with server.killed():
        assert use(store) == expected


def test_a_read_comes_through_a_server_that_stands_still_for_a_while(store, server, wire, seeded):
    user = QdrantStore(seeded(), server.client(wire, timeout=1), "articles")
    user.count()
    with server.stopped():
        assert user.count() == 3


def test_an_add_comes_through_a_server_that_is_killed_and_started_again(store, server):
    def documents():
        for number in range(1000):
            if number == 600:
                away.enter_context(server.killed())
            yield Document(f"new {number}", f"shared {number}")

    with ExitStack() as away:
        report = store.add(documents())
    assert len(report.ok) == 1000
    assert len({document.id for document in store.scroll(timeout=30)}) == store.count() == 1003
