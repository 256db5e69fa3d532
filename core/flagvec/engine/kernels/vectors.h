/* Vectors of 16 float32 numbers, for AVX512.
 *
 * vectors_of_8.h has the same names for AVX2. Code that uses only these names is compiled for both: it is in a header,
 * and a .c file for each includes it after one of the two. It marks its functions with VECTORISED.
 */
#pragma once

#include "kernels.h"

#include <immintrin.h>

#define VECTORISED AVX512
enum { VECTOR = 16 };
typedef __m512 Vector;

AVX512 static inline Vector load(const float *numbers) { return _mm512_loadu_ps(numbers); }

AVX512 static inline void store(float *to, Vector numbers) { _mm512_storeu_ps(to, numbers); }

AVX512 static inline Vector all(float number) { return _mm512_set1_ps(number); }

AVX512 static inline Vector zeros(void) { return _mm512_setzero_ps(); }

AVX512 static inline Vector add(Vector left, Vector right) { return _mm512_add_ps(left, right); }

AVX512 static inline Vector subtract(Vector left, Vector right) { return _mm512_sub_ps(left, right); }

AVX512 static inline Vector multiplied(Vector left, Vector right) { return _mm512_mul_ps(left, right); }

AVX512 static inline Vector divide(Vector left, Vector right) { return _mm512_div_ps(left, right); }

/* Of two numbers of which one is NaN, both give the second. */
AVX512 static inline Vector minimum(Vector left, Vector right) { return _mm512_min_ps(left, right); }

AVX512 static inline Vector maximum(Vector left, Vector right) { return _mm512_max_ps(left, right); }

/* left * right + sum */
AVX512 static inline Vector add_product(Vector left, Vector right, Vector sum) {
    return _mm512_fmadd_ps(left, right, sum);
}

AVX512 static inline Vector absolute(Vector numbers) { return _mm512_abs_ps(numbers); }

/* `negative` where the sign of `numbers` is set, `positive` elsewhere. */
AVX512 static inline Vector by_sign(Vector numbers, Vector positive, Vector negative) {
    return _mm512_mask_mov_ps(positive, _mm512_movepi32_mask(_mm512_castps_si512(numbers)), negative);
}

AVX512 static inline float sum_of(Vector numbers) { return _mm512_reduce_add_ps(numbers); }

/* bfloat16 numbers as float32: a bfloat16 is the upper half of a float32. */
AVX512 static inline Vector widened(const bfloat16 *numbers) {
    const __m256i narrow = _mm256_loadu_si256((const __m256i *)numbers);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow), 16));
}

/* Round to the nearest bfloat16, and of two equally near ones to the even one. NaN stays NaN. */
AVX512 static inline void store_rounded(bfloat16 *to, Vector numbers) {
    const __m512i bits = _mm512_castps_si512(numbers);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i sums = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __mmask16 is_nan = _mm512_cmp_ps_mask(numbers, numbers, _CMP_UNORD_Q);
    const __m512i rounded = _mm512_mask_set1_epi32(sums, is_nan, 0x7fc00000);
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}

/* The even and the odd numbers of 32 bfloat16, as float32. */
AVX512 static inline void widen_pairs(const bfloat16 *pairs, float *even, float *odd) {
    const __m512i both = _mm512_loadu_si512(pairs);
    store(even, _mm512_castsi512_ps(_mm512_slli_epi32(both, 16)));
    store(odd, _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32((int)0xffff0000))));
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

/* Split x, which is at most 0, into the nearest whole number and a fraction from -0.5 to 0.5; return the fraction. */
AVX512 static inline Vector split(Vector x, Vector *whole) {
    *whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return _mm512_reduce_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); /* 0 for infinity */
}

/* numbers times 2 to the power of a whole number that `split` gave */
AVX512 static inline Vector scale_by_power(Vector numbers, Vector whole) { return _mm512_scalef_ps(numbers, whole); }

/* Transpose 16 x 16 numbers of 32 bits: interleave numbers of 32 bits, then of 64, then twice lanes of 128. */
AVX512 static inline void transpose_bits(const __m512i from[VECTOR], __m512i to[VECTOR]) {
    __m512i pairs[VECTOR], quads[VECTOR];
    for (int i = 0; i < VECTOR; i += 2) {
        pairs[i] = _mm512_unpacklo_epi32(from[i], from[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_epi32(from[i], from[i + 1]);
    }
    for (int i = 0; i < VECTOR; i += 4) {
        quads[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
        quads[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
        quads[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        quads[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        __m512i even_low = _mm512_shuffle_i32x4(quads[i], quads[i + 4], 0x88);
        __m512i odd_low = _mm512_shuffle_i32x4(quads[i], quads[i + 4], 0xdd);
        __m512i even_high = _mm512_shuffle_i32x4(quads[i + 8], quads[i + 12], 0x88);
        __m512i odd_high = _mm512_shuffle_i32x4(quads[i + 8], quads[i + 12], 0xdd);
        to[i] = _mm512_shuffle_i32x4(even_low, even_high, 0x88);
        to[i + 4] = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88);
        to[i + 8] = _mm512_shuffle_i32x4(even_low, even_high, 0xdd);
        to[i + 12] = _mm512_shuffle_i32x4(odd_low, odd_high, 0xdd);
    }
}

/* Transpose VECTOR x VECTOR numbers. */
AVX512 static inline void transpose(Vector rows[VECTOR]) {
    __m512i from[VECTOR], to[VECTOR];
    for (int i = 0; i < VECTOR; i++) from[i] = _mm512_castps_si512(rows[i]);
    transpose_bits(from, to);
    for (int i = 0; i < VECTOR; i++) rows[i] = _mm512_castsi512_ps(to[i]);
}
