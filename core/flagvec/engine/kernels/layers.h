/* All layers of a model of the BERT family, for few rows. */
#pragma once

#include "kernels.h"

/* A linear layer. The weights are in blocks of 32 outputs by 32 inputs: (outputs / 32, inputs / 32, 16 pairs of inputs,
 * 32 outputs, 2 inputs of a pair). The bias is (outputs,). */
typedef struct {
    const bfloat16 *weights, *bias;
} Linear;

/* Twelve addresses. `LayerTable` in __init__.py writes them in this order, so a change here is a change there. */
typedef struct {
    Linear query_key_value, attention_out, widen, narrow;
    const bfloat16 *attention_norm_weight, *attention_norm_bias;
    const bfloat16 *feed_forward_norm_weight, *feed_forward_norm_bias;
} Layer;

typedef struct {
    const Layer *layers;
    Py_ssize_t count; /* number of layers */
    Py_ssize_t width, inner_width; /* of hidden states, and of the feed-forward network: multiples of 32 */
    Py_ssize_t heads; /* each 32 or 64 wide */
    float epsilon; /* of the norms */
} Model;

/* GOMP_barrier: each thread of a team waits here until all threads have arrived. */
typedef void (*Barrier)(void);

/* Overwrite the first layer's input with the last layer's states, (rows, width), contiguous. Text t has the rows from
 * starts[t] to starts[t + 1]. Returns -1 if there is not enough memory. */
int run_layers(
    const Model *model, bfloat16 *states, const int32_t *starts, Py_ssize_t texts, Team team, Barrier barrier,
    Py_ssize_t threads);
