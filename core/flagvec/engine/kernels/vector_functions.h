/* Functions of vectors of either width. Include vectors.h or vectors_of_8.h before it. */
#pragma once

#include "kernels.h"

#include <math.h>

/* What the compiler must inline, because it is then compiled for the constants that a caller passes. */
#define INLINED VECTORISED static inline __attribute__((always_inline))

/* 2 to the power of x, which is at most 0. The relative error is at most 2.2e-7: a polynomial of degree 5 (Remez,
 * 7.5e-8), and float32's rounding. */
INLINED Vector exact_power_of_two(Vector x) {
    Vector whole, fraction = split(x, &whole);
    Vector power = all(1.32764725e-3f);
    power = add_product(power, fraction, all(9.67554096e-3f));
    power = add_product(power, fraction, all(5.55071309e-2f));
    power = add_product(power, fraction, all(2.40221202e-1f));
    power = add_product(power, fraction, all(6.93146944e-1f));
    power = add_product(power, fraction, all(1.00000012f));
    return scale_by_power(power, whole);
}

/* GELU: x times the normal distribution's cumulative density at x. The error function is formula 7.1.26 of Abramowitz
 * and Stegun (error 1.5e-7). `reciprocal` and `power` compute 1 / x and 2 to the power of x. */
INLINED Vector gelu_by(Vector x, Vector (*reciprocal)(Vector), Vector (*power)(Vector)) {
    enum { SMALLEST_EXPONENT = -100 }; /* lower ones give subnormal numbers, which take four times as long */
    const Vector distance = multiplied(absolute(x), all((float)M_SQRT1_2));
    const Vector t = reciprocal(add_product(distance, all(0.3275911f), all(1)));
    Vector series = all(1.061405429f);
    series = add_product(series, t, all(-1.453152027f));
    series = add_product(series, t, all(1.421413741f));
    series = add_product(series, t, all(-0.284496736f));
    series = add_product(series, t, all(0.254829592f));
    const Vector exponent = multiplied(multiplied(distance, distance), all(-(float)M_LOG2E));
    const Vector density = power(maximum(all(SMALLEST_EXPONENT), exponent)); /* NaN stays NaN */
    const Vector beyond = multiplied(multiplied(series, multiplied(t, all(0.5f))), density);
    return multiplied(x, by_sign(x, subtract(all(1), beyond), beyond));
}

INLINED Vector exact_reciprocal(Vector x) { return divide(all(1), x); }

INLINED Vector exact_gelu(Vector x) { return gelu_by(x, exact_reciprocal, exact_power_of_two); }

enum { ROWS_TOGETHER = VECTOR / 2 }; /* 8 rows of 2 vectors are in 16 of 32 registers, 4 rows in 8 of 16 */

/* Compute rows of sums: sums[r][c] of `count` vectors is the sum over k of scalars[r * row_step + k * step] times the
 * vectors[k][c]. With `is_first` the sums are new, else they are added to. Each sum stays in a register.
 *
 * scalars: the left factor.
 * vectors: (depth, count * VECTOR), rows `vector_step` numbers apart.
 * sums: (rows, count * VECTOR), rows `sum_step` numbers apart.
 * rows, count: constants; at most ROWS_TOGETHER and 2.
 */
INLINED void add_products(
    const float *scalars, Py_ssize_t row_step, Py_ssize_t step, const float *vectors, Py_ssize_t vector_step,
    Py_ssize_t depth, float *sums, Py_ssize_t sum_step, const int rows, const int count, int is_first) {
    Vector kept[ROWS_TOGETHER][2];
#pragma GCC unroll 8
    for (int row = 0; row < rows; row++)
#pragma GCC unroll 2
        for (int c = 0; c < count; c++) kept[row][c] = is_first ? zeros() : load(sums + row * sum_step + c * VECTOR);
    for (Py_ssize_t k = 0; k < depth; k++) {
        Vector right[2];
#pragma GCC unroll 2
        for (int c = 0; c < count; c++) right[c] = load(vectors + k * vector_step + c * VECTOR);
#pragma GCC unroll 8
        for (int row = 0; row < rows; row++) {
            const Vector left = all(scalars[row * row_step + k * step]);
#pragma GCC unroll 2
            for (int c = 0; c < count; c++) kept[row][c] = add_product(left, right[c], kept[row][c]);
        }
    }
#pragma GCC unroll 8
    for (int row = 0; row < rows; row++)
#pragma GCC unroll 2
        for (int c = 0; c < count; c++) store(sums + row * sum_step + c * VECTOR, kept[row][c]);
}
