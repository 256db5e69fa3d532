/* The layer norm of a sum. */
#pragma once

#include "kernels.h"

/* The most columns of a row. `_WIDEST_ROW` in __init__.py has the same value. */
enum { WIDEST_ROW = 4096 };

typedef struct {
    const void *weight, *bias; /* (width,), in the format of the states */
    Py_ssize_t width; /* a multiple of 16 */
    float epsilon;
} Norm;

/* Overwrite `fresh` with the layer norm of `fresh` + `states`. Both are (rows, width) bfloat16, contiguous. */
void normalise_sum(
    const Norm *norm, bfloat16 *fresh, const bfloat16 *states, Py_ssize_t rows, Team team, Py_ssize_t threads);

/* The same for one row. */
void normalise_row(const Norm *norm, bfloat16 *fresh, const bfloat16 *states);

/* The same for one row of float32, whose width is a multiple of 16 as well. */
void normalise_float_row(const Norm *norm, float *fresh, const float *states);
void normalise_float_row_of_8(const Norm *norm, float *fresh, const float *states);
