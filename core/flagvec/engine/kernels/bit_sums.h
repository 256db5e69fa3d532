/* Dot products with rows of bits: sums of the numbers that bits choose. */
#pragma once

#include "kernels.h"

enum {
    ROWS_AT_ONCE = 64, /* `_ROWS_AT_ONCE` in bit_vectors.py has the same value */
    WORD_BITS = 32,
    BITS_TOGETHER = 4, /* whose sum is looked up */
    ZERO_SUM = 1 << 15, /* stands for a sum of zero in bytes; `_ZERO_SUM` in bit_vectors.py has the same value */
};

/* The functions below. */
typedef enum { BY_TABLES, BY_BYTES, BY_TILES } Kind;

/* Vectors in the form that one of the functions takes. bit_vectors.py makes it.
 *
 * tables: what each function says.
 * steps: (blocks, vectors of a block); `bit_sums` does not read them.
 * blocks: of vectors.
 * words: of 32 numbers.
 */
typedef struct {
    const void *tables;
    const float *steps;
    Py_ssize_t blocks, words;
} Prepared;

/* Compute, for each row of bits and each vector, the sum of the vector's numbers whose bit is 1.
 *
 * tables: (blocks, words * 8, 4, 16) float: for four numbers of each of four vectors, the sums of those that the bits
 * of an index choose, the first number by the lowest bit. bits: row_bytes bytes a row. The first number's bit is the
 * lowest one of the first byte. What lies between a vector's end and that of its last word chooses zeros. rows: 1 to
 * ROWS_AT_ONCE. indices: (words * 2, ROWS_AT_ONCE), for intermediate results. sums: (ROWS_AT_ONCE, vectors of all
 * blocks); those behind `rows` have no meaning.
 */
void bit_sums(
    const Prepared *vectors, const uint8_t *bits, Py_ssize_t rows, Py_ssize_t row_bytes, uint32_t *indices,
    float *sums);

/* Compute sums in which a bit stands for 1/2 or -1/2, with VBMI and VNNI. So nothing is to be subtracted. A sum of four
 * numbers is `step * (256 * high + low - ZERO_SUM)`, and both parts are bytes.
 *
 * tables: (blocks, words * 2, 2, 2, 64) uint8: for the lower or upper four bits of each byte of a word, for two
 *     vectors, the low parts and the high ones. A quarter of a table has the 16 sums of the numbers of one byte of the
 *     word.
 */
void bit_sums_in_bytes(
    const Prepared *vectors, const uint8_t *bits, Py_ssize_t rows, Py_ssize_t row_bytes, uint32_t *indices,
    float *sums);

/* Compute what `bit_sums` does with AMX. A number is `step * (256 * high + low)`, and both parts are int8.
 *
 * tables: (blocks, words / 2, 2, 16, 16, 4) int8: for 16 vectors and 64 numbers the tile of the high parts, then that
 * of the low ones. A tile has the order of B: row k holds the numbers 4 k to 4 k + 3 of each vector.
 */
void bit_sums_in_tiles(
    const Prepared *vectors, const uint8_t *bits, Py_ssize_t rows, Py_ssize_t row_bytes, uint32_t *indices,
    float *sums);

/* Vectors that are compared with rows of bits.
 *
 * offsets: (count,), what is subtracted from the sums.
 * count: the vectors of all blocks.
 */
typedef struct {
    Kind kind;
    Prepared prepared;
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
 * indices, sums: as above, for intermediate results.
 * best: (documents->count, vectors->count).
 */
void best_products(const Vectors *vectors, const Documents *documents, uint32_t *indices, float *sums, float *best);
