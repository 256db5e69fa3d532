/* Sums of the numbers that bits choose: 16 bits are the mask of an addition of 16 numbers.
 *
 * numpy has to make a float32 number of each bit first, which takes eight times as long.
 */
#include "bit_sums.h"

#include "vectors.h"

#include <string.h>

/* A block of sums is in 16 of the 32 registers. `_VECTORS_TOGETHER` in __init__.py has the same value as the second. */
enum { ROWS_TOGETHER = 4, VECTORS_TOGETHER = 4 };

/* Compute the sums of ROWS_TOGETHER rows, which may be the same, and VECTORS_TOGETHER vectors. */
AVX512 static void sum_block(
    const float *vectors, Py_ssize_t width, const uint8_t *const *rows, float block[ROWS_TOGETHER][VECTORS_TOGETHER]) {
    __m512 sums[ROWS_TOGETHER][VECTORS_TOGETHER];
    for (int row = 0; row < ROWS_TOGETHER; row++)
        for (int vector = 0; vector < VECTORS_TOGETHER; vector++) sums[row][vector] = _mm512_setzero_ps();
    for (Py_ssize_t i = 0; i < width; i += VECTOR) {
        __mmask16 chosen[ROWS_TOGETHER];
        for (int row = 0; row < ROWS_TOGETHER; row++) memcpy(&chosen[row], rows[row] + i / 8, sizeof chosen[row]);
        for (int vector = 0; vector < VECTORS_TOGETHER; vector++) {
            const __m512 numbers = _mm512_loadu_ps(vectors + vector * width + i);
            for (int row = 0; row < ROWS_TOGETHER; row++)
                sums[row][vector] = _mm512_mask_add_ps(sums[row][vector], chosen[row], sums[row][vector], numbers);
        }
    }
    for (int row = 0; row < ROWS_TOGETHER; row++)
        for (int vector = 0; vector < VECTORS_TOGETHER; vector++)
            block[row][vector] = _mm512_reduce_add_ps(sums[row][vector]);
}

void bit_sums(
    const float *vectors, Py_ssize_t count, Py_ssize_t width, const uint8_t *bits, Py_ssize_t rows,
    Py_ssize_t row_bytes, float *sums) {
    const uint8_t *together[ROWS_TOGETHER];
    float block[ROWS_TOGETHER][VECTORS_TOGETHER];
    for (Py_ssize_t from = 0; from < rows; from += ROWS_TOGETHER) {
        const Py_ssize_t valid = smaller(ROWS_TOGETHER, rows - from);
        for (Py_ssize_t row = 0; row < ROWS_TOGETHER; row++)
            together[row] = bits + (from + smaller(row, valid - 1)) * row_bytes;
        for (Py_ssize_t vector = 0; vector < count; vector += VECTORS_TOGETHER) {
            sum_block(vectors + vector * width, width, together, block);
            for (Py_ssize_t row = 0; row < valid; row++)
                memcpy(sums + (from + row) * count + vector, block[row], sizeof block[row]);
        }
    }
}
