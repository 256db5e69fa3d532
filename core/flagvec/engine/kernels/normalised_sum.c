/* The layer norm of a sum, in one pass over memory. Input and output are bfloat16; all between is float32.
 *
 * torch adds in one pass, rounds the sum to bfloat16, and normalises in a second pass.
 */
#include "normalised_sum.h"

#include "vectors.h"

#include "normalised_row.h"

#include <immintrin.h>
#include <stdatomic.h>

enum {
    ROWS_TAKEN = 32, /* rows, by a thread at a time */
    NUMBERS_PER_THREAD = 1 << 14, /* fewer do not pay for another thread */
};

typedef struct {
    const Norm *norm;
    bfloat16 *fresh;
    const bfloat16 *states;
    Py_ssize_t rows;
    atomic_llong next_row;
} Sums;

AVX512_BF16 static inline void round_to(bfloat16 *to, Vector numbers) {
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(numbers));
}

AVX512_BF16 void normalise_row(const Norm *norm, bfloat16 *fresh, const bfloat16 *states) {
    const bfloat16 *weight = norm->weight, *bias = norm->bias;
    NORMALISE_ROW(norm, weight, bias, fresh, states, widened, round_to);
}

static void work(void *argument) {
    Sums *sums = argument;
    const Py_ssize_t width = sums->norm->width;
    for (;;) {
        const Py_ssize_t from = atomic_fetch_add(&sums->next_row, ROWS_TAKEN);
        if (from >= sums->rows) return;
        for (Py_ssize_t row = from; row < smaller(from + ROWS_TAKEN, sums->rows); row++)
            normalise_row(sums->norm, sums->fresh + row * width, sums->states + row * width);
    }
}

void normalise_sum(
    const Norm *norm, bfloat16 *fresh, const bfloat16 *states, Py_ssize_t rows, Team team, Py_ssize_t threads) {
    Sums sums = {norm, fresh, states, rows, 0};
    run_on(team, smaller(threads, parts(rows * norm->width, NUMBERS_PER_THREAD)), work, &sums);
}
