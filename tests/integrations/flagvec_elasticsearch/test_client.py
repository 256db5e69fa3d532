"""Which versions go together."""

from types import SimpleNamespace

import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import AuthorizationException

from flagvec import StoreError
from flagvec_elasticsearch import client


@pytest.mark.parametrize(
    ("number", "version"),
    [("8.19.0", (8, 19)), ("8.19.21", (8, 19)), ("9.1.0-SNAPSHOT", (9, 1)), ("9.5.3", (9, 5)), ("9.12.1", (9, 12))],
)
def test_a_supported_server_is_taken(number, version):
    assert client.checked_version(number) == version


@pytest.mark.parametrize("number", ["7.17.9", "8.18.4", "9.0.0", "9.0.8", "10.0.0", "unknown"])
def test_another_server_is_refused_with_its_version_and_what_is_needed(number):
    with pytest.raises(
        StoreError, match=f"the server is Elasticsearch {number}: flagvec works with 8.19, and with 9.1"
    ):
        client.checked_version(number)


def test_vectors_are_packed_for_servers_from_9_3_on():
    assert [client.takes_packed_vectors(version) for version in ((8, 19), (9, 2), (9, 3), (9, 10))] == [
        False, False, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "status", "has_it"),
    [
        ("enterprise", "active", True),
        ("trial", "active", True),
        ("enterprise", "expired", False),
        ("platinum", "active", False),
        ("basic", "active", False),
    ],
)
def test_a_licence_in_force_says_what_a_server_can_do(kind, status, has_it):
    licence = SimpleNamespace(get=lambda: {"license": {"type": kind, "status": status}})
    assert client.Index(SimpleNamespace(license=licence), "a").has_enterprise_licence() is has_it


def test_a_server_that_does_not_say_its_licence_counts_as_basic():
    def forbidden():
        meta = ApiResponseMeta(403, "1.1", HttpHeaders(), 0.1, NodeConfig("http", "127.0.0.1", 9200))
        raise AuthorizationException("security_exception", meta, {})

    server = SimpleNamespace(license=SimpleNamespace(get=forbidden))
    assert not client.Index(server, "a").has_enterprise_licence()
