/* What lies between products of int8, by AVX512. */
#include "vectors.h"

#include "quantized_rows.h"

const QuantizedFunctions quantized_avx512 = QUANTIZED_FUNCTIONS;
