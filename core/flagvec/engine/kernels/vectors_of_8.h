/* Vectors of 8 float32 numbers, for AVX2. vectors.h explains the names, which are the same. */
#pragma once

#include "kernels.h"

#include <immintrin.h>

#define VECTORISED AVX2
enum { VECTOR = 8 };
typedef __m256 Vector;

AVX2 static inline Vector load(const float *numbers) { return _mm256_loadu_ps(numbers); }

AVX2 static inline void store(float *to, Vector numbers) { _mm256_storeu_ps(to, numbers); }

AVX2 static inline Vector all(float number) { return _mm256_set1_ps(number); }

AVX2 static inline Vector zeros(void) { return _mm256_setzero_ps(); }

AVX2 static inline Vector add(Vector left, Vector right) { return _mm256_add_ps(left, right); }

AVX2 static inline Vector subtract(Vector left, Vector right) { return _mm256_sub_ps(left, right); }

AVX2 static inline Vector multiplied(Vector left, Vector right) { return _mm256_mul_ps(left, right); }

AVX2 static inline Vector divide(Vector left, Vector right) { return _mm256_div_ps(left, right); }

AVX2 static inline Vector minimum(Vector left, Vector right) { return _mm256_min_ps(left, right); }

AVX2 static inline Vector maximum(Vector left, Vector right) { return _mm256_max_ps(left, right); }

AVX2 static inline Vector add_product(Vector left, Vector right, Vector sum) {
    return _mm256_fmadd_ps(left, right, sum);
}

AVX2 static inline Vector absolute(Vector numbers) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), numbers); }

AVX2 static inline Vector by_sign(Vector numbers, Vector positive, Vector negative) {
    return _mm256_blendv_ps(positive, negative, numbers);
}

AVX2 static inline float sum_of(Vector numbers) {
    __m128 sums = _mm_add_ps(_mm256_castps256_ps128(numbers), _mm256_extractf128_ps(numbers, 1));
    sums = _mm_add_ps(sums, _mm_movehl_ps(sums, sums));
    return _mm_cvtss_f32(_mm_add_ss(sums, _mm_movehdup_ps(sums)));
}

AVX2 static inline Vector widened(const bfloat16 *numbers) {
    const __m128i narrow = _mm_loadu_si128((const __m128i *)numbers);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(narrow), 16));
}

AVX2 static inline void store_rounded(bfloat16 *to, Vector numbers) {
    const __m256i bits = _mm256_castps_si256(numbers);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i sums = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256 is_nan = _mm256_cmp_ps(numbers, numbers, _CMP_UNORD_Q);
    const __m256i nan = _mm256_set1_epi32(0x7fc00000);
    const __m256i rounded = _mm256_blendv_epi8(sums, nan, _mm256_castps_si256(is_nan));
    const __m256i upper = _mm256_srli_epi32(rounded, 16);
    const __m256i packed = _mm256_packus_epi32(upper, upper); /* within each half */
    _mm_storeu_si128((__m128i *)to, _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08)));
}

AVX2 static inline void widen_pairs(const bfloat16 *pairs, float *even, float *odd) {
    const __m256i both = _mm256_loadu_si256((const __m256i *)pairs);
    store(even, _mm256_castsi256_ps(_mm256_slli_epi32(both, 16)));
    store(odd, _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32((int)0xffff0000))));
}

/* The least power is 2 to the -126. Of two numbers of which one is NaN, `max` gives the second. */
AVX2 static inline Vector split(Vector x, Vector *whole) {
    x = _mm256_max_ps(_mm256_set1_ps(-126), x);
    *whole = _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return _mm256_sub_ps(x, *whole);
}

AVX2 static inline Vector scale_by_power(Vector numbers, Vector whole) {
    const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(numbers, _mm256_castsi256_ps(power));
}

AVX2 static inline void transpose(Vector rows[VECTOR]) {
    Vector pairs[VECTOR], quads[VECTOR];
    for (int i = 0; i < VECTOR; i += 2) {
        pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < VECTOR; i += 4) {
        quads[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
        quads[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
        quads[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
        quads[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
    }
    for (int i = 0; i < VECTOR / 2; i++) {
        rows[i] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x20);
        rows[i + 4] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x31);
    }
}
