/* What the two kernels of bit_sums.h that look sums up have in common: rows of bits in, sums out. */
#pragma once

#include "bit_sums.h"

#include "vectors.h"

enum {
    GROUPS = ROWS_AT_ONCE / VECTOR, /* a row is a lane of a group's registers */
    BLOCK_BYTES = VECTOR * WORD_BITS / 8, /* bytes of a row that become a lane of VECTOR registers */
};

/* Write VECTOR words of VECTOR rows, which begin at byte `from` of each row: lane r of words[i] is word i of row r. Of
 * the rows `valid` exist, and the last of them stands for the others. */
AVX512 static inline void load_words(
    const uint8_t *bits, Py_ssize_t valid, Py_ssize_t row_bytes, Py_ssize_t from, __m512i words[VECTOR]) {
    const Py_ssize_t left = smaller(BLOCK_BYTES, row_bytes - from);
    const __mmask64 inside = ~(uint64_t)0 >> (BLOCK_BYTES - left);
    __m512i lines[VECTOR];
    for (Py_ssize_t row = 0; row < VECTOR; row++)
        lines[row] = _mm512_maskz_loadu_epi8(inside, bits + smaller(row, valid - 1) * row_bytes + from);
    transpose_bits(lines, words);
}

/* Write the sums of VECTOR rows and one vector; those of two rows are `stride` apart. */
AVX512 static inline void store_sums(Vector sums, Py_ssize_t stride, float *to) {
    const __m512i rows = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    _mm512_i32scatter_ps(to, _mm512_mullo_epi32(rows, _mm512_set1_epi32((int)stride)), sums, sizeof *to);
}
