"""What every model class shares: options, instructions, argument checks and streaming."""

from __future__ import annotations

import inspect
import itertools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from flagvec.arguments import checked_batch_size, checked_format, checked_texts
from flagvec.engine.devices import DeviceLike, choose_device, choose_dtype
from flagvec.engine.hidden_states import HiddenBatch, HiddenStateEncoder
from flagvec.engine.number_format import model_width
from flagvec.engine.overlap import HostCopy, one_ahead, one_behind
from flagvec.engine.reductions import first_rows, mean_rows
from flagvec.engine.tokens import TextTokenizer, TokenIds
from flagvec.loading import Checkpoint, HubOptions, find_checkpoint, load_checkpoint
from flagvec.models import find_model
from flagvec.upstream_calls import UpstreamCalls

if TYPE_CHECKING:
    from typing_extensions import Self

_DEFAULT_MAX_LENGTH = 512
_SHORTEST_MAX_LENGTH = 3  # two special tokens and one of the text
# So many texts are tokenised and put in order of length at a time: batches of even length, and little held. Beside an
# accelerator fewer, so that it need not wait long for the first.
_WINDOW = 4_096
_WINDOW_BESIDE_ACCELERATOR = 1_024


@dataclass(frozen=True)
class EmbedderOptions:
    """What `FlagModel` and `BGEM3FlagModel` take beyond their signatures.

    Args:
        use_bf16: Run in bfloat16, whatever the device.
        truncate_dim: Keep this many leading dimensions, for Matryoshka models.
        passage_instruction_for_retrieval: What goes in front of a document.
        passage_instruction_format: How it is joined to the document, with two ``{}``.
        trust_remote_code: Let Python code that comes with the checkpoint run.
        cache_dir: Where Hub downloads are kept.
        device: The one device to run on; the same as ``devices``.
        revision: Branch, tag or commit of the Hub repository.
        token: Hub access token.
        local_files_only: Never ask the Hub, only its local cache.
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

    @classmethod
    def from_keywords(cls, keywords: Mapping[str, Any], signature: Sequence[str], owner: str) -> Self:
        """Return the options in `keywords`.

        Raises:
            TypeError: A keyword that is none, naming the nearest of these and of `signature`.
        """
        known = [*signature, *(field.name for field in fields(cls))]
        for keyword in keywords:
            if keyword not in known:
                nearest = get_close_matches(keyword, known, n=1, cutoff=0.0)[0]
                raise TypeError(f"{owner} takes no argument {keyword!r}; the nearest it takes is {nearest!r}")
        return cls(**keywords)


class AbsEmbedder(UpstreamCalls, ABC):
    """A loaded model on one device; `FlagModel` and `BGEM3FlagModel` say what they make of its hidden states.

    It is pickled as the arguments that it was made with, without ``token``: what unpickles it loads the checkpoint
    again. A deep copy of what holds a model shares the model.

    Attributes:
        model: The torch module.
        tokenizer: The transformers tokenizer.
        target_devices: The name of the device it runs on, in a list, as upstream has it.
        max_length: The longest input the model takes, in tokens, special ones included.
    """

    model: Any
    tokenizer: Any
    _arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *arguments: Any, **keywords: Any) -> Self:
        """Note the arguments, which are all that a pickle holds."""
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
        _check_pooling(str(model_name_or_path), pooling_method)
        self.model_name_or_path = str(model_name_or_path)
        self.pooling_method = pooling_method
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
        self.truncate_dim = options.truncate_dim
        self.target_devices = [str(device)]

        self.checkpoint = self._load(device, options)
        self.model = self.checkpoint.backbone
        self.tokenizer = self.checkpoint.tokenizer
        self.max_length = self.checkpoint.max_length
        self.query_max_length = self._model_max_length("query_max_length", query_max_length)
        self.passage_max_length = self._model_max_length("passage_max_length", passage_max_length)
        self._check_truncate_dim()
        self._tokenize = TextTokenizer(
            self.tokenizer.backend_tokenizer, getattr(self.tokenizer, "truncation_side", "right")
        )
        self._encoder = HiddenStateEncoder(self.checkpoint.backbone, device, self.tokenizer.pad_token_id or 0)

    def __reduce__(self) -> tuple[Any, ...]:
        arguments, keywords = self._arguments
        return _made_again, (type(self), arguments, {name: keywords[name] for name in keywords if name != "token"})

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    @property
    @abstractmethod
    def representations(self) -> frozenset[str]:
        """What the checkpoint can give, of ``dense``, ``sparse`` and ``colbert``."""

    @property
    def dimension(self) -> int:
        """Length of a dense vector."""
        return self.truncate_dim or self.checkpoint.width

    @property
    def colbert_dimension(self) -> int | None:
        """Length of a ColBERT vector, None for a model that gives none."""
        return None

    @abstractmethod
    def encode(
        self,
        sentences: Any,
        batch_size: int | None = None,
        max_length: int | None = None,
        *,
        convert_to_numpy: bool | None = None,
        instruction: str | None = None,
        instruction_format: str = "{}{}",
        show_progress: bool = False,
    ) -> Any:
        """Encode texts as they are, without an instruction unless one is given."""

    def encode_queries(
        self, queries: Any, batch_size: int | None = None, max_length: int | None = None, **options: Any
    ) -> Any:
        """Encode queries: `encode` with the query instruction, at most ``query_max_length`` tokens a text.

        Args:
            queries: A str, or any iterable of str.
            batch_size: As in `encode`.
            max_length: As in `encode`; the model's ``query_max_length`` if None.
            options: The further arguments of `encode`.

        Returns:
            What `encode` gives.

        Raises:
            TypeError: A query is not a ``str``; names its position.
            ValueError: As in `encode`.
        """
        return self.encode(
            queries if isinstance(queries, str) else checked_texts(queries, "queries"),
            batch_size=batch_size,
            max_length=self.query_max_length if max_length is None else max_length,
            **_with_instruction(self.query_instruction_for_retrieval, self.query_instruction_format, options),
        )

    def encode_corpus(
        self, corpus: Any, batch_size: int | None = None, max_length: int | None = None, **options: Any
    ) -> Any:
        """Encode documents: `encode` with the passage instruction, at most ``passage_max_length`` tokens a text.

        Args:
            corpus: A str, or any iterable of str.
            batch_size: As in `encode`.
            max_length: As in `encode`.
            options: The further arguments of `encode`.

        Returns:
            What `encode` gives.

        Raises:
            TypeError: A document is not a ``str``; names its position.
            ValueError: As in `encode`.
        """
        return self.encode(
            corpus if isinstance(corpus, str) else checked_texts(corpus, "corpus"),
            batch_size=batch_size,
            max_length=max_length,
            **_with_instruction(self.passage_instruction_for_retrieval, self.passage_instruction_format, options),
        )

    def encode_stream(
        self, sentences: Iterable[str], batch_size: int | None = None, max_length: int | None = None, **options: Any
    ) -> Iterator[Any]:
        """Encode documents one by one as they come, from any iterable, never holding more than a batch of them.

        Args:
            sentences: Documents; they get the passage instruction, as in `encode_corpus`.
            batch_size: Texts in each result, the last one excepted; the model's ``batch_size`` if None.
            max_length: As in `encode_corpus`.
            options: As in `encode`.

        Yields:
            What `encode_corpus` gives for each batch, in the order of the input. Nothing for an empty iterable.

        Raises:
            TypeError: An item is not a ``str``, with its position in the stream; earlier batches were yielded.
        """
        if isinstance(sentences, (str, bytes, Mapping)) or not isinstance(sentences, Iterable):
            given = "one str; use encode_corpus" if isinstance(sentences, str) else type(sentences).__name__
            raise TypeError(f"sentences takes an iterable of texts, not {given}")
        size = self.batch_size if batch_size is None else checked_batch_size(batch_size)
        remaining = iter(sentences)
        start = 0
        while batch := list(itertools.islice(remaining, size)):
            texts = checked_texts(batch, "sentences", first_position=start)
            yield self.encode_corpus(texts, batch_size=size, max_length=max_length, **options)
            start += len(batch)

    @staticmethod
    def get_detailed_instruct(instruction_format: str, instruction: str, sentence: str) -> str:
        r"""Return instruction and text joined by the format; a literal ``\n`` in it is a line break, as upstream."""
        return instruction_format.replace("\\n", "\n").format(instruction, sentence)

    def _results(
        self,
        texts: Sequence[str],
        batch_size: int | None,
        max_length: int | None,
        instruction: str | None,
        instruction_format: str,
        show_progress: bool,
        reduce: Callable[[HiddenBatch], HostCopy],
    ) -> Iterator[tuple[NDArray[np.intp], dict[str, Tensor]]]:
        """Yield which texts a batch held, and the tensors that `reduce` made of it."""
        size = self.batch_size if batch_size is None else checked_batch_size(batch_size)
        longest = self.passage_max_length if max_length is None else self._checked_max_length("max_length", max_length)
        if instruction is not None:
            if not isinstance(instruction, str):
                raise TypeError(f"instruction takes a str, not {type(instruction).__name__}")
            checked_format("instruction_format", instruction_format)
            texts = [self.get_detailed_instruct(instruction_format, instruction, text) for text in texts]
        window = _WINDOW if self._encoder.is_on_host else _WINDOW_BESIDE_ACCELERATOR
        windows = (texts[start : start + window] for start in range(0, len(texts), window))
        results = self._encoder.run(self._tokenized(windows, longest), size, reduce)
        with tqdm(total=len(texts), desc="encode", unit="text", disable=not show_progress) as progress:
            for positions, copy in results if self._encoder.is_on_host else one_behind(results):
                yield positions, copy.wait()
                progress.update(len(positions))

    def _tokenized(self, windows: Iterable[Sequence[str]], max_length: int) -> Iterator[list[TokenIds]]:
        tokenize = partial(self._tokenize, max_length=max_length)
        # A CPU would only have its cores disturbed.
        return map(tokenize, windows) if self._encoder.is_on_host else one_ahead(tokenize, windows)

    def _load(self, device: torch.device, options: EmbedderOptions) -> Checkpoint:
        hub = HubOptions(options.cache_dir, options.revision, options.token, options.local_files_only)
        directory = find_checkpoint(self.model_name_or_path, hub)
        dtype = choose_dtype(device, self.use_fp16, self.use_bf16, model_width(directory))
        return load_checkpoint(directory, dtype, options.trust_remote_code, hub)

    def _model_max_length(self, argument: str, value: int) -> int:
        # The default is one for all models; a smaller one takes what it can.
        return self._checked_max_length(
            argument, min(value, self.max_length) if value == _DEFAULT_MAX_LENGTH else value
        )

    def _checked_max_length(self, argument: str, value: int) -> int:
        if not isinstance(value, int) or not _SHORTEST_MAX_LENGTH <= value <= self.max_length:
            raise ValueError(
                f"{argument}={value!r}: this model takes {_SHORTEST_MAX_LENGTH} to {self.max_length} tokens a text"
            )
        return value

    def _check_truncate_dim(self) -> None:
        width = self.checkpoint.width
        given = self.truncate_dim
        if given is None:
            return
        if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= width:
            raise ValueError(f"truncate_dim={given!r}: this model's vectors have 1 to {width} dimensions")


def _made_again(model_class: type[AbsEmbedder], arguments: Sequence[Any], keywords: Mapping[str, Any]) -> AbsEmbedder:
    return model_class(*arguments, **keywords)


def _with_instruction(instruction: str | None, instruction_format: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {"instruction": instruction, "instruction_format": instruction_format, **options}


def _check_pooling(name: str, pooling: str) -> None:
    if pooling not in ("cls", "mean"):
        raise ValueError(f"pooling_method={pooling!r}: choose 'cls' or 'mean'")
    card = find_model(name)
    if card is not None and card.pooling != pooling:
        warnings.warn(
            f"{card.name} was trained with {card.pooling} pooling, so pooling_method={pooling!r} gives worse vectors; "
            f"pass pooling_method={card.pooling!r}",
            stacklevel=4,
        )


def signature_of(model_class: type[AbsEmbedder]) -> list[str]:
    """Return the names of the arguments that a model class lists in its signature."""
    parameters = inspect.signature(model_class).parameters
    return [name for name, parameter in parameters.items() if parameter.kind is not parameter.VAR_KEYWORD]


def dense_vectors(batch: HiddenBatch, pooling_method: str, truncate_dim: int | None, normalize: bool) -> Tensor:
    """Return (texts, dimension) float32: pooled, then cut to `truncate_dim`, then normalised, as upstream."""
    packed = batch.packed
    if pooling_method == "mean":
        pooled = mean_rows(batch.states, packed.starts, packed.text_of_token)
    else:
        pooled = first_rows(batch.states, packed.starts)
    vectors = pooled.float()[:, :truncate_dim]
    return torch.nn.functional.normalize(vectors, dim=-1) if normalize else vectors
