"""`FlagAutoModel`: loads a model with the class, pooling and prompts that the catalogue has for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flagvec.bge_m3 import BGEM3FlagModel
from flagvec.embedder import AbsEmbedder
from flagvec.errors import ModelNotFoundError
from flagvec.flag_model import FlagModel
from flagvec.loading import has_heads
from flagvec.models import ModelCard, find_model, nearest_model_names

# FlagEmbedding's names for the classes that flagvec has.
_CLASSES: dict[str, type[AbsEmbedder]] = {
    "encoder-only-base": FlagModel,
    "encoder-only-m3": BGEM3FlagModel,
    "FlagModel": FlagModel,
    "BGEM3FlagModel": BGEM3FlagModel,
}


class FlagAutoModel:
    """Chooses the class, pooling and prompts of a model; call `from_finetuned`.

    Example:
        >>> model = FlagAutoModel.from_finetuned("bge-small-en-v1.5")
        >>> model.query_instruction_for_retrieval
        'Represent this sentence for searching relevant passages: '
    """

    def __init__(self) -> None:
        raise TypeError("FlagAutoModel() makes no model; call FlagAutoModel.from_finetuned(model_name_or_path)")

    @classmethod
    def from_finetuned(
        cls,
        model_name_or_path: str | Path,
        model_class: str | None = None,
        *,
        pooling_method: str | None = None,
        query_instruction_for_retrieval: str | None = None,
        query_instruction_format: str | None = None,
        **kwargs: Any,
    ) -> AbsEmbedder:
        """Load a model with the class, pooling and prompts of its model card.

        Args:
            model_name_or_path: A name of the catalogue, its Hub repository, or a directory. The catalogue's entry for a
                directory is found by the directory's name, or by its parent's name if it is called ``checkpoint-...``.
                A directory without an entry that has BGE-M3's two heads is loaded as a `BGEM3FlagModel`.
            model_class: ``"encoder-only-base"`` for `FlagModel` or ``"encoder-only-m3"`` for `BGEM3FlagModel`; needed
                for a model that is not in the catalogue.
            pooling_method: Used instead of the catalogue's; ``"cls"`` if neither is given.
            query_instruction_for_retrieval: Used instead of the catalogue's query prompt; ``""`` for no prompt.
            query_instruction_format: Joins prompt and query, with two ``{}``; ``"{}{}"`` if None.
            kwargs: Further arguments of the class.

        Raises:
            ModelNotFoundError: The model is not in the catalogue and `model_class` is not given; names the nearest
                known names.
            ValueError: `model_class` is unknown.
        """
        card = _find_card(str(model_name_or_path))
        chosen = _choose_class(str(model_name_or_path), model_class, card)
        if card is not None:
            kwargs.setdefault("passage_instruction_for_retrieval", card.passage_prompt)
            if query_instruction_for_retrieval is None:
                query_instruction_for_retrieval = card.query_prompt
        return chosen(
            model_name_or_path,
            pooling_method=pooling_method or (card.pooling if card else "cls"),
            query_instruction_for_retrieval=query_instruction_for_retrieval,
            query_instruction_format=query_instruction_format or "{}{}",
            **kwargs,
        )


def _find_card(name: str) -> ModelCard | None:
    card = find_model(name)
    path = Path(name)
    if card is not None or not path.is_dir():
        return card
    path = path.resolve()
    return find_model(path.parent.name if path.name.startswith("checkpoint-") else path.name)


def _choose_class(name: str, model_class: str | None, card: ModelCard | None) -> type[AbsEmbedder]:
    if model_class is None and card is not None:
        return _CLASSES[card.model_class]
    if model_class is None and has_heads(Path(name)):
        return BGEM3FlagModel
    if model_class is None:
        nearest = ", ".join(nearest_model_names(name))
        known = f"nearest: {nearest}" if nearest else "flagvec.list_models() shows it"
        raise ModelNotFoundError(
            f"{name!r} is not in the catalogue ({known}); pass model_class='encoder-only-base' or 'encoder-only-m3', "
            "and the model's pooling_method"
        )
    # FlagEmbedding's EmbedderModelClass is an Enum of these strings.
    key = getattr(model_class, "value", model_class)
    if not isinstance(key, str) or key not in _CLASSES:
        raise ValueError(f"model_class={model_class!r}: choose 'encoder-only-base' or 'encoder-only-m3'")
    return _CLASSES[key]
