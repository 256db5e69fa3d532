"""`BGEM3FlagModel`: dense vector, lexical weights and ColBERT multivector from one forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from flagvec import scoring
from flagvec.arguments import checked_batch_size, checked_pairs, checked_texts
from flagvec.embedder import AbsEmbedder, EmbedderOptions, dense_vectors, signature_of
from flagvec.engine.devices import DeviceLike
from flagvec.engine.hidden_states import HiddenBatch
from flagvec.engine.overlap import HostCopy, to_device
from flagvec.engine.packed import even_number
from flagvec.engine.reductions import TokenWeights, as_dicts, strongest_weights
from flagvec.late_interaction.pooling import checked_pool_factor, pool_tokens
from flagvec.loading import COLBERT_HEAD, SPARSE_HEAD, load_head, missing_head
from flagvec.m3_output import M3Output

# The special tokens that upstream leaves out of the lexical weights.
_TOKENS_WITHOUT_WEIGHT = ("cls_token_id", "eos_token_id", "pad_token_id", "unk_token_id")


@dataclass(frozen=True)
class M3Options(EmbedderOptions):
    """What `BGEM3FlagModel` takes beyond its signature.

    Args:
        colbert_pool_factor: How many times fewer ColBERT vectors a document gets: those that are alike become their
            mean (`flagvec.late_interaction.pooling.pool_tokens`; benchmarks/RESULTS.md has the cost). Queries keep all.
    """

    colbert_pool_factor: int = 1


class M3Model(nn.Module):
    """The backbone and the two heads, under upstream's names; a head that the checkpoint lacks is None."""

    def __init__(self, backbone: nn.Module, sparse_linear: nn.Linear | None, colbert_linear: nn.Linear | None) -> None:
        super().__init__()
        self.model = backbone
        self.sparse_linear = sparse_linear
        self.colbert_linear = colbert_linear


class BGEM3FlagModel(AbsEmbedder):
    """Encodes texts with BGE-M3 or a model of its kind; FlagEmbedding's class of this name, arguments and defaults.

    Args:
        model_name_or_path: A directory, ``"bge-m3"``, or a Hub repository: a backbone with ``sparse_linear.pt`` and
            ``colbert_linear.pt`` beside it. Without a head the output it gives cannot be asked for.
        pooling_method: ``"cls"`` takes the first token's hidden state, ``"mean"`` the mean over tokens.
        normalize_embeddings: Give unit dense and ColBERT vectors.
        use_fp16: Run in the fastest half precision that the device does well: float16 on CUDA, bfloat16 on CPUs with
            AMX or AVX512-BF16, float32 elsewhere. Results are float32 all the same.
        query_instruction_for_retrieval: What `encode_queries` puts in front of a query; BGE-M3 needs none.
        query_instruction_format: How it is joined to the query, with two ``{}``.
        devices: ``"cpu"``, ``"cuda:0"``, ``"mps"``, a CUDA index, or a list of one; None is the best there is.
        batch_size: The most texts in one forward pass.
        query_max_length: The longest query in tokens; the rest is cut off. The default becomes the model's limit where
            that is lower.
        passage_max_length: The same for documents and for `encode`.
        convert_to_numpy: Give numpy arrays; if False, torch tensors on the model's device.
        colbert_dim: Length of ColBERT vectors, the first rows of the checkpoint's ColBERT head; -1 is the backbone's
            width. Shorter ones than a head was trained for take less room and find less, see benchmarks/RESULTS.md.
        return_dense: Give dense vectors, unless a call says otherwise.
        return_sparse: Give lexical weights, unless a call says otherwise.
        return_colbert_vecs: Give ColBERT vectors, unless a call says otherwise.
        kwargs: The fields of `M3Options`.

    Raises:
        TypeError: An unknown argument; names the nearest.
        ValueError: An argument out of its range, or a device that is not here.
        ModelNotFoundError: The model cannot be found; names the nearest known names.
        CheckpointError: The checkpoint is damaged or incomplete, a head has another shape, or one is asked for that
            is not there.

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
        **kwargs: Any,
    ) -> None:
        options = M3Options.from_keywords(kwargs, signature_of(BGEM3FlagModel), "BGEM3FlagModel")
        self.colbert_pool_factor = checked_pool_factor(options.colbert_pool_factor)
        _check_colbert_dim(colbert_dim)
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
        self.colbert_dim = self.checkpoint.width if colbert_dim == -1 else colbert_dim
        self.return_dense = return_dense
        self.return_sparse = return_sparse
        self.return_colbert_vecs = return_colbert_vecs
        self.model = M3Model(
            self.checkpoint.backbone,
            self._head(SPARSE_HEAD, 1, torch.float32, needed=return_sparse),
            # As wide as a layer's product, and like one in the backbone's format; upstream has both heads in it.
            self._head(COLBERT_HEAD, self.colbert_dim, self.checkpoint.backbone.dtype, needed=return_colbert_vecs),
        )
        ids = [getattr(self.tokenizer, name) for name in _TOKENS_WITHOUT_WEIGHT]
        self._ids_without_weight = torch.tensor([i for i in ids if i is not None], device=self.target_devices[0])

    @property
    def representations(self) -> frozenset[str]:
        """What the checkpoint can give, of ``dense``, ``sparse`` and ``colbert``."""
        heads = {"sparse": self.model.sparse_linear, "colbert": self.model.colbert_linear}
        return frozenset({"dense", *(name for name, head in heads.items() if head is not None)})

    @property
    def colbert_dimension(self) -> int | None:
        """Length of a ColBERT vector, None where the checkpoint has no ColBERT head."""
        if self.model.colbert_linear is None:
            return None
        return min(self.colbert_dim, self.truncate_dim or self.colbert_dim)

    def encode(
        self,
        sentences: Any,
        batch_size: int | None = None,
        max_length: int | None = None,
        return_dense: bool | None = None,
        return_sparse: bool | None = None,
        return_colbert_vecs: bool | None = None,
        convert_to_numpy: bool | None = None,
        instruction: str | None = None,
        instruction_format: str = "{}{}",
        show_progress: bool = False,
        colbert_pool_factor: int = 1,
    ) -> M3Output:
        """Encode texts as they are, without an instruction unless one is given, in one forward pass a batch.

        Args:
            sentences: A str, or any iterable of str. Their content never raises.
            batch_size: The most texts in one forward pass; the model's if None.
            max_length: The longest text in tokens, special ones included; the model's ``passage_max_length`` if None.
            return_dense: Give ``dense_vecs``; the model's setting if None.
            return_sparse: Give ``lexical_weights``; the model's setting if None.
            return_colbert_vecs: Give ``colbert_vecs``; the model's setting if None.
            convert_to_numpy: As in the constructor; the model's if None.
            instruction: What is put in front of each text.
            instruction_format: How it is joined to the text, with two ``{}``.
            show_progress: Show a progress bar.
            colbert_pool_factor: How many times fewer ColBERT vectors a text gets; `encode_corpus` takes the model's.

        Returns:
            The representations in the order of the input. ``dense_vecs``: (texts, dimension) float32.
            ``lexical_weights``: for each text its tokens' highest weight, above zero, without the special tokens cls,
            eos, pad and unk. ``colbert_vecs``: for each text (tokens - 1, colbert_dim) float32, the first token left
            out and the last kept, as upstream. A bare str gives the same of one text, unbatched.

        Raises:
            TypeError: A text is not a ``str``; names its position.
            ValueError: ``batch_size``, ``max_length`` or ``colbert_pool_factor`` out of range, or no representation
                asked for.
            CheckpointError: The checkpoint has no head for what is asked for.
        """
        texts = checked_texts([sentences] if isinstance(sentences, str) else sentences, "sentences")
        to_numpy = self.convert_to_numpy if convert_to_numpy is None else convert_to_numpy
        keys = self._asked_for(return_dense, return_sparse, return_colbert_vecs)
        output = self._empty_output(len(texts), keys, "cpu" if to_numpy else self.target_devices[0])
        pool_factor = checked_pool_factor(colbert_pool_factor)
        reduce = partial(self._reduced, keys=keys, to_numpy=to_numpy)
        for positions, found in self._results(
            texts, batch_size, max_length, instruction, instruction_format, show_progress, reduce
        ):
            _write(positions, found, output)
            if pool_factor > 1 and "colbert_vecs" in output:
                self._pool_tokens(positions, output["colbert_vecs"], pool_factor)
        if to_numpy:
            output = _as_numpy(output)
        return M3Output({key: value[0] for key, value in output.items()}) if isinstance(sentences, str) else output

    def encode_corpus(
        self, corpus: Any, batch_size: int | None = None, max_length: int | None = None, **options: Any
    ) -> Any:
        """Do as `AbsEmbedder.encode_corpus` does, with the model's ``colbert_pool_factor``."""
        options = {"colbert_pool_factor": self.colbert_pool_factor, **options}
        return super().encode_corpus(corpus, batch_size, max_length, **options)

    @overload
    def compute_score(
        self,
        q_reps: Mapping[str, Any],
        p_reps: Mapping[str, Any],
        weights: Sequence[float] | None = None,
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
        """Score a query's output against a document's, or encode and score pairs of texts.

        ``compute_score(q_reps, p_reps, weights=None)`` takes the outputs of one query and one document and gives the
        mean of their dense, sparse and colbert scores over the representations that both have, weighted by `weights`
        in this order, 1 each for None.

        ``compute_score(sentence_pairs, batch_size=None, max_query_length=None, max_passage_length=None,
        weights_for_different_modes=None)`` is FlagEmbedding's own form: (query, document) texts, without
        instructions, give a dict with the lists ``colbert``, ``sparse``, ``dense``, ``sparse+dense`` and
        ``colbert+sparse+dense``, one float a pair; one pair gives floats.

        Raises:
            TypeError: Something else than two outputs or pairs of str.
            ValueError: An output of several texts, no representation in common, or weights that are not three numbers
                of zero or more.
            CheckpointError: Pairs are given and the checkpoint lacks a head.
        """
        if "q_reps" in kwargs or (args and isinstance(args[0], Mapping)):
            return self._score_outputs(*args, **kwargs)
        return self._score_pairs(*args, **kwargs)

    def compute_lexical_matching_score(self, lexical_weights_1: Any, lexical_weights_2: Any) -> Any:
        """Return the sum of weight products over shared tokens.

        Args:
            lexical_weights_1: One ``{token id: weight}``, or a list of them. Keys may be int or str.
            lexical_weights_2: The same, for the other side.

        Returns:
            A float for two dicts; for two lists a (first, second) float64 matrix.

        Raises:
            TypeError: One dict and one list, or something else.
        """
        if isinstance(lexical_weights_1, Mapping) and isinstance(lexical_weights_2, Mapping):
            return scoring.lexical_score(lexical_weights_1, lexical_weights_2)
        if isinstance(lexical_weights_1, (list, tuple)) and isinstance(lexical_weights_2, (list, tuple)):
            return scoring.lexical_score_matrix(lexical_weights_1, lexical_weights_2)
        raise TypeError(
            "compute_lexical_matching_score takes two dicts or two lists of dicts, not "
            f"{type(lexical_weights_1).__name__} and {type(lexical_weights_2).__name__}"
        )

    def colbert_score(self, q_reps: Any, p_reps: Any) -> np.float64:
        """Return the mean over query tokens of the best dot product with a document token.

        Args:
            q_reps: (query tokens, dimension) array or tensor.
            p_reps: (document tokens, dimension) array or tensor.

        Returns:
            A float with ``.item()``, between -1 and 1 for unit rows.

        Raises:
            ValueError: Not two matrices of one width.
        """
        return scoring.colbert_score(q_reps, p_reps)

    def convert_id_to_token(self, lexical_weights: Any) -> list[dict[str, float]]:
        """Return lexical weights with tokens as text in place of ids.

        Args:
            lexical_weights: One ``{token id: weight}``, or a list of them. Keys may be int or str.

        Returns:
            Always a list, one ``{token: weight}`` a text. Of ids that decode to the same text the highest weight stays.
        """
        texts = [lexical_weights] if isinstance(lexical_weights, Mapping) else lexical_weights
        return [self._tokens_as_text(weights) for weights in texts]

    def _head(self, file_name: str, rows: int, dtype: torch.dtype, needed: bool) -> nn.Linear | None:
        if not needed and not (self.checkpoint.directory / file_name).is_file():
            return None
        width = self.checkpoint.width
        head = load_head(self.checkpoint.directory, file_name, rows, width, may_have_more=file_name == COLBERT_HEAD)
        return head.to(self.target_devices[0], dtype).requires_grad_(False)

    def _asked_for(self, dense: bool | None, sparse: bool | None, colbert: bool | None) -> list[str]:
        asked = {
            "dense_vecs": self.return_dense if dense is None else dense,
            "lexical_weights": self.return_sparse if sparse is None else sparse,
            "colbert_vecs": self.return_colbert_vecs if colbert is None else colbert,
        }
        if not any(asked.values()):
            raise ValueError("nothing to encode: set one of return_dense, return_sparse, return_colbert_vecs")
        heads = {"lexical_weights": (SPARSE_HEAD, "sparse"), "colbert_vecs": (COLBERT_HEAD, "colbert")}
        for key, (file_name, representation) in heads.items():
            if asked[key] and representation not in self.representations:
                raise missing_head(self.checkpoint.directory, file_name)
        return [key for key, wanted in asked.items() if wanted]

    def _empty_output(self, size: int, keys: Sequence[str], device: str) -> M3Output:
        output = M3Output({key: [None] * size for key in keys})
        if "dense_vecs" in output:
            output["dense_vecs"] = torch.empty((size, self.dimension), device=device)
        return output

    def _pool_tokens(self, positions: NDArray[np.intp], vectors: list[Tensor], pool_factor: int) -> None:
        for position in positions:
            rows = vectors[position]
            pooled = pool_tokens(rows.cpu().numpy(), pool_factor, self.normalize_embeddings)
            vectors[position] = torch.from_numpy(pooled).to(rows.device)

    def _reduced(self, batch: HiddenBatch, keys: Sequence[str], to_numpy: bool) -> HostCopy:
        """Return what is asked for of a batch, in tensors that are on their way to where they are wanted."""
        packed = batch.packed
        found = {"lengths": torch.tensor(packed.lengths)}
        if "dense_vecs" in keys:
            found["dense_vecs"] = dense_vectors(
                batch, self.pooling_method, self.truncate_dim, self.normalize_embeddings
            )
        if "lexical_weights" in keys:
            weights = self.model.sparse_linear(batch.states.float()).squeeze(-1)
            entries = strongest_weights(weights, packed.token_ids, packed.text_of_token, self._ids_without_weight)
            found |= {"token_keys": entries.keys, "token_weights": entries.weights}
        if "colbert_vecs" in keys:
            vectors = self._colbert_vectors(batch)
            # Most of what is copied; in half of the bytes, where the states have no more digits.
            in_half = vectors.is_cuda and to_numpy and batch.states.dtype is not torch.float32
            found["colbert_vecs"] = vectors.half() if in_half else vectors
        return HostCopy(found, staying=() if to_numpy else ("dense_vecs", "colbert_vecs"))

    def _colbert_vectors(self, batch: HiddenBatch) -> Tensor:
        """Return a vector a token, of which the first of each text is none of its ColBERT vectors."""
        states = batch.states
        rows = len(states)
        if states.is_cpu:
            # oneDNN keeps memory for each number of rows.
            states = nn.functional.pad(states, (0, 0, 0, even_number(rows) - rows))
        vectors: Tensor = self.model.colbert_linear(states)[:rows, : self.colbert_dimension].float()
        return nn.functional.normalize(vectors, dim=-1) if self.normalize_embeddings else vectors

    def _score_outputs(
        self, q_reps: Mapping[str, Any], p_reps: Mapping[str, Any], weights: Sequence[float] | None = None
    ) -> float:
        by_name = scoring.representation_weights(weights, "weights")
        query, document = _one_text(q_reps, "q_reps"), _one_text(p_reps, "p_reps")
        return scoring.weighted_score(scoring.output_scores(query, document), by_name)

    def _score_pairs(
        self,
        sentence_pairs: Any,
        batch_size: int | None = None,
        max_query_length: int | None = None,
        max_passage_length: int | None = None,
        weights_for_different_modes: Sequence[float] | None = None,
    ) -> Any:
        weights = scoring.representation_weights(weights_for_different_modes, "weights_for_different_modes")
        pairs, is_one = checked_pairs(sentence_pairs)
        size = self.batch_size if batch_size is None else checked_batch_size(batch_size)
        query_length = self.query_max_length if max_query_length is None else max_query_length
        rows = [
            scoring.pair_scores(scores, weights)
            for start in range(0, len(pairs), size)
            for scores in self._scores_of(pairs[start : start + size], query_length, max_passage_length)
        ]
        return rows[0] if is_one else {mode: [row[mode] for row in rows] for mode in scoring.PAIR_MODES}

    def _scores_of(
        self, pairs: Sequence[tuple[str, str]], query_length: int, passage_length: int | None
    ) -> Iterator[dict[str, float]]:
        queries, documents = zip(*pairs, strict=True)
        query_output, document_output = (
            self.encode(texts, None, length, True, True, True, convert_to_numpy=True)
            for texts, length in ((queries, query_length), (documents, passage_length))
        )
        for position in range(len(pairs)):
            yield scoring.output_scores(query_output[position], document_output[position])

    def _tokens_as_text(self, weights: Mapping[Any, float]) -> dict[str, float]:
        named: dict[str, float] = {}
        for token_id, weight in weights.items():
            token = self.tokenizer.decode([int(token_id)])
            named[token] = max(weight, named.get(token, weight))
        return named


def _check_colbert_dim(colbert_dim: Any) -> None:
    is_number = isinstance(colbert_dim, int) and not isinstance(colbert_dim, bool)
    if not is_number or (colbert_dim < 1 and colbert_dim != -1):
        raise ValueError(
            f"colbert_dim={colbert_dim!r}: give the length of ColBERT vectors, or -1 for the model's width"
        )


def _write(positions: NDArray[np.intp], found: Mapping[str, Tensor], output: M3Output) -> None:
    """Write what a batch gave into its texts' places in `output`."""
    if "dense_vecs" in output:
        dense = output["dense_vecs"]
        dense[to_device(positions, dense.device)] = found["dense_vecs"]
    per_text: dict[str, Sequence[Any]] = {}
    if "lexical_weights" in output:
        entries = TokenWeights(found["token_keys"], found["token_weights"])
        per_text["lexical_weights"] = as_dicts(entries, len(positions))
    if "colbert_vecs" in output:
        per_text["colbert_vecs"] = _of_each_text(found["colbert_vecs"], found["lengths"].tolist())
    for key, values in per_text.items():
        for position, value in zip(positions, values, strict=True):
            output[key][position] = value


def _of_each_text(vectors: Tensor, lengths: list[int]) -> Sequence[Tensor]:
    """Return each text's rows but its first; on the host as float32, in memory that is not needed again.

    Page-locked memory is scarce: its rows are copied all at once, by all cores. Rows of a forward pass on the host lie
    where the next one computes, so that each text's get memory of their own.
    """
    if vectors.is_pinned():
        vectors = vectors.to(torch.float32, copy=True)
        return [rows[1:] for rows in torch.split(vectors, lengths)]
    rows_of_texts = [rows[1:] for rows in torch.split(vectors, lengths)]
    return rows_of_texts if vectors.is_cuda else [rows.to(torch.float32, copy=True) for rows in rows_of_texts]


def _as_numpy(output: M3Output) -> M3Output:
    converted = M3Output(output)
    if "dense_vecs" in output:
        converted["dense_vecs"] = output["dense_vecs"].numpy()
    if "colbert_vecs" in output:
        converted["colbert_vecs"] = [vectors.cpu().numpy() for vectors in output["colbert_vecs"]]
    return converted


def _one_text(output: Mapping[str, Any], argument: str) -> M3Output:
    if not isinstance(output, Mapping):
        raise TypeError(f"{argument} takes the output of one text, not {type(output).__name__}")
    batch = M3Output({key: value for key, value in output.items() if value is not None}).as_batch()
    if batch.num_texts != 1:
        raise ValueError(f"{argument} holds {batch.num_texts} texts; score one at a time: {argument}[0]")
    return batch
