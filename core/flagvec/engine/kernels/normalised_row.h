/* The layer norm of the sum of two rows, for vectors of either width and numbers of either format. Include vectors.h or
 * vectors_of_8.h before it. */
#pragma once

#include "normalised_sum.h"
#include "vector_functions.h"

#include <math.h>

/* What turns a sum into its normal form. */
typedef struct {
    Vector mean, scale;
} Moments;

/* The moments of a row of sums, whose vectors add up to `total`. */
INLINED Moments moments_of(const float *row, Py_ssize_t width, Vector total, float epsilon) {
    const Vector mean = all(sum_of(total) / width);
    Vector squares = zeros();
    for (Py_ssize_t i = 0; i < width; i += VECTOR) {
        const Vector distance = subtract(load(row + i), mean);
        squares = add_product(distance, distance, squares);
    }
    return (Moments){mean, all(1 / sqrtf(sum_of(squares) / width + epsilon))};
}

INLINED Vector normalised(Vector sums, Moments moments, Vector weight, Vector bias) {
    return add_product(multiplied(subtract(sums, moments.mean), moments.scale), weight, bias);
}

/* READ loads a vector of numbers as float32, and WRITE stores one. Use it in a function that the target's macro marks.
 */
#define NORMALISE_ROW(norm, weight, bias, fresh, states, READ, WRITE)                                   \
    do {                                                                                                \
        const Py_ssize_t width = (norm)->width;                                                         \
        float row[WIDEST_ROW] __attribute__((aligned(64)));                                             \
        Vector total = zeros();                                                                         \
        for (Py_ssize_t i = 0; i < width; i += VECTOR) {                                                \
            const Vector sum = add(READ(fresh + i), READ(states + i));                                  \
            store(row + i, sum);                                                                        \
            total = add(total, sum);                                                                    \
        }                                                                                               \
        const Moments moments = moments_of(row, width, total, (norm)->epsilon);                         \
        for (Py_ssize_t i = 0; i < width; i += VECTOR)                                                  \
            WRITE(fresh + i, normalised(load(row + i), moments, READ((weight) + i), READ((bias) + i))); \
    } while (0)
