"""Models as fields of LlamaIndex's components, which it serialises, hashes, copies and sends to other processes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from llama_index.core.bridge.pydantic import PlainSerializer
from pydantic import BaseModel, PlainValidator

import flagvec
from flagvec.embedder import AbsEmbedder
from flagvec.model_options import signature_of

_LOADABLE = ("BGEM3FlagModel", "FlagModel")


def description(model: AbsEmbedder) -> dict[str, Any]:
    """Return what a model was made with in JSON's types: all that decides what it gives, but no weights, no token.

    Example:
        >>> from flagvec import FlagModel
        >>> description(FlagModel("bge-small-en-v1.5", use_fp16=False, token="hf_secret"))
        {'class': 'FlagModel', 'model_name_or_path': 'bge-small-en-v1.5', 'use_fp16': False}
    """
    # What a model is pickled as: neither weights nor token are in it.
    _, (model_class, positional, keywords) = model.__reduce__()
    arguments = {**dict(zip(signature_of(model_class), positional, strict=False)), **keywords}
    known = getattr(flagvec, model_class.__name__, None) is model_class
    name = model_class.__name__ if known else f"{model_class.__module__}.{model_class.__qualname__}"
    return {"class": name, **{argument: _plain(value) for argument, value in arguments.items()}}


def as_model(model: AbsEmbedder | Mapping[str, Any]) -> AbsEmbedder:
    """Return a model as it is, or load the one that a `description` describes.

    Raises:
        TypeError: Something else, or a description with an argument that the model class does not take.
        ValueError: A description of a class that is not flagvec's own.
        FlagvecError: The checkpoint is not there, or cannot be used as described.
    """
    if isinstance(model, AbsEmbedder):
        return model
    if not isinstance(model, Mapping):
        raise TypeError(f"model takes a flagvec model, like BGEM3FlagModel('bge-m3'), not {type(model).__name__}")
    arguments = dict(model)
    name = arguments.pop("class", None)
    if name not in _LOADABLE:
        raise ValueError(
            f"model describes one of the class {name!r}, and only {' and '.join(_LOADABLE)} are loaded from a "
            "description: give the model itself, as in from_dict(data, model=model)"
        )
    loaded = getattr(flagvec, name)(**arguments)
    assert isinstance(loaded, AbsEmbedder)
    return loaded


DescribedModel = Annotated[Any, PlainValidator(as_model), PlainSerializer(description, return_type=dict[str, Any])]


class MadeAgain:
    """A component that is pickled as its fields and made again of them; a deep copy shares what the fields hold.

    Fields that are left out of its serialisation are left out of the pickle as well: callbacks, caches, rate limiters.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self), _fields(self, excluded=False))

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Any:
        return _made_again(type(self), _fields(self, excluded=True))


def _fields(component: Any, excluded: bool) -> dict[str, Any]:
    assert isinstance(component, BaseModel)
    fields = type(component).model_fields.items()
    return {name: getattr(component, name) for name, field in fields if excluded or not field.exclude}


def _made_again(component_class: type[Any], fields: Mapping[str, Any]) -> Any:
    return component_class(**fields)


def _plain(value: Any) -> Any:
    if isinstance(value, (Path, torch.device)):
        return str(value)
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
