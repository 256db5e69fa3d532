"""Rows of the ``datasets`` package: data sets by name, and directories that it saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flagvec.errors import SourceError
from flagvec.ingest.columns import Columns
from flagvec.ingest.rows import NumberedRow

_MARKS = ("dataset_info.json", "dataset_dict.json")
_DEFAULT_SPLIT = "train"


def is_saved_dataset(directory: Path) -> bool:
    """Return whether ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` made a directory."""
    return any((directory / mark).is_file() for mark in _MARKS)


def dataset_rows(name: str, columns: Columns) -> Iterator[NumberedRow]:
    """Yield each row of a data set with its number.

    Args:
        name: A directory that ``save_to_disk`` made, or a name; ``:`` and a split may follow, ``train`` by default.
        columns: What is wanted of each row.

    Raises:
        SourceError: ``datasets`` is not installed, the data set cannot be loaded, or it lacks a column.
    """
    try:
        import datasets
    except ImportError as error:
        raise SourceError(
            f"{name!r}: there is no such file; if it is a data set's name, pip install datasets"
        ) from error
    try:
        found = _loaded(datasets, name)
    except Exception as error:  # it raises errors of many libraries
        raise SourceError(f"{name!r}: there is no such file, and it cannot be loaded as a data set: {error}") from error
    if found.column_names is not None:
        columns.check(found.column_names, name)
    yield from enumerate(found, 1)


def _loaded(datasets: Any, name: str) -> Any:
    path, _, split = name.rpartition(":") if ":" in name else (name, "", _DEFAULT_SPLIT)
    if not Path(path).is_dir():
        return datasets.load_dataset(path, split=split, streaming=True)
    found = datasets.load_from_disk(path)
    if not isinstance(found, datasets.DatasetDict):
        return found
    if split not in found:
        raise ValueError(
            f"no split {split!r}; it has {', '.join(map(repr, found))}, and {path}:{next(iter(found))} names one"
        )
    return found[split]
