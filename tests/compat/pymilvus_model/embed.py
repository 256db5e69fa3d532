"""Run BGEM3EmbeddingFunction, unmodified, as its users do: embed.py FOLDER PACKAGE CHECKPOINT INPUTS."""

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))
import results


def arrays_of(name, output):
    """Return the output of one call as arrays: dense rows, a full sparse matrix, and concatenated ColBERT rows."""
    return {
        f"{name}_dense": np.stack(output["dense"]),
        f"{name}_sparse": output["sparse"].toarray(),
        f"{name}_colbert": np.concatenate(output["colbert_vecs"]),
        f"{name}_colbert_lengths": np.array([len(vectors) for vectors in output["colbert_vecs"]]),
    }


def main(folder, package, checkpoint, inputs):
    inputs = json.loads(Path(inputs).read_text(encoding="utf-8"))
    embed = import_module(f"{package}.hybrid").BGEM3EmbeddingFunction(
        checkpoint, device="cpu", return_colbert_vecs=True
    )
    documents = embed.encode_documents(inputs["texts"])
    arrays = {
        **arrays_of("documents", documents),
        **arrays_of("queries", embed.encode_queries(inputs["queries"])),
        **arrays_of("called", embed(inputs["texts"][:3])),
    }
    sparse = documents["sparse"]
    values = {
        "dim": embed.dim,
        "sparse_format": sparse.format,
        "sparse_dtype": str(sparse.dtype),
        "sparse_shape": list(sparse.shape),
        "dense_is_a_list": type(documents["dense"]) is list,
        "imported": sorted({"datasets", "peft"} & sys.modules.keys()),
    }
    results.write(folder, arrays, values)


main(*sys.argv[1:])
