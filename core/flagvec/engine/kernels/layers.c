/* All layers of a model of the BERT family, for few rows, in one call.
 *
 * A short query spends its time on reading weights from memory. torch makes some fifteen calls a layer. It reads no
 * weights between them, and the weights evict each call's own code and data from the caches. Here the threads meet at a
 * barrier between the steps instead. They read each weight once, in the order in which oneDNN stores it.
 */
#include "layers.h"

#include "attention.h"
#include "normalised_sum.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PADDED_ROWS = 16 }; /* rows of a tile */

/* What the threads share while they run one layer. Each counter is the next piece of work that no thread has taken. */
typedef struct {
    Attention attention;
    atomic_llong next_query_key_value, next_attention_out, next_widened, next_narrowed; /* columns */
    atomic_llong next_attention_norm, next_feed_forward_norm; /* rows */
} Progress;

/* One run of the model. Rows are padded with zeros to whole tiles. */
typedef struct {
    const Model *model;
    Progress *progress; /* one for each layer */
    Py_ssize_t rows;
    size_t number_bytes; /* of a number of the states */
    char *states, *middle_states, *attended; /* (rows, width) */
    char *query_key_value; /* (rows, 3 * width) */
    char *widened; /* (rows, inner width) */
    Barrier barrier;
} Pass;

static void multiply(const LayerProduct *product) {
    if (product->model->level == LEVEL_AMX)
        multiply_in_tiles(product);
    else if (product->model->level >= LEVEL_AVX512)
        multiply_in_vectors(product);
    else
        multiply_in_vectors_of_8(product);
}

/* Overwrite `fresh` with the layer norms of `fresh` + `states`. The threads share the rows. */
static void normalise(
    const Pass *pass, const void *weight, const void *bias, char *fresh, const char *states, atomic_llong *next_row) {
    const Norm norm = {weight, bias, pass->model->width, pass->model->epsilon};
    for (;;) {
        const Py_ssize_t row = atomic_fetch_add(next_row, 1);
        if (row >= pass->rows) return;
        const size_t place = row * norm.width * pass->number_bytes;
        if (pass->model->level == LEVEL_AMX)
            normalise_row(&norm, (bfloat16 *)(fresh + place), (const bfloat16 *)(states + place));
        else if (pass->model->level >= LEVEL_AVX512)
            normalise_float_row(&norm, (float *)(fresh + place), (const float *)(states + place));
        else
            normalise_float_row_of_8(&norm, (float *)(fresh + place), (const float *)(states + place));
    }
}

static void run_layer(const Pass *pass, const Layer *layer, Progress *progress) {
    const Model *model = pass->model;
    const Py_ssize_t rows = pass->rows, width = model->width, inner_width = model->inner_width;
    char *states = pass->states, *middle_states = pass->middle_states;

    multiply(&(LayerProduct){
        model, &layer->query_key_value, states, width, pass->query_key_value, 3 * width, NONE, rows,
        &progress->next_query_key_value});
    pass->barrier();
    attend_on_this_thread(&progress->attention);
    pass->barrier();
    multiply(&(LayerProduct){
        model, &layer->attention_out, pass->attended, width, middle_states, width, NONE, rows,
        &progress->next_attention_out});
    pass->barrier();
    normalise(
        pass, layer->attention_norm_weight, layer->attention_norm_bias, middle_states, states,
        &progress->next_attention_norm);
    pass->barrier();
    multiply(&(LayerProduct){
        model, &layer->widen, middle_states, width, pass->widened, inner_width, GELU, rows, &progress->next_widened});
    pass->barrier();
    multiply(&(LayerProduct){
        model, &layer->narrow, pass->widened, inner_width, states, width, NONE, rows, &progress->next_narrowed});
    pass->barrier();
    normalise(
        pass, layer->feed_forward_norm_weight, layer->feed_forward_norm_bias, states, middle_states,
        &progress->next_feed_forward_norm);
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
    const size_t part = width * pass->number_bytes;
    Attention attention = {
        .query = {pass->query_key_value, 3 * width, head_width},
        .key = {pass->query_key_value + part, 3 * width, head_width},
        .value = {pass->query_key_value + 2 * part, 3 * width, head_width},
        .attended = pass->attended,
        .is_float32 = pass->model->level != LEVEL_AMX,
        .level = pass->model->level,
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
    const Model *model, void *states, const int32_t *starts, Py_ssize_t texts, Team team, Barrier barrier,
    Py_ssize_t threads) {
    const Py_ssize_t rows = starts[texts], width = model->width;
    if (rows == 0) return 0;
    const size_t number_bytes = model->level == LEVEL_AMX ? sizeof(bfloat16) : sizeof(float);
    const size_t bytes = parts(rows, PADDED_ROWS) * PADDED_ROWS * width * number_bytes; /* of all rows */
    const size_t all_bytes = 6 * bytes + bytes / width * model->inner_width;
    char *memory = aligned_alloc(64, all_bytes);
    Progress *progress = calloc(model->count, sizeof(Progress));
    int failed = memory == NULL || progress == NULL;
    if (!failed) {
        memset(memory, 0, all_bytes);
        memcpy(memory, states, rows * width * number_bytes);
        const Pass pass = {
            .model = model,
            .progress = progress,
            .rows = rows,
            .number_bytes = number_bytes,
            .states = memory,
            .middle_states = memory + bytes,
            .attended = memory + 2 * bytes,
            .query_key_value = memory + 3 * bytes,
            .widened = memory + 6 * bytes,
            .barrier = threads > 1 ? barrier : no_barrier,
        };
        start_attention(&pass, starts, texts, threads);
        run_on(team, threads, work, (void *)&pass);
        memcpy(states, pass.states, rows * width * number_bytes);
        failed = ran_out_of_memory(&pass);
    }
    free(memory);
    free(progress);
    return failed ? -1 : 0;
}
