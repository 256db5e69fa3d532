"""URLs of stores: their parts, and what is wrong with others."""

from pathlib import Path

import pytest

from flagvec.store.address import EXAMPLES, StoreAddress


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("qdrant://host:7000/articles", ("qdrant", "http://host:7000", "", "articles")),
        ("qdrant://host/articles", ("qdrant", "http://host:6333", "", "articles")),
        ("qdrant+https://host/prefix/articles", ("qdrant", "https://host:6333", "prefix", "articles")),
        ("milvus://host/library/articles", ("milvus", "http://host:19530", "library", "articles")),
        ("elasticsearch://host/articles", ("elasticsearch", "http://host:9200", "", "articles")),
        ("elasticsearch+https://[::1]/a/b/articles", ("elasticsearch", "https://[::1]:9200", "a/b", "articles")),
        ("qdrant://host/two%20words", ("qdrant", "http://host:6333", "", "two words")),
        ("edge:./articles", ("edge", "", "", "./articles")),
        ("edge:///var/articles", ("edge", "", "", "/var/articles")),
        ("milvus-lite:./a/library.db/articles", ("milvus-lite", "", "./a/library.db", "articles")),
    ],
)
def test_a_url_has_a_database_a_server_a_folder_and_a_name(url, parts):
    address = StoreAddress.parsed(url)
    assert (address.database, address.server, address.folder, address.name) == parts


def test_options_come_after_a_question_mark():
    address = StoreAddress.parsed("edge:./articles?storage=small")
    assert (address.name, address.options) == ("./articles", {"storage": "small"})


@pytest.mark.parametrize("url", EXAMPLES)
def test_the_examples_of_messages_are_urls(url):
    assert StoreAddress.parsed(url).url == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://host/articles", "is not the URL of a store: write one like qdrant://localhost:6333/articles"),
        ("articles", "is not the URL of a store"),
        ("qdrant://host", "lacks a collection or index: write one like qdrant://localhost:6333/articles"),
        ("milvus:///articles", "lacks a host: write one like milvus://localhost:19530/articles"),
        ("qdrant+grpc://host/articles", r"after qdrant\+ comes http or https, not 'grpc'"),
        ("qdrant://host:port/articles", "Port could not be cast"),
        ("edge:", "names no directory: write one like edge:./articles"),
        ("milvus-lite:library/articles", "is a file that ends in .db, then a collection"),
    ],
)
def test_another_url_says_what_to_write(url, said):
    with pytest.raises(ValueError, match=said):
        StoreAddress.parsed(url)


@pytest.mark.parametrize("url", ["qdrant://:hunter2@host/articles", "elasticsearch://me:hunter2@host/articles"])
def test_a_password_is_refused_and_not_repeated(url):
    with pytest.raises(ValueError, match=r"put it into the environment \((QDRANT|ELASTICSEARCH)_API_KEY") as refused:
        StoreAddress.parsed(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("qdrant://host/articles", "qdrant+https://host:6333/articles?storage=small"),
        ("edge:articles", f"edge:{Path('articles').absolute()}"),
        ("milvus-lite:library.db/articles", "milvus-lite:./library.db/articles"),
    ],
)
def test_two_urls_of_one_store_have_one_place(one, other):
    assert StoreAddress.parsed(one).place == StoreAddress.parsed(other).place


@pytest.mark.parametrize("other", ["qdrant://host/other", "qdrant://host:1/articles", "milvus://host:6333/articles"])
def test_urls_of_two_stores_have_two_places(other):
    assert StoreAddress.parsed("qdrant://host/articles").place != StoreAddress.parsed(other).place
