/* The functions of quantized.h for one row, in vectors of LANES float32 numbers, in the notation of gcc and clang.
 *
 * A source file for each level of instructions defines LANES and includes this file. torch would pass over memory once
 * for each step: scale, bias, GELU, smallest and largest number, rounding. Here a row stays in the cache of its core.
 */
#include "quantized.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { ROWS_TOGETHER = 8 }; /* rows that a thread takes at a time */

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
typedef uint8_t Octets __attribute__((vector_size(LANES)));

/* A row of numbers on its way to bytes. */
typedef struct {
    float numbers[WIDEST_QUANTIZED_ROW];
    Floats lowest, highest;
    Floats nothing; /* zeros; NaN if there was a NaN or an infinity, which comparisons can lose */
} Row;

INLINE Floats load(const float *from) {
    Floats numbers;
    memcpy(&numbers, from, sizeof numbers);
    return numbers;
}

INLINE void store(float *to, Floats numbers) { memcpy(to, &numbers, sizeof numbers); }

INLINE Floats lower_of(Floats left, Floats right) {
    const Ints is_left = left < right;
    return (Floats)(((Ints)left & is_left) | ((Ints)right & ~is_left));
}

INLINE Floats higher_of(Floats left, Floats right) { return -lower_of(-left, -right); }

INLINE float lowest_lane(Floats numbers) {
    float lanes[LANES];
    store(lanes, numbers);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] = lanes[i] < lanes[i + half] ? lanes[i] : lanes[i + half];
    return lanes[0];
}

INLINE float sum_of_lanes(Floats numbers) {
    float lanes[LANES];
    store(lanes, numbers);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
}

/* A bfloat16 is the upper half of a float32. */
INLINE Floats load_numbers(const Numbers *from, Py_ssize_t position) {
    if (!from->is_bfloat16) return load((const float *)from->numbers + position);
    Halves halves;
    memcpy(&halves, (const bfloat16 *)from->numbers + position, sizeof halves);
    return (Floats)(__builtin_convertvector(halves, Words) << 16);
}

/* Rounds to the nearest bfloat16, and to the even one of two. */
INLINE void store_numbers(const Numbers *to, Py_ssize_t position, Floats numbers) {
    if (!to->is_bfloat16) {
        store((float *)to->numbers + position, numbers);
        return;
    }
    const Words bits = (Words)numbers;
    const Halves halves = __builtin_convertvector((bits + 0x7FFF + (bits >> 16 & 1)) >> 16, Halves);
    memcpy((bfloat16 *)to->numbers + position, &halves, sizeof halves);
}

INLINE void start(Row *row) {
    row->nothing = (Floats){0};
    row->lowest = row->nothing + INFINITY;
    row->highest = -row->lowest;
}

INLINE void append(Row *row, Py_ssize_t column, Floats numbers) {
    store(row->numbers + column, numbers);
    row->lowest = lower_of(numbers, row->lowest);
    row->highest = higher_of(numbers, row->highest);
    row->nothing += numbers * 0;
}

INLINE void write_bytes(const Row *row, const Bytes *to, Py_ssize_t number, Py_ssize_t width) {
    const float minimum = lowest_lane(row->lowest), range = -lowest_lane(-row->highest) - minimum;
    const float bytes_per_one = range > 0 ? to->largest / range : 0;
    for (Py_ssize_t i = 0; i < width; i += LANES) {
        const Floats bytes = (load(row->numbers + i) - minimum) * bytes_per_one + 0.5f;
        const Octets octets = __builtin_convertvector(__builtin_convertvector(bytes, Ints), Octets);
        memcpy(to->bytes + number * width + i, &octets, sizeof octets);
    }
    to->scales[number] = range / to->largest;
    to->minima[number] = minimum + sum_of_lanes(row->nothing);
}

/* Some results of the linear layer. */
INLINE Floats results(const Product *product, Py_ssize_t row, Py_ssize_t column, Py_ssize_t width) {
    const Floats offset = load(product->weight_sums + column) * product->minima[row] + load(product->bias + column);
    return load(product->sums + row * width + column) * product->scales[row] + offset;
}

/* x times the normal distribution's cumulative density at x. The density is a half plus an odd function, here a
 * polynomial for x from -4 to 4. GELU's error is at most 1.9e-4 there, because 4 is where its maximum is least. */
INLINE Floats gelu(Floats x) {
    const Floats four = (Floats){0} + 4, near = higher_of(lower_of(x, four), -four), square = near * near;
    Floats series = square * 2.2780627e-8f + -1.5985613e-6f;
    series = series * square + 4.7954717e-5f;
    series = series * square + -8.140078e-4f;
    series = series * square + 8.772352e-3f;
    series = series * square + -6.457303e-2f;
    series = series * square + 0.3978833f;
    return x * (series * near + 0.5f);
}

INLINE void row_to_bytes(const QuantizedCall *call, Py_ssize_t number) {
    const Py_ssize_t width = call->rows->width;
    Row row;
    start(&row);
    for (Py_ssize_t i = 0; i < width; i += LANES) append(&row, i, load_numbers(call->numbers, number * width + i));
    write_bytes(&row, call->bytes, number, width);
}

INLINE void row_to_numbers(const QuantizedCall *call, Py_ssize_t number) {
    const Py_ssize_t width = call->rows->width;
    for (Py_ssize_t i = 0; i < width; i += LANES)
        store_numbers(call->numbers, number * width + i, results(call->product, number, i, width));
}

INLINE void row_of_gelu(const QuantizedCall *call, Py_ssize_t number) {
    const Py_ssize_t width = call->rows->width;
    Row row;
    start(&row);
    for (Py_ssize_t i = 0; i < width; i += LANES) append(&row, i, gelu(results(call->product, number, i, width)));
    write_bytes(&row, call->bytes, number, width);
}

INLINE void row_of_norm(const QuantizedCall *call, Py_ssize_t number) {
    const Py_ssize_t width = call->rows->width;
    const LayerNorm *norm = call->norm;
    Row row;
    Floats total = {0}, squares = {0};
    start(&row);
    for (Py_ssize_t i = 0; i < width; i += LANES) {
        const Floats sum = results(call->product, number, i, width) + load_numbers(call->numbers, number * width + i);
        store(row.numbers + i, sum);
        total += sum;
    }
    const float mean = sum_of_lanes(total) / width;
    for (Py_ssize_t i = 0; i < width; i += LANES) {
        const Floats distance = load(row.numbers + i) - mean;
        squares += distance * distance;
    }
    const float factor = 1 / sqrtf(sum_of_lanes(squares) / width + norm->epsilon);
    for (Py_ssize_t i = 0; i < width; i += LANES) {
        const Floats normal = (load(row.numbers + i) - mean) * factor;
        const Floats result = normal * load(norm->weight + i) + load(norm->bias + i);
        store_numbers(call->numbers, number * width + i, result);
        append(&row, i, result);
    }
    if (call->bytes->bytes) write_bytes(&row, call->bytes, number, width);
}

INLINE void take_rows(QuantizedCall *call, void (*compute)(const QuantizedCall *call, Py_ssize_t number)) {
    const Py_ssize_t rows = call->rows->rows;
    for (;;) {
        const Py_ssize_t from = atomic_fetch_add(&call->next_row, ROWS_TOGETHER);
        if (from >= rows) return;
        for (Py_ssize_t number = from; number < smaller(from + ROWS_TOGETHER, rows); number++) compute(call, number);
    }
}

static void all_to_bytes(void *call) { take_rows(call, row_to_bytes); }
static void all_to_numbers(void *call) { take_rows(call, row_to_numbers); }
static void all_of_gelu(void *call) { take_rows(call, row_of_gelu); }
static void all_of_norm(void *call) { take_rows(call, row_of_norm); }

#define QUANTIZED_FUNCTIONS {all_to_bytes, all_to_numbers, all_of_gelu, all_of_norm}
