import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flagvec import Document
from flagvec.ingest.retry import Record
from flagvec.store.backend import json_bytes
from flagvec.store.encoding import TextVectors

weights = st.dictionaries(st.integers(0, 2**32 - 3), st.floats(2**-126, 1e4, width=32), max_size=50)


@given(weights, st.integers(0, 20), st.text(st.characters(exclude_categories=["Cs"])))
def test_the_size_of_a_record_is_never_below_its_json(lexical, rows, text):
    generator = np.random.default_rng(0)
    vectors = TextVectors(
        generator.normal(size=16).astype(np.float32), lexical, generator.normal(size=(rows, 16)).astype(np.float32)
    )
    record = Record(Document("id", text, {"key": text}), vectors)
    point = {
        "id": "00000000-0000-0000-0000-000000000000",
        "vector": {
            "dense": vectors.dense.tolist(),
            "sparse": {"indices": list(lexical), "values": list(lexical.values())},
            "colbert": vectors.colbert.tolist(),
        },
        "payload": {"id": "id", "text": text, "metadata": {"key": text}},
    }
    assert len(json.dumps(point, ensure_ascii=False, separators=(",", ":")).encode()) <= json_bytes(record)
