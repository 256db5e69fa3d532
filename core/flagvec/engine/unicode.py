"""Turns texts into valid Unicode."""

from __future__ import annotations


def valid_unicode(text: str) -> str:
    """Return `text` with surrogate pairs joined, and each lone surrogate replaced by U+FFFD.

    Tokenizers and databases refuse a lone surrogate, because UTF-8 cannot encode it.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
