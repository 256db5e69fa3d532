"""Texts as valid Unicode."""

from __future__ import annotations


def valid_unicode(text: str) -> str:
    """Return `text` with surrogate pairs joined and lone surrogates as U+FFFD.

    Neither tokenizers nor databases take a lone surrogate: UTF-8 has none.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
