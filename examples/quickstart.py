"""The README's quick start, on a model that needs no download."""

from __future__ import annotations

from pathlib import Path

from transformers.utils import logging as transformers_logging

from flagvec import BGEM3FlagModel
from flagvec_qdrant import QdrantEdgeStore
from mini_m3.build import build_mini_m3

TEXTS = ["Rice is cooked in twice as much water.", "Bread is baked in a hot oven."]


def main(build: Path) -> None:
    """Encode two texts, show what one pass gives, and find the one that a query is about."""
    # float32, so that every machine prints the same numbers.
    model = BGEM3FlagModel(
        build_mini_m3(build / "mini-m3"),
        pooling_method="mean",
        use_fp16=False,
        return_sparse=True,
        return_colbert_vecs=True,
    )
    output = model.encode_corpus(TEXTS)
    print("dense  ", output["dense_vecs"].shape)
    print("colbert", [vectors.shape for vectors in output["colbert_vecs"]])
    bread = model.convert_id_to_token(output["lexical_weights"][1])[0]
    print("sparse ", {token: round(weight, 2) for token, weight in bread.items()})

    with QdrantEdgeStore(model, build / "quickstart-index") as store:
        store.create()
        store.add(TEXTS)
        for hit in store.search("how do I make a loaf?", explain=True):
            print(f"{hit.score:.4f}", hit.text, {name: round(score, 2) for name, score in hit.scores.items()})


if __name__ == "__main__":
    transformers_logging.disable_progress_bar()
    main(Path(__file__).parents[1] / "build")
