"""Run the sparse function of LlamaIndex's Milvus store, unmodified: encode_sparse.py FOLDER INPUTS."""

import json
import sys
from pathlib import Path

import numpy as np
from llama_index.vector_stores.milvus.utils import BGEM3SparseEmbeddingFunction

sys.path.append(str(Path(__file__).parents[1]))
import results


def in_full(weights):
    """Return (texts, vocabulary) of a list of weights by token id."""
    rows = np.zeros((len(weights), 3000))
    for row, of_text in zip(rows, weights, strict=True):
        row[list(of_text)] = list(of_text.values())
    return rows


def main(folder, inputs):
    inputs = json.loads(Path(inputs).read_text(encoding="utf-8"))
    embed = BGEM3SparseEmbeddingFunction()
    documents, queries = embed.encode_documents(inputs["texts"]), embed.encode_queries(inputs["queries"])
    key_types = {type(token).__name__ for weights in documents + queries for token in weights}
    arrays = {"documents": in_full(documents), "queries": in_full(queries)}
    results.write(folder, arrays, {"key_types": sorted(key_types)})


main(*sys.argv[1:])
