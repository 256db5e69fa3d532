/* A sum and its layer norm. */
#pragma once

#include "kernels.h"

/* Columns of the widest row that is normalised. */
enum { WIDEST_ROW = 4096 };

typedef struct {
    const bfloat16 *weight, *bias; /* (width,) */
    Py_ssize_t width; /* a multiple of 16 */
    float epsilon;
} Norm;

/* Put the layer norm of `fresh` + `states` into `fresh`; both are (rows, width), contiguous. */
void normalise_sum(
    const Norm *norm, bfloat16 *fresh, const bfloat16 *states, Py_ssize_t rows, Team team, Py_ssize_t threads);

/* Do the same with one row. */
void normalise_row(const Norm *norm, bfloat16 *fresh, const bfloat16 *states);
