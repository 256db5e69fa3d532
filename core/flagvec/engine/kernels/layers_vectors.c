/* Products and norms of few rows by AVX512. */
#include "vectors.h"

#include "layers_vectors.h"

void multiply_in_vectors(const LayerProduct *product) { multiply_columns(product); }

VECTORISED void normalise_float_row(const Norm *norm, float *fresh, const float *states) {
    const float *weight = norm->weight, *bias = norm->bias;
    NORMALISE_ROW(norm, weight, bias, fresh, states, load, store);
}
