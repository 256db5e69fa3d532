/* Sums of the numbers that bits choose. */
#pragma once

#include "kernels.h"

/* Compute, for each row of bits and each vector, the sum of the vector's numbers whose bit is 1.
 *
 * vectors: (count, width), contiguous; count is a multiple of VECTORS_TOGETHER, and width one of 16.
 * bits: row_bytes bytes a row, at least width / 8; the first number's bit is the lowest one of the first byte.
 * sums: (rows, count).
 */
void bit_sums(
    const float *vectors, Py_ssize_t count, Py_ssize_t width, const uint8_t *bits, Py_ssize_t rows,
    Py_ssize_t row_bytes, float *sums);
