"""What a missing extra means for a user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Import the packages of an extra within this.

    Raises:
        ImportError: A package is missing; says what to install.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").replace("_", "-")
        raise ImportError(
            f"this needs the package {package}: pip install 'flagvec[{name}]'", name=error.name
        ) from error
