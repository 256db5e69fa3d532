#pragma GCC target("avx2,fma")

#define LANES 8
#include "quantized_rows.h"

const QuantizedFunctions quantized_avx2 = QUANTIZED_FUNCTIONS;
