"""Which clients and servers go together, and what a server of a version can do."""

from __future__ import annotations

import re

from elasticsearch import ApiError, BadRequestError, Elasticsearch
from elasticsearch import __version__ as CLIENT_VERSION

from flagvec.errors import StoreError

_OLDEST = (8, 19)
_OLDEST_OF_9 = (9, 1)
_FIRST_UNKNOWN = (10, 0)
_PACKED_VECTORS = (9, 3)
_ENTERPRISE_LICENCES = frozenset({"enterprise", "trial"})


def check_client() -> None:
    """Check the version of the installed client.

    Raises:
        StoreError: It is too old, or of a major version that is not known.
    """
    if not _is_supported(CLIENT_VERSION[:2]):
        raise StoreError(
            f"flagvec needs the client elasticsearch 8.19, or 9.1 and up, found {_dotted(CLIENT_VERSION)}: "
            "pip install 'elasticsearch>=8.19,<10,!=9.0.*'"
        )


def server_version(client: Elasticsearch) -> tuple[int, int]:
    """Return a server's major and minor version, which flagvec can work with.

    Raises:
        StoreError: It is not; says what was found and what is needed.
    """
    try:
        number = str(client.info()["version"]["number"])
    except BadRequestError as error:
        if error.error != "media_type_header_exception":
            raise
        raise StoreError(
            f"the server does not speak with the client elasticsearch {_dotted(CLIENT_VERSION)}, for it is older: "
            "install the client of the server's major version or a lower one, "
            "for a server 8.x pip install 'elasticsearch>=8.19,<9'"
        ) from error
    return checked_version(number)


def checked_version(number: str) -> tuple[int, int]:
    """Return the major and minor version in a server's version number.

    Raises:
        StoreError: flagvec does not work with it.

    Example:
        >>> checked_version("8.19.21")
        (8, 19)
    """
    digits = re.match(r"(\d+)\.(\d+)", number)
    version = (int(digits[1]), int(digits[2])) if digits else (0, 0)
    if not _is_supported(version):
        raise StoreError(f"flagvec needs a server of Elasticsearch 8.19, or 9.1 and up, found {number}")
    return version


def takes_packed_vectors(version: tuple[int, int]) -> bool:
    """Return whether a server takes dense vectors as base64 (elastic/elasticsearch pull request 137072)."""
    return version >= _PACKED_VECTORS


def has_enterprise_licence(client: Elasticsearch) -> bool:
    """Return whether a server's licence has what not every licence has, like the ``rrf`` retriever.

    A server that does not tell, as it does not tell every user, is taken for one whose licence has not.
    """
    try:
        licence = client.license.get()["license"]
    except ApiError:
        return False
    return licence["status"] == "active" and licence["type"] in _ENTERPRISE_LICENCES


def _is_supported(version: tuple[int, ...]) -> bool:
    # 9.0 does not score anew what an index of shortened numbers finds.
    return _OLDEST <= version < _FIRST_UNKNOWN and not (9, 0) <= version < _OLDEST_OF_9


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
