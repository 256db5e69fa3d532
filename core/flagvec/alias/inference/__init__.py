"""``FlagEmbedding.inference``."""

from typing import NoReturn

from flagvec import BGEM3FlagModel, FlagAutoModel, FlagModel, alias
from flagvec.alias.inference.embedder.model_mapping import EmbedderModelClass

__all__ = ["BGEM3FlagModel", "EmbedderModelClass", "FlagAutoModel", "FlagModel"]


def __getattr__(name: str) -> NoReturn:
    alias.refuse("FlagEmbedding.inference", name)
