"""The documents that ``ingest`` and ``encode`` read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flagvec.cli.options import Format

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder
    from flagvec.ingest.sources import DocumentReader
    from flagvec.store.documents import Document, InvalidDocument


@dataclass(frozen=True, slots=True)
class Source:
    """Documents, and how much of them was read.

    Args:
        reader: Reads the files.
        split: How many tokens a part of a long document has; None leaves documents whole.
        overlap: How many tokens of a part the next one may repeat.
    """

    reader: DocumentReader
    split: int | None
    overlap: int

    @classmethod
    def of(
        cls,
        files: Sequence[str],
        *,
        text: str,
        id: str | None,
        metadata: Sequence[str] | None,
        format: Format | None,
        split: int | None,
        overlap: int,
    ) -> Source:
        """Return the source that the options name; reads nothing but the names and sizes of files.

        Raises:
            SourceError: A file is missing, empty, a directory, or of an unknown format.
            ValueError: The template is not valid, or there is an overlap without parts.
        """
        if overlap and split is None:
            raise ValueError(f"--overlap {overlap} is for --split TOKENS: add that, or leave this out")
        from flagvec.ingest.sources import DocumentReader

        form: Any = None if format is None else format.value
        return cls(DocumentReader(files, text=text, id=id, metadata=metadata or None, format=form), split, overlap)

    def documents(self, model: AbsEmbedder) -> Iterator[Document | InvalidDocument]:
        """Return the documents, or their parts by the model's tokens. Rows that are no documents come as errors."""
        if self.split is None:
            return iter(self.reader)
        from flagvec.ingest.splitting import Splitter

        return Splitter(model, self.split, self.overlap).split_all(self.reader)
