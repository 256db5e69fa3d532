"""The versions of Elasticsearch that flagvec works with: pure functions."""

from __future__ import annotations

import re

from flagvec.errors import StoreError

_OLDEST = (8, 19)
_OLDEST_OF_9 = (9, 1)
_FIRST_UNKNOWN = (10, 0)
_PACKED_VECTORS = (9, 3)


def check_created(created: str, name: str) -> None:
    """Check the versions that may have created an index, because the server is at least as new as they are.

    Args:
        created: What the server says in ``index.version.created_string``, like ``"8.19.9-8.19.21"``. If it names no
            version, it passes.
        name: What messages call the index.

    Raises:
        StoreError: flagvec does not work with any of them.
    """
    # Several versions share one format of an index, so the server says from which to which.
    if (found := _versions(created)) and not _is_supported(found[-1]):
        raise StoreError(
            f"{name} was created by Elasticsearch {created}, and flagvec works with 8.19, and with 9.1 and up below "
            "10: drop() it, update the server, and create() it there"
        )


def takes_packed_vectors(created: str) -> bool:
    """Return whether the server takes dense vectors as base64, by the versions that may have created an index.

    Elasticsearch does from 9.3 on (pull request 137072). A newer server counts as an older one if the index is older.
    """
    found = _versions(created)
    return bool(found) and found[0] >= _PACKED_VECTORS


def _versions(text: str) -> list[tuple[int, int]]:
    return [(int(major), int(minor)) for major, minor in re.findall(r"(?<![\d.])(\d+)\.(\d+)\.\d+", text)]


def _is_supported(version: tuple[int, int]) -> bool:
    # 9.0 cannot rescore what a quantised index finds.
    return _OLDEST <= version < _FIRST_UNKNOWN and not (9, 0) <= version < _OLDEST_OF_9
