"""``FlagEmbedding.inference.embedder``."""

from typing import NoReturn

from flagvec import BGEM3FlagModel, FlagModel, alias
from flagvec.alias.inference.embedder.model_mapping import EmbedderModelClass

__all__ = ["BGEM3FlagModel", "EmbedderModelClass", "FlagModel"]


def __getattr__(name: str) -> NoReturn:
    alias.refuse("FlagEmbedding.inference.embedder", name)
