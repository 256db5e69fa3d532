"""Which versions go together."""

import pytest

from flagvec import StoreError
from flagvec_elasticsearch import server


@pytest.mark.parametrize(
    ("number", "version"),
    [("8.19.0", (8, 19)), ("8.19.21", (8, 19)), ("9.1.0-SNAPSHOT", (9, 1)), ("9.5.3", (9, 5)), ("9.12.1", (9, 12))],
)
def test_a_supported_server_is_taken(number, version):
    assert server.checked_version(number) == version


@pytest.mark.parametrize("number", ["7.17.9", "8.18.4", "9.0.0", "9.0.8", "10.0.0", "unknown"])
def test_another_server_is_refused_with_its_version_and_what_is_needed(number):
    with pytest.raises(StoreError, match=f"a server of Elasticsearch 8.19, or 9.1 and up, found {number}"):
        server.checked_version(number)


@pytest.mark.parametrize("version", [(8, 18, 3), (7, 17, 0), (10, 0, 0)])
def test_another_client_is_refused_with_its_version_and_what_is_needed(monkeypatch, version):
    monkeypatch.setattr(server, "CLIENT_VERSION", version)
    with pytest.raises(StoreError, match=r"elasticsearch>=8\.19,<10, found " + ".".join(map(str, version))):
        server.check_client()


def test_vectors_are_packed_for_servers_from_9_3_on():
    assert [server.takes_packed_vectors(version) for version in ((8, 19), (9, 2), (9, 3), (9, 10))] == [
        False, False, True, True,
    ]  # fmt: skip
