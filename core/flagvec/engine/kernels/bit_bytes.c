/* Sums of the numbers that bits choose, as bit_sums.c computes them, with the sums of four numbers in 16 bits.
 *
 * VBMI looks 64 bytes up at once in tables of 64, and VNNI adds four bytes to each sum of 32 bits.
 */
#include "bit_words.h"

/* A block of sums is in 16 registers, because the upper and the lower bytes of the sums are added up apart.
 * `_VECTORS_BY_BYTES` in bit_vectors.py has the same value. */
enum {
    VECTORS_TOGETHER = 2,
    HALVES = 2, /* of the bits of a word: the lower four of each byte, then the upper four */
    TABLE = 64,
};

typedef struct {
    __m512i high[GROUPS][VECTORS_TOGETHER], low[GROUPS][VECTORS_TOGETHER];
} Sums;

/* Write the indices of VECTOR rows: for each half of a word, a byte has four bits of the row and its place in the word,
 * which chooses a quarter of a table. */
AVX512_VBMI static void write_indices(
    const uint8_t *bits, Py_ssize_t valid, Py_ssize_t row_bytes, Py_ssize_t count, uint32_t *indices) {
    const __m512i places = _mm512_set1_epi32(0x30201000), four = _mm512_set1_epi8(15);
    for (Py_ssize_t word = 0; word < count; word += VECTOR) {
        __m512i words[VECTOR];
        load_words(bits, valid, row_bytes, word * WORD_BITS / 8, words);
        for (Py_ssize_t i = 0; i < smaller(VECTOR, count - word); i++) {
            uint32_t *to = indices + (word + i) * HALVES * ROWS_AT_ONCE;
            const __m512i upper = _mm512_srli_epi32(words[i], BITS_TOGETHER);
            _mm512_storeu_si512(to, _mm512_or_si512(_mm512_and_si512(words[i], four), places));
            _mm512_storeu_si512(to + ROWS_AT_ONCE, _mm512_or_si512(_mm512_and_si512(upper, four), places));
        }
    }
}

/* Compute the sums of ROWS_AT_ONCE rows and VECTORS_TOGETHER vectors. */
AVX512_VBMI static void sum_block(const uint8_t *tables, Py_ssize_t halves, const uint32_t *indices, Sums *to) {
    const __m512i ones = _mm512_set1_epi8(1);
    Sums sums;
    for (int group = 0; group < GROUPS; group++)
        for (int vector = 0; vector < VECTORS_TOGETHER; vector++)
            sums.high[group][vector] = sums.low[group][vector] = _mm512_setzero_si512();
    for (Py_ssize_t half = 0; half < halves; half++, indices += ROWS_AT_ONCE) {
        __m512i of_group[GROUPS];
        for (int group = 0; group < GROUPS; group++) of_group[group] = _mm512_loadu_si512(indices + group * VECTOR);
        for (int vector = 0; vector < VECTORS_TOGETHER; vector++, tables += 2 * TABLE) {
            const __m512i low = _mm512_loadu_si512(tables), high = _mm512_loadu_si512(tables + TABLE);
            for (int group = 0; group < GROUPS; group++) {
                const __m512i found = _mm512_permutexvar_epi8(of_group[group], high);
                sums.high[group][vector] = _mm512_dpbusd_epi32(sums.high[group][vector], found, ones);
            }
            for (int group = 0; group < GROUPS; group++) {
                const __m512i found = _mm512_permutexvar_epi8(of_group[group], low);
                sums.low[group][vector] = _mm512_dpbusd_epi32(sums.low[group][vector], found, ones);
            }
        }
    }
    *to = sums;
}

AVX512_VBMI void bit_sums_in_bytes(
    const Prepared *vectors, const uint8_t *bits, Py_ssize_t rows, Py_ssize_t row_bytes, uint32_t *indices,
    float *sums) {
    const Py_ssize_t stride = vectors->blocks * VECTORS_TOGETHER, halves = vectors->words * HALVES;
    const __m512i zero = _mm512_set1_epi32((int)(halves * (WORD_BITS / 8) * ZERO_SUM));
    for (Py_ssize_t group = 0; group < ROWS_AT_ONCE; group += VECTOR) {
        const Py_ssize_t first = smaller(group, rows - 1);
        write_indices(bits + first * row_bytes, rows - first, row_bytes, vectors->words, indices + group);
    }
    const Py_ssize_t block = halves * VECTORS_TOGETHER * 2 * TABLE;
    for (Py_ssize_t number = 0; number < vectors->blocks; number++) {
        Sums of_block;
        sum_block((const uint8_t *)vectors->tables + number * block, halves, indices, &of_block);
        for (Py_ssize_t group = 0; group < GROUPS; group++)
            for (Py_ssize_t vector = 0; vector < VECTORS_TOGETHER; vector++) {
                const Py_ssize_t column = number * VECTORS_TOGETHER + vector;
                const __m512i high = _mm512_slli_epi32(of_block.high[group][vector], 8);
                const __m512i sum = _mm512_sub_epi32(_mm512_add_epi32(high, of_block.low[group][vector]), zero);
                const Vector step = all(vectors->steps[column]);
                store_sums(multiplied(_mm512_cvtepi32_ps(sum), step), stride, sums + group * VECTOR * stride + column);
            }
    }
}
