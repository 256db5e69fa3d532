"""Settings of searches in a file, which `flagvec tune` writes and every search can use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from flagvec.errors import SourceError
from flagvec.search.fusion import Weighted
from flagvec.search.options import SearchKeywords, check_choice, refuse_unknown, whole_number

VERSION = 1
_VERSION_KEY, _SEARCH_KEY, _TUNED_KEY = "flagvec_settings", "search", "tuned"
_OPTIONS = ("fusion", "candidates")


def save_settings(path: str | Path, options: SearchKeywords, tuned: Mapping[str, Any] | None = None) -> None:
    """Write options of a search to a file of JSON, for `load_settings`.

    Args:
        path: The file, which is replaced.
        options: ``fusion`` and ``candidates``; what is left out keeps the default of a search.
        tuned: How the options were found, in JSON's types, for whoever reads the file.

    Raises:
        TypeError: An option that the file does not hold.
        OSError: The file cannot be written.
    """
    refuse_unknown(options, _OPTIONS, "a file of settings")
    search = {name: asdict(one) if isinstance(one, Weighted) else one for name, one in options.items()}
    value = {_VERSION_KEY: VERSION, _SEARCH_KEY: search, **({} if tuned is None else {_TUNED_KEY: tuned})}
    Path(path).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_settings(path: str | Path) -> SearchKeywords:
    """Return the options of a search that a file holds.

    Stores take them as ``store.search(query, **load_settings(path))``. The classes for LangChain and LlamaIndex take
    them beside the store, as in ``FlagRetriever(store=store, **load_settings(path))``.

    Args:
        path: A file of ``flagvec tune`` or of `save_settings`.

    Returns:
        ``fusion``, a `Weighted` or ``"rrf"``, and ``candidates`` if the file sets it.

    Raises:
        SourceError: The file is missing, is no file of settings, or holds an option that is not valid.

    Example:
        >>> save_settings("tuned.json", {"fusion": {"dense": 1, "sparse": 0.5}})
        >>> load_settings("tuned.json")
        {'fusion': Weighted(dense=1, sparse=0.5, colbert=0.0)}
    """
    found = _read(Path(path))
    try:
        return _checked(found)
    except (TypeError, ValueError) as error:
        raise SourceError(f"{path}: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SourceError(f"{str(path)!r}: there is no such file; flagvec tune writes one") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SourceError(f"{path} is not JSON: {error}; let flagvec tune write it again") from error
    version = value.get(_VERSION_KEY) if isinstance(value, dict) else None
    if version is None or not isinstance(value.get(_SEARCH_KEY), dict):
        raise SourceError(
            f"{path} has no {_VERSION_KEY!r} and {_SEARCH_KEY!r}: it is not a file of settings, as flagvec tune writes it"
        )
    if version != VERSION:
        raise SourceError(f"{path} has settings of version {version!r}, and this flagvec reads {VERSION}: update flagvec")
    return cast("dict[str, Any]", value[_SEARCH_KEY])


def _checked(given: Mapping[str, Any]) -> SearchKeywords:
    refuse_unknown(given, _OPTIONS, "search")
    options: SearchKeywords = {}
    fusion = given.get("fusion", "rrf")
    if isinstance(fusion, Mapping):
        options["fusion"] = Weighted.from_mapping(fusion)
    else:
        check_choice("fusion", fusion, ["rrf"], "weights like {'dense': 1, 'sparse': 0.3, 'colbert': 1}")
        options["fusion"] = "rrf"
    if given.get("candidates") is not None:
        options["candidates"] = whole_number("candidates", given["candidates"], at_least=1)
    return options
