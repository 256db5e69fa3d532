/* Dot products with rows of bits: sums of the numbers that bits choose. */
#pragma once

#include "kernels.h"

enum {
    ROWS_AT_ONCE = 64, /* `_ROWS_AT_ONCE` in bit_vectors.py has the same value */
    WORD_BITS = 32,
    BITS_TOGETHER = 4, /* whose sum is looked up */
};

/* Vectors as `bit_sums` takes them.
 *
 * tables: (blocks, words * 8, 4, 16): for four numbers of each of four vectors, the sums of those that the bits of an
 *     index choose, the first number by the lowest bit.
 */
typedef struct {
    const float *tables;
    Py_ssize_t blocks, words;
} VectorsInTables;

/* Compute, for each row of bits and each vector, the sum of the vector's numbers whose bit is 1.
 *
 * bits: row_bytes bytes a row. The first number's bit is the lowest one of the first byte. What lies between a vector's
 *     end and that of its last word chooses zeros.
 * rows: 1 to ROWS_AT_ONCE.
 * words: (vectors->words, ROWS_AT_ONCE), for intermediate results.
 * sums: (ROWS_AT_ONCE, vectors->blocks * 4); those behind `rows` have no meaning.
 */
void bit_sums(
    const VectorsInTables *vectors, const uint8_t *bits, Py_ssize_t rows, Py_ssize_t row_bytes, uint32_t *words,
    float *sums);

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
 * tables: as `bit_sums` takes them. Its own `tables` are NULL if the vectors are in tiles.
 * tiles: as `bit_sums_in_tiles` takes them.
 * offsets: (count,), what is subtracted from the sums.
 * count: with the zeros after them.
 */
typedef struct {
    VectorsInTables tables;
    VectorsInTiles tiles;
    const float *offsets;
    Py_ssize_t count;
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

/* Compute for each document and vector the largest product, over the document's rows, of factor and (sum - offset).
 *
 * words: as `bit_sums` takes it.
 * sums: (ROWS_AT_ONCE, vectors->count), for intermediate results.
 * best: (documents->count, vectors->count).
 */
void best_products(const Vectors *vectors, const Documents *documents, uint32_t *words, float *sums, float *best);
