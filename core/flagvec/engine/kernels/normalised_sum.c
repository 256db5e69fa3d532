/* The layer norm of a sum, in one pass over memory. Input and output are bfloat16; all between is float32.
 *
 * torch adds in one pass, rounds the sum to bfloat16, and normalises in a second pass.
 */
#include "normalised_sum.h"

#include "vectors.h"

#include <immintrin.h>
#include <math.h>
#include <stdatomic.h>

enum {
    ROWS_TOGETHER = 32, /* rows that a thread takes at a time */
    NUMBERS_PER_THREAD = 1 << 14, /* fewer do not pay for another thread */
};

typedef struct {
    const Norm *norm;
    bfloat16 *fresh;
    const bfloat16 *states;
    Py_ssize_t rows;
    atomic_llong next_row;
} Sums;

AVX512_BF16 void normalise_row(const Norm *norm, bfloat16 *fresh, const bfloat16 *states) {
    const Py_ssize_t width = norm->width;
    float row[WIDEST_ROW] __attribute__((aligned(64)));
    __m512 total = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
    for (Py_ssize_t i = 0; i < width; i += VECTOR) {
        const __m512 sum = _mm512_add_ps(widened(fresh + i), widened(states + i));
        _mm512_store_ps(row + i, sum);
        total = _mm512_add_ps(total, sum);
    }
    const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(total) / width);
    for (Py_ssize_t i = 0; i < width; i += VECTOR) {
        const __m512 distance = _mm512_sub_ps(_mm512_load_ps(row + i), mean);
        squares = _mm512_fmadd_ps(distance, distance, squares);
    }
    const __m512 scale = _mm512_set1_ps(1 / sqrtf(_mm512_reduce_add_ps(squares) / width + norm->epsilon));
    for (Py_ssize_t i = 0; i < width; i += VECTOR) {
        const __m512 normal = _mm512_mul_ps(_mm512_sub_ps(_mm512_load_ps(row + i), mean), scale);
        const __m512 result = _mm512_fmadd_ps(normal, widened(norm->weight + i), widened(norm->bias + i));
        _mm256_storeu_si256((__m256i *)(fresh + i), (__m256i)_mm512_cvtneps_pbh(result));
    }
}

static void work(void *argument) {
    Sums *sums = argument;
    const Py_ssize_t width = sums->norm->width;
    for (;;) {
        const Py_ssize_t from = atomic_fetch_add(&sums->next_row, ROWS_TOGETHER);
        if (from >= sums->rows) return;
        for (Py_ssize_t row = from; row < smaller(from + ROWS_TOGETHER, sums->rows); row++)
            normalise_row(sums->norm, sums->fresh + row * width, sums->states + row * width);
    }
}

void normalise_sum(
    const Norm *norm, bfloat16 *fresh, const bfloat16 *states, Py_ssize_t rows, Team team, Py_ssize_t threads) {
    Sums sums = {norm, fresh, states, rows, 0};
    run_on(team, smaller(threads, parts(rows * norm->width, NUMBERS_PER_THREAD)), work, &sums);
}
