"""`CombinedModel`: a dense model and a ColBERT model as one, so that a store can hold the vectors of both."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flagvec.arguments import checked_texts
from flagvec.bge_m3 import BGEM3FlagModel
from flagvec.colbert_model import ColbertFlagModel
from flagvec.embedder import AbsEmbedder
from flagvec.errors import CheckpointError
from flagvec.finite import keeping_not_finite
from flagvec.flag_model import FlagModel, last_truncated
from flagvec.m3_output import M3Output
from flagvec.store.encoding import model_lock
from flagvec.store.schema import joined_instruction

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from flagvec.model_options import ColbertEncodeKeywords, InstructionKeywords

_FLAGS = {"dense": "return_dense", "sparse": "return_sparse", "colbert": "return_colbert_vecs"}


class CombinedModel(AbsEmbedder):
    """Encodes texts with two models: a store finds candidates by the dense vectors and orders them by ColBERT.

    Each model reads a text once, with its own instructions and lengths. `tokenizer`, `batch_size` and the other
    attributes that are not listed here are those of the dense model.

    Args:
        dense: Gives dense vectors, and lexical weights if it has them. Its own ColBERT vectors are never computed.
        colbert: Gives the ColBERT vectors.

    Attributes:
        dense_model: The argument `dense`.
        colbert_model: The argument `colbert`.
        model_name_or_path: Both names, joined by ``" + "``. The instructions are joined in the same way.
        normalize_embeddings: Whether both models give unit vectors.
        max_length: The longest text that both models take. `query_max_length` and `passage_max_length` are minima too.

    Raises:
        TypeError: An argument is a model of another class.

    Example:
        >>> model = CombinedModel(
        ...     FlagModel("bge-small-en-v1.5"), colbert=ColbertFlagModel("answerdotai/answerai-colbert-small-v1")
        ... )
        >>> sorted(model.representations)
        ['colbert', 'dense']
    """

    def __init__(self, dense: FlagModel | BGEM3FlagModel, colbert: ColbertFlagModel) -> None:
        # AbsEmbedder's constructor would load a checkpoint, and this class has none of its own.
        if not isinstance(dense, (FlagModel, BGEM3FlagModel)):
            raise TypeError(f"dense={dense!r:.200}: give a FlagModel or a BGEM3FlagModel")
        if not isinstance(colbert, ColbertFlagModel):
            raise TypeError(f"colbert={colbert!r:.200}: give a ColbertFlagModel")
        self.dense_model, self.colbert_model = dense, colbert
        self.model_name_or_path = f"{dense.model_name_or_path} + {colbert.model_name_or_path}"
        self.model, self.tokenizer, self.checkpoint = dense.model, dense.tokenizer, dense.checkpoint
        self.author_files, self.dense_layers = dense.author_files, dense.dense_layers
        self.target_devices, self.batch_size = dense.target_devices, dense.batch_size
        self.convert_to_numpy, self.pooling_method = dense.convert_to_numpy, dense.pooling_method
        self.normalize_embeddings = dense.normalize_embeddings and colbert.normalize_embeddings
        self.max_length = min(dense.max_length, colbert.max_length)
        self.query_max_length = min(dense.query_max_length, colbert.query_max_length)
        self.passage_max_length = min(dense.passage_max_length, colbert.passage_max_length)
        self.query_instruction_for_retrieval = self._both_instructions("query_instruction")
        self.passage_instruction_for_retrieval = self._both_instructions("passage_instruction")
        self.query_instruction_format = self.passage_instruction_format = "{}{}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dense_model!r}, colbert={self.colbert_model!r})"

    @property
    def representations(self) -> frozenset[str]:
        """``dense`` and ``colbert``, and ``sparse`` if the dense model can give it."""
        return self.dense_model.representations | {"colbert"}

    @property
    def dimension(self) -> int:
        """Length of a dense vector."""
        return self.dense_model.dimension

    @property
    def colbert_dimension(self) -> int:
        """Length of a ColBERT vector."""
        return self.colbert_model.colbert_dimension

    @property
    def tokens_encoded(self) -> int:
        """How many tokens the dense model has read so far, special ones included."""
        return self.dense_model.tokens_encoded

    def close(self) -> None:
        """End the worker processes of both models, if they have any."""
        self.dense_model.close()
        self.colbert_model.close()

    def encode(
        self,
        sentences: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        **options: Unpack[ColbertEncodeKeywords],
    ) -> M3Output:
        """Encode documents; arguments, results and errors are those of `BGEM3FlagModel.encode`.

        The arguments hold for both models. A representation is left out only if its ``return_...`` is False.
        `truncated` has the texts that either model cut off.
        """
        return self._encoded("encode", sentences, batch_size, max_length, options)

    def encode_queries(
        self,
        queries: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        **options: Unpack[ColbertEncodeKeywords],
    ) -> M3Output:
        """Encode queries: `encode` with each model's own query instruction and ``query_max_length``."""
        return self._encoded("encode_queries", queries, batch_size, max_length, options)

    def encode_corpus(
        self,
        corpus: str | Iterable[str],
        batch_size: int | None = None,
        max_length: int | None = None,
        **options: Unpack[ColbertEncodeKeywords],
    ) -> M3Output:
        """Encode documents: `encode` with each model's own passage instruction."""
        return self._encoded("encode_corpus", corpus, batch_size, max_length, options)

    def encode_corpus_output(
        self, corpus: Sequence[str], representations: Collection[str], **options: Unpack[InstructionKeywords]
    ) -> M3Output:
        """Encode documents; see `AbsEmbedder.encode_corpus_output`."""
        asked: Any = {flag: name in representations for name, flag in _FLAGS.items()}
        with keeping_not_finite():
            return self.encode_corpus(corpus, convert_to_numpy=True, **asked, **options)

    def _encoded(
        self, method: str, texts: Any, batch_size: int | None, max_length: int | None, options: Mapping[str, Any]
    ) -> M3Output:
        asked = {name: options.get(flag) for name, flag in _FLAGS.items()}
        shared = {name: value for name, value in options.items() if name not in _FLAGS.values()}
        if asked["sparse"] and "sparse" not in self.representations:
            raise CheckpointError(f"return_sparse=True: {self.dense_model!r} gives no lexical weights; leave it out")
        wanted = {name for name in self.representations if asked[name] is not False}
        if not wanted:
            raise ValueError("nothing to encode: set one of return_dense, return_sparse, return_colbert_vecs")
        # Two models read the texts, which may come from a generator.
        texts = texts if isinstance(texts, str) else checked_texts(texts, "sentences")
        found, truncated = M3Output(), set[int]()
        for model in (self.dense_model, self.colbert_model):
            own = wanted & ({"colbert"} if model is self.colbert_model else {"dense", "sparse"})
            if not own:
                continue
            flags = {} if isinstance(model, FlagModel) else {flag: name in own for name, flag in _FLAGS.items()}
            last_truncated.set(())
            with model_lock(model):
                output = getattr(model, method)(texts, batch_size, max_length, **shared, **flags)
            if isinstance(model, FlagModel):
                output = M3Output(dense_vecs=output, truncated=last_truncated.get())
            found.update(output)
            truncated.update(output.truncated)
        return M3Output(found, truncated=tuple(sorted(truncated)))

    def _both_instructions(self, name: str) -> str | None:
        found = [joined_instruction(model, name) or "" for model in (self.dense_model, self.colbert_model)]
        return " + ".join(found) if any(found) else None
