"""How documents get into stores: in bounded windows, with retries, a journal, and a report."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagvec.ingest.encoded import EncodedDocument
    from flagvec.ingest.ingest_report import IngestReport, StoreReport
    from flagvec.ingest.ingestion import ingest
    from flagvec.ingest.journal import Journal
    from flagvec.ingest.verification import Verification, verify

__all__ = ["EncodedDocument", "IngestReport", "Journal", "StoreReport", "Verification", "ingest", "verify"]

# On first use, because the stores import modules of this package.
_ON_FIRST_USE = {
    "EncodedDocument": "flagvec.ingest.encoded",
    "IngestReport": "flagvec.ingest.ingest_report",
    "Journal": "flagvec.ingest.journal",
    "StoreReport": "flagvec.ingest.ingest_report",
    "Verification": "flagvec.ingest.verification",
    "ingest": "flagvec.ingest.ingestion",
    "verify": "flagvec.ingest.verification",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module 'flagvec.ingest' has no attribute {name!r}")
    return getattr(import_module(_ON_FIRST_USE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
