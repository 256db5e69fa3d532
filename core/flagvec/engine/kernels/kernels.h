/* Types and helpers that all kernels share. docs/kernels.md is the introduction to this folder. */
#pragma once

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030A0000 /* the oldest Python that flagvec supports */
#include <Python.h>
#include <stdint.h>

/* Marks a function that uses these instructions. Other functions run on every x86-64 CPU. */
#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define AVX512_VBMI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi")))
#define AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define AMX __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16,amx-int8")))

/* The levels of CPUs. `Level` in availability.py has the same numbers. */
typedef enum {
    OFF,
    LEVEL_AVX2,
    LEVEL_AVX512,
    LEVEL_AVX512_VNNI,
    LEVEL_AVX512_VBMI,
    LEVEL_AVX512_BF16,
    LEVEL_AMX
} CpuLevel;

typedef uint16_t bfloat16;

/* GOMP_parallel: runs a function on OpenMP threads. libgomp defines it; other OpenMP libraries offer it as well,
 * because code that gcc compiled calls it. */
typedef void (*Team)(void (*function)(void *), void *argument, unsigned threads, unsigned flags);

static inline Py_ssize_t smaller(Py_ssize_t left, Py_ssize_t right) { return left < right ? left : right; }

static inline Py_ssize_t larger(Py_ssize_t left, Py_ssize_t right) { return left > right ? left : right; }

static inline Py_ssize_t parts(Py_ssize_t number, Py_ssize_t part) { return (number + part - 1) / part; }

/* Run a function on so many threads, including the calling one. */
static inline void run_on(Team team, Py_ssize_t threads, void (*function)(void *), void *argument) {
    if (threads > 1)
        team(function, argument, (unsigned)threads, 0);
    else
        function(argument);
}
