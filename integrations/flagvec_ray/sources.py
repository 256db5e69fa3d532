"""Documents for actors: rows of a Ray data set, or the lines of files, which tasks read on the cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray.data

from flagvec.ingest.columns import Columns
from flagvec.ingest.sources import DocumentReader
from flagvec.store.documents import Document, InvalidDocument, checked_documents

# The one column of `read`: metadata of different files need not have one type in Arrow.
_WHOLE = "flagvec_document"
_ROWS = 1_024


@dataclass(frozen=True)
class Fields:
    """Which columns of a data set become a document, as in `flagvec.ingest.sources.DocumentReader`."""

    text: str = "text"
    id: str | None = None
    metadata: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        Columns(self.text, self.id, self.metadata)

    def documents(self, table: pa.Table) -> Iterator[Document | InvalidDocument]:
        """Yield the checked documents of a batch of rows, and what is wrong with the others."""
        if _WHOLE in table.column_names:
            yield from checked_documents(map(_read_document, table.column(_WHOLE).to_pylist()))
            return
        yield from checked_documents(self._made(table))

    def _made(self, table: pa.Table) -> Iterator[Document | InvalidDocument]:
        columns = Columns(self.text, self.id, self.metadata)
        for position, row in enumerate(table.to_pylist()):
            try:
                yield columns.document(row)
            except (TypeError, ValueError) as error:
                yield InvalidDocument(str(row.get(self.id or "id") or f"row {position}"), error, None)


def read(
    sources: str | Sequence[str],
    *,
    text: str = "text",
    id: str | None = None,
    metadata: Sequence[str] | None = None,
    format: Any = None,
) -> ray.data.Dataset:
    """Return the documents of files as a data set, which `ingest` and `encode` take as it is.

    A task of Ray reads each file, so that every node needs the files at the same place. Lines that are no documents
    become dead letters.

    Args:
        sources: What `flagvec.ingest.sources.DocumentReader` takes, except standard input.
        text: The column of the texts, or a template.
        id: The column of the ids.
        metadata: The columns that become metadata; None takes all others.
        format: What the files are; None goes by their names.

    Raises:
        SourceError: A file is missing, empty, or of an unknown format.
        ValueError: Standard input, which only this process can read.
    """
    given = [sources] if isinstance(sources, str) else list(sources)
    if "-" in given:
        raise ValueError("sources has '-': tasks on other machines cannot read this process's input; name a file")
    options: dict[str, Any] = {"text": text, "id": id, "metadata": metadata, "format": format}
    # Tasks run in directories of their own. Other names are those of data sets.
    files = [
        str(Path(name).resolve()) if Path(name).exists() else name for name in DocumentReader(given, **options).files
    ]

    def rows(batch: dict[str, Any]) -> Iterator[dict[str, list[str]]]:
        lines: list[str] = []
        for document in DocumentReader([str(batch["item"][0])], **options):
            lines.append(_written(document))
            if len(lines) == _ROWS:
                yield {_WHOLE: lines}
                lines = []
        if lines:
            yield {_WHOLE: lines}

    return ray.data.from_items(files).map_batches(rows, batch_size=1)


def _written(one: Document | InvalidDocument) -> str:
    if isinstance(one, InvalidDocument):
        return json.dumps({"id": one.id, "error": str(one.error)})
    # Dates and the like are checked, and turned into JSON's types, as everywhere.
    [checked] = checked_documents([one])
    if isinstance(checked, InvalidDocument):
        return _written(checked)
    return json.dumps({"id": checked.id, "text": checked.text, "metadata": checked.metadata})


def _read_document(line: str) -> Document | InvalidDocument:
    values = json.loads(line)
    if "error" in values:
        return InvalidDocument(values["id"], ValueError(values["error"]), None)
    return Document(**values)
