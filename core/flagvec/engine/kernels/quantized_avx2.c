/* What lies between products of int8, by AVX2. */
#include "vectors_of_8.h"

#include "quantized_rows.h"

const QuantizedFunctions quantized_avx2 = QUANTIZED_FUNCTIONS;
