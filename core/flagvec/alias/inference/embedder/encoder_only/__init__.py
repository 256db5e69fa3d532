"""``FlagEmbedding.inference.embedder.encoder_only``."""

from flagvec import BGEM3FlagModel, FlagModel

__all__ = ["BGEM3FlagModel", "FlagModel"]
