"""`FlagModel`: one dense vector a text, from a BERT-like encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from flagvec.arguments import checked_texts
from flagvec.embedder import AbsEmbedder, EmbedderOptions, dense_vectors, signature_of
from flagvec.engine.devices import DeviceLike
from flagvec.engine.hidden_states import HiddenBatch
from flagvec.engine.overlap import HostCopy, to_device


class FlagModel(AbsEmbedder):
    """Encodes texts into dense vectors; FlagEmbedding's class of this name, with its arguments and defaults.

    Args:
        model_name_or_path: A directory, a name of the catalogue such as ``"bge-base-en-v1.5"``, or a Hub repository.
        pooling_method: ``"cls"`` takes the first token's hidden state, ``"mean"`` the mean over tokens.
        normalize_embeddings: Give unit vectors.
        use_fp16: Run in the fastest half precision that the device does well: float16 on CUDA, bfloat16 on CPUs with
            AMX or AVX512-BF16, float32 elsewhere. Results are float32 all the same.
        query_instruction_for_retrieval: What `encode_queries` puts in front of a query.
        query_instruction_format: How it is joined to the query, with two ``{}``.
        devices: ``"cpu"``, ``"cuda:0"``, ``"mps"``, a CUDA index, or a list of one; None is the best there is.
        batch_size: The most texts in one forward pass.
        query_max_length: The longest query in tokens; the rest is cut off. The default becomes the model's limit where
            that is lower.
        passage_max_length: The same for documents and for `encode`.
        convert_to_numpy: Give numpy arrays; if False, torch tensors on the model's device.
        trust_remote_code: Let Python code that comes with the checkpoint run.
        cache_dir: Where Hub downloads are kept.
        kwargs: The fields of `EmbedderOptions`.

    Raises:
        TypeError: An unknown argument; names the nearest.
        ValueError: An argument out of its range, or a device that is not here.
        ModelNotFoundError: The model cannot be found; names the nearest known names.
        CheckpointError: The checkpoint is damaged or incomplete, or its code is not trusted.

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
        **kwargs: Any,
    ) -> None:
        kwargs.update(trust_remote_code=trust_remote_code, cache_dir=cache_dir)
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
            options=EmbedderOptions.from_keywords(kwargs, signature_of(FlagModel), "FlagModel"),
        )

    @property
    def representations(self) -> frozenset[str]:
        """What the checkpoint can give: ``dense``."""
        return frozenset({"dense"})

    def encode(
        self,
        sentences: Any,
        batch_size: int | None = None,
        max_length: int | None = None,
        convert_to_numpy: bool | None = None,
        instruction: str | None = None,
        instruction_format: str = "{}{}",
        show_progress: bool = False,
    ) -> Any:
        """Encode texts as they are, without an instruction unless one is given.

        Args:
            sentences: A str, or any iterable of str. Their content never raises.
            batch_size: The most texts in one forward pass; the model's if None.
            max_length: The longest text in tokens, special ones included; the model's ``passage_max_length`` if None.
            convert_to_numpy: As in the constructor; the model's if None.
            instruction: What is put in front of each text.
            instruction_format: How it is joined to the text, with two ``{}``.
            show_progress: Show a progress bar.

        Returns:
            (texts, dimension) float32 in the order of the input, (0, dimension) for an empty list; (dimension,) for a
            str. Unit rows if ``normalize_embeddings``.

        Raises:
            TypeError: A text is not a ``str``; names its position.
            ValueError: ``batch_size`` or ``max_length`` out of range.
        """
        texts = checked_texts([sentences] if isinstance(sentences, str) else sentences, "sentences")
        to_numpy = self.convert_to_numpy if convert_to_numpy is None else convert_to_numpy
        vectors = torch.empty(
            (len(texts), self.dimension), device="cpu" if to_numpy else torch.device(self.target_devices[0])
        )

        def reduce(batch: HiddenBatch) -> HostCopy:
            found = dense_vectors(batch, self.pooling_method, self.truncate_dim, self.normalize_embeddings)
            return HostCopy({"dense": found}, staying=() if to_numpy else ("dense",))

        for positions, found in self._results(
            texts, batch_size, max_length, instruction, instruction_format, show_progress, reduce
        ):
            vectors[to_device(positions, vectors.device)] = found["dense"]
        result = vectors[0] if isinstance(sentences, str) else vectors
        return result.numpy() if to_numpy else result
