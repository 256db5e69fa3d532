"""Encode two texts, print what one pass gives, and find the text that a query is about."""

from flagvec import BGEM3FlagModel
from flagvec_qdrant import QdrantEdgeStore

TEXTS = ["Rice is cooked in twice as much water.", "Bread is baked in a hot oven."]

# In float32 every machine prints the same numbers.
model = BGEM3FlagModel("mini-m3", use_fp16=False)
output = model.encode_corpus(TEXTS, return_sparse=True, return_colbert_vecs=True)
print("dense  ", output["dense_vecs"].shape)
print("colbert", [vectors.shape for vectors in output["colbert_vecs"]])
bread = model.convert_id_to_token(output["lexical_weights"][1])[0]
print("sparse ", {token: round(weight, 2) for token, weight in bread.items()})

with QdrantEdgeStore(model, "quickstart-index") as store:
    store.create()
    store.add(TEXTS)
    for hit in store.search("how do I make a loaf?", explain=True):
        print(f"{hit.score:.4f}", hit.text, {name: round(score, 2) for name, score in hit.scores.items()})
