/* Sums of the numbers that bits choose. Four bits choose one of the 16 sums of four numbers, which are in a register.
 *
 * numpy has to make a float32 number of each bit first, which takes ten times as long.
 */
#include "bit_words.h"

/* A block of sums is in 16 of the 32 registers. `_VECTORS_BY_TABLES` in bit_vectors.py has the same value. */
enum { VECTORS_TOGETHER = 4 };

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
    const Prepared *vectors, const uint8_t *bits, Py_ssize_t rows, Py_ssize_t row_bytes, uint32_t *indices,
    float *sums) {
    const Py_ssize_t stride = vectors->blocks * VECTORS_TOGETHER;
    const Py_ssize_t block = vectors->words * (WORD_BITS / BITS_TOGETHER) * VECTORS_TOGETHER * VECTOR;
    for (Py_ssize_t group = 0; group < ROWS_AT_ONCE; group += VECTOR) {
        const Py_ssize_t first = smaller(group, rows - 1);
        for (Py_ssize_t word = 0; word < vectors->words; word += VECTOR) {
            __m512i of_rows[VECTOR];
            load_words(bits + first * row_bytes, rows - first, row_bytes, word * WORD_BITS / 8, of_rows);
            for (Py_ssize_t i = 0; i < smaller(VECTOR, vectors->words - word); i++)
                _mm512_storeu_si512(indices + (word + i) * ROWS_AT_ONCE + group, of_rows[i]);
        }
    }
    for (Py_ssize_t number = 0; number < vectors->blocks; number++) {
        Vector of_block[GROUPS][VECTORS_TOGETHER];
        sum_block((const float *)vectors->tables + number * block, vectors->words, indices, of_block);
        for (Py_ssize_t group = 0; group < GROUPS; group++)
            for (Py_ssize_t vector = 0; vector < VECTORS_TOGETHER; vector++)
                store_sums(
                    of_block[group][vector], stride,
                    sums + group * VECTOR * stride + number * VECTORS_TOGETHER + vector);
    }
}
