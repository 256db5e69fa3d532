"""`BGEM3FlagModel`: dense vector, lexical weights and ColBERT vectors from one forward pass."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from flagvec import scoring
from flagvec.arguments import checked_colbert_dim, checked_texts
from flagvec.embedder import AbsEmbedder
from flagvec.engine.devices import DeviceLike
from flagvec.finite import keeping_not_finite
from flagvec.forward_pass import ForwardPass, Settings, instructed
from flagvec.heads import ids_without_weight, load_m3_model, weights_by_text
from flagvec.late_interaction.pooling import checked_pool_factor
from flagvec.m3_batches import M3Batches, asked_keys
from flagvec.m3_output import M3Output
from flagvec.model_options import M3Options, refuse_unknown
from flagvec.pair_scoring import score_pairs
from flagvec.token_windows import TokenWindows

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from flagvec.model_options import InstructionKeywords, M3EncodeKeywords, M3Keywords


class BGEM3FlagModel(AbsEmbedder):
    """Encodes texts with BGE-M3 or a model of its kind, with the arguments of FlagEmbedding's class of this name.

    The arguments up to `convert_to_numpy`, and the errors, are those of `FlagModel`.

    Args:
        model_name_or_path: A directory, ``"bge-m3"``, or a Hub repository: a backbone with ``sparse_linear.pt`` and
            ``colbert_linear.pt`` beside it. A checkpoint without a head cannot give that head's output. Instead of
            ``sparse_linear.pt`` a token-classification head with one label will do, as in gte-multilingual-base.
        normalize_embeddings: Give unit dense and ColBERT vectors.
        colbert_dim: Length of ColBERT vectors: the first rows of the checkpoint's ColBERT head are used. -1 is the
            backbone's width. Vectors shorter than the head was trained for take less space and find less.
        return_dense: Give dense vectors, unless a call says otherwise.
        return_sparse: Give lexical weights, unless a call says otherwise.
        return_colbert_vecs: Give ColBERT vectors, unless a call says otherwise.
        kwargs: The fields of `flagvec.model_options.M3Options`.

    Raises:
        CheckpointError: The checkpoint is damaged or incomplete, a head has the wrong shape, or a head that is asked
            for is missing.

    Example:
        >>> model = BGEM3FlagModel("bge-m3", return_sparse=True, return_colbert_vecs=True)
        >>> output = model.encode_corpus(["first text", "second text"])
        >>> output["dense_vecs"].shape, output["colbert_vecs"][0].shape
        ((2, 1024), (3, 1024))
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
        colbert_dim: int = -1,
        return_dense: bool = True,
        return_sparse: bool = False,
        return_colbert_vecs: bool = False,
        **kwargs: Unpack[M3Keywords],
    ) -> None:
        refuse_unknown(kwargs, BGEM3FlagModel, M3Options)
        options = M3Options(**kwargs)
        self.colbert_pool_factor = checked_pool_factor(options.colbert_pool_factor)
        colbert_dim = checked_colbert_dim(colbert_dim)
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
            options=options,
        )
        self.author_files.refuse_colbert()
        self.colbert_dim = self.checkpoint.width if colbert_dim == -1 else colbert_dim
        self.return_dense = return_dense
        self.return_sparse = return_sparse
        self.return_colbert_vecs = return_colbert_vecs
        device = self.target_devices[0]
        self.model = load_m3_model(self.checkpoint, device, self.colbert_dim, return_sparse, return_colbert_vecs)
        self._ids_without_weight = ids_without_weight(self.tokenizer, device)

    @property
    def representations(self) -> frozenset[str]:
        """What the checkpoint can give, of ``dense``, ``sparse`` and ``colbert``."""
        heads = {"sparse": self.model.sparse_linear, "colbert": self.model.colbert_linear}
        return frozenset({"dense", *(name for name, head in heads.items() if head is not None)})

    @property
    def colbert_dimension(self) -> int | None:
        """Length of a ColBERT vector, None if the checkpoint has no ColBERT head."""
        if self.model.colbert_linear is None:
            return None
        return min(self.colbert_dim, self.truncate_dim or self.colbert_dim)

    def encode(
        self,
        sentences: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        return_dense: bool | None = None,
        return_sparse: bool | None = None,
        return_colbert_vecs: bool | None = None,
        convert_to_numpy: bool | None = None,
        instruction: str | None = None,
        instruction_format: str = "{}{}",
        show_progress: bool | None = None,
        colbert_pool_factor: int = 1,
    ) -> M3Output:
        """Encode texts, in front of each the instruction if one is given, in one forward pass a batch.

        Args:
            sentences: As in `FlagModel.encode`.
            batch_size: As in `FlagModel.encode`.
            max_length: As in `FlagModel.encode`.
            return_dense: Give ``dense_vecs``; the model's setting if None.
            return_sparse: Give ``lexical_weights``; the model's setting if None.
            return_colbert_vecs: Give ``colbert_vecs``; the model's setting if None.
            convert_to_numpy: As in `FlagModel.encode`.
            instruction: As in `FlagModel.encode`.
            instruction_format: As in `FlagModel.encode`.
            show_progress: As in `FlagModel.encode`.
            colbert_pool_factor: How many times fewer ColBERT vectors a text gets. `encode_corpus` takes the model's.

        Returns:
            The representations in the order of the input. ``dense_vecs``: (texts, dimension) float32.
            ``lexical_weights``: for each text the highest weight of each of its tokens, above zero, without the
            special tokens cls, eos, pad and unk. ``colbert_vecs``: for each text (tokens - 1, colbert_dim) float32,
            without the first token and with the last, as in FlagEmbedding. A str gives one text, unbatched.

        Raises:
            TypeError: `sentences` is a table or a set, or a text is not a ``str``; the message names its position.
            ValueError: ``batch_size``, ``max_length`` or ``colbert_pool_factor`` is out of range, or no representation
                is asked for.
            CheckpointError: The checkpoint has no head for what is asked for.
            NotFiniteError: As in `FlagModel.encode`.
        """
        texts = checked_texts([sentences] if isinstance(sentences, str) else sentences, "sentences")
        batches = M3Batches(
            self,
            asked_keys(self, return_dense, return_sparse, return_colbert_vecs),
            Settings.of(self, batch_size, max_length, convert_to_numpy, show_progress),
            checked_pool_factor(colbert_pool_factor),
        )
        output = batches.run(instructed(texts, instruction, instruction_format))
        return output.unbatched() if isinstance(sentences, str) else output

    def _pass(self, tokens: TokenWindows, settings: Settings, keys: Sequence[str]) -> ForwardPass:
        return M3Batches(self, keys, settings, pool_factor=1).own_pass(tokens)

    def encode_queries(
        self,
        queries: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        **options: Unpack[M3EncodeKeywords],
    ) -> M3Output:
        """Encode queries: `encode` with the query instruction, and ``query_max_length`` if `max_length` is None."""
        output: M3Output = self._encode_queries(queries, batch_size, max_length, options)
        return output

    def encode_corpus(
        self,
        corpus: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        **options: Unpack[M3EncodeKeywords],
    ) -> M3Output:
        """Encode documents: `encode` with the passage instruction and the model's ``colbert_pool_factor``."""
        options = {"colbert_pool_factor": self.colbert_pool_factor, **options}
        output: M3Output = self._encode_corpus(corpus, batch_size, max_length, options)
        return output

    def encode_stream(
        self,
        sentences: Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        **options: Unpack[M3EncodeKeywords],
    ) -> Iterator[M3Output]:
        """Encode documents as they come; see `AbsEmbedder.encode_stream`."""
        return self._encode_stream(sentences, batch_size, max_length, options)

    def encode_corpus_output(
        self, corpus: Sequence[str], representations: Collection[str], **options: Unpack[InstructionKeywords]
    ) -> M3Output:
        """Encode documents into an `M3Output`; see `AbsEmbedder.encode_corpus_output`."""
        with keeping_not_finite():
            return self.encode_corpus(
                corpus,
                return_dense="dense" in representations,
                return_sparse="sparse" in representations,
                return_colbert_vecs="colbert" in representations,
                convert_to_numpy=True,
                **options,
            )

    @overload
    def compute_score(
        self, q_reps: Mapping[str, Any], p_reps: Mapping[str, Any], weights: Sequence[float] | None = None
    ) -> float: ...
    @overload
    def compute_score(
        self,
        sentence_pairs: tuple[str, str],
        batch_size: int | None = None,
        max_query_length: int | None = None,
        max_passage_length: int | None = None,
        weights_for_different_modes: Sequence[float] | None = None,
    ) -> dict[str, float]: ...
    @overload
    def compute_score(
        self,
        sentence_pairs: list[tuple[str, str]] | list[list[str]],
        batch_size: int | None = None,
        max_query_length: int | None = None,
        max_passage_length: int | None = None,
        weights_for_different_modes: Sequence[float] | None = None,
    ) -> dict[str, list[float]]: ...
    def compute_score(self, *args: Any, **kwargs: Any) -> Any:
        """Score the outputs of one query and one document, or encode and score pairs of texts.

        ``compute_score(q_reps, p_reps, weights=None)`` returns the weighted mean of the dense, sparse and ColBERT
        scores that both outputs have. `weights` are in this order, 1 each if None. ``compute_score(sentence_pairs,
        batch_size=None, max_query_length=None, max_passage_length=None, weights_for_different_modes=None)`` is
        FlagEmbedding's form: it encodes (query, document) texts without instructions. It returns a dict with the
        lists ``colbert``, ``sparse``, ``dense``, ``sparse+dense`` and ``colbert+sparse+dense``, one float a pair. One
        bare pair gives floats instead of lists.

        Raises:
            TypeError: The arguments are neither two outputs nor pairs of str.
            ValueError: An output holds several texts, the outputs have no representation in common, or the weights are
                not three numbers of zero or more.
            CheckpointError: Pairs are given and the checkpoint lacks a head.
        """
        if "q_reps" in kwargs or (args and isinstance(args[0], Mapping)):
            return scoring.score_outputs(*args, **kwargs)
        return score_pairs(self, *args, **kwargs)

    @overload
    def compute_lexical_matching_score(
        self, lexical_weights_1: Mapping[Any, float], lexical_weights_2: Mapping[Any, float]
    ) -> float: ...
    @overload
    def compute_lexical_matching_score(
        self, lexical_weights_1: Sequence[Mapping[Any, float]], lexical_weights_2: Sequence[Mapping[Any, float]]
    ) -> NDArray[np.float64]: ...
    def compute_lexical_matching_score(self, lexical_weights_1: Any, lexical_weights_2: Any) -> Any:
        """Return the sum of weight products over shared tokens, for two lists as a (first, second) float64 matrix.

        The keys of the weights are token ids, as int or str.

        Raises:
            TypeError: The arguments are neither two dicts nor two lists of dicts.
        """
        return scoring.lexical_matching_score(lexical_weights_1, lexical_weights_2)

    def colbert_score(self, q_reps: Any, p_reps: Any) -> np.float64:
        """Return the mean over query tokens of the best dot product with a document token.

        Both arguments are (tokens, dimension) arrays or tensors. The score lies between -1 and 1 for unit rows.

        Raises:
            ValueError: They are not two matrices of the same width.
        """
        return scoring.colbert_score(q_reps, p_reps)

    def convert_id_to_token(self, lexical_weights: Any) -> list[dict[str, float]]:
        """Return lexical weights with the tokens as text: a list with one ``{token: weight}`` for each text.

        One ``{token id: weight}`` or a list of them can be given. If several ids decode to the same text, the highest
        weight is kept.
        """
        texts = [lexical_weights] if isinstance(lexical_weights, Mapping) else lexical_weights
        return [weights_by_text(weights, self.tokenizer) for weights in texts]
