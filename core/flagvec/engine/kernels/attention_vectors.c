/* Attention by AVX512. */
#include "vectors.h"

#include "attention_vectors.h"

void attend_in_vectors(Attention *attention) { attend_pieces(attention); }
