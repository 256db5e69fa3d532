/* The functions of quantized.h for one row, for vectors of either width. Include vectors.h or vectors_of_8.h before it.
 *
 * torch would pass over memory once for each step: scale, bias, GELU, smallest and largest number, rounding. Here a row
 * stays in the cache of its core.
 */
#pragma once

#include "normalised_row.h"
#include "quantized.h"

#include <stdatomic.h>
#include <string.h>

enum { ROWS_TAKEN = 8 }; /* rows, by a thread at a time */

/* Conversions are in the notation of gcc and clang, which has no names of instructions. */
typedef int32_t Ints __attribute__((vector_size(4 * VECTOR)));
typedef uint8_t Octets __attribute__((vector_size(VECTOR)));

/* A row of numbers on its way to bytes. */
typedef struct {
    float numbers[WIDEST_QUANTIZED_ROW];
    Vector lowest, highest;
    Vector nothing; /* zeros; NaN if there was a NaN or an infinity, which comparisons can lose */
} Row;

INLINED float lowest_lane(Vector numbers) {
    float lanes[VECTOR];
    store(lanes, numbers);
    for (int half = VECTOR / 2; half; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] = lanes[i] < lanes[i + half] ? lanes[i] : lanes[i + half];
    return lanes[0];
}

INLINED Vector load_numbers(const Numbers *from, Py_ssize_t position) {
    return from->is_bfloat16 ? widened((const bfloat16 *)from->numbers + position)
                             : load((const float *)from->numbers + position);
}

INLINED void store_numbers(const Numbers *to, Py_ssize_t position, Vector numbers) {
    if (to->is_bfloat16)
        store_rounded((bfloat16 *)to->numbers + position, numbers);
    else
        store((float *)to->numbers + position, numbers);
}

INLINED void start(Row *row) {
    row->nothing = zeros();
    row->lowest = row->nothing + INFINITY;
    row->highest = -row->lowest;
}

INLINED void append(Row *row, Py_ssize_t column, Vector numbers) {
    store(row->numbers + column, numbers);
    row->lowest = minimum(numbers, row->lowest);
    row->highest = maximum(numbers, row->highest);
    row->nothing += numbers * 0;
}

INLINED void write_bytes(const Row *row, const Bytes *to, Py_ssize_t number, Py_ssize_t width) {
    const float lowest = lowest_lane(row->lowest), range = -lowest_lane(-row->highest) - lowest;
    const float bytes_per_one = range > 0 ? to->largest / range : 0;
    for (Py_ssize_t i = 0; i < width; i += VECTOR) {
        const Vector bytes = (load(row->numbers + i) - lowest) * bytes_per_one + 0.5f;
        const Octets octets = __builtin_convertvector(__builtin_convertvector(bytes, Ints), Octets);
        memcpy(to->bytes + number * width + i, &octets, sizeof octets);
    }
    to->scales[number] = range / to->largest;
    to->minima[number] = lowest + sum_of(row->nothing);
}

/* Some results of the linear layer. */
INLINED Vector results(const Product *product, Py_ssize_t row, Py_ssize_t column, Py_ssize_t width) {
    const Vector offset = load(product->weight_sums + column) * product->minima[row] + load(product->bias + column);
    return load(product->sums + row * width + column) * product->scales[row] + offset;
}

/* x times the normal distribution's cumulative density at x. The density is a half plus an odd function, here a
 * polynomial for x from -4 to 4. GELU's error is at most 1.9e-4 there, because 4 is where its maximum is least. */
INLINED Vector gelu(Vector x) {
    const Vector four = all(4), near = maximum(minimum(x, four), -four), square = near * near;
    Vector series = square * 2.2780627e-8f + -1.5985613e-6f;
    series = series * square + 4.7954717e-5f;
    series = series * square + -8.140078e-4f;
    series = series * square + 8.772352e-3f;
    series = series * square + -6.457303e-2f;
    series = series * square + 0.3978833f;
    return x * (series * near + 0.5f);
}

INLINED void row_to_bytes(const QuantizedCall *call, Py_ssize_t number) {
    const Py_ssize_t width = call->rows->width;
    Row row;
    start(&row);
    for (Py_ssize_t i = 0; i < width; i += VECTOR) append(&row, i, load_numbers(call->numbers, number * width + i));
    write_bytes(&row, call->bytes, number, width);
}

INLINED void row_to_numbers(const QuantizedCall *call, Py_ssize_t number) {
    const Py_ssize_t width = call->rows->width;
    for (Py_ssize_t i = 0; i < width; i += VECTOR)
        store_numbers(call->numbers, number * width + i, results(call->product, number, i, width));
}

INLINED void row_of_gelu(const QuantizedCall *call, Py_ssize_t number) {
    const Py_ssize_t width = call->rows->width;
    Row row;
    start(&row);
    for (Py_ssize_t i = 0; i < width; i += VECTOR) append(&row, i, gelu(results(call->product, number, i, width)));
    write_bytes(&row, call->bytes, number, width);
}

INLINED void row_of_norm(const QuantizedCall *call, Py_ssize_t number) {
    const Py_ssize_t width = call->rows->width;
    const LayerNorm *norm = call->norm;
    Row row;
    Vector total = zeros();
    start(&row);
    for (Py_ssize_t i = 0; i < width; i += VECTOR) {
        const Vector sum = results(call->product, number, i, width) + load_numbers(call->numbers, number * width + i);
        store(row.numbers + i, sum);
        total += sum;
    }
    const Moments moments = moments_of(row.numbers, width, total, norm->epsilon);
    for (Py_ssize_t i = 0; i < width; i += VECTOR) {
        const Vector result = normalised(load(row.numbers + i), moments, load(norm->weight + i), load(norm->bias + i));
        store_numbers(call->numbers, number * width + i, result);
        append(&row, i, result);
    }
    if (call->bytes->bytes) write_bytes(&row, call->bytes, number, width);
}

INLINED void take_rows(QuantizedCall *call, void (*compute)(const QuantizedCall *call, Py_ssize_t number)) {
    const Py_ssize_t rows = call->rows->rows;
    for (;;) {
        const Py_ssize_t from = atomic_fetch_add(&call->next_row, ROWS_TAKEN);
        if (from >= rows) return;
        for (Py_ssize_t number = from; number < smaller(from + ROWS_TAKEN, rows); number++) compute(call, number);
    }
}

VECTORISED static void all_to_bytes(void *call) { take_rows(call, row_to_bytes); }
VECTORISED static void all_to_numbers(void *call) { take_rows(call, row_to_numbers); }
VECTORISED static void all_of_gelu(void *call) { take_rows(call, row_of_gelu); }
VECTORISED static void all_of_norm(void *call) { take_rows(call, row_of_norm); }

#define QUANTIZED_FUNCTIONS {all_to_bytes, all_to_numbers, all_of_gelu, all_of_norm}
