/* Sums of the numbers that bits choose. Four bits choose one of the 16 sums of four numbers, which are in a register.
 *
 * numpy has to make a float32 number of each bit first, which takes ten times as long.
 */
#include "bit_sums.h"

#include "vectors.h"

/* A block of sums is in 16 of the 32 registers. `_VECTORS_TOGETHER` in bit_vectors.py has the same value as the first.
 */
enum {
    VECTORS_TOGETHER = 4,
    GROUPS = ROWS_AT_ONCE / VECTOR, /* a row is a lane of a group's registers */
    BLOCK_BYTES = VECTOR * WORD_BITS / 8, /* bytes of a row that become a lane of VECTOR registers */
};

/* Write the bits of VECTOR rows as words: number i of `words` has the words i of all rows, and lies ROWS_AT_ONCE words
 * behind the one before. `rows` are valid; the last one stands for the others. */
AVX512 static void to_words(
    const uint8_t *bits, Py_ssize_t rows, Py_ssize_t row_bytes, Py_ssize_t count, uint32_t *words) {
    for (Py_ssize_t word = 0; word < count; word += VECTOR) {
        const Py_ssize_t from = word * WORD_BITS / 8, left = smaller(BLOCK_BYTES, row_bytes - from);
        const __mmask64 inside = ~(uint64_t)0 >> (BLOCK_BYTES - left);
        __m512i lines[VECTOR], lanes[VECTOR];
        for (Py_ssize_t row = 0; row < VECTOR; row++)
            lines[row] = _mm512_maskz_loadu_epi8(inside, bits + smaller(row, rows - 1) * row_bytes + from);
        transpose_bits(lines, lanes);
        for (Py_ssize_t i = 0; i < smaller(VECTOR, count - word); i++)
            _mm512_storeu_si512(words + (word + i) * ROWS_AT_ONCE, lanes[i]);
    }
}

/* Compute the sums of ROWS_AT_ONCE rows and VECTORS_TOGETHER vectors. */
AVX512 static void sum_block(
    const float *tables, Py_ssize_t count, const uint32_t *words, Vector sums[GROUPS][VECTORS_TOGETHER]) {
    for (int group = 0; group < GROUPS; group++)
        for (int vector = 0; vector < VECTORS_TOGETHER; vector++) sums[group][vector] = zeros();
    for (Py_ssize_t word = 0; word < count; word++, words += ROWS_AT_ONCE) {
        __m512i bits[GROUPS];
        for (int group = 0; group < GROUPS; group++) bits[group] = _mm512_loadu_si512(words + group * VECTOR);
        for (int used = 0; used < WORD_BITS; used += BITS_TOGETHER) {
            for (int vector = 0; vector < VECTORS_TOGETHER; vector++, tables += VECTOR) {
                const Vector table = load(tables);
                /* An index is the lowest four bits of a lane. */
                for (int group = 0; group < GROUPS; group++)
                    sums[group][vector] = add(sums[group][vector], _mm512_permutexvar_ps(bits[group], table));
            }
            for (int group = 0; group < GROUPS; group++) bits[group] = _mm512_srli_epi32(bits[group], BITS_TOGETHER);
        }
    }
}

AVX512 void bit_sums(
    const VectorsInTables *vectors, const uint8_t *bits, Py_ssize_t rows, Py_ssize_t row_bytes, uint32_t *words,
    float *sums) {
    const Py_ssize_t stride = vectors->blocks * VECTORS_TOGETHER;
    const Py_ssize_t block = vectors->words * (WORD_BITS / BITS_TOGETHER) * VECTORS_TOGETHER * VECTOR;
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i places = _mm512_mullo_epi32(lanes, _mm512_set1_epi32((int)stride));
    for (Py_ssize_t from = 0; from < ROWS_AT_ONCE; from += VECTOR) {
        const Py_ssize_t first = smaller(from, rows - 1);
        to_words(bits + first * row_bytes, rows - first, row_bytes, vectors->words, words + from);
    }
    for (Py_ssize_t number = 0; number < vectors->blocks; number++) {
        Vector of_block[GROUPS][VECTORS_TOGETHER];
        sum_block(vectors->tables + number * block, vectors->words, words, of_block);
        for (Py_ssize_t group = 0; group < GROUPS; group++)
            for (Py_ssize_t vector = 0; vector < VECTORS_TOGETHER; vector++)
                _mm512_i32scatter_ps(
                    sums + group * VECTOR * stride + number * VECTORS_TOGETHER + vector, places,
                    of_block[group][vector], sizeof *sums);
    }
}
