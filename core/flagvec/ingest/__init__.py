"""How documents get into stores: in bounded windows, with retries, a journal, and a report."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagvec.ingest.encoded import EncodedDocument
    from flagvec.ingest.ingest_report import IngestReport, StoreReport
    from flagvec.ingest.ingestion import ingest
    from flagvec.ingest.journal import Journal
    from flagvec.ingest.loading import load
    from flagvec.ingest.parquet import encode_to_parquet, export, read_vectors
    from flagvec.ingest.sources import DocumentReader
    from flagvec.ingest.splitting import Splitter
    from flagvec.ingest.verification import Verification, verify

__all__ = [
    "DocumentReader",
    "EncodedDocument",
    "IngestReport",
    "Journal",
    "Splitter",
    "StoreReport",
    "Verification",
    "encode_to_parquet",
    "export",
    "ingest",
    "load",
    "read_vectors",
    "verify",
]

# On first use, because the stores import modules of this package.
_ON_FIRST_USE = {
    "DocumentReader": "flagvec.ingest.sources",
    "EncodedDocument": "flagvec.ingest.encoded",
    "IngestReport": "flagvec.ingest.ingest_report",
    "Journal": "flagvec.ingest.journal",
    "Splitter": "flagvec.ingest.splitting",
    "StoreReport": "flagvec.ingest.ingest_report",
    "Verification": "flagvec.ingest.verification",
    "encode_to_parquet": "flagvec.ingest.parquet",
    "export": "flagvec.ingest.parquet",
    "ingest": "flagvec.ingest.ingestion",
    "load": "flagvec.ingest.loading",
    "read_vectors": "flagvec.ingest.parquet",
    "verify": "flagvec.ingest.verification",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module 'flagvec.ingest' has no attribute {name!r}")
    return getattr(import_module(_ON_FIRST_USE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
