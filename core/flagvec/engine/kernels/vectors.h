/* Vectors of sixteen float32 numbers. */
#pragma once

#include "kernels.h"

#include <immintrin.h>

enum { VECTOR = 16 };

AVX512 static inline __m512 widened(const bfloat16 *numbers) {
    const __m256i narrow = _mm256_loadu_si256((const __m256i *)numbers);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow), 16));
}

/* 2 to the power of x, within 7.5e-5 of it (Remez, degree 3), a fiftieth of what bfloat16 tells apart. */
AVX512 static inline __m512 power_of_two(__m512 x) {
    const __m512 fraction = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF);
    __m512 power = _mm512_set1_ps(7.802452e-2f);
    power = _mm512_fmadd_ps(power, fraction, _mm512_set1_ps(2.2606716e-1f));
    power = _mm512_fmadd_ps(power, fraction, _mm512_set1_ps(6.9583354e-1f));
    power = _mm512_fmadd_ps(power, fraction, _mm512_set1_ps(9.9992522e-1f));
    return _mm512_scalef_ps(power, x); /* which takes the whole part of x by itself */
}
