"""How ColBERT vectors become codes in a store."""

import numpy as np
import pytest

from flagvec import ColbertCodec, ColbertStorage, M3Output, maxsim
from flagvec.scoring import colbert_score


def unit_rows(rows, dimension, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((rows, dimension), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(("dimension", "bits"), [(1, 4), (384, 4), (767, 4), (768, 1), (1024, 1)])
def test_wide_vectors_get_fewer_bits(dimension, bits):
    assert ColbertStorage(seed=5).codec(dimension) == ColbertCodec(dimension, bits, seed=5)


def test_chosen_bits_are_kept_at_every_width():
    assert ColbertStorage(bits=8).resolved(1024) == ColbertStorage(bits=8)


def test_200_rows_of_1024_numbers_take_26_kilobytes():
    assert ColbertStorage().encode(unit_rows(200, 1024)).nbytes == 26_000


def test_pooling_comes_before_packing():
    rows = np.repeat(unit_rows(5, 64), 3, axis=0)
    codes = ColbertStorage(bits=8, pool=3).encode(rows)
    np.testing.assert_array_equal(np.sort(codes, axis=0), np.sort(ColbertCodec(64, 8).encode(rows[::3]), axis=0))


@pytest.mark.parametrize("storage", [ColbertStorage(), ColbertStorage(bits=1, pool=2), ColbertStorage(bits=16)])
def test_documents_are_packed_together_as_they_are_alone(storage):
    documents = [unit_rows(rows, 300, seed) for seed, rows in enumerate([3, 0, 200, 1, 700, 12, 0])]
    together = storage.encode_all(documents)
    for codes, rows in zip(together, documents, strict=True):
        np.testing.assert_array_equal(codes, storage.encode(rows))
    assert storage.encode_all([]) == []


def test_a_document_without_vectors_has_no_codes():
    assert ColbertStorage(pool=2).encode(np.zeros((0, 64), np.float32)).shape == (0, 34)


def test_rows_that_are_no_matrix_are_refused():
    with pytest.raises(ValueError, match=r"rows has the shape \(64,\)"):
        ColbertStorage().encode(np.zeros(64, np.float32))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"bits": 3}, ValueError, "bits=3: choose 1, 2, 4, 8 or 16, or None"),
        ({"bits": "1"}, TypeError, "bits='1': ColbertStorage takes a whole number, not str"),
        ({"bits": True}, TypeError, "bits=True: ColbertStorage takes a whole number, not bool"),
        ({"pool": 0}, ValueError, "pool=0: choose 1 to keep every vector, or up to 4 for fewer"),
        ({"pool": 5}, ValueError, "pool=5"),
        ({"pool": None}, TypeError, "pool=None"),
        ({"seed": -1}, ValueError, "seed=-1"),
        ({"seed": 0.5}, TypeError, "seed=0.5"),
    ],
)
def test_impossible_storage_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        ColbertStorage(**options)


def test_an_output_gives_codes_that_maxsim_compares(tiny_m3):
    output = tiny_m3.encode_corpus(["How to cook rice.", "Bread.", ""])
    query = tiny_m3.encode_queries("rice")["colbert_vecs"]
    storage = ColbertStorage(bits=8)
    codes = output.colbert_codes(storage)
    scores = maxsim(query, codes, storage.codec(tiny_m3.colbert_dimension))
    assert scores == pytest.approx([colbert_score(query, rows) for rows in output["colbert_vecs"]], abs=5e-3)


@pytest.mark.parametrize("options", [{}, {"convert_to_numpy": False}])
def test_an_output_of_one_text_gives_a_list_of_one(tiny_m3, options):
    output = tiny_m3.encode("How to cook rice.", return_colbert_vecs=True, **options)
    (codes,) = output.colbert_codes()
    assert len(codes) == len(output["colbert_vecs"])


def test_an_output_without_vectors_says_how_to_get_them():
    with pytest.raises(ValueError, match=r"no colbert_vecs .* encode with return_colbert_vecs=True"):
        M3Output(dense_vecs=np.eye(2, dtype=np.float32)).colbert_codes()
