"""The keyword arguments of models and of their calls that are not listed in signatures."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypedDict

from flagvec.engine.devices import DeviceLike

Quantization = Literal["int8"]


@dataclass(frozen=True)
class EmbedderOptions:
    """What `FlagModel` and `BGEM3FlagModel` take beyond their signatures.

    Args:
        use_bf16: Run in bfloat16 on every device.
        truncate_dim: Keep this many leading dimensions, for Matryoshka models.
        passage_instruction_for_retrieval: What `encode_corpus` puts in front of a document.
        passage_instruction_format: How the instruction is joined to the document, with two ``{}``.
        trust_remote_code: Run Python code that comes with the checkpoint.
        cache_dir: Where Hub downloads are kept, and where mini-m3 is assembled.
        device: The one device to run on; the same as ``devices``.
        revision: Branch, tag or commit of the Hub repository.
        token: Hub access token.
        local_files_only: Use the Hub's local cache only.
        compile: On a CUDA device, compile the layers by torch.compile and record short queries as CUDA graphs. The
            first calls then take seconds longer.
        quantization: ``"int8"`` rounds the weights of linear layers and embeddings to int8, and computes with them, on
            a CPU. A directory that ``flagvec quantize`` wrote needs no argument.
    """

    use_bf16: bool = False
    truncate_dim: int | None = None
    passage_instruction_for_retrieval: str | None = None
    passage_instruction_format: str = "{}{}"
    trust_remote_code: bool = False
    cache_dir: str | Path | None = None
    device: DeviceLike | None = None
    revision: str | None = None
    token: str | bool | None = None
    local_files_only: bool = False
    compile: bool = False
    quantization: Quantization | None = None


@dataclass(frozen=True)
class M3Options(EmbedderOptions):
    """What `BGEM3FlagModel` takes beyond its signature.

    Args:
        colbert_pool_factor: How many times fewer ColBERT vectors a document gets: similar ones are replaced by their
            mean, see `flagvec.late_interaction.pooling.pooled_rows`. Queries keep all of theirs.
    """

    colbert_pool_factor: int = 1


class FlagModelKeywords(TypedDict, total=False):
    """The types of `EmbedderOptions` that `FlagModel` does not list in its signature."""

    use_bf16: bool
    truncate_dim: int | None
    passage_instruction_for_retrieval: str | None
    passage_instruction_format: str
    device: DeviceLike | None
    revision: str | None
    token: str | bool | None
    local_files_only: bool
    compile: bool
    quantization: Quantization | None


class M3Keywords(FlagModelKeywords, total=False):
    """The types of `M3Options`."""

    trust_remote_code: bool
    cache_dir: str | Path | None
    colbert_pool_factor: int


class InstructionKeywords(TypedDict, total=False):
    """What every ``encode`` method takes by name, but for ``convert_to_numpy``."""

    instruction: str | None
    instruction_format: str
    show_progress: bool | None


class EncodeKeywords(InstructionKeywords, total=False):
    """What every ``encode`` method takes by name."""

    convert_to_numpy: bool | None


class M3EncodeKeywords(EncodeKeywords, total=False):
    """What the ``encode`` methods of `BGEM3FlagModel` take by name."""

    return_dense: bool | None
    return_sparse: bool | None
    return_colbert_vecs: bool | None
    colbert_pool_factor: int


class ColbertEncodeKeywords(EncodeKeywords, total=False):
    """What the ``encode`` methods of `ColbertFlagModel` take by name."""

    return_dense: bool | None
    return_sparse: bool | None
    return_colbert_vecs: bool | None


def signature_of(model_class: type[Any]) -> list[str]:
    """Return the names of the arguments that a model class lists in its signature."""
    parameters = inspect.signature(model_class).parameters
    return [name for name, parameter in parameters.items() if parameter.kind is not parameter.VAR_KEYWORD]


def refuse_unknown(keywords: Iterable[str], model_class: type[Any], options: type[EmbedderOptions]) -> None:
    """Check that a model class takes these keywords.

    Raises:
        TypeError: It does not take one of them; the message names the nearest argument.
    """
    known = [*signature_of(model_class), *(field.name for field in fields(options))]
    for keyword in keywords:
        if keyword not in known:
            nearest = get_close_matches(keyword, known, n=1, cutoff=0.0)[0]
            raise TypeError(
                f"{model_class.__name__} takes no argument {keyword!r}; the nearest it takes is {nearest!r}"
            )
