"""Build, search and persist a BGEM3Index, unmodified: search.py FOLDER INPUTS CHECKPOINT WEIGHTS [PERSISTED]."""

import json
import sys
from pathlib import Path

import numpy as np
from llama_index.core.schema import TextNode
from llama_index.indices.managed.bge_m3 import BGEM3Index

sys.path.append(str(Path(__file__).parents[1]))
import results


def scores_of(index, queries, count):
    """Return (queries, nodes): the score that the retriever gives to each node."""
    retriever = index.as_retriever(similarity_top_k=count)
    scores = np.full((len(queries), count), np.nan)
    for row, query in enumerate(queries):
        for hit in retriever.retrieve(query):
            scores[row, int(hit.node.node_id)] = hit.score
    return scores


def main(folder, inputs, checkpoint, weights, persisted=None):
    inputs, weights = json.loads(Path(inputs).read_text(encoding="utf-8")), json.loads(weights)
    # The default name needs no argument, and that model is long enough for the default lengths.
    model = {} if checkpoint == "BAAI/bge-m3" else {"model_name": checkpoint}
    lengths = {"doc_maxlen": 512, "query_maxlen": 512} if model else {}
    nodes = [TextNode(id_=str(number), text=text) for number, text in enumerate(inputs["texts"])]
    index = BGEM3Index(nodes, weights_for_different_modes=weights, **model, **lengths)
    arrays = {"built": scores_of(index, inputs["queries"], len(nodes))}
    best = [hit.node.get_content() for hit in index.as_retriever(similarity_top_k=3).retrieve(inputs["queries"][0])]
    if not model:
        index.persist(str(Path(folder) / "index"))
        loaded = BGEM3Index.load_from_disk(str(Path(folder) / "index"), weights_for_different_modes=weights)
        arrays["loaded"] = scores_of(loaded, inputs["queries"], len(nodes))
    if persisted:
        index = BGEM3Index.load_from_disk(persisted, weights_for_different_modes=weights)
        arrays["persisted"] = scores_of(index, inputs["queries"], len(nodes))
    results.write(folder, arrays, {"best": best})


main(*sys.argv[1:])
