"""Runs kernels that were compiled for the sanitizers: ``python run_kernels.py FOLDER FUNCTION``.

Arrays have exactly the size that a kernel may touch, so that AddressSanitizer reports a byte more. There is no torch
here, because it does not run under AddressSanitizer.
"""

from __future__ import annotations

import ctypes
import itertools
import sys

import numpy as np

sys.path.insert(0, sys.argv[1])
import _compiled

OPENMP = ctypes.CDLL("libgomp.so.1")
TEAM = ctypes.cast(OPENMP.GOMP_parallel, ctypes.c_void_p).value
BARRIER = ctypes.cast(OPENMP.GOMP_barrier, ctypes.c_void_p).value
RANDOM = np.random.default_rng(0)
# The numbers of `Level` in availability.py.
AVX2, AVX512, AVX512_VBMI, AMX = 1, 2, 4, 6
LEVEL = _compiled.cpu_level()  # also asks Linux for AMX: it kills a process that uses it without

ATTENDED = ([1], [16], [17], [5, 31, 32, 33], [512], [1, 513, 2], [1_100], [40] * 20, [0], [0, 7, 0])
FEW_ROWS = ([1], [16], [3, 14], [31, 1, 1], [100, 28], [0], [0, 7, 0])


def bfloat16(*shape):
    numbers = RANDOM.standard_normal(shape, dtype=np.float32)
    return (numbers.view(np.uint32) >> 16).astype(np.uint16)


def as_float(numbers):
    return (numbers.astype(np.uint32) << 16).view(np.float32)


def starts_of(lengths):
    return np.array([0, *itertools.accumulate(lengths)], dtype=np.int32)


def numbers(is_float32, *shape):
    return RANDOM.standard_normal(shape, dtype=np.float32) if is_float32 else bfloat16(*shape)


def are_finite(numbers):
    return np.isfinite(numbers if numbers.dtype == np.float32 else as_float(numbers)).all()


def attend(
    lengths, heads, width, filling=0, heads_first=False, threads=1, missing_queries=0, level=AMX, is_float32=False
):
    rows, starts = sum(lengths) + filling, starts_of(lengths)
    states = [numbers(is_float32, (rows - missing) * heads * width) for missing in (missing_queries, 0, 0)]
    row_stride, head_stride = (width, rows * width) if heads_first else (heads * width, width)
    attended = np.full(rows * heads * width, np.nan, dtype=np.float32)
    if not is_float32:
        attended = np.full(rows * heads * width, 0x7FC0, dtype=np.uint16)  # NaN
    places = ((part.ctypes.data, row_stride, head_stride) for part in states)
    _compiled.attend(
        *places, attended.ctypes.data, rows, starts.ctypes.data, len(lengths), heads, width, width**-0.5, is_float32,
        level, TEAM, threads,
    )  # fmt: skip
    assert are_finite(attended)


def normalise_sum(rows, width, threads=1, missing_rows=0):
    fresh, states = bfloat16((rows - missing_rows) * width), bfloat16(rows * width)
    weight, bias = bfloat16(width), bfloat16(width)
    places = (part.ctypes.data for part in (fresh, states, weight, bias))
    _compiled.normalise_sum(*places, rows, width, 1e-5, TEAM, threads)
    assert np.isfinite(as_float(fresh)).all()


def run_layers(lengths, width, inner_width, heads, threads=1, layers=2, level=AMX, is_float32=False, columns=32):
    linear = ((3 * width, width), (width, width), (inner_width, width), (width, inner_width))
    shapes = [shape for outputs, inputs in linear for shape in ((outputs * inputs,), (outputs,))] + [(width,)] * 4
    is_weight = [True, False] * 4 + [False] * 4
    weights = [
        [numbers(is_float32 if own else level < AMX, *shape) for own, shape in zip(is_weight, shapes, strict=True)]
        for _ in range(layers)
    ]
    addresses = np.array([[part.ctypes.data for part in layer] for layer in weights], dtype=np.int64)
    states, starts = numbers(level < AMX, sum(lengths) * width), starts_of(lengths)
    _compiled.run_layers(
        addresses.ctypes.data, layers, width, inner_width, heads, columns, is_float32, level, 1e-5, states.ctypes.data,
        starts.ctypes.data, len(lengths), TEAM, BARRIER, threads,
    )  # fmt: skip
    assert are_finite(states)


# `Kind` in bit_sums.h, and the vectors of a block and the bytes for each of 32 numbers of a vector.
BY_TABLES, BY_BYTES, BY_TILES = (0, 4, 8 * 16 * 4), (1, 2, 2 * 2 * 64), (2, 16, 2 * 32)


def best_products(form, blocks, words, rows, row_bytes, missing_bytes=0):
    """Compare vectors in a form with two documents, the first of one row."""
    kind, together, bytes_a_word = form
    count = blocks * together
    # Bytes of 0 to 62, also as float32, are small numbers.
    tables = RANDOM.integers(0, 63, count * words * bytes_a_word, dtype=np.uint8)
    steps, offsets = RANDOM.random((2, count), dtype=np.float32)
    codes = RANDOM.integers(0, 256, (rows, row_bytes), dtype=np.uint8)
    codes[:, -1] &= 0x3F  # a finite factor
    codes = codes.reshape(-1)[: rows * row_bytes - missing_bytes].copy()
    lengths = np.array([1, rows - 1], dtype=np.int64)[: min(rows, 2)]
    indices = np.empty((2 * words, 64), dtype=np.uint32)
    sums, best = np.empty((64, count), dtype=np.float32), np.empty((len(lengths), count), dtype=np.float32)
    _compiled.best_products(
        (kind, tables.ctypes.data, steps.ctypes.data, blocks, words, offsets.ctypes.data, count),
        (codes.ctypes.data, row_bytes, lengths.ctypes.data, len(lengths)),
        indices.ctypes.data, sums.ctypes.data, best.ctypes.data,
    )  # fmt: skip
    assert np.isfinite(best).all()


def sum_clusters(count, width, clusters, missing=0):
    rows = RANDOM.standard_normal(count * width, dtype=np.float32)[: count * width - missing].copy()
    stride = (count + 7) // 8 * 8
    distances, labels = np.empty((count, stride), dtype=np.float32), np.empty(count, dtype=np.int64)
    sums = np.empty((clusters, width), dtype=np.float32)
    _compiled.sum_clusters(
        (rows.ctypes.data, count, width), clusters, distances.ctypes.data, stride,
        labels.ctypes.data, sums.ctypes.data,
    )  # fmt: skip
    assert set(labels.tolist()) == set(range(clusters))
    assert np.isfinite(sums).all()


def quantized_steps(rows, width, threads=1, has_avx512=True, is_bfloat16=False, missing_sums=0):
    """Run the four steps between products of int8, each with the arrays of the one before."""
    numbers = bfloat16(rows * width) if is_bfloat16 else RANDOM.standard_normal(rows * width, dtype=np.float32)
    found = np.zeros(rows * width, dtype=np.uint8), *(np.full(rows, np.nan, dtype=np.float32) for _ in range(2))
    sums = RANDOM.standard_normal(rows * width - missing_sums, dtype=np.float32)
    weight_sums, bias = (RANDOM.standard_normal(width, dtype=np.float32) for _ in range(2))
    sizes, states = (rows, width, has_avx512, TEAM, threads), (numbers.ctypes.data, is_bfloat16)
    to = *(part.ctypes.data for part in found), 255.0
    _compiled.numbers_to_bytes(sizes, states, to)
    product = tuple(part.ctypes.data for part in (sums, *found[1:], weight_sums, bias))
    _compiled.norm_to_bytes(sizes, product, states, (weight_sums.ctypes.data, bias.ctypes.data, 1e-5), to)
    _compiled.norm_to_bytes(sizes, product, states, (weight_sums.ctypes.data, bias.ctypes.data, 1e-5), (0, 0, 0, 1.0))
    _compiled.gelu_to_bytes(sizes, product, to)
    _compiled.product_to_numbers(sizes, product, states)
    assert np.isfinite(as_float(numbers) if is_bfloat16 else numbers).all()
    assert all(np.isfinite(part).all() for part in found)


def all_shapes():
    for lengths, heads, width, heads_first, threads in itertools.product(
        ATTENDED, (1, 5), (32, 64), (False, True), (1, 3)
    ):
        attend(lengths, heads, width, filling=threads, heads_first=heads_first, threads=threads)
    for rows, width, threads in itertools.product((1, 31, 33, 200), (16, 384, 4_096), (1, 3)):
        normalise_sum(rows, width, threads)
    for lengths, (width, heads), inner_width, threads in itertools.product(
        FEW_ROWS, ((32, 1), (128, 4), (192, 3)), (32, 160), (1, 3)
    ):
        run_layers(lengths, width, inner_width, heads, threads)
    for blocks, words, rows, missing in itertools.product((1, 3), (2, 32), (1, 16, 31, 32, 200), (0, 2, 7)):
        best_products(BY_TILES, blocks, words, rows, words * 4 + 2 - missing)
    sys.stdout.write("all shapes ran\n")


def all_shapes_in_vectors():
    levels = [level for level in (AVX2, AVX512) if level <= LEVEL]
    for level, is_float32, lengths, heads, width in itertools.product(
        levels, (False, True), ATTENDED, (1, 3), (16, 48, 128)
    ):
        attend(lengths, heads, width, 5, heads_first=level == AVX2, threads=heads, level=level, is_float32=is_float32)
    for level, is_float32, lengths, (width, heads), (inner_width, columns) in itertools.product(
        levels, (False, True), FEW_ROWS, ((64, 1), (192, 4)), ((128, 64), (160, 32))
    ):
        run_layers(lengths, width, inner_width, heads, 3, 2, level, is_float32, columns)
    for rows, width, threads, level, is_bfloat16 in itertools.product(
        (1, 8, 9, 200), (16, 48, 384, 16_384), (1, 3), levels, (False, True)
    ):
        quantized_steps(rows, width, threads, level >= AVX512, is_bfloat16)
    for count, width in itertools.product((2, 7, 8, 9, 300, 1_024), (8, 24)):
        for clusters in {1, count // 2, count}:
            sum_clusters(count, width, clusters)
    if LEVEL >= AVX512:
        for blocks, words, rows, further in itertools.product((1, 3), (1, 17, 32), (1, 16, 63, 200), (-1, 2, 4)):
            best_products(BY_TABLES, blocks, words, rows, words * 4 + further)
            if LEVEL >= AVX512_VBMI:
                best_products(BY_BYTES, blocks, words, rows, words * 4 + further)
    sys.stdout.write("all shapes ran\n")


def overrun_of_queries():
    attend([32], heads=1, width=32, missing_queries=16, level=min(LEVEL, AVX512), is_float32=True)


def overrun_of_a_vector():
    normalise_sum(rows=3, width=32, missing_rows=1)


def overrun_of_a_tile():
    attend([32], heads=1, width=32, missing_queries=16)


def overrun_of_bits():
    best_products(BY_TABLES, blocks=1, words=1, rows=5, row_bytes=6, missing_bytes=1)


def overrun_of_bits_in_bytes():
    best_products(BY_BYTES, blocks=1, words=1, rows=5, row_bytes=6, missing_bytes=1)


def overrun_of_bits_in_tiles():
    best_products(BY_TILES, blocks=1, words=2, rows=5, row_bytes=8, missing_bytes=1)


def overrun_of_rows():
    sum_clusters(count=9, width=8, clusters=3, missing=8)


def overrun_of_sums():
    quantized_steps(rows=3, width=32, has_avx512=LEVEL >= AVX512, missing_sums=16)


if __name__ == "__main__":
    functions = (
        all_shapes, all_shapes_in_vectors, overrun_of_queries, overrun_of_a_vector, overrun_of_a_tile, overrun_of_bits,
        overrun_of_bits_in_bytes, overrun_of_bits_in_tiles, overrun_of_rows, overrun_of_sums,
    )  # fmt: skip
    {function.__name__: function for function in functions}[sys.argv[2]]()
