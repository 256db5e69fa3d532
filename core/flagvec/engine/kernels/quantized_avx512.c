#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")

#define LANES 16
#include "quantized_rows.h"

const QuantizedFunctions quantized_avx512 = QUANTIZED_FUNCTIONS;
