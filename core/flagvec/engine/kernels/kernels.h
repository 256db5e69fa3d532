/* What the kernels of this folder share. */
#pragma once

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030A0000 /* the oldest Python that the distribution takes */
#include <Python.h>
#include <stdint.h>

/* Only what is marked so may use these instructions: all else must run on any x86-64. */
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define AMX __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")))

/* Columns of the widest row that is normalised. */
enum { WIDEST_ROW = 4096 };

typedef uint16_t bfloat16;

/* How an OpenMP library runs a function on its threads: that of libgomp, which others offer to code that gcc compiled.
 */
typedef void (*Team)(void (*function)(void *), void *argument, unsigned threads, unsigned flags);

static inline Py_ssize_t smaller(Py_ssize_t left, Py_ssize_t right) { return left < right ? left : right; }

static inline Py_ssize_t larger(Py_ssize_t left, Py_ssize_t right) { return left > right ? left : right; }

static inline Py_ssize_t parts(Py_ssize_t number, Py_ssize_t part) { return (number + part - 1) / part; }

/* Run a function on as many threads as its work is worth, this one among them. */
static inline void run_on(Team team, Py_ssize_t threads, void (*function)(void *), void *argument) {
    if (threads > 1)
        team(function, argument, (unsigned)threads, 0);
    else
        function(argument);
}

/* (tokens, heads, head width), the numbers of a head side by side; strides in numbers. */
typedef struct {
    const bfloat16 *numbers;
    Py_ssize_t row_stride, head_stride;
} States;

/* Attend within each text: text t has the rows from starts[t] to starts[t + 1]. `attended` is contiguous and gets zeros
 * in the rows behind the last text. Returns -1 if memory does not suffice. */
int attend(
    const States *query, const States *key, const States *value, bfloat16 *attended, Py_ssize_t rows,
    const int32_t *starts, Py_ssize_t texts, Py_ssize_t heads, Py_ssize_t width, float scaling, Team team,
    Py_ssize_t threads);

/* Put the layer norm of `fresh` + `states` into `fresh`; both are (rows, width), contiguous. */
void normalise_sum(
    bfloat16 *fresh, const bfloat16 *states, const bfloat16 *weight, const bfloat16 *bias, Py_ssize_t rows,
    Py_ssize_t width, float epsilon, Team team, Py_ssize_t threads);
