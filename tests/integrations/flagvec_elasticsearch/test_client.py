"""What a server's licence allows."""

from types import SimpleNamespace

import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import AuthorizationException

from flagvec_elasticsearch import client


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
