"""A flagvec model inside LlamaIndex's components, which are serialised, copied and sent to other processes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from llama_index.core.bridge.pydantic import BaseModel, Field, PlainSerializer, PrivateAttr
from pydantic import PlainValidator

import flagvec
from flagvec.embedder import AbsEmbedder
from flagvec.frameworks.models import loaded_model
from flagvec.frameworks.one_pass import OnePass, Part, one_pass
from flagvec.m3_output import M3Output
from flagvec.model_options import signature_of

# LlamaIndex takes no larger `embed_batch_size`.
LARGEST_BATCH = 2048

ModelLike = AbsEmbedder | str | os.PathLike[str] | Mapping[str, Any]

_LOADABLE = ("BGEM3FlagModel", "ColbertFlagModel", "CombinedModel", "FlagModel")


def description(model: AbsEmbedder) -> dict[str, Any]:
    """Return a model's class and arguments in JSON's types, without its access token.

    Example:
        >>> from flagvec import FlagModel
        >>> description(FlagModel("bge-small-en-v1.5", use_fp16=False, token="hf_secret"))
        {'class': 'FlagModel', 'model_name_or_path': 'bge-small-en-v1.5', 'use_fp16': False}
    """
    # A model is pickled as its class and arguments, and leaves out the token.
    constructor, positional = model.__reduce__()
    model_class: type[AbsEmbedder] = constructor.func
    arguments = {**dict(zip(signature_of(model_class), positional, strict=False)), **constructor.keywords}
    own = getattr(flagvec, model_class.__name__, None) is model_class
    name = model_class.__name__ if own else f"{model_class.__module__}.{model_class.__qualname__}"
    return {"class": name, **{argument: _plain(value) for argument, value in arguments.items()}}


def as_model(model: ModelLike) -> AbsEmbedder:
    """Return a loaded model as it is, and load one from its name, directory or `description`.

    Raises:
        TypeError: It is something else, or a description with an argument that the model class does not take.
        ValueError: A description of a class that is not flagvec's own.
        FlagvecError: There is no such model, or its checkpoint cannot be used.
    """
    if not isinstance(model, Mapping):
        loaded = loaded_model(model)
        if not isinstance(loaded, AbsEmbedder):
            raise TypeError(
                f"model is a {type(model).__name__}, which is not flagvec's: pass a FlagModel or BGEM3FlagModel"
            )
        return loaded
    arguments = dict(model)
    name = arguments.pop("class", None)
    if name not in _LOADABLE:
        raise ValueError(
            f"the description of the model has class={name!r}, but only {', '.join(_LOADABLE)} are loaded from a "
            "description: pass the model itself, as in from_dict(data, model=model)"
        )
    # A `CombinedModel` is described by the descriptions of its models.
    loaded_arguments = {
        key: as_model(value) if isinstance(value, Mapping) else value for key, value in arguments.items()
    }
    described: AbsEmbedder = getattr(flagvec, name)(**loaded_arguments)
    return described


class ModelView(BaseModel):
    """A component with a model.

    It is pickled as its fields, without those that LlamaIndex does not serialise, like callbacks and caches. A deep
    copy shares what the fields hold.
    """

    model: Annotated[Any, PlainValidator(as_model), PlainSerializer(description, return_type=dict[str, Any])] = Field(
        frozen=True, description="The model that encodes."
    )

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self), self._field_values(excluded=False))

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Any:
        return _remade(type(self), self._field_values(excluded=True))

    def _field_values(self, *, excluded: bool) -> dict[str, Any]:
        fields = type(self).model_fields.items()
        return {name: getattr(self, name) for name, field in fields if excluded or not field.exclude}


class EmbeddingView(ModelView):
    """One representation of a model, which LlamaIndex asks for text by text, in batches, and with ``await``.

    All views of one model share the output for the texts that it saw last, so that a text is encoded once for all of
    them. The async methods run in a worker thread, because the model would block the event loop.
    """

    part: ClassVar[Part]
    _one_pass: OnePass = PrivateAttr()

    def __init__(self, model: ModelLike, *, embed_batch_size: int | None = None, **options: Any) -> None:
        loaded = as_model(model)
        size = min(loaded.batch_size, LARGEST_BATCH) if embed_batch_size is None else embed_batch_size
        fields = {"model_name": loaded.model_name_or_path, **options, "model": loaded, "embed_batch_size": size}
        super().__init__(**fields)
        self._one_pass = one_pass(loaded)
        self._one_pass.serve(self.part)

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        return [("model", self.model.model_name_or_path), ("embed_batch_size", getattr(self, "embed_batch_size", None))]

    def _vectors(self, output: M3Output) -> list[Any]:
        raise NotImplementedError

    def _get_query_embedding(self, query: str) -> Any:
        return self._vectors(self._one_pass.queries([query]))[0]

    async def _aget_query_embedding(self, query: str) -> Any:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> Any:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> Any:
        return await asyncio.to_thread(self._get_text_embedding, text)

    def _get_text_embeddings(self, texts: list[str]) -> list[Any]:
        return self._vectors(self._one_pass.documents(texts))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Any]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)


def _remade(component_class: type[Any], fields: Mapping[str, Any]) -> Any:
    return component_class(**fields)


def _plain(value: Any) -> Any:
    if isinstance(value, AbsEmbedder):
        return description(value)
    if isinstance(value, (Path, torch.device)):
        return str(value)
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
