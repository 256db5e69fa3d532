/* Attention by AVX2. */
#include "vectors_of_8.h"

#include "attention_vectors.h"

void attend_in_vectors_of_8(Attention *attention) { attend_pieces(attention); }
