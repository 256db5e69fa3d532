"""Which servers flagvec works with, by the versions that may have created an index."""

import pytest

from flagvec import StoreError
from flagvec_elasticsearch.versions import check_created, takes_packed_vectors


@pytest.mark.parametrize(
    "created", ["8.19.0", "8.19.9-8.19.21", "8.18.4-8.19.2", "9.1.0", "9.5.3", "9.0.0-9.1.2", "[9060000]", ""]
)
def test_an_index_that_a_supported_server_may_have_created_is_taken(created):
    check_created(created, "the index")


@pytest.mark.parametrize("created", ["7.17.9", "8.18.4", "8.15.0-8.15.3", "9.0.0-9.0.8", "10.0.0"])
def test_an_index_of_another_server_is_refused_with_its_version_and_what_is_needed(created):
    with pytest.raises(StoreError, match=f"created by Elasticsearch {created}, and flagvec works with 8.19, and"):
        check_created(created, "the index")


def test_vectors_are_packed_for_servers_from_9_3_on():
    created = ["8.19.9-8.19.21", "9.2.0", "9.2.4-9.3.1", "9.3.0", "9.10.0-9.10.2", "[9060000]", ""]
    assert [takes_packed_vectors(one) for one in created] == [False, False, False, True, True, False, False]


def test_an_index_of_the_server_says_which_version_created_it(client, store):
    created = store._backend._described.created
    version = client.info()["version"]["number"].split(".")[:2]
    assert created.rpartition("-")[2].split(".")[:2] == version
