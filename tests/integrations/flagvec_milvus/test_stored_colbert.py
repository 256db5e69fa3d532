"""Scores that are computed here, from what a collection keeps."""

import numpy as np
import pytest

from flagvec import ColbertStorage
from flagvec.late_interaction.stored import codes_to_text
from flagvec.scoring import colbert_score
from flagvec.store.schema import Schema
from flagvec_milvus.convert import to_parts
from flagvec_milvus.stored_colbert import StoredColbert

SCHEMA = Schema("m", dimension=8, sparse=False, colbert_dimension=8)
STORAGE = ColbertStorage(bits=4)
CODES = StoredColbert.of(Schema("m", 8, False, 8, colbert_storage=STORAGE))
VECTORS = StoredColbert.of(SCHEMA)
QUERY = np.eye(3, 8, dtype=np.float32)
ROWS = np.eye(5, 8, dtype=np.float32)[::-1]
PARTS = {CODES: [codes_to_text(STORAGE.encode(ROWS))], VECTORS: to_parts(ROWS)}
STRUCTS = [{"vector": row.tolist()} for row in ROWS]
BOTH = pytest.mark.parametrize("stored", [CODES, VECTORS], ids=["codes", "half precision"])


def scores(stored, **fields):
    return stored.scores(QUERY, [{"id": name, "colbert": value} for name, value in fields.items()])


def test_the_score_of_codes_is_that_of_the_decoded_vectors():
    decoded = STORAGE.codec(8).decode(STORAGE.encode(ROWS))
    assert scores(CODES, a=PARTS[CODES]) == ({"a": pytest.approx(colbert_score(QUERY, decoded), abs=1e-4)}, 0)


@pytest.mark.parametrize("value", [PARTS[VECTORS], STRUCTS], ids=["half precision", "structs"])
def test_the_score_of_vectors_is_their_own(value):
    assert scores(VECTORS, a=value) == ({"a": pytest.approx(1.0)}, 0)


@BOTH
@pytest.mark.parametrize("value", [[], None])
def test_a_document_without_vectors_has_no_score_and_has_lost_nothing(stored, value):
    assert scores(stored, a=value, b=PARTS[stored])[0].keys() == {"b"}
    assert scores(stored, a=value)[1] == 0


@BOTH
@pytest.mark.parametrize("value", [["AAAA"], ["no base64"], ["\u00e9"]])
def test_a_document_with_damaged_vectors_has_no_score_and_is_counted(stored, value):
    found, lost = scores(stored, a=value, b=PARTS[stored])
    assert (found.keys(), lost) == ({"b"}, 1)


def test_codes_in_any_parts_are_put_together():
    [text] = PARTS[CODES]
    assert scores(CODES, a=[text[:7], text[7:9], text[9:]]) == scores(CODES, a=[text])


@BOTH
def test_the_size_of_a_text_is_known_before_it_is_made(stored):
    assert stored.text_size(5) == len("".join(PARTS[stored]))
