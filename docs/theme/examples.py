"""Let griffe read ``Example:`` of a docstring as code, as it reads ``Examples:``."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Examples(griffe.Extension):  # type: ignore[misc]  # griffe is not typed in every version
    """Renames the section, because griffe takes ``Example:`` for a note in prose."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        """Change the docstring of an object that griffe has read."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
