"""`loaded_model`: what the frameworks' classes take as a model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder


def loaded_model(model: Any, model_kwargs: Mapping[str, Any] | None = None) -> AbsEmbedder:
    """Return a loaded model as it is, and load one from its name or path.

    Args:
        model: A loaded model, or what `FlagAutoModel.from_finetuned` takes: a name or a directory.
        model_kwargs: Further arguments of `FlagAutoModel.from_finetuned`, for a name or directory only.

    Raises:
        ModelNotFoundError: There is no model of this name; names the nearest ones.
        CheckpointError: The directory is not a checkpoint, or is damaged.
        TypeError: It is neither a loaded model nor a name or path; or ``model_kwargs`` has an unknown argument.
        ValueError: ``model_kwargs`` beside a loaded model.
    """
    if isinstance(model, (str, os.PathLike)):
        # It imports torch, which takes seconds.
        from flagvec.auto_model import FlagAutoModel

        return FlagAutoModel.from_finetuned(os.fspath(model), **(model_kwargs or {}))
    if not hasattr(model, "encode_corpus"):
        raise TypeError(
            f"model={model!r:.80} is a {type(model).__name__}: pass a FlagModel or BGEM3FlagModel, or the name or path "
            "of a model"
        )
    if model_kwargs:
        raise ValueError(
            f"model_kwargs={dict(model_kwargs)!r:.80}: the model is loaded already; pass these arguments where it is "
            "made, or pass its name as model"
        )
    return cast("AbsEmbedder", model)
