/* Products and norms of few rows by AVX2. */
#include "vectors_of_8.h"

#include "layers_vectors.h"

void multiply_in_vectors_of_8(const LayerProduct *product) { multiply_columns(product); }

VECTORISED void normalise_float_row_of_8(const Norm *norm, float *fresh, const float *states) {
    const float *weight = norm->weight, *bias = norm->bias;
    NORMALISE_ROW(norm, weight, bias, fresh, states, load, store);
}
