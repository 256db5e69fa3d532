/* The layer norm of a sum. */
#pragma once

#include "kernels.h"

/* The most columns of a row. `_WIDEST_ROW` in __init__.py has the same value. */
enum { WIDEST_ROW = 4096 };

typedef struct {
    const void *weight, *bias; /* (width,), in the format of the states: float32 or bfloat16 */
    Py_ssize_t width; /* a multiple of 16 */
    float epsilon;
} Norm;

/* Overwrites one row, `fresh`, with the layer norm of `fresh` + `states`. */
typedef void NormaliseRow(const Norm *norm, void *fresh, const void *states);

NormaliseRow normalise_row, normalise_float_row, normalise_float_row_of_8;

/* The function for states in this format. bfloat16 takes AVX512-BF16, float32 every level. */
NormaliseRow *row_function(int is_float32, int level);

/* Overwrite `fresh` with the layer norm of `fresh` + `states`. Both are (rows, width), contiguous, in the format that
 * `normalise` takes. */
void normalise_sum(
    const Norm *norm, NormaliseRow *normalise, void *fresh, const void *states, Py_ssize_t rows, Team team,
    Py_ssize_t threads);
