"""`AbsEmbedder`: what every model class shares, from loading to streaming."""

from __future__ import annotations

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
from flagvec.engine.devices import DeviceLike, choose_devices, choose_dtype, parse_device
from flagvec.engine.hidden_states import HiddenStateEncoder
from flagvec.engine.number_format import model_width
from flagvec.engine.quantized_layers import has_int8_layers
from flagvec.engine.tokens import TextTokenizer
from flagvec.errors import NotFiniteError
from flagvec.forward_pass import ForwardPass, Settings, join_instruction
from flagvec.loading import Checkpoint, HubOptions, find_checkpoint
from flagvec.m3_output import M3Output
from flagvec.model_options import EmbedderOptions
from flagvec.progress import progress_bar
from flagvec.quantization import checked_quantization, load_model_checkpoint
from flagvec.token_windows import TokenizedWindows, TokenWindows
from flagvec.upstream_calls import AbsentMethod
from flagvec.workers.pool import Workers
from flagvec.workers.shared_pass import TEXTS_A_DEVICE, SharedPass, is_worth_workers, make_workers

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from flagvec.model_options import EncodeKeywords, InstructionKeywords

_DEFAULT_MAX_LENGTH = 512


class AbsEmbedder(ABC):
    """A loaded model: the base of `FlagModel` and `BGEM3FlagModel`.

    It is on one device. If it was made with several, `encode` gives long work to worker processes, one for each, which
    `close` ends.

    A pickle holds the constructor's arguments without ``token``, so unpickling loads the checkpoint again. A deep copy
    is the model itself.

    Attributes:
        model: The torch module.
        tokenizer: The transformers tokenizer.
        target_devices: The names of the devices, as in FlagEmbedding. The model itself is on the first.
        max_length: The longest text the model takes, in tokens, special ones included.
        author_files: What the checkpoint's authors say about pooling and prompts.
        dense_layers: The linear layers that come after pooling; None for most models.
    """

    model: Any
    tokenizer: Any
    _arguments: tuple[tuple[Any, ...], dict[str, Any]]
    _workers: Workers | None = None

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
        chosen = choose_devices(devices, options.device)
        device = chosen[0]
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
        self.quantization = checked_quantization(options.quantization)
        self.batch_size = checked_batch_size(batch_size)
        self.convert_to_numpy = convert_to_numpy
        self.target_devices = [*map(str, chosen)]
        self._process = os.getpid()

        self.checkpoint = self._load(chosen, options)
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
        weights = "int8 and " if has_int8_layers(self.checkpoint.backbone) else ""
        dtype = weights + str(self.checkpoint.backbone.dtype).removeprefix("torch.")
        devices = ", ".join(self.target_devices)
        return (
            f"{type(self).__name__}({self.model_name_or_path!r}, pooling={self.pooling_method!r}, "
            f"{dtype} on {devices}, passage_max_length={self.passage_max_length} of {self.max_length})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        arguments, keywords = self._arguments
        return partial(type(self), **{name: keywords[name] for name in keywords if name != "token"}), arguments

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes of a model on several devices. The next long work starts new ones."""
        if self._workers is not None:
            self._workers.close()

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
        """Encode texts: the same as `encode`, because workers are used by themselves.

        Raises:
            ValueError: The model does not run on `device`.
        """
        if device is not None and str(parse_device(device)) not in self.target_devices:
            raise ValueError(f"device={device!r}: this model runs on {', '.join(self.target_devices)}")
        return self.encode(sentences, *arguments, **options)

    def stop_self_pool(self) -> None:
        """Do as `close` does.

        FlagEmbedding also moves the model to the CPU here. This model stays on its device; delete it to free memory.
        """
        self.close()

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
        size = self.batch_size if batch_size is None else checked_batch_size(batch_size)
        total = len(sentences) if isinstance(sentences, Sized) else None
        # Several devices need more than a batch to have work for all.
        at_once = size if len(self.target_devices) == 1 else max(TEXTS_A_DEVICE * len(self.target_devices), size)
        done = 0
        with progress_bar(total, "encode", "text", options.get("show_progress")) as progress:
            for texts in _windows(checked_stream(sentences, "sentences"), size, at_once):
                try:
                    output = self.encode_corpus(texts, size, max_length, **{**options, "show_progress": False})
                except NotFiniteError as error:
                    raise NotFiniteError([done + position for position in error.positions], None) from error
                for start in range(0, len(texts), size):
                    yield output if len(texts) <= size else output[start : start + size]
                done += len(texts)
                progress.update(len(texts))

    def _tokens(self, texts: Sequence[str], settings: Settings) -> TokenizedWindows:
        """Return texts, which have their instruction, as token ids."""
        return TokenizedWindows(texts, self._tokenize, self._encoder, settings.max_length, settings.batch_size)

    def _passes(self, tokens: TokenizedWindows, settings: Settings, *arguments: Any) -> ForwardPass | SharedPass:
        """Return the results of texts: from the workers if there is work for them, otherwise from this process.

        Args:
            tokens: The texts.
            settings: How to encode them.
            arguments: Further ones of `_pass`, which can be pickled.
        """
        if is_worth_workers(tokens, self.target_devices):
            return SharedPass(tokens, settings, self, arguments)
        return self._pass(tokens, settings, *arguments)

    def _pass(self, tokens: TokenWindows, settings: Settings, *arguments: Any, **keywords: Any) -> ForwardPass:
        """Return the forward pass of texts through this process's device."""
        raise NotImplementedError

    def _started_workers(self) -> Workers:
        if self._workers is None:
            self._workers = make_workers(self)
        return self._workers

    def _load(self, devices: Sequence[torch.device], options: EmbedderOptions) -> Checkpoint:
        hub = HubOptions(options.cache_dir, options.revision, options.token, options.local_files_only)
        directory = find_checkpoint(self.model_name_or_path, hub)
        dtype = choose_dtype(devices[0], self.use_fp16, self.use_bf16, model_width(directory))
        return load_model_checkpoint(
            directory, dtype, options.trust_remote_code, hub, self.quantization, devices=devices
        )

    def _own_max_length(self, argument: str, value: int) -> int:
        # The default is the same for all models, so a model with a lower limit takes its limit.
        value = min(value, self.max_length) if value == _DEFAULT_MAX_LENGTH else value
        return checked_max_length(argument, value, self.max_length)


def _windows(texts: Iterator[str], size: int, at_once: int) -> Iterator[list[str]]:
    """Yield texts in lists of whole batches, and those before an error in whole batches too.

    Args:
        texts: May raise.
        size: How many texts a batch has.
        at_once: The most texts in a list, rounded down to whole batches.
    """
    waiting: list[str] = []
    try:
        for text in texts:
            waiting.append(text)
            if len(waiting) == at_once // size * size:
                yield waiting
                waiting = []
    except TypeError:
        if whole := waiting[: len(waiting) // size * size]:
            yield whole
        raise
    if waiting:
        yield waiting
