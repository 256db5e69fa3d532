"""``FlagEmbedding.inference.embedder.model_mapping``: which models there are, from flagvec's catalogue."""

from enum import Enum

from flagvec.models import CATALOGUE


class EmbedderModelClass(Enum):
    """FlagEmbedding's names for the classes that flagvec has, as `FlagAutoModel.from_finetuned` takes them."""

    ENCODER_ONLY_BASE = "encoder-only-base"
    ENCODER_ONLY_M3 = "encoder-only-m3"


def support_native_bge_model_list() -> list[str]:
    """Return the short names of BAAI's models; those of FlagEmbedding's list that are decoders are left out."""
    return [card.name for card in CATALOGUE if (card.repository or "").startswith("BAAI/")]


def support_model_list() -> list[str]:
    """Return the short names of all models of the catalogue."""
    return [card.name for card in CATALOGUE]
