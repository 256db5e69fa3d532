/* The layer norm of the sum of two rows, for vectors of either width and numbers of either format. */
#pragma once

#include "normalised_sum.h"

#include <math.h>

/* READ loads a vector of numbers as float32, and WRITE stores one. Use it in a function that the target's macro marks.
 */
#define NORMALISE_ROW(norm, weight, bias, fresh, states, READ, WRITE)                      \
    do {                                                                                   \
        const Py_ssize_t width = (norm)->width;                                            \
        float row[WIDEST_ROW] __attribute__((aligned(64)));                                \
        Vector total = zeros(), squares = zeros();                                         \
        for (Py_ssize_t i = 0; i < width; i += VECTOR) {                                   \
            const Vector sum = add(READ((fresh) + i), READ((states) + i));                 \
            store(row + i, sum);                                                           \
            total = add(total, sum);                                                       \
        }                                                                                  \
        const Vector mean = all(sum_of(total) / width);                                    \
        for (Py_ssize_t i = 0; i < width; i += VECTOR) {                                   \
            const Vector distance = subtract(load(row + i), mean);                         \
            squares = add_product(distance, distance, squares);                            \
        }                                                                                  \
        const Vector scale = all(1 / sqrtf(sum_of(squares) / width + (norm)->epsilon));    \
        for (Py_ssize_t i = 0; i < width; i += VECTOR) {                                   \
            const Vector normal = multiplied(subtract(load(row + i), mean), scale);        \
            WRITE((fresh) + i, add_product(normal, READ((weight) + i), READ((bias) + i))); \
        }                                                                                  \
    } while (0)
