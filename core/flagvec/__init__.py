"""BGE-style embeddings into a vector database and back out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from flagvec.errors import (
    CheckpointError,
    FlagvecError,
    JournalError,
    ModelNotFoundError,
    NotFiniteError,
    StoreDownError,
    StoreError,
    WriteError,
)
from flagvec.filters.portable import NativeFilter
from flagvec.ingest.report import FailedWrite, WriteReport
from flagvec.late_interaction.codec import ColbertCodec
from flagvec.late_interaction.storage import ColbertStorage
from flagvec.m3_output import M3Output
from flagvec.models import list_models
from flagvec.search.fusion import Weighted
from flagvec.store.documents import Document, Hit, Hits

if TYPE_CHECKING:
    from flagvec.auto_model import FlagAutoModel
    from flagvec.bge_m3 import BGEM3FlagModel
    from flagvec.colbert_model import ColbertFlagModel
    from flagvec.combined_model import CombinedModel
    from flagvec.embedder import AbsEmbedder
    from flagvec.flag_model import FlagModel
    from flagvec.ingest.encoded import EncodedDocument
    from flagvec.ingest.ingest_report import IngestReport
    from flagvec.ingest.journal import Journal
    from flagvec.late_interaction.maxsim import maxsim
    from flagvec.search.options import SearchOptions
    from flagvec.store.base import HybridStore

__version__ = "0.1.0"

__all__ = [
    "AbsEmbedder",
    "BGEM3FlagModel",
    "CheckpointError",
    "ColbertCodec",
    "ColbertFlagModel",
    "ColbertStorage",
    "CombinedModel",
    "Document",
    "EncodedDocument",
    "FailedWrite",
    "FlagAutoModel",
    "FlagModel",
    "FlagvecError",
    "Hit",
    "Hits",
    "HybridStore",
    "IngestReport",
    "Journal",
    "JournalError",
    "M3Output",
    "ModelNotFoundError",
    "NativeFilter",
    "NotFiniteError",
    "SearchOptions",
    "StoreDownError",
    "StoreError",
    "Weighted",
    "WriteError",
    "WriteReport",
    "list_models",
    "maxsim",
]

# These are imported on first use. The model classes need torch, which takes seconds to import.
_ON_FIRST_USE = {
    "AbsEmbedder": "flagvec.embedder",
    "BGEM3FlagModel": "flagvec.bge_m3",
    "ColbertFlagModel": "flagvec.colbert_model",
    "CombinedModel": "flagvec.combined_model",
    "FlagAutoModel": "flagvec.auto_model",
    "EncodedDocument": "flagvec.ingest.encoded",
    "FlagModel": "flagvec.flag_model",
    "HybridStore": "flagvec.store.base",
    "IngestReport": "flagvec.ingest.ingest_report",
    "Journal": "flagvec.ingest.journal",
    "SearchOptions": "flagvec.search.options",
    "maxsim": "flagvec.late_interaction.maxsim",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module 'flagvec' has no attribute {name!r}")
    return getattr(import_module(_ON_FIRST_USE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
