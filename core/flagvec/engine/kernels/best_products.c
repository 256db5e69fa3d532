/* The best dot products with each document's rows of bits, while the sums of some rows are in the processor's cache. */
#include "bit_sums.h"

#include "vectors.h"

#include <math.h>
#include <string.h>

AVX512 static inline float factor_of(const uint8_t *row, Py_ssize_t row_bytes) {
    short half;
    memcpy(&half, row + row_bytes - sizeof half, sizeof half);
    return _mm512_cvtss_f32(_mm512_cvtph_ps(_mm256_set1_epi16(half)));
}

AVX512 static void keep_larger(const float *sums, const float *offsets, float factor, Py_ssize_t count, float *best) {
    for (Py_ssize_t vector = 0; vector < count; vector++) {
        const float product = (sums[vector] - offsets[vector]) * factor;
        best[vector] = product > best[vector] ? product : best[vector];
    }
}

AVX512 void best_products(
    const Vectors *vectors, const Documents *documents, uint32_t *indices, float *sums, float *best) {
    static void (*const functions[])(const Prepared *, const uint8_t *, Py_ssize_t, Py_ssize_t, uint32_t *, float *) = {
        [BY_TABLES] = bit_sums, [BY_BYTES] = bit_sums_in_bytes, [BY_TILES] = bit_sums_in_tiles};
    const Py_ssize_t count = vectors->count, row_bytes = documents->row_bytes;
    const uint8_t *row = documents->rows;
    Py_ssize_t left = 0, summed = 0; /* rows of all documents; rows in `sums` */
    for (Py_ssize_t document = 0; document < documents->count; document++) left += documents->lengths[document];
    for (Py_ssize_t i = 0; i < documents->count * count; i++) best[i] = -INFINITY;
    for (Py_ssize_t document = 0, at = 0; document < documents->count; document++, best += count)
        for (int64_t end = documents->lengths[document]; end > 0; end--, at++, left--, row += row_bytes) {
            if (at == summed) {
                at = 0;
                summed = smaller(left, ROWS_AT_ONCE);
                functions[vectors->kind](&vectors->prepared, row, summed, row_bytes, indices, sums);
            }
            keep_larger(sums + at * count, vectors->offsets, factor_of(row, row_bytes), count, best);
        }
}
