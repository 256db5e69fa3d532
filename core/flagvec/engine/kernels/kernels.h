/* What the kernels of this folder share. */
#pragma once

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030A0000 /* the oldest Python that the distribution takes */
#include <Python.h>
#include <stdint.h>

/* Only what is marked so may use these instructions: all else must run on any x86-64. */
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define AMX __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")))

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
