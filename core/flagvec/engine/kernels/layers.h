/* All layers of a model of the BERT family, for few rows. */
#pragma once

#include "kernels.h"

#include <stdatomic.h>

/* A linear layer. Its weights are cut into columns of so many outputs, and interleave pairs of inputs if they are
 * bfloat16: (outputs / columns, inputs, columns) float32, or (outputs / columns, inputs / 2, columns, 2) bfloat16. The
 * bias is (outputs,). */
typedef struct {
    const void *weights, *bias;
} Linear;

/* Twelve addresses. `LayerTable` in __init__.py writes them in this order, so a change here is a change there. */
typedef struct {
    Linear query_key_value, attention_out, widen, narrow;
    const void *attention_norm_weight, *attention_norm_bias;
    const void *feed_forward_norm_weight, *feed_forward_norm_bias;
} Layer;

/* With AMX all numbers are bfloat16, and a column is 32 outputs. With vectors all but the weights are float32, and a
 * column is a multiple of 32 outputs. */
typedef struct {
    const Layer *layers;
    Py_ssize_t count; /* number of layers */
    Py_ssize_t width, inner_width; /* of hidden states, and of the feed-forward network: multiples of `columns` */
    Py_ssize_t heads; /* as wide as `Attention` takes them */
    Py_ssize_t columns;
    int has_float32_weights;
    int level; /* `CpuLevel` */
    float epsilon; /* of the norms */
} Model;

/* GOMP_barrier: each thread of a team waits here until all threads have arrived. */
typedef void (*Barrier)(void);

/* Overwrite the first layer's input with the last layer's states, (rows, width), contiguous. Text t has the rows from
 * starts[t] to starts[t + 1]. Returns -1 if there is not enough memory. */
int run_layers(
    const Model *model, void *states, const int32_t *starts, Py_ssize_t texts, Team team, Barrier barrier,
    Py_ssize_t threads);

typedef enum { NONE, GELU } Activation;

/* One product of a layer: (rows, inputs) to (rows, outputs), both contiguous, padded with rows of zeros to whole tiles.
 */
typedef struct {
    const Model *model;
    const Linear *linear;
    const void *from;
    Py_ssize_t inputs;
    void *to;
    Py_ssize_t outputs;
    Activation activation;
    Py_ssize_t rows;
    atomic_llong *next_column; /* that no thread has taken */
} LayerProduct;

/* Compute columns of a product until none is left. Each thread of a running team calls one of these. */
void multiply_in_tiles(const LayerProduct *product);
void multiply_in_vectors(const LayerProduct *product);
void multiply_in_vectors_of_8(const LayerProduct *product);
