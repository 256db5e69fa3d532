/* What a layer computes between two products of int8: scales and bias, GELU or norm, and rounding to bytes. */
#pragma once

#include "kernels.h"

/* The most columns of a row. `_WIDEST_ROW` in quantized.py has the same value. */
enum { WIDEST_QUANTIZED_ROW = 1 << 14 };

/* Rows of float32 or bfloat16, (rows, width). */
typedef struct {
    void *numbers;
    int is_bfloat16;
} Numbers;

/* Rows whose numbers are rounded to bytes: a number is about minimum + scale * byte. */
typedef struct {
    uint8_t *bytes; /* (rows, width) */
    float *scales, *minima; /* (rows,) */
    float largest; /* byte */
} Bytes;

/* What a product of bytes gives, and what turns it into the results of the linear layer. */
typedef struct {
    const float *sums; /* (rows, width): bytes times weights */
    const float *scales, *minima; /* (rows,), of the bytes */
    const float *weight_sums, *bias; /* (width,): the sum of each output's weights, and the layer's bias */
} Product;

typedef struct {
    const float *weight, *bias; /* (width,) */
    float epsilon;
} LayerNorm;

/* The sizes of a call, and the threads that run it. */
typedef struct {
    Py_ssize_t rows, width; /* the width is a multiple of 16 */
    int has_avx512; /* otherwise AVX2 and FMA are used */
    Team team;
    Py_ssize_t threads;
} Rows;

/* What the threads of a call share. Each function uses some of the members. */
typedef struct {
    const Rows *rows;
    const Product *product;
    const Numbers *numbers;
    const LayerNorm *norm;
    const Bytes *bytes;
    _Atomic long long next_row;
} QuantizedCall;

/* The functions that each thread runs, with a QuantizedCall. */
typedef struct {
    void (*numbers_to_bytes)(void *), (*product_to_numbers)(void *), (*gelu_to_bytes)(void *), (*norm_to_bytes)(void *);
} QuantizedFunctions;

extern const QuantizedFunctions quantized_avx512, quantized_avx2;

void numbers_to_bytes(const Rows *rows, const Numbers *from, const Bytes *to);

void product_to_numbers(const Rows *rows, const Product *from, const Numbers *to);

/* GELU of the results, as bytes. */
void gelu_to_bytes(const Rows *rows, const Product *from, const Bytes *to);

/* Overwrite `states` with the layer norm of results + `states`. Write it as bytes too, unless there is no memory for
 * them (NULL). */
void norm_to_bytes(
    const Rows *rows, const Product *from, const Numbers *states, const LayerNorm *norm, const Bytes *to);
