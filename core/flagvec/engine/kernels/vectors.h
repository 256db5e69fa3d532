/* Helpers for vectors of 16 float32 numbers. */
#pragma once

#include "kernels.h"

#include <immintrin.h>

enum { VECTOR = 16 };

/* Sixteen bfloat16 numbers as float32: a bfloat16 is the upper half of a float32. */
AVX512 static inline __m512 widened(const bfloat16 *numbers) {
    const __m256i narrow = _mm256_loadu_si256((const __m256i *)numbers);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow), 16));
}

/* 2 to the power of x, with a relative error of at most 7.5e-5: a polynomial of degree 3 (Remez). bfloat16 rounds 50
 * times as coarsely. */
AVX512 static inline __m512 power_of_two(__m512 x) {
    const __m512 fraction = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF);
    __m512 power = _mm512_set1_ps(7.802452e-2f);
    power = _mm512_fmadd_ps(power, fraction, _mm512_set1_ps(2.2606716e-1f));
    power = _mm512_fmadd_ps(power, fraction, _mm512_set1_ps(6.9583354e-1f));
    power = _mm512_fmadd_ps(power, fraction, _mm512_set1_ps(9.9992522e-1f));
    return _mm512_scalef_ps(power, x); /* scales by 2 to the power of floor(x) */
}
