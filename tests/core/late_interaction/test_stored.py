"""Scores of codes that a database gives back, against a reference written from the papers."""

import base64

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flagvec.late_interaction.codec import ColbertCodec
from flagvec.late_interaction.stored import (
    codes_from_text,
    codes_to_text,
    lost_codes,
    prepared_query,
    scores_of_codes,
)

WIDTHS = (32, 33, 50, 64, 100, 127, 384, 1000, 1024)
BITS = (1, 2, 4, 8, 16)


def hostile_rows(rows, dimension, generator):
    """Return vectors of length 1, some of one number alone, some alike, and some zeros."""
    found = generator.standard_normal((rows, dimension), dtype=np.float32)
    found[3::7] = np.eye(1, dimension, dtype=np.float32)
    found[4::9] = -1
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    found[5::6] = 0
    return found


def decoded_by_the_paper(text, codec):
    """Return the vectors in a text, each number on its own: arXiv 2405.12497, section 3.1, and 2409.09913, section 3.

    A vector's estimate is its factor times the rotated levels, which lie around zero at a distance of 1.
    """
    data = base64.b64decode(text)
    rows = [data[start : start + codec.row_bytes] for start in range(0, len(data), codec.row_bytes)]
    if codec.bits == 16:
        return np.array([np.frombuffer(row, "<f2") for row in rows], np.float64).reshape(-1, codec.dimension)
    vectors = []
    for row in rows:
        number = int.from_bytes(row[:-2], "little")
        levels = [(number >> (codec.bits * place)) % 2**codec.bits for place in range(codec.dimension)]
        factor = float(np.frombuffer(row[-2:], "<f2")[0])
        vectors.append([factor * (level - (2**codec.bits - 1) / 2) for level in levels])
    return np.array(vectors, np.float64).reshape(-1, codec.dimension) @ inverse_rotation(codec)


def inverse_rotation(codec):
    """Return the matrix that undoes the rotation: signs, and Hadamard matrices by Sylvester's construction."""
    width = codec.dimension
    span = 2 ** int(np.log2(width))
    hadamard = np.ones((1, 1))
    while len(hadamard) < span:
        hadamard = np.kron(np.array([[1, 1], [1, -1]]), hadamard)
    matrix = np.eye(width)
    for transform, signs in enumerate(codec.rotation.signs):
        step = np.eye(width)
        start = transform * (width - span)
        step[start : start + span, start : start + span] = hadamard / np.sqrt(span)
        matrix = matrix @ np.diag(signs.astype(np.float64)) @ step
    return matrix.T


def mean_max_sim(query, rows):
    """Return the score of arXiv 2004.12832, section 3.3, as a mean over the query's vectors."""
    return float(np.mean([max(float(q @ row) for row in rows) for q in query.astype(np.float64)]))


@settings(deadline=None, max_examples=40)
@given(
    bits=st.sampled_from(BITS),
    dimension=st.sampled_from(WIDTHS),
    rows=st.lists(st.integers(0, 12), min_size=1, max_size=5),
    query_rows=st.integers(1, 6),
    seed=st.integers(0, 3),
)
def test_scores_are_those_of_the_papers(bits, dimension, rows, query_rows, seed):
    generator = np.random.default_rng(seed)
    codec = ColbertCodec(dimension, bits, seed)
    query = hostile_rows(query_rows, dimension, generator)
    documents = {str(n): hostile_rows(count, dimension, generator) for n, count in enumerate(rows)}
    texts = {name: codes_to_text(codec.encode(vectors)) for name, vectors in documents.items()}
    expected = {
        name: mean_max_sim(query, decoded_by_the_paper(text, codec)) for name, text in texts.items() if text != ""
    }
    assert scores_of_codes(prepared_query(query, codec), texts) == pytest.approx(expected, abs=1e-4)
    assert lost_codes(texts, expected) == 0


@pytest.mark.parametrize("bits", BITS)
def test_8191_rows_are_scored(bits):
    generator = np.random.default_rng(0)
    codec, query = ColbertCodec(32, bits), hostile_rows(4, 32, generator)
    text = codes_to_text(codec.encode(hostile_rows(8_191, 32, generator)))
    expected = mean_max_sim(query, decoded_by_the_paper(text, codec))
    assert scores_of_codes(prepared_query(query, codec), {"long": text}) == pytest.approx({"long": expected}, abs=1e-4)


def damaged(text, codec):
    """Yield what other tools may make of a text."""
    raw = bytearray(base64.b64decode(text))
    yield None
    yield 17
    yield text[:-4]
    yield text[:-1]
    yield "é" + text
    yield text + "\n"
    yield "not base64!"
    for bad in (b"\x00\x7e", b"\x00\x7c", b"\x00\xfc", b"\xff\x7b", b"\x00\x48"):  # NaN, infinities, 65504, 8
        raw[codec.row_bytes - 2 : codec.row_bytes] = bad
        yield base64.b64encode(raw).decode()


@pytest.mark.parametrize("bits", BITS)
def test_damaged_codes_are_left_out_and_counted(bits):
    codec = ColbertCodec(64, bits)
    rows = hostile_rows(5, 64, np.random.default_rng(0))
    text = codes_to_text(codec.encode(rows))
    broken = {f"broken {number}": one for number, one in enumerate(damaged(text, codec))}
    texts = {**broken, "whole": text, "empty": ""}
    scores = scores_of_codes(prepared_query(rows, codec), texts)
    assert scores.keys() == {"whole"}
    assert lost_codes(texts, scores) == len(broken)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("dimension", [1, 2, 3, 32, 1000, 1024])
def test_the_codes_of_every_vector_of_length_1_are_taken(bits, dimension):
    codec = ColbertCodec(dimension, bits)
    for rows in (np.eye(dimension), -np.eye(dimension), np.ones((1, dimension)) / dimension**0.5):
        rows = rows.astype(np.float32)
        # Of the second kind, the numbers after the rotation are the hostile ones.
        for one in (rows, rows if codec.rotation is None else codec.rotation.undo(rows)):
            assert codes_from_text(codes_to_text(codec.encode(one)), codec) is not None


def test_a_query_without_vectors_scores_nothing():
    codec = ColbertCodec(64)
    text = codes_to_text(codec.encode(hostile_rows(5, 64, np.random.default_rng(0))))
    assert scores_of_codes(prepared_query(np.zeros((0, 64), np.float32), codec), {"a": text}) == {"a": 0.0}
    assert scores_of_codes(prepared_query(np.zeros((0, 64), np.float32), codec), {}) == {}
