/* Dot products with rows of bits: sums of the numbers that bits choose. */
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

/* Vectors as `bit_sums_in_tiles` takes them. A number is `step * (256 * high + low)`, and both parts are int8.
 *
 * parts: (groups, blocks, 2, 16, 16, 4): for 16 vectors and 64 numbers the tile of the high parts, then that of the low
 *     ones. A tile has the order of B: row k holds the numbers 4 k to 4 k + 3 of each vector.
 * steps: (groups, 16).
 */
typedef struct {
    const int8_t *parts;
    const float *steps;
    Py_ssize_t groups, blocks;
} VectorsInTiles;

/* Compute the same with AMX, from vectors in 16 bits.
 *
 * bits: as above. What lies between a vector's end and the end of its last block is multiplied by zeros.
 * sums: (rows, groups * 16).
 */
void bit_sums_in_tiles(
    const VectorsInTiles *vectors, const uint8_t *bits, Py_ssize_t rows, Py_ssize_t row_bytes, float *sums);

/* Vectors that are compared with rows of bits.
 *
 * numbers: as `bit_sums` takes them; NULL for those in tiles.
 * tiles: as `bit_sums_in_tiles` takes them.
 * offsets: (count,), what is subtracted from the sums.
 * count: with the zeros after them, a multiple of TILE for tiles.
 */
typedef struct {
    const float *numbers, *offsets;
    VectorsInTiles tiles;
    Py_ssize_t count, width;
} Vectors;

/* Documents of rows: the bits of a row, and in its last two bytes its factor in float16.
 *
 * lengths: (count,), the rows of each document; each has 1 or more.
 */
typedef struct {
    const uint8_t *rows;
    Py_ssize_t row_bytes, count;
    const int64_t *lengths;
} Documents;

enum { ROWS_AT_ONCE = 64 }; /* `_ROWS_AT_ONCE` in bit_vectors.py has the same value */

/* Compute for each document and vector the largest product, over the document's rows, of factor and (sum - offset).
 *
 * sums: (ROWS_AT_ONCE, vectors->count), for intermediate results.
 * best: (documents->count, vectors->count).
 */
void best_products(const Vectors *vectors, const Documents *documents, float *sums, float *best);
