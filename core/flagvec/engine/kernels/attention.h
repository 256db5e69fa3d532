/* Attention within each text of a packed batch. */
#pragma once

#include "kernels.h"

#include <stdatomic.h>

enum { LONGEST_BLOCK = 512 }; /* the most queries in a piece of work */

/* (tokens, heads, head width), contiguous within a head. Strides count numbers, not bytes. */
typedef struct {
    const void *numbers;
    Py_ssize_t row_stride, head_stride;
} States;

typedef struct {
    States query, key, value;
    void *attended; /* (tokens, heads, head width), contiguous */
    int is_float32; /* the format of all states; bfloat16 if not */
    int level; /* `CpuLevel`: AMX takes bfloat16 and heads 32 or 64 wide; vectors take multiples of 16, up to 128 */
    const int32_t *starts; /* text t has the rows from starts[t] to starts[t + 1] */
    Py_ssize_t texts, heads, width; /* the width of a head */
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

/* A piece of work: some heads, for some queries of one text. */
typedef struct {
    Py_ssize_t head, end_head;
    Py_ssize_t first, length; /* first token of the text, number of its tokens */
    Py_ssize_t query, queries; /* first query, counted within the text, and number of queries */
    Py_ssize_t text, pieces_before; /* where the thread is: the text, and the pieces of all earlier texts */
} Piece;

/* Take the next piece, and return whether there is one. A thread's first piece is all zeros before. */
int take_piece(Attention *attention, Piece *piece);

/* Memory for one thread; NULL, and `out_of_memory` set, if there is not enough. */
void *attention_memory(Attention *attention, size_t bytes);

/* What `attend_on_this_thread` calls. */
void attend_in_tiles(Attention *attention);
void attend_in_vectors(Attention *attention);
void attend_in_vectors_of_8(Attention *attention);
