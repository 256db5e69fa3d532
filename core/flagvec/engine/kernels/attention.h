/* Attention within each text of a packed batch. */
#pragma once

#include "kernels.h"

#include <stdatomic.h>

/* (tokens, heads, head width), contiguous within a head. Strides count numbers, not bytes. */
typedef struct {
    const bfloat16 *numbers;
    Py_ssize_t row_stride, head_stride;
} States;

typedef struct {
    States query, key, value;
    bfloat16 *attended; /* (tokens, heads, head width), contiguous */
    const int32_t *starts; /* text t has the rows from starts[t] to starts[t + 1] */
    Py_ssize_t texts, heads, width; /* the width of a head: 32 or 64 */
    float scaling; /* the factor for scores */

    /* What the threads share; initially zero. */
    Py_ssize_t heads_together; /* heads in one piece of work */
    atomic_llong next_piece;
    atomic_int out_of_memory;
} Attention;

/* Attend on a team of threads. `attended` has `rows` rows; those after the last text get zeros. Returns -1 if there is
 * not enough memory. */
int attend(Attention *attention, Py_ssize_t rows, Team team, Py_ssize_t threads);

/* Divide the work into pieces, and return how many of the threads it can keep busy. */
Py_ssize_t share_attention(Attention *attention, Py_ssize_t threads);

/* Take pieces of an `Attention` until none is left. Each thread of a running team calls this after `share_attention`.
 */
void attend_on_this_thread(void *attention);
