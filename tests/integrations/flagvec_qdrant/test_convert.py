import json
import uuid
from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flagvec import Document
from flagvec.store.backend import Record
from flagvec.store.vectors import TextVectors
from flagvec_qdrant import convert
from flagvec_qdrant.client_models import point

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(names)
def test_every_id_has_one_uuid(name):
    namespace = uuid.UUID("0c5a0f3d-8e5b-5c0e-9d0a-5d1f6a4f7c11")
    assert convert.point_id(name) == str(uuid.uuid5(namespace, name))


def test_the_uuid_of_an_id_stays_the_same_in_every_version():
    assert convert.point_id("guide-1") == "cd20e6a4-bcc4-5b5f-8917-cc14d9adfe0f"


@given(st.lists(names, unique=True))
def test_different_ids_have_different_uuids(unique_names):
    assert len({convert.point_id(name) for name in unique_names}) == len(unique_names)


@given(names, st.text(), st.dictionaries(st.text(), st.integers() | st.text() | st.none()))
def test_a_document_comes_back_from_its_payload(name, text, metadata):
    document = Document(name, text, metadata)
    point = SimpleNamespace(payload=json.loads(json.dumps(convert.to_payload(Record(document, TextVectors())))))
    assert convert.to_documents([point]) == [document]


@given(names, st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_a_point_is_never_longer_as_json_than_its_bound(name, text, values):
    rows = np.array([values], dtype=np.float32)
    weights = {2**32 - 3 - place: 1.1754943508222875e-38 for place in range(len(values))}
    record = Record(Document(name, text, {"été": ["\x00", None, 1.5]}), TextVectors(rows[0], weights, rows))
    written = point(record).model_dump_json().encode()
    assert len(written) <= convert.json_bytes(record)


@given(st.integers(0, 500), st.integers(1, 40))
def test_a_point_of_codes_is_never_longer_as_json_than_its_bound(rows, width):
    codes = np.full((rows, width), 255, np.uint8)
    record = Record(Document("a", "text"), TextVectors(np.ones(4, np.float32), {}, colbert_codes=codes))
    written = point(record).model_dump_json().encode()
    assert len(written) <= convert.json_bytes(record)
    assert len(point(record).payload["colbert"]) == convert.codes_size(record)
