"""A model that returns vectors made beforehand, so that benchmarks measure everything but encoding."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from flagvec import M3Output


class ReadyModel:
    """Answers `encode_corpus` and `encode_queries` as a `BGEM3FlagModel` does, from ready outputs of known texts.

    Args:
        texts: All documents and queries that it will get, each once.
        output: Their outputs, a batch in the same order.
        name: The model's name in a store's schema.
    """

    def __init__(self, texts: Sequence[str], output: M3Output, name: str = "ready") -> None:
        self.model_name_or_path = name
        self.dimension: int = output["dense_vecs"].shape[1]
        colbert = output["colbert_vecs"]
        self.colbert_dimension: int | None = colbert[0].shape[1] if colbert else None
        kinds = {"dense": "dense_vecs", "sparse": "lexical_weights", "colbert": "colbert_vecs"}
        self.representations = frozenset(kind for kind, key in kinds.items() if key in output)
        self._rows = {text: row for row, text in enumerate(texts)}
        self._output = output

    def encode_corpus(
        self,
        texts: Sequence[str],
        return_dense: bool = True,
        return_sparse: bool = True,
        return_colbert_vecs: bool = True,
        convert_to_numpy: bool = True,
    ) -> M3Output:
        """Return the ready outputs of `texts` as a batch in their order; an unknown text raises KeyError."""
        rows = [self._rows[text] for text in texts]
        found: dict[str, Any] = {}
        if return_dense:
            found["dense_vecs"] = self._output["dense_vecs"][rows]
        for asked, key in ((return_sparse, "lexical_weights"), (return_colbert_vecs, "colbert_vecs")):
            if asked and key in self._output:
                found[key] = [self._output[key][row] for row in rows]
        return M3Output(found)

    encode_queries = encode_corpus

    def encode_corpus_output(self, texts: Sequence[str], representations: Collection[str], **options: Any) -> M3Output:
        """Return what `encode_corpus` gives for these representations."""
        wanted = (name in representations for name in ("dense", "sparse", "colbert"))
        return self.encode_corpus(texts, *wanted)
