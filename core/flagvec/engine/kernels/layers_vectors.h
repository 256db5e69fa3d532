/* Products of few rows in float32, by vectors of either width, with weights in float32 or bfloat16. */
#pragma once

#include "layers.h"
#include "normalised_row.h"
#include "vector_functions.h"

enum {
    DEPTH = 64, /* inputs whose weights are multiplied with all rows while they are in the first cache */
    MOST_COLUMNS = 64,
};

/* Return DEPTH or fewer rows of a column of weights as float32: these themselves, or widened in `memory`. */
INLINED const float *weights_of(
    const LayerProduct *product, Py_ssize_t column, Py_ssize_t input, Py_ssize_t depth,
    float memory[DEPTH * MOST_COLUMNS]) {
    const Py_ssize_t columns = product->model->columns, place = column * product->inputs + input * columns;
    if (product->model->has_float32_weights) return (const float *)product->linear->weights + place;
    const bfloat16 *pairs = (const bfloat16 *)product->linear->weights + place;
    for (Py_ssize_t k = 0; k < depth; k += 2)
        for (Py_ssize_t c = 0; c < columns; c += VECTOR)
            widen_pairs(pairs + k * columns + 2 * c, memory + k * columns + c, memory + (k + 1) * columns + c);
    return memory;
}

/* Add the bias, and apply the activation. */
INLINED void finish(const LayerProduct *product, float *to, Py_ssize_t column) {
    const float *bias = (const float *)product->linear->bias + column;
    for (Py_ssize_t row = 0; row < product->rows; row++)
        for (Py_ssize_t c = 0; c < product->model->columns; c += VECTOR) {
            const Vector sum = add(load(to + row * product->outputs + c), load(bias + c));
            store(to + row * product->outputs + c, product->activation == GELU ? exact_gelu(sum) : sum);
        }
}

VECTORISED static void multiply_columns(const LayerProduct *product) {
    float widened_weights[DEPTH * MOST_COLUMNS] __attribute__((aligned(64)));
    const Py_ssize_t columns = product->model->columns, inputs = product->inputs, outputs = product->outputs;
    const float *from = product->from;
    for (;;) {
        const Py_ssize_t column = atomic_fetch_add(product->next_column, 1) * columns;
        if (column >= outputs) return;
        float *to = (float *)product->to + column;
        for (Py_ssize_t input = 0; input < inputs; input += DEPTH) {
            const Py_ssize_t depth = smaller(DEPTH, inputs - input);
            const float *weights = weights_of(product, column, input, depth, widened_weights);
            for (Py_ssize_t row = 0; row < product->rows; row += ROWS_TOGETHER)
                for (Py_ssize_t c = 0; c < columns; c += 2 * VECTOR) {
                    const float *scalars = from + row * inputs + input;
                    float *sums = to + row * outputs + c;
                    if (product->rows - row > ROWS_TOGETHER / 2)
                        add_products(
                            scalars, inputs, 1, weights + c, columns, depth, sums, outputs, ROWS_TOGETHER, 2,
                            input == 0);
                    else
                        add_products(
                            scalars, inputs, 1, weights + c, columns, depth, sums, outputs, ROWS_TOGETHER / 2, 2,
                            input == 0);
                }
        }
        finish(product, to, column);
    }
}
