"""Checks the ``settings`` of a store, which go to the database's own call that makes the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def check_names(settings: Any, allowed: Collection[str], of_the_schema: Mapping[str, str], example: str) -> None:
    """Refuse settings that a store does not take.

    Args:
        settings: What a user gave.
        allowed: The names that are taken.
        of_the_schema: Names that the store decides on, with the reason.
        example: A dict as it is written in code.

    Raises:
        TypeError: It is not a mapping.
        ValueError: A name is unknown or contradicts the schema; names those that are taken.
    """
    if not isinstance(settings, Mapping):
        raise TypeError(f"settings takes a dict like {example}, not {type(settings).__name__}")
    for name in settings:
        if name in of_the_schema:
            raise ValueError(f"settings[{name!r}] contradicts the schema, because {of_the_schema[name]}: leave it out")
        if name not in allowed:
            raise ValueError(f"settings[{name!r}] is not known: settings takes {', '.join(allowed)}")
