"""How well searches find what they should, and which fusion does best: `evaluate` and `tune`. docs/evaluation.md."""

from __future__ import annotations

from flagvec.evaluation.bootstrap import Estimate
from flagvec.evaluation.evaluate import Evaluation, SearchQuality, evaluate
from flagvec.evaluation.files import read_queries
from flagvec.evaluation.queries import JudgedQueries, JudgedQuery

__all__ = [
    "Estimate",
    "Evaluation",
    "JudgedQueries",
    "JudgedQuery",
    "SearchQuality",
    "evaluate",
    "read_queries",
]
