/* Products of few rows in bfloat16, on CPUs with AMX.
 *
 * Between the steps numbers are rounded to bfloat16, as between torch's calls.
 */
#include "layers.h"

#include "tiles.h"
#include "vectors.h"

#include "vector_functions.h"

enum {
    COLUMNS = 32, /* outputs in a block of weights; a thread takes one column of blocks at a time */
    SWEPT = 2 * TILE, /* rows that are multiplied with a tile of weights while it is loaded */
};

AMX static inline Vector rough_reciprocal(Vector x) { return _mm512_rcp14_ps(x); }

/* bfloat16 needs no more than a reciprocal and a power with a relative error of 1e-4. */
AMX static inline Vector rough_gelu(Vector x) { return gelu_by(x, rough_reciprocal, power_of_two); }

/* Multiply one or two tiles of rows with a column of blocks. Tiles 0 to 3 hold sums, 4 and 5 rows, 6 and 7 weights. */
AMX static void multiply_block(
    float sums[2][2][TILE][TILE], const bfloat16 *from, const bfloat16 *weights, Py_ssize_t inputs, int tiles) {
    const size_t stride = inputs * sizeof(bfloat16);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (Py_ssize_t input = 0; input < inputs; input += PAIRS, weights += PAIRS * COLUMNS) {
        _tile_loadd(4, from + input, stride);
        _tile_loadd(6, weights, 2 * ROW_BYTES);
        _tile_loadd(7, weights + PAIRS, 2 * ROW_BYTES);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        if (tiles == 1) continue;
        _tile_loadd(5, from + TILE * inputs + input, stride);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums[0][0], ROW_BYTES);
    _tile_stored(1, sums[0][1], ROW_BYTES);
    _tile_stored(2, sums[1][0], ROW_BYTES);
    _tile_stored(3, sums[1][1], ROW_BYTES);
}

/* Add the bias, apply the activation, round to bfloat16, and write 32 columns of the result. */
AMX static void write_block(
    const float sums[2][2][TILE][TILE], const bfloat16 *bias, Activation activation, bfloat16 *to, Py_ssize_t rows,
    Py_ssize_t outputs) {
    const __m512 low_bias = widened(bias), high_bias = widened(bias + VECTOR);
    for (Py_ssize_t row = 0; row < rows; row++) {
        __m512 low = _mm512_add_ps(_mm512_load_ps(sums[row / TILE][0][row % TILE]), low_bias);
        __m512 high = _mm512_add_ps(_mm512_load_ps(sums[row / TILE][1][row % TILE]), high_bias);
        if (activation == GELU) {
            low = rough_gelu(low);
            high = rough_gelu(high);
        }
        _mm512_storeu_si512(to + row * outputs, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
}

AMX void multiply_in_tiles(const LayerProduct *product) {
    float sums[2][2][TILE][TILE] __attribute__((aligned(64)));
    const bfloat16 *weights = product->linear->weights, *bias = product->linear->bias, *from = product->from;
    const Py_ssize_t inputs = product->inputs, outputs = product->outputs;
    bfloat16 *to = product->to;
    use_whole_tiles();
    for (;;) {
        const Py_ssize_t column = atomic_fetch_add(product->next_column, 1) * COLUMNS;
        if (column >= outputs) break;
        for (Py_ssize_t row = 0; row < product->rows; row += SWEPT) {
            const Py_ssize_t swept = smaller(SWEPT, product->rows - row);
            multiply_block(sums, from + row * inputs, weights + column * inputs, inputs, (int)parts(swept, TILE));
            write_block(sums, bias + column, product->activation, to + row * outputs + column, swept, outputs);
        }
    }
    _tile_release();
}
