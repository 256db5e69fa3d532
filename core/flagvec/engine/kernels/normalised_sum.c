/* The layer norm of a sum, in one pass over memory. All between input and output is float32.
 *
 * torch adds in one pass, rounds the sum to the format of the states, and normalises in a second pass.
 */
#include "normalised_sum.h"

#include "vectors.h"

#include "normalised_row.h"

#include <immintrin.h>
#include <stdatomic.h>

enum {
    ROWS_TAKEN = 32, /* by a thread at a time */
    NUMBERS_PER_THREAD = 1 << 14, /* fewer do not pay for another thread */
};

typedef struct {
    const Norm *norm;
    NormaliseRow *normalise;
    char *fresh;
    const char *states;
    Py_ssize_t rows;
    size_t row_bytes;
    atomic_llong next_row;
} Sums;

AVX512_BF16 static inline void round_to(bfloat16 *to, Vector numbers) {
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(numbers));
}

AVX512_BF16 void normalise_row(const Norm *norm, void *fresh, const void *states) {
    const bfloat16 *weight = norm->weight, *bias = norm->bias;
    NORMALISE_ROW(norm, weight, bias, (bfloat16 *)fresh, (const bfloat16 *)states, widened, round_to);
}

NormaliseRow *row_function(int is_float32, int level) {
    if (!is_float32) return normalise_row;
    return level >= LEVEL_AVX512 ? normalise_float_row : normalise_float_row_of_8;
}

static void work(void *argument) {
    Sums *sums = argument;
    for (;;) {
        const Py_ssize_t from = atomic_fetch_add(&sums->next_row, ROWS_TAKEN);
        if (from >= sums->rows) return;
        for (Py_ssize_t row = from; row < smaller(from + ROWS_TAKEN, sums->rows); row++)
            sums->normalise(sums->norm, sums->fresh + row * sums->row_bytes, sums->states + row * sums->row_bytes);
    }
}

void normalise_sum(
    const Norm *norm, NormaliseRow *normalise, void *fresh, const void *states, Py_ssize_t rows, Team team,
    Py_ssize_t threads) {
    const size_t number_bytes = normalise == normalise_row ? sizeof(bfloat16) : sizeof(float);
    Sums sums = {norm, normalise, fresh, states, rows, norm->width * number_bytes, 0};
    run_on(team, smaller(threads, parts(rows * norm->width, NUMBERS_PER_THREAD)), work, &sums);
}
