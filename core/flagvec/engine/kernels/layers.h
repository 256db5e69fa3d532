/* All layers of a model of the BERT family over few rows. */
#pragma once

#include "kernels.h"

/* A linear layer: weights in the order (outputs / 32, inputs / 32, 16, 32, 2), of which the last counts the numbers of
 * a pair of inputs, the one before outputs, and the one before that pairs; and a bias, (outputs,). */
typedef struct {
    const bfloat16 *weights, *bias;
} Linear;

/* Addresses alone, as Python writes them down. */
typedef struct {
    Linear query_key_value, attention_out, widen, narrow;
    const bfloat16 *attention_norm_weight, *attention_norm_bias;
    const bfloat16 *feed_forward_norm_weight, *feed_forward_norm_bias;
} Layer;

typedef struct {
    const Layer *layers;
    Py_ssize_t count; /* of layers */
    Py_ssize_t width, inner_width; /* of rows, and of those between widening and narrowing: multiples of 32 */
    Py_ssize_t heads; /* 32 or 64 wide */
    float epsilon; /* of the norms */
} Model;

/* What threads of a team wait at until all have come. */
typedef void (*Barrier)(void);

/* Put the last layer's states in the place of the first one's input, (rows, width), contiguous, of texts that begin at
 * `starts`, the last of which is the end. Returns -1 if memory does not suffice. */
int run_layers(
    const Model *model, bfloat16 *states, const int32_t *starts, Py_ssize_t texts, Team team, Barrier barrier,
    Py_ssize_t threads);
