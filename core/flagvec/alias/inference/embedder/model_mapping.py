"""``FlagEmbedding.inference.embedder.model_mapping``: the models of flagvec's catalogue."""

from enum import Enum

from flagvec.models import CATALOGUE


class EmbedderModelClass(Enum):
    """FlagEmbedding's names for flagvec's classes; `FlagAutoModel.from_finetuned` takes them."""

    ENCODER_ONLY_BASE = "encoder-only-base"
    ENCODER_ONLY_M3 = "encoder-only-m3"


def support_native_bge_model_list() -> list[str]:
    """Return the short names of BAAI's models, without the decoders that FlagEmbedding lists too."""
    return [card.name for card in CATALOGUE if (card.repository or "").startswith("BAAI/")]


def support_model_list() -> list[str]:
    """Return the short names of all models of the catalogue."""
    return [card.name for card in CATALOGUE]
