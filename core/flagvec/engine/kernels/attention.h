/* Attention within each text of a packed batch. */
#pragma once

#include "kernels.h"

#include <stdatomic.h>

/* (tokens, heads, head width), the numbers of a head side by side; strides in numbers. */
typedef struct {
    const bfloat16 *numbers;
    Py_ssize_t row_stride, head_stride;
} States;

typedef struct {
    States query, key, value;
    bfloat16 *attended; /* (tokens, heads, head width), contiguous */
    const int32_t *starts; /* text t has the rows from starts[t] to starts[t + 1] */
    Py_ssize_t texts, heads, width; /* of a head: 32 or 64 */
    float scaling; /* of the products of queries and keys */

    /* What the threads share, zero at first. */
    Py_ssize_t heads_together; /* of one piece of work */
    atomic_llong next_piece;
    atomic_int out_of_memory;
} Attention;

/* Attend, on a team of threads. Rows behind the last text, of `rows` in all, get zeros. Returns -1 if memory does not
 * suffice. */
int attend(Attention *attention, Py_ssize_t rows, Team team, Py_ssize_t threads);

/* Cut the work into pieces for so many threads, and return how many of them it is worth. */
Py_ssize_t share_attention(Attention *attention, Py_ssize_t threads);

/* Do pieces of an `Attention` that was shared until none is left, on each thread of a team that is running. */
void attend_on_this_thread(void *attention);
