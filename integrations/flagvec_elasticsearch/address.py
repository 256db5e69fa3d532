"""A store of this package from its URL, for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flagvec.store.address import Secret, StoreAddress

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder
    from flagvec_elasticsearch import ElasticsearchStore

_FIELDS = ("dense_index", "sparse_field", "colbert_field")
_OPTIONS = ("ca_certs", "key_file", *_FIELDS)
# Seconds. A node that merges segments may take longer than the client's default of 10.
_TIMEOUT = 60


def store_at(address: StoreAddress, model: AbsEmbedder, secret: Secret, **options: Any) -> ElasticsearchStore:
    """Return the store at an address; nothing is asked of the server yet.

    Args:
        address: With ``dense_index``, ``sparse_field`` and ``colbert_field`` as the store takes them, and ``ca_certs``,
            the file of the certificate authority.
        model: Encodes documents and queries.
        secret: Gives ``ELASTICSEARCH_API_KEY``, or ``ELASTICSEARCH_USERNAME`` and ``ELASTICSEARCH_PASSWORD``.
        options: Further arguments of the store.

    Raises:
        ImportError: The extra is missing; has the pip line.
        ValueError: An option of the address is unknown or has a value that is not taken.
    """
    address.refuse_unknown_options(_OPTIONS)
    # Imported first, because it says which extra is missing.
    from flagvec_elasticsearch import ElasticsearchStore  # isort: skip
    from elasticsearch import Elasticsearch, OrjsonSerializer

    options |= {name: address.options[name] for name in _FIELDS if name in address.options}
    server = f"{address.server}/{address.folder}" if address.folder else address.server
    client = Elasticsearch(
        server,
        request_timeout=_TIMEOUT,
        # Answers with the codes of ColBERT vectors have megabytes.
        serializer=OrjsonSerializer(),
        **_credentials(secret),
        **_certificates(address),
    )
    return ElasticsearchStore(model, client, address.name, **options)


def engine_version(store: ElasticsearchStore) -> str:
    """Return the name and version of the database that a store is in."""
    return f"Elasticsearch {store.client.info()['version']['number']}"


def _credentials(secret: Secret) -> dict[str, Any]:
    if key := secret("ELASTICSEARCH_API_KEY"):
        return {"api_key": key}
    password = secret("ELASTICSEARCH_PASSWORD")
    return {"basic_auth": (secret("ELASTICSEARCH_USERNAME") or "elastic", password)} if password else {}


def _certificates(address: StoreAddress) -> dict[str, Any]:
    return {"ca_certs": address.options["ca_certs"]} if "ca_certs" in address.options else {}
