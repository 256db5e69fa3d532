"""How well searches find what they should, and which fusion does best: docs/evaluation.md."""

from __future__ import annotations

from flagvec.evaluation.bootstrap import Estimate
from flagvec.evaluation.evaluate import Evaluation, SearchQuality, evaluate
from flagvec.evaluation.files import read_queries
from flagvec.evaluation.queries import JudgedQueries, JudgedQuery
from flagvec.evaluation.tune import tune
from flagvec.evaluation.tuning import Tuning

__all__ = [
    "Estimate",
    "Evaluation",
    "JudgedQueries",
    "JudgedQuery",
    "SearchQuality",
    "Tuning",
    "evaluate",
    "read_queries",
    "tune",
]
