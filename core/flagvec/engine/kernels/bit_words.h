/* What the two kernels of bit_sums.h that look sums up have in common: rows of bits in, sums out. */
#pragma once

#include "bit_sums.h"

#include "vectors.h"

#include <string.h>

enum {
    GROUPS = ROWS_AT_ONCE / VECTOR, /* a row is a lane of a group's registers */
    BLOCK_BYTES = VECTOR * WORD_BITS / 8, /* bytes of a row that become a lane of VECTOR registers */
};

/* Read BLOCK_BYTES bytes, with zeros for those behind the `left` that there are. */
AVX512 static inline __m512i load_block(const uint8_t *from, Py_ssize_t left) {
    uint8_t block[BLOCK_BYTES] = {0};
    if (left >= BLOCK_BYTES) return _mm512_loadu_si512(from);
    memcpy(block, from, left);
    return _mm512_loadu_si512(block);
}

/* Write VECTOR words of VECTOR rows, which begin at byte `from` of each row: lane r of words[i] is word i of row r. Of
 * the rows `valid` exist, and the last of them stands for the others. */
AVX512 static inline void load_words(
    const uint8_t *bits, Py_ssize_t valid, Py_ssize_t row_bytes, Py_ssize_t from, __m512i words[VECTOR]) {
    __m512i lines[VECTOR];
    for (Py_ssize_t row = 0; row < VECTOR; row++)
        lines[row] = load_block(bits + smaller(row, valid - 1) * row_bytes + from, row_bytes - from);
    transpose_bits(lines, words);
}

/* Write the sums of VECTOR rows and one vector; those of two rows are `stride` apart. */
AVX512 static inline void store_sums(Vector sums, Py_ssize_t stride, float *to) {
    float of_rows[VECTOR];
    store(of_rows, sums);
    for (Py_ssize_t row = 0; row < VECTOR; row++) to[row * stride] = of_rows[row];
}
