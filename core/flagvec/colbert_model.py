"""`ColbertFlagModel`: ColBERT vectors from a checkpoint that gives nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch

from flagvec import scoring
from flagvec.arguments import (
    checked_batch_size,
    checked_max_length,
    checked_pairs,
    checked_texts,
    checked_truncate_dim,
)
from flagvec.colbert.batches import encode_tokens, pass_of_tokens
from flagvec.colbert.layout import ColbertSettings, load_projection
from flagvec.colbert.tokens import UNATTENDED, ExpandedQueryEncoder, MarkedTokenizer, marker_id, mask_id, skipped_ids
from flagvec.embedder import AbsEmbedder
from flagvec.engine.devices import DeviceLike
from flagvec.engine.hidden_states import HiddenStateEncoder
from flagvec.errors import CheckpointError
from flagvec.finite import keeping_not_finite
from flagvec.forward_pass import ForwardPass, Settings, instructed
from flagvec.m3_output import M3Output
from flagvec.model_options import EmbedderOptions, refuse_unknown
from flagvec.token_windows import TokenizedWindows, TokenWindows

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from flagvec.model_options import ColbertEncodeKeywords, FlagModelKeywords, InstructionKeywords


class ColbertFlagModel(AbsEmbedder):
    """Encodes texts into ColBERT vectors with a checkpoint in the layout of PyLate, or of Stanford's ColBERT.

    GTE-ModernColBERT, answerai-colbert-small and their kind. The vectors are PyLate's. A query's vectors include
    those of the mask tokens that fill it up. A document has none for punctuation. The model has no dense vector, which
    stores need: combine it with a dense model in a `CombinedModel`. The ColBERT rerankers for LangChain and LlamaIndex
    take it alone.

    Args:
        model_name_or_path: A directory or a Hub repository.
        normalize_embeddings: Give unit vectors.
        use_fp16: As in `FlagModel`.
        query_instruction_for_retrieval: What `encode_queries` puts in front of a query; what the checkpoint's files
            say if None.
        devices: As in `FlagModel`.
        batch_size: The most texts in one forward pass.
        query_max_length: The length of a query in tokens; the checkpoint's ``query_length`` if None.
        passage_max_length: The longest document in tokens; the checkpoint's ``document_length`` if None.
        convert_to_numpy: Give numpy arrays; if False, torch tensors on the model's device.
        trust_remote_code: Run Python code that comes with the checkpoint.
        cache_dir: Where Hub downloads are kept.
        kwargs: The other fields of `flagvec.model_options.EmbedderOptions`.

    Attributes:
        settings: Markers, lengths, query expansion and skipped tokens, as the checkpoint's files say.

    Raises:
        CheckpointError: The checkpoint is damaged or incomplete, or is no ColBERT checkpoint.
        TypeError: As in `FlagModel`.
        ValueError: As in `FlagModel`.
        ModelNotFoundError: As in `FlagModel`.
    """

    def __init__(
        self,
        model_name_or_path: str | Path,
        normalize_embeddings: bool = True,
        use_fp16: bool = True,
        query_instruction_for_retrieval: str | None = None,
        devices: DeviceLike | Sequence[DeviceLike] | None = None,
        batch_size: int = 256,
        query_max_length: int | None = None,
        passage_max_length: int | None = None,
        convert_to_numpy: bool = True,
        trust_remote_code: bool = False,
        cache_dir: str | Path | None = None,
        **kwargs: Unpack[FlagModelKeywords],
    ) -> None:
        refuse_unknown(kwargs, ColbertFlagModel, EmbedderOptions)
        super().__init__(
            model_name_or_path,
            pooling_method="cls",
            normalize_embeddings=normalize_embeddings,
            use_fp16=use_fp16,
            query_instruction_for_retrieval=query_instruction_for_retrieval,
            query_instruction_format="{}{}",
            devices=devices,
            batch_size=batch_size,
            query_max_length=512,
            passage_max_length=512,
            convert_to_numpy=convert_to_numpy,
            options=EmbedderOptions(trust_remote_code=trust_remote_code, cache_dir=cache_dir, **kwargs),
        )
        files, backbone = self.author_files, self.checkpoint.backbone
        if query_instruction_for_retrieval is None:
            self.query_instruction_for_retrieval = files.default_prompt
        if self.passage_instruction_for_retrieval is None:
            self.passage_instruction_for_retrieval = files.default_prompt
        self.settings = ColbertSettings.of(files)
        self.query_max_length = self._length("query_max_length", query_max_length, self.settings.query_length)
        self.passage_max_length = self._length("passage_max_length", passage_max_length, self.settings.document_length)
        device = torch.device(self.target_devices[0])
        self.projection = load_projection(files, self.checkpoint.width, device, backbone.dtype)
        self.truncate_dim = checked_truncate_dim(self.truncate_dim, self.projection.outputs)
        self._prepare_tokens(device)

    @property
    def representations(self) -> frozenset[str]:
        """What the checkpoint can give: ``colbert``."""
        return frozenset({"colbert"})

    @property
    def dimension(self) -> NoReturn:
        """There is no dense vector.

        Raises:
            CheckpointError: Always.
        """
        raise CheckpointError(
            f"{self.model_name_or_path!r} gives ColBERT vectors only, and a store needs a dense vector of each text: "
            "pass CombinedModel(dense_model, colbert=this_model), or use this model in a ColBERT reranker"
        )

    @property
    def colbert_dimension(self) -> int:
        """Length of a ColBERT vector."""
        return self.truncate_dim or self.projection.outputs

    def encode(
        self,
        sentences: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        convert_to_numpy: bool | None = None,
        instruction: str | None = None,
        instruction_format: str = "{}{}",
        show_progress: bool | None = None,
        is_query: bool = False,
        return_dense: bool | None = None,
        return_sparse: bool | None = None,
        return_colbert_vecs: bool | None = None,
    ) -> M3Output:
        """Encode documents, or queries if `is_query`, in front of each the instruction if one is given.

        Args:
            sentences: As in `FlagModel.encode`.
            batch_size: As in `FlagModel.encode`.
            max_length: The longest document in tokens, or the length of a query, markers included; the model's own if
                None.
            convert_to_numpy: As in `FlagModel.encode`.
            instruction: As in `FlagModel.encode`.
            instruction_format: As in `FlagModel.encode`.
            show_progress: As in `FlagModel.encode`.
            is_query: Encode as queries.
            return_dense: For code that calls a `BGEM3FlagModel`: True is refused.
            return_sparse: The same.
            return_colbert_vecs: The same; False is refused.

        Returns:
            ``colbert_vecs``: for each text (tokens, dimension) float32, in the order of the input. A str gives one
            text, unbatched.

        Raises:
            TypeError: `sentences` is a table or a set, or a text is not a ``str``; the message names its position.
            ValueError: ``batch_size`` or ``max_length`` is out of range.
            CheckpointError: Another representation is asked for.
            NotFiniteError: As in `FlagModel.encode`.
        """
        if return_dense or return_sparse or return_colbert_vecs is False:
            raise CheckpointError(
                f"{self.model_name_or_path!r} gives ColBERT vectors and nothing else: leave return_dense, "
                "return_sparse and return_colbert_vecs out"
            )
        texts = checked_texts([sentences] if isinstance(sentences, str) else sentences, "sentences")
        if max_length is None:
            max_length = self.query_max_length if is_query else self.passage_max_length
        output = encode_tokens(
            self,
            instructed(texts, instruction, instruction_format),
            Settings.of(self, batch_size, max_length, convert_to_numpy, show_progress),
            is_query,
        )
        return output.unbatched() if isinstance(sentences, str) else output

    def _tokens(self, texts: Sequence[str], settings: Settings, is_query: bool = False) -> TokenizedWindows:
        tokenize = self._tokenize_query if is_query else self._tokenize_document
        encoder = self._query_encoder if is_query else self._encoder
        return TokenizedWindows(texts, tokenize, encoder, settings.max_length, settings.batch_size)

    def _pass(self, tokens: TokenWindows, settings: Settings, is_query: bool) -> ForwardPass:
        return pass_of_tokens(self, tokens, settings, is_query)

    def encode_queries(
        self,
        queries: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        **options: Unpack[ColbertEncodeKeywords],
    ) -> M3Output:
        """Encode queries: `encode` with ``is_query`` and the query instruction."""
        output: M3Output = self._encode_queries(queries, batch_size, max_length, {**options, "is_query": True})
        return output

    def encode_corpus(
        self,
        corpus: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        **options: Unpack[ColbertEncodeKeywords],
    ) -> M3Output:
        """Encode documents: `encode` with the passage instruction."""
        output: M3Output = self._encode_corpus(corpus, batch_size, max_length, options)
        return output

    def encode_stream(
        self,
        sentences: Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        **options: Unpack[ColbertEncodeKeywords],
    ) -> Iterator[M3Output]:
        """Encode documents as they come; see `AbsEmbedder.encode_stream`."""
        return self._encode_stream(sentences, batch_size, max_length, options)

    def encode_corpus_output(
        self, corpus: Sequence[str], representations: Collection[str], **options: Unpack[InstructionKeywords]
    ) -> M3Output:
        """Encode documents; see `AbsEmbedder.encode_corpus_output`."""
        with keeping_not_finite():
            return self.encode_corpus(corpus, convert_to_numpy=True, **options)

    def compute_score(self, *args: Any, **kwargs: Any) -> Any:
        """Score the outputs of one query and one document, or encode and score pairs of texts.

        ``compute_score(q_reps, p_reps)`` returns the mean over query vectors of the best match. ``compute_score(
        sentence_pairs, batch_size=None)`` encodes (query, document) texts and returns ``{"colbert": [score, ...]}``,
        or ``{"colbert": score}`` for one bare pair.

        Raises:
            TypeError: The arguments are neither two outputs nor pairs of str.
            ValueError: An output holds several texts, or has no ColBERT vectors.
        """
        if "q_reps" in kwargs or (args and isinstance(args[0], Mapping)):
            return scoring.score_outputs(*args, **kwargs)
        return self._score_pairs(*args, **kwargs)

    def colbert_score(self, q_reps: Any, p_reps: Any) -> np.float64:
        """Return the mean over query vectors of the best dot product with a document's vector.

        PyLate gives the sum: this mean times the number of query vectors.

        Raises:
            ValueError: They are not two matrices of the same width.
        """
        return scoring.colbert_score(q_reps, p_reps)

    def _score_pairs(self, sentence_pairs: Any, batch_size: int | None = None) -> dict[str, Any]:
        pairs, is_one = checked_pairs(sentence_pairs)
        size = self.batch_size if batch_size is None else checked_batch_size(batch_size)
        scores: list[float] = []
        for start in range(0, len(pairs), size):
            queries, documents = zip(*pairs[start : start + size], strict=True)
            options: ColbertEncodeKeywords = {"convert_to_numpy": True, "show_progress": False}
            asked, found = self.encode_queries(queries, **options), self.encode_corpus(documents, **options)
            rows = zip(asked["colbert_vecs"], found["colbert_vecs"], strict=True)
            scores.extend(float(scoring.colbert_score(query, document)) for query, document in rows)
        return {"colbert": scores[0] if is_one else scores}

    def _prepare_tokens(self, device: torch.device) -> None:
        tokenizer, settings, directory = self.tokenizer, self.settings, self.checkpoint.directory
        mask = mask_id(tokenizer, directory)
        filling = mask if settings.attend_to_expansion_tokens else UNATTENDED
        self._tokenize_query = MarkedTokenizer(
            self._tokenize,
            marker_id(tokenizer, settings.query_prefix, directory),
            filling if settings.do_query_expansion else None,
        )
        self._tokenize_document = MarkedTokenizer(
            self._tokenize, marker_id(tokenizer, settings.document_prefix, directory), None
        )
        is_unseen = settings.do_query_expansion and not settings.attend_to_expansion_tokens
        self._query_encoder: HiddenStateEncoder = (
            ExpandedQueryEncoder(self.checkpoint.backbone, device, mask) if is_unseen else self._encoder
        )
        self._skipped_ids = torch.tensor(skipped_ids(tokenizer, settings.skiplist_words), device=device)

    def _length(self, argument: str, given: int | None, authors: int) -> int:
        if given is None:
            return min(authors, self.max_length)
        return checked_max_length(argument, given, self.max_length)
