"""ColBERT vectors in a few bits a number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagvec.late_interaction.codec import ColbertCodec

BITS = (1, 2, 4, 8, 16)


def unit_rows(rows, dimension, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((rows, dimension), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(st.sampled_from(BITS), st.integers(1, 200), st.integers(0, 9))
def test_a_code_has_the_bytes_that_are_promised(bits, dimension, rows):
    codec = ColbertCodec(dimension, bits)
    codes = codec.encode(unit_rows(rows, dimension))
    assert codes.dtype == np.uint8
    assert codes.shape == (rows, codec.row_bytes)
    assert codec.row_bytes == (2 * dimension if bits == 16 else -(-dimension * bits // 8) + 2)


def test_one_bit_is_the_sign_of_a_rotated_number_with_the_factor_of_the_paper():
    # arXiv 2405.12497, equation 12: the dot product with the signs, divided by that of the vector and its own signs.
    codec, vectors, query = ColbertCodec(256), unit_rows(5, 256), unit_rows(1, 256, seed=1)[0]
    rotated = codec.rotation.apply(vectors)
    signs = np.where(rotated >= 0, 1, -1) / np.sqrt(256)
    estimated = signs @ codec.rotation.apply(query[None])[0] / np.einsum("ij,ij->i", signs, rotated)
    np.testing.assert_allclose(codec.decode(codec.encode(vectors)) @ query, estimated, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("bits", BITS)
def test_the_dot_product_with_the_vector_itself_is_exact_but_for_float16(bits):
    vectors = unit_rows(50, 384)
    codec = ColbertCodec(384, bits)
    products = np.einsum("ij,ij->i", codec.decode(codec.encode(vectors)), vectors)
    np.testing.assert_allclose(products, 1, atol=1e-3)


@pytest.mark.parametrize(("bits", "most"), [(1, 0.045), (2, 0.023), (4, 0.007), (8, 0.0006), (16, 0.0001)])
def test_dot_products_are_as_close_as_the_bits_allow_and_not_off_to_one_side(bits, most):
    vectors, queries = unit_rows(300, 384), unit_rows(300, 384, seed=1)
    codec = ColbertCodec(384, bits)
    errors = (codec.decode(codec.encode(vectors)) - vectors) @ queries.T
    assert errors.std() < most
    assert abs(errors.mean()) < most / 50


def test_more_bits_are_nearer_to_the_vector():
    vectors = unit_rows(20, 100)
    distances = [
        np.linalg.norm(ColbertCodec(100, b).decode(ColbertCodec(100, b).encode(vectors)) - vectors) for b in BITS
    ]
    assert distances == sorted(distances, reverse=True)


@pytest.mark.parametrize("bits", BITS)
def test_zeros_stay_zeros_and_lengths_stay_lengths(bits):
    vectors = np.array([[0.0] * 32, [3.0] + [0.0] * 31, [100.0, -100.0] * 16], dtype=np.float32)
    codec = ColbertCodec(32, bits)
    decoded = codec.decode(codec.encode(vectors))
    np.testing.assert_array_equal(decoded[0], 0)
    np.testing.assert_allclose(np.einsum("ij,ij->i", decoded, vectors), [0, 9, 320_000], rtol=1e-3)


@pytest.mark.parametrize("bits", BITS)
def test_codes_come_back_from_their_bytes(bits):
    codec = ColbertCodec(100, bits)
    codes = codec.encode(unit_rows(7, 100))
    np.testing.assert_array_equal(codec.from_bytes(codes.tobytes()), codes)
    assert codec.from_bytes(b"").shape == (0, codec.row_bytes)


@pytest.mark.parametrize("bits", BITS)
def test_codes_may_lie_anywhere_in_memory(bits):
    codec = ColbertCodec(64, bits)
    codes = codec.encode(unit_rows(6, 64))
    np.testing.assert_array_equal(codec.decode(np.asfortranarray(codes)[::2]), codec.decode(codes)[::2])


def test_codes_that_were_written_once_mean_the_same_for_ever():
    codes = np.array([[0b00100111, 0b10110001, 0, 0x38]], dtype=np.uint8)
    expected = ColbertCodec(16, 1, seed=3).rotation.undo(
        np.array([[1, 1, 1, -1, -1, 1, -1, -1, 1, -1, -1, -1, 1, 1, -1, 1]], dtype=np.float32) / 4
    )
    np.testing.assert_allclose(ColbertCodec(16, 1, seed=3).decode(codes), expected, atol=1e-6)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_vectors_that_no_code_can_keep_are_refused(bits, bad):
    vectors = unit_rows(3, 64)
    vectors[1, 5] = bad
    with pytest.raises(ValueError, match="not finite, or too long for float16"):
        ColbertCodec(64, bits).encode(vectors)


@pytest.mark.parametrize("bits", BITS)
def test_the_order_of_numbers_in_memory_does_not_matter(bits):
    codec, rows = ColbertCodec(8, bits), np.eye(5, 8, dtype=np.float32)
    assert (codec.encode(np.asfortranarray(rows)) == codec.encode(rows)).all()


def test_vectors_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"rows has the shape \(3, 65\); this codec takes \(vectors, 64\)"):
        ColbertCodec(64).encode(unit_rows(3, 65))


@pytest.mark.parametrize("bits", BITS)
def test_damaged_codes_are_refused(bits):
    codec = ColbertCodec(64, bits)
    data = bytearray(codec.encode(unit_rows(3, 64)).tobytes())
    with pytest.raises(ValueError, match="are no codes"):
        codec.from_bytes(data[:-1])
    data[-2:] = b"\x00\x7e"  # NaN
    with pytest.raises(ValueError, match="not finite"):
        codec.from_bytes(data)
    if bits < 16:
        data[-2:] = b"\x00\xbc"  # a factor of -1
        with pytest.raises(ValueError, match="not finite"):
            codec.from_bytes(data)
    with pytest.raises(ValueError, match="holds float64 of the shape"):
        codec.decode(np.zeros((2, codec.row_bytes)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimension": 0}, "dimension=0"),
        ({"dimension": 8, "bits": 3}, "bits=3: choose 1, 2, 4, 8 or 16"),
        ({"dimension": 8, "seed": -1}, "seed=-1"),
    ],
)
def test_impossible_codecs_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ColbertCodec(**options)
