"""`AbsEmbedder`: what every model class shares, from loading to streaming."""

from __future__ import annotations

import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Sized
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flagvec.arguments import (
    checked_batch_size,
    checked_format,
    checked_max_length,
    checked_stream,
    checked_texts,
    checked_truncate_dim,
)
from flagvec.checkpoints.author_files import read_author_files
from flagvec.checkpoints.dense_layers import load_dense_layers
from flagvec.checkpoints.pooling_method import checked_pooling_method, choose_pooling
from flagvec.engine.devices import DeviceLike, choose_device, choose_dtype
from flagvec.engine.hidden_states import HiddenStateEncoder
from flagvec.engine.number_format import model_width
from flagvec.engine.tokens import TextTokenizer
from flagvec.errors import NotFiniteError
from flagvec.forward_pass import join_instruction
from flagvec.loading import Checkpoint, HubOptions, find_checkpoint, load_checkpoint
from flagvec.m3_output import M3Output
from flagvec.model_options import EmbedderOptions
from flagvec.progress import progress_bar
from flagvec.upstream_calls import AbsentMethod

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from flagvec.model_options import EncodeKeywords, InstructionKeywords

_DEFAULT_MAX_LENGTH = 512


class AbsEmbedder(ABC):
    """A loaded model on one device: the base of `FlagModel` and `BGEM3FlagModel`.

    A pickle holds the constructor's arguments without ``token``, so unpickling loads the checkpoint again. A deep copy
    is the model itself.

    Attributes:
        model: The torch module.
        tokenizer: The transformers tokenizer.
        target_devices: A list with the name of the model's device, as in FlagEmbedding.
        max_length: The longest text the model takes, in tokens, special ones included.
        author_files: What the checkpoint's authors say about pooling and prompts.
        dense_layers: The linear layers that come after pooling; None for most models.
    """

    model: Any
    tokenizer: Any
    _arguments: tuple[tuple[Any, ...], dict[str, Any]]

    start_multi_process_pool = AbsentMethod()
    encode_multi_process = AbsentMethod()
    stop_multi_process_pool = AbsentMethod()

    def __new__(cls, *arguments: Any, **keywords: Any) -> Self:
        """Keep the arguments, which `__reduce__` needs."""
        embedder = super().__new__(cls)
        embedder._arguments = arguments, keywords
        return embedder

    def __init__(
        self,
        model_name_or_path: str | Path,
        *,
        pooling_method: str,
        normalize_embeddings: bool,
        use_fp16: bool,
        query_instruction_for_retrieval: str | None,
        query_instruction_format: str,
        devices: DeviceLike | Sequence[DeviceLike] | None,
        batch_size: int,
        query_max_length: int,
        passage_max_length: int,
        convert_to_numpy: bool,
        options: EmbedderOptions,
    ) -> None:
        device = choose_device(devices, options.device)
        self.model_name_or_path = str(model_name_or_path)
        self.pooling_method = checked_pooling_method(pooling_method)
        self.normalize_embeddings = normalize_embeddings
        self.use_fp16, self.use_bf16 = use_fp16, options.use_bf16
        self.query_instruction_for_retrieval = query_instruction_for_retrieval
        self.query_instruction_format = checked_format("query_instruction_format", query_instruction_format)
        self.passage_instruction_for_retrieval = options.passage_instruction_for_retrieval
        self.passage_instruction_format = checked_format(
            "passage_instruction_format", options.passage_instruction_format
        )
        self.batch_size = checked_batch_size(batch_size)
        self.convert_to_numpy = convert_to_numpy
        self.target_devices = [str(device)]
        self._process = os.getpid()

        self.checkpoint = self._load(device, options)
        self.author_files = read_author_files(self.checkpoint.directory)
        arguments, keywords = self._arguments
        pooling_given = len(arguments) > 1 or "pooling_method" in keywords
        self.pooling_method = choose_pooling(
            self.model_name_or_path, self.author_files, self.pooling_method, pooling_given
        )
        self.dense_layers = load_dense_layers(self.author_files.after_pooling, self.checkpoint.width, device)
        self.model = self.checkpoint.backbone
        self.tokenizer = self.checkpoint.tokenizer
        self.max_length = self.checkpoint.max_length
        self.query_max_length = self._own_max_length("query_max_length", query_max_length)
        self.passage_max_length = self._own_max_length("passage_max_length", passage_max_length)
        self.truncate_dim = checked_truncate_dim(options.truncate_dim, self._whole_dimension)
        self._tokenize = TextTokenizer(
            self.tokenizer.backend_tokenizer, getattr(self.tokenizer, "truncation_side", "right")
        )
        self._encoder = HiddenStateEncoder(
            self.checkpoint.backbone, device, self.tokenizer.pad_token_id or 0, compiled=options.compile
        )

    def __repr__(self) -> str:
        dtype = str(self.checkpoint.backbone.dtype).removeprefix("torch.")
        return (
            f"{type(self).__name__}({self.model_name_or_path!r}, pooling={self.pooling_method!r}, "
            f"{dtype} on {self.target_devices[0]}, passage_max_length={self.passage_max_length} of {self.max_length})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        arguments, keywords = self._arguments
        return partial(type(self), **{name: keywords[name] for name in keywords if name != "token"}), arguments

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    @property
    @abstractmethod
    def representations(self) -> frozenset[str]:
        """What the checkpoint can give, of ``dense``, ``sparse`` and ``colbert``."""

    @property
    def dimension(self) -> int:
        """Length of a dense vector."""
        return self.truncate_dim or self._whole_dimension

    @property
    def colbert_dimension(self) -> int | None:
        """Length of a ColBERT vector, None if the model gives none."""
        return None

    @property
    def tokens_encoded(self) -> int:
        """How many tokens the model has read so far, special ones included, for showing how fast it is."""
        return self._tokenize.tokens

    @abstractmethod
    def encode(
        self,
        sentences: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        *,
        convert_to_numpy: bool | None = None,
        instruction: str | None = None,
        instruction_format: str = "{}{}",
        show_progress: bool | None = None,
    ) -> NDArray[np.float32] | Tensor | M3Output:
        """Encode texts, in front of each the instruction if one is given."""

    @abstractmethod
    def encode_corpus_output(
        self, corpus: Sequence[str], representations: Collection[str], **options: Unpack[InstructionKeywords]
    ) -> M3Output:
        """Encode documents with `encode_corpus` and give an `M3Output` of arrays, whichever class the model has.

        Args:
            corpus: The documents.
            representations: Which to give, of the model's `representations`.
            options: As in `encode`.
        """

    def encode_queries(
        self,
        queries: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        **options: Unpack[EncodeKeywords],
    ) -> NDArray[np.float32] | Tensor | M3Output:
        """Encode queries: `encode` with the query instruction, and ``query_max_length`` if `max_length` is None."""
        output: NDArray[np.float32] | Tensor | M3Output = self._encode_queries(queries, batch_size, max_length, options)
        return output

    def encode_corpus(
        self,
        corpus: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        **options: Unpack[EncodeKeywords],
    ) -> NDArray[np.float32] | Tensor | M3Output:
        """Encode documents: `encode` with the passage instruction."""
        output: NDArray[np.float32] | Tensor | M3Output = self._encode_corpus(corpus, batch_size, max_length, options)
        return output

    def encode_stream(
        self,
        sentences: Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        **options: Unpack[EncodeKeywords],
    ) -> Iterator[NDArray[np.float32] | Tensor | M3Output]:
        """Encode documents as they come, from any iterable, and hold one batch of them at a time.

        Args:
            sentences: Documents; they get the passage instruction, as in `encode_corpus`.
            batch_size: Texts in each result but the last; the model's ``batch_size`` if None.
            max_length: As in `encode`.
            options: As in `encode`.

        Yields:
            What `encode_corpus` gives for each batch, in the order of the input. Nothing for an empty iterable.

        Raises:
            TypeError: An item is not a ``str``; the message has its position. Earlier batches were yielded.
        """
        return self._encode_stream(sentences, batch_size, max_length, options)

    def encode_single_device(
        self, sentences: str | Iterable[str], *arguments: Any, device: DeviceLike | None = None, **options: Any
    ) -> NDArray[np.float32] | Tensor | M3Output:
        """Encode texts: the same as `encode`, because a model has one device.

        Raises:
            ValueError: `device` is not the model's.
        """
        choose_device(self.target_devices, device)
        return self.encode(sentences, *arguments, **options)

    def stop_self_pool(self) -> None:  # noqa: B027 (empty for every model)
        """Do nothing, because there are no worker processes.

        FlagEmbedding also moves the model to the CPU here. This model stays on its device; delete it to free memory.
        """

    @staticmethod
    def get_detailed_instruct(instruction_format: str, instruction: str, sentence: str) -> str:
        r"""Join instruction and text by the format. A literal ``\n`` in the format is a line break."""
        return join_instruction(instruction_format, instruction, sentence)

    @property
    def _whole_dimension(self) -> int:
        return self.checkpoint.width if self.dense_layers is None else self.dense_layers.outputs

    def _encode_queries(
        self, queries: Any, batch_size: int | None, max_length: int | None, options: Mapping[str, Any]
    ) -> Any:
        defaults = {
            "instruction": self.query_instruction_for_retrieval,
            "instruction_format": self.query_instruction_format,
        }
        texts = queries if isinstance(queries, str) else checked_texts(queries, "queries")
        longest = self.query_max_length if max_length is None else max_length
        return self.encode(texts, batch_size, longest, **{**defaults, **options})

    def _encode_corpus(
        self, corpus: Any, batch_size: int | None, max_length: int | None, options: Mapping[str, Any]
    ) -> Any:
        defaults = {
            "instruction": self.passage_instruction_for_retrieval,
            "instruction_format": self.passage_instruction_format,
        }
        texts = corpus if isinstance(corpus, str) else checked_texts(corpus, "corpus")
        return self.encode(texts, batch_size, max_length, **{**defaults, **options})

    def _encode_stream(
        self, sentences: Iterable[str], batch_size: int | None, max_length: int | None, options: Mapping[str, Any]
    ) -> Iterator[Any]:
        texts = checked_stream(sentences, "sentences")
        size = self.batch_size if batch_size is None else checked_batch_size(batch_size)
        total = len(sentences) if isinstance(sentences, Sized) else None
        done = 0
        with progress_bar(total, "encode", "text", options.get("show_progress")) as progress:
            while batch := list(itertools.islice(texts, size)):
                try:
                    output = self.encode_corpus(batch, size, max_length, **{**options, "show_progress": False})
                except NotFiniteError as error:
                    raise NotFiniteError([done + position for position in error.positions], None) from error
                yield output
                done += len(batch)
                progress.update(len(batch))

    def _load(self, device: torch.device, options: EmbedderOptions) -> Checkpoint:
        hub = HubOptions(options.cache_dir, options.revision, options.token, options.local_files_only)
        directory = find_checkpoint(self.model_name_or_path, hub)
        dtype = choose_dtype(device, self.use_fp16, self.use_bf16, model_width(directory))
        return load_checkpoint(directory, dtype, options.trust_remote_code, hub)

    def _own_max_length(self, argument: str, value: int) -> int:
        # The default is the same for all models, so a model with a lower limit takes its limit.
        value = min(value, self.max_length) if value == _DEFAULT_MAX_LENGTH else value
        return checked_max_length(argument, value, self.max_length)
