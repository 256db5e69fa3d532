/* All layers of a model of the BERT family, for few rows, in one call, in bfloat16, on CPUs with AMX.
 *
 * A short query spends its time on reading weights from memory. torch makes some fifteen calls a layer. It reads no
 * weights between them, and the weights evict each call's own code and data from the caches. Here the threads meet at a
 * barrier between the steps instead. They read each weight once, in the order in which oneDNN stores it.
 *
 * Between the steps numbers are rounded to bfloat16, as between torch's calls.
 */
#include "layers.h"

#include "attention.h"
#include "normalised_sum.h"
#include "tiles.h"
#include "vectors.h"

#include <immintrin.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    COLUMNS = 32, /* outputs in a block of weights; a thread takes one column of blocks at a time */
    SWEPT = 2 * TILE, /* rows that are multiplied with a tile of weights while it is loaded */
    SMALLEST_EXPONENT = -100, /* in GELU: lower ones give subnormal numbers, which take four times as long */
};

typedef enum { NONE, GELU } Activation;

/* What the threads share while they run one layer. Each counter is the next piece of work that no thread has taken. */
typedef struct {
    Attention attention;
    atomic_llong next_query_key_value, next_attention_out, next_widened, next_narrowed; /* blocks of columns */
    atomic_llong next_attention_norm, next_feed_forward_norm; /* rows */
} Progress;

/* One run of the model. Rows are padded with zeros to whole tiles. */
typedef struct {
    const Model *model;
    Progress *progress; /* one for each layer */
    Py_ssize_t rows;
    bfloat16 *states, *middle_states, *attended; /* (rows, width) */
    bfloat16 *query_key_value; /* (rows, 3 * width) */
    bfloat16 *widened; /* (rows, inner width) */
    Barrier barrier;
} Pass;

/* GELU: x times the normal distribution's cumulative density at x. The error function is formula 7.1.26 of Abramowitz
 * and Stegun (error 1.5e-7), with an approximate reciprocal and power (relative error 1e-4). */
AMX static inline __m512 gelu(__m512 x) {
    const __m512 distance = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps((float)M_SQRT1_2));
    const __m512 t = _mm512_rcp14_ps(_mm512_fmadd_ps(distance, _mm512_set1_ps(0.3275911f), _mm512_set1_ps(1)));
    __m512 series = _mm512_set1_ps(1.061405429f);
    series = _mm512_fmadd_ps(series, t, _mm512_set1_ps(-1.453152027f));
    series = _mm512_fmadd_ps(series, t, _mm512_set1_ps(1.421413741f));
    series = _mm512_fmadd_ps(series, t, _mm512_set1_ps(-0.284496736f));
    series = _mm512_fmadd_ps(series, t, _mm512_set1_ps(0.254829592f));
    const __m512 exponent = _mm512_mul_ps(_mm512_mul_ps(distance, distance), _mm512_set1_ps(-(float)M_LOG2E));
    const __m512 power = power_of_two(_mm512_max_ps(exponent, _mm512_set1_ps(SMALLEST_EXPONENT)));
    const __m512 half_t = _mm512_mul_ps(t, _mm512_set1_ps(0.5f));
    const __m512 beyond = _mm512_mul_ps(_mm512_mul_ps(series, half_t), power);
    const __mmask16 is_negative = _mm512_movepi32_mask(_mm512_castps_si512(x));
    return _mm512_mul_ps(x, _mm512_mask_mov_ps(_mm512_sub_ps(_mm512_set1_ps(1), beyond), is_negative, beyond));
}

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
            low = gelu(low);
            high = gelu(high);
        }
        _mm512_storeu_si512(to + row * outputs, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
}

/* Compute a linear layer, (rows, inputs) to (rows, outputs). The threads share its columns of blocks. */
AMX static void multiply(
    const Linear *linear, const bfloat16 *from, Py_ssize_t inputs, bfloat16 *to, Py_ssize_t outputs,
    Activation activation, Py_ssize_t rows, atomic_llong *next_block) {
    float sums[2][2][TILE][TILE] __attribute__((aligned(64)));
    use_whole_tiles();
    for (;;) {
        const Py_ssize_t column = atomic_fetch_add(next_block, 1) * COLUMNS;
        if (column >= outputs) break;
        for (Py_ssize_t row = 0; row < rows; row += SWEPT) {
            const Py_ssize_t swept = smaller(SWEPT, rows - row);
            multiply_block(
                sums, from + row * inputs, linear->weights + column * inputs, inputs, (int)parts(swept, TILE));
            write_block(sums, linear->bias + column, activation, to + row * outputs + column, swept, outputs);
        }
    }
    _tile_release();
}

/* Overwrite `fresh` with the layer norms of `fresh` + `states`. The threads share the rows. */
static void normalise(
    const Norm *norm, bfloat16 *fresh, const bfloat16 *states, Py_ssize_t rows, atomic_llong *next_row) {
    for (;;) {
        const Py_ssize_t row = atomic_fetch_add(next_row, 1);
        if (row >= rows) return;
        normalise_row(norm, fresh + row * norm->width, states + row * norm->width);
    }
}

static void run_layer(const Pass *pass, const Layer *layer, Progress *progress) {
    const Py_ssize_t rows = pass->rows, width = pass->model->width, inner_width = pass->model->inner_width;
    const float epsilon = pass->model->epsilon;
    const Norm attention_norm = {layer->attention_norm_weight, layer->attention_norm_bias, width, epsilon};
    const Norm feed_forward_norm = {layer->feed_forward_norm_weight, layer->feed_forward_norm_bias, width, epsilon};
    bfloat16 *states = pass->states, *middle_states = pass->middle_states;

    multiply(
        &layer->query_key_value, states, width, pass->query_key_value, 3 * width, NONE, rows,
        &progress->next_query_key_value);
    pass->barrier();
    attend_on_this_thread(&progress->attention);
    pass->barrier();
    multiply(
        &layer->attention_out, pass->attended, width, middle_states, width, NONE, rows, &progress->next_attention_out);
    pass->barrier();
    normalise(&attention_norm, middle_states, states, rows, &progress->next_attention_norm);
    pass->barrier();
    multiply(&layer->widen, middle_states, width, pass->widened, inner_width, GELU, rows, &progress->next_widened);
    pass->barrier();
    multiply(&layer->narrow, pass->widened, inner_width, states, width, NONE, rows, &progress->next_narrowed);
    pass->barrier();
    normalise(&feed_forward_norm, states, middle_states, rows, &progress->next_feed_forward_norm);
    pass->barrier();
}

/* What each thread of the team runs. */
static void work(void *argument) {
    const Pass *pass = argument;
    for (Py_ssize_t number = 0; number < pass->model->count; number++)
        run_layer(pass, pass->model->layers + number, pass->progress + number);
}

static void no_barrier(void) {}

static void start_attention(const Pass *pass, const int32_t *starts, Py_ssize_t texts, Py_ssize_t threads) {
    const Py_ssize_t width = pass->model->width, heads = pass->model->heads, head_width = width / heads;
    Attention attention = {
        .query = {pass->query_key_value, 3 * width, head_width},
        .key = {pass->query_key_value + width, 3 * width, head_width},
        .value = {pass->query_key_value + 2 * width, 3 * width, head_width},
        .attended = pass->attended,
        .starts = starts,
        .texts = texts,
        .heads = heads,
        .width = head_width,
        .scaling = 1 / sqrtf((float)head_width),
    };
    share_attention(&attention, threads);
    for (Py_ssize_t number = 0; number < pass->model->count; number++) pass->progress[number].attention = attention;
}

static int ran_out_of_memory(const Pass *pass) {
    for (Py_ssize_t number = 0; number < pass->model->count; number++)
        if (pass->progress[number].attention.out_of_memory) return 1;
    return 0;
}

int run_layers(
    const Model *model, bfloat16 *states, const int32_t *starts, Py_ssize_t texts, Team team, Barrier barrier,
    Py_ssize_t threads) {
    const Py_ssize_t rows = starts[texts], width = model->width;
    if (rows == 0) return 0;
    const Py_ssize_t numbers = parts(rows, TILE) * TILE * width; /* of all rows in whole tiles */
    const size_t bytes = (6 * numbers + numbers / width * model->inner_width) * sizeof(bfloat16);
    bfloat16 *memory = aligned_alloc(ROW_BYTES, bytes);
    Progress *progress = calloc(model->count, sizeof(Progress));
    int failed = memory == NULL || progress == NULL;
    if (!failed) {
        memset(memory, 0, bytes);
        memcpy(memory, states, rows * width * sizeof(bfloat16));
        const Pass pass = {
            .model = model,
            .progress = progress,
            .rows = rows,
            .states = memory,
            .middle_states = memory + numbers,
            .attended = memory + 2 * numbers,
            .query_key_value = memory + 3 * numbers,
            .widened = memory + 6 * numbers,
            .barrier = threads > 1 ? barrier : no_barrier,
        };
        start_attention(&pass, starts, texts, threads);
        run_on(team, threads, work, (void *)&pass);
        memcpy(states, pass.states, rows * width * sizeof(bfloat16));
        failed = ran_out_of_memory(&pass);
    }
    free(memory);
    free(progress);
    return failed ? -1 : 0;
}
