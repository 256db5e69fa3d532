"""`FlagModel`: one dense vector a text, from a BERT-like encoder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flagvec.arguments import checked_texts
from flagvec.embedder import AbsEmbedder
from flagvec.engine.devices import DeviceLike
from flagvec.engine.hidden_states import HiddenBatch
from flagvec.engine.overlap import HostCopy, write_rows
from flagvec.finite import keeping_not_finite, row_sums
from flagvec.forward_pass import ForwardPass, Settings, instructed
from flagvec.heads import dense_vectors
from flagvec.m3_output import M3Output
from flagvec.model_options import EmbedderOptions, refuse_unknown
from flagvec.token_windows import TokenWindows

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from flagvec.model_options import EncodeKeywords, FlagModelKeywords, InstructionKeywords

# The texts that `encode` truncated last. `encode_corpus_output` reads it, because it calls `encode_corpus`, which a
# subclass may override and which gives bare vectors.
last_truncated: ContextVar[tuple[int, ...]] = ContextVar("last_truncated", default=())


class FlagModel(AbsEmbedder):
    """Encodes texts into dense vectors, with the arguments and defaults of FlagEmbedding's class of this name.

    Args:
        model_name_or_path: A directory, a name of the catalogue such as ``"bge-base-en-v1.5"``, or a Hub repository.
        pooling_method: ``"cls"`` takes the first token's hidden state, ``"mean"`` the mean over tokens. ``"mini-m3"``
            uses the mean unless you pass one. ``Dense`` modules of ``modules.json`` are applied after it.
        normalize_embeddings: Give unit vectors.
        use_fp16: Run in half precision if that is faster: float16 on CUDA; bfloat16 on a CPU that multiplies it faster
            than float32, which is measured (docs/number-formats.md). Results are always float32.
        query_instruction_for_retrieval: What `encode_queries` puts in front of a query.
        query_instruction_format: How the instruction is joined to the query, with two ``{}``.
        devices: ``"cpu"``, ``"cuda:0"``, ``"mps"`` or a CUDA index; None chooses the fastest. With a list of
            several, long work runs in a process for each; see docs/devices.md.
        batch_size: The most texts in one forward pass.
        query_max_length: The longest query in tokens; the rest is cut off. A model with a limit below the default takes
            its limit.
        passage_max_length: The same for documents and for `encode`.
        convert_to_numpy: Give numpy arrays; if False, torch tensors on the model's device.
        trust_remote_code: Run Python code that comes with the checkpoint.
        cache_dir: Where Hub downloads are kept, and where mini-m3 is assembled.
        kwargs: The other fields of `flagvec.model_options.EmbedderOptions`.

    Raises:
        TypeError: An argument is unknown; the message names the nearest.
        ValueError: An argument is out of its range, or the machine does not have the device.
        ModelNotFoundError: The model cannot be found; the message names the nearest known names.
        CheckpointError: The checkpoint is damaged or incomplete, has ColBERT vectors only, or its code is not trusted.

    Warns:
        UserWarning: `pooling_method` is not that of the model card, or of the checkpoint's ``1_Pooling/config.json``.

    Example:
        >>> model = FlagModel("bge-small-en-v1.5", query_instruction_for_retrieval="search: ")
        >>> model.encode_corpus(["first text", "second text"]).shape
        (2, 384)
    """

    def __init__(
        self,
        model_name_or_path: str | Path,
        pooling_method: str = "cls",
        normalize_embeddings: bool = True,
        use_fp16: bool = True,
        query_instruction_for_retrieval: str | None = None,
        query_instruction_format: str = "{}{}",
        devices: DeviceLike | Sequence[DeviceLike] | None = None,
        batch_size: int = 256,
        query_max_length: int = 512,
        passage_max_length: int = 512,
        convert_to_numpy: bool = True,
        trust_remote_code: bool = False,
        cache_dir: str | Path | None = None,
        **kwargs: Unpack[FlagModelKeywords],
    ) -> None:
        refuse_unknown(kwargs, FlagModel, EmbedderOptions)
        super().__init__(
            model_name_or_path,
            pooling_method=pooling_method,
            normalize_embeddings=normalize_embeddings,
            use_fp16=use_fp16,
            query_instruction_for_retrieval=query_instruction_for_retrieval,
            query_instruction_format=query_instruction_format,
            devices=devices,
            batch_size=batch_size,
            query_max_length=query_max_length,
            passage_max_length=passage_max_length,
            convert_to_numpy=convert_to_numpy,
            options=EmbedderOptions(trust_remote_code=trust_remote_code, cache_dir=cache_dir, **kwargs),
        )
        self.author_files.refuse_colbert()

    @property
    def representations(self) -> frozenset[str]:
        """What the checkpoint can give: ``dense``."""
        return frozenset({"dense"})

    @overload
    def encode(
        self,
        sentences: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        *,
        convert_to_numpy: Literal[False],
        **options: Unpack[InstructionKeywords],
    ) -> Tensor: ...
    @overload
    def encode(
        self,
        sentences: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        *,
        convert_to_numpy: Literal[True] | None = None,
        **options: Unpack[InstructionKeywords],
    ) -> NDArray[np.float32]: ...
    @overload
    def encode(
        self,
        sentences: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        convert_to_numpy: bool | None = None,
        **options: Unpack[InstructionKeywords],
    ) -> NDArray[np.float32] | Tensor: ...
    def encode(
        self,
        sentences: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        convert_to_numpy: bool | None = None,
        instruction: str | None = None,
        instruction_format: str = "{}{}",
        show_progress: bool | None = None,
    ) -> NDArray[np.float32] | Tensor:
        """Encode texts, in front of each the instruction if one is given.

        Args:
            sentences: A str, or an iterable of str. Their content never raises.
            batch_size: The most texts in one forward pass; the model's ``batch_size`` if None.
            max_length: The longest text in tokens, special ones included; the model's ``passage_max_length`` if None.
            convert_to_numpy: Give numpy arrays, else tensors on the model's device; the model's setting if None. For a
                model that gives tensors by default, pass False so that a type checker knows it.
            instruction: What is put in front of each text.
            instruction_format: How the instruction is joined to the text, with two ``{}``.
            show_progress: Show a progress bar. None shows one in a terminal or notebook after two seconds.

        Returns:
            (texts, dimension) float32 in the order of the input, (0, dimension) for an empty list; (dimension,) for a
            str. Unit rows if ``normalize_embeddings``.

        Raises:
            TypeError: `sentences` is a table or a set, or a text is not a ``str``; the message names its position.
            ValueError: ``batch_size`` or ``max_length`` is out of range.
            NotFiniteError: A text's vector is NaN or infinite, also in float32; names its position. A vector that is
                not finite in half precision only is computed again in a wider format, with a warning.
        """
        texts: Sequence[str] = checked_texts([sentences] if isinstance(sentences, str) else sentences, "sentences")
        settings = Settings.of(self, batch_size, max_length, convert_to_numpy, show_progress)
        device = "cpu" if settings.to_numpy else self.target_devices[0]
        vectors = torch.empty((len(texts), self.dimension), device=device)

        tokens = self._tokens(instructed(texts, instruction, instruction_format), settings)
        for positions, found in self._passes(tokens, settings):
            write_rows(positions, found["dense_vecs"], vectors)
        last_truncated.set(tuple(tokens.truncated))
        result = vectors[0] if isinstance(sentences, str) else vectors
        return result.numpy() if settings.to_numpy else result

    def _pass(self, tokens: TokenWindows, settings: Settings) -> ForwardPass:
        def reduce(batch: HiddenBatch) -> HostCopy:
            found = dense_vectors(batch, self)
            return HostCopy(
                {"dense_vecs": found, **row_sums(found)}, staying=() if settings.to_numpy else ("dense_vecs",)
            )

        return ForwardPass(tokens, settings, self._encoder, reduce)

    @overload
    def encode_queries(
        self,
        queries: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        *,
        convert_to_numpy: Literal[False],
        **options: Unpack[InstructionKeywords],
    ) -> Tensor: ...
    @overload
    def encode_queries(
        self,
        queries: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        *,
        convert_to_numpy: Literal[True] | None = None,
        **options: Unpack[InstructionKeywords],
    ) -> NDArray[np.float32]: ...
    @overload
    def encode_queries(
        self,
        queries: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        *,
        convert_to_numpy: bool | None = None,
        **options: Unpack[InstructionKeywords],
    ) -> NDArray[np.float32] | Tensor: ...
    def encode_queries(
        self,
        queries: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        **options: Any,
    ) -> NDArray[np.float32] | Tensor:
        """Encode queries: `encode` with the query instruction, and ``query_max_length`` if `max_length` is None."""
        vectors: NDArray[np.float32] | Tensor = self._encode_queries(queries, batch_size, max_length, options)
        return vectors

    @overload
    def encode_corpus(
        self,
        corpus: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        *,
        convert_to_numpy: Literal[False],
        **options: Unpack[InstructionKeywords],
    ) -> Tensor: ...
    @overload
    def encode_corpus(
        self,
        corpus: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        *,
        convert_to_numpy: Literal[True] | None = None,
        **options: Unpack[InstructionKeywords],
    ) -> NDArray[np.float32]: ...
    @overload
    def encode_corpus(
        self,
        corpus: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        *,
        convert_to_numpy: bool | None = None,
        **options: Unpack[InstructionKeywords],
    ) -> NDArray[np.float32] | Tensor: ...
    def encode_corpus(
        self,
        corpus: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        **options: Any,
    ) -> NDArray[np.float32] | Tensor:
        """Encode documents: `encode` with the passage instruction."""
        vectors: NDArray[np.float32] | Tensor = self._encode_corpus(corpus, batch_size, max_length, options)
        return vectors

    def encode_stream(
        self,
        sentences: Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        **options: Unpack[EncodeKeywords],
    ) -> Iterator[NDArray[np.float32] | Tensor]:
        """Encode documents as they come; see `AbsEmbedder.encode_stream`."""
        return self._encode_stream(sentences, batch_size, max_length, options)

    def encode_corpus_output(
        self, corpus: Sequence[str], representations: Collection[str], **options: Unpack[InstructionKeywords]
    ) -> M3Output:
        """Encode documents into an `M3Output`; see `AbsEmbedder.encode_corpus_output`."""
        last_truncated.set(())
        with keeping_not_finite():
            vectors = self.encode_corpus(corpus, convert_to_numpy=True, **options)
        return M3Output(dense_vecs=vectors, truncated=last_truncated.get())
