"""The model that a command encodes with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagvec.cli.options import ClassOfModel, PoolingMethod
    from flagvec.embedder import AbsEmbedder
    from flagvec.store.schema import Schema

# Joins the names of the two models of a `CombinedModel`.
_PAIR = " + "


def model_options(
    device: str | None,
    model_class: ClassOfModel | None,
    pooling: PoolingMethod | None,
    max_length: int | None,
    passage_instruction: str | None,
    query_instruction: str | None,
) -> dict[str, Any]:
    """Return the options of a command as `load_model` takes them."""
    return {
        "devices": device,
        "model_class": None if model_class is None else model_class.value,
        "pooling_method": None if pooling is None else pooling.value,
        "passage_max_length": max_length,
        "passage_instruction_for_retrieval": passage_instruction,
        "query_instruction_for_retrieval": query_instruction,
    }


def load_model(name: str, **options: Any) -> AbsEmbedder:
    """Return the model of a name, or of two names joined by " + ": a model for candidates and a ColBERT model.

    Args:
        name: A name of the catalogue, a Hub repository, or a directory.
        options: Arguments of `FlagAutoModel.from_finetuned`. None leaves one to the model's authors.
    """
    # torch takes seconds to import, and most commands do without it.
    from transformers.utils.logging import disable_progress_bar

    from flagvec.auto_model import FlagAutoModel

    # The bar for loading weights appears in pipes too.
    disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers has no types
    given = {key: value for key, value in options.items() if value is not None}
    dense, _, colbert = name.partition(_PAIR)
    if not colbert:
        return FlagAutoModel.from_finetuned(name, **given)
    from flagvec.colbert_model import ColbertFlagModel
    from flagvec.combined_model import CombinedModel

    shared = {key: value for key, value in given.items() if key in ("devices", "passage_max_length")}
    first: Any = FlagAutoModel.from_finetuned(dense, **given)
    return CombinedModel(first, colbert=ColbertFlagModel(colbert, **shared))


def model_of(schema: Schema, name: str | None = None, **options: Any) -> AbsEmbedder:
    """Return the model that a store was made with, with the same pooling, instructions and dimension.

    Args:
        schema: What the store holds.
        name: Where the model is now; None for where it was when the store was made.
        options: As in `load_model`. They override the store's.
    """
    name, options = arguments_of(schema, name, **options)
    return load_model(name, **options)


def arguments_of(schema: Schema, name: str | None = None, **options: Any) -> tuple[str, dict[str, Any]]:
    """Return the arguments with which `load_model` gives the model that `model_of` returns."""
    if schema.colbert_model is not None:
        return name or schema.model, options
    stored = {
        # A directory may not say which class its model has. Only a `BGEM3FlagModel` gives lexical weights.
        "model_class": "encoder-only-m3" if schema.sparse else "encoder-only-base",
        "pooling_method": schema.pooling,
        "normalize_embeddings": schema.normalize,
        "query_instruction_for_retrieval": schema.query_instruction,
        "passage_instruction_for_retrieval": schema.passage_instruction,
        "truncate_dim": schema.dimension,
    }
    return name or schema.model, {**stored, **{k: v for k, v in options.items() if v is not None}}
