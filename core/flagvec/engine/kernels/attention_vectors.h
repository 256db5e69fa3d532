/* Attention in float32 by vectors of either width, from states in float32 or bfloat16.
 *
 * A lane of a vector belongs to one query. So scores, weights and sums are transposed: (keys, queries) and (head width,
 * queries). Maxima and totals need no sums across a vector, no key has to be masked, and both products are
 * `add_products`: keys times the transposed queries, and transposed values times the transposed weights.
 */
#pragma once

#include "attention.h"
#include "vector_functions.h"

#include <math.h>
#include <stdlib.h>

enum {
    LANES = 2 * VECTOR, /* queries in a tile */
    KEYS = 256, /* that are read at a time */
    WIDEST_HEAD = 128,
};

/* The memory of one thread. `width` is that of a head. */
typedef struct {
    float keys[KEYS * WIDEST_HEAD], values[KEYS * WIDEST_HEAD]; /* (keys, width) */
    float query[WIDEST_HEAD * LANES]; /* (width, LANES), scaled */
    float weights[KEYS * LANES]; /* (keys, LANES), first scores, then weights */
    float sums[LONGEST_BLOCK / LANES][WIDEST_HEAD * LANES]; /* for each tile of queries (width, LANES) */
    float maxima[LONGEST_BLOCK], totals[LONGEST_BLOCK];
} Scratch;

INLINED Vector read_states(const States *states, int is_float32, Py_ssize_t place) {
    return is_float32 ? load((const float *)states->numbers + place)
                      : widened((const bfloat16 *)states->numbers + place);
}

/* Copy rows of one head, and prefetch those of the next head, which are far away in memory. */
VECTORISED static void copy_rows(
    float *to, const Attention *attention, const States *states, Py_ssize_t head, Py_ssize_t from, Py_ssize_t rows) {
    const Py_ssize_t width = attention->width, bytes = attention->is_float32 ? sizeof(float) : sizeof(bfloat16);
    for (Py_ssize_t row = 0; row < rows; row++) {
        const Py_ssize_t place = (from + row) * states->row_stride + head * states->head_stride;
        for (Py_ssize_t i = 0; i < width * bytes; i += 64)
            _mm_prefetch((const char *)states->numbers + (place + states->head_stride) * bytes + i, _MM_HINT_T0);
        for (Py_ssize_t i = 0; i < width; i += VECTOR)
            store(to + row * width + i, read_states(states, attention->is_float32, place + i));
    }
}

/* Transpose and scale the queries of a tile. Lanes after the last query are zeros. */
VECTORISED static void load_query(
    Scratch *scratch, const Attention *attention, Py_ssize_t head, Py_ssize_t from, Py_ssize_t queries) {
    const States *query = &attention->query;
    const Vector scale = all(attention->scaling * (float)M_LOG2E); /* exponentials have base 2 */
    for (Py_ssize_t lane = 0; lane < LANES; lane += VECTOR)
        for (Py_ssize_t i = 0; i < attention->width; i += VECTOR) {
            Vector rows[VECTOR];
            for (int row = 0; row < VECTOR; row++) {
                const Py_ssize_t place = (from + lane + row) * query->row_stride + head * query->head_stride + i;
                rows[row] = lane + row < queries ? multiplied(read_states(query, attention->is_float32, place), scale)
                                                 : zeros();
            }
            transpose(rows);
            for (int row = 0; row < VECTOR; row++) store(scratch->query + (i + row) * LANES + lane, rows[row]);
        }
}

/* Turn the scores of a vector of queries into weights, and scale the sums of earlier keys to the new maximum. */
INLINED void weigh(
    float *weights, float *sums, float *maximum_of, float *total_of, Py_ssize_t keys, Py_ssize_t width, int is_first) {
    Vector largest = load(weights), also = largest, total = zeros();
    for (Py_ssize_t key = 1; key + 1 < keys; key += 2) {
        largest = maximum(largest, load(weights + key * LANES));
        also = maximum(also, load(weights + (key + 1) * LANES));
    }
    largest = maximum(maximum(largest, also), load(weights + (keys - 1) * LANES));
    if (!is_first) {
        const Vector before = load(maximum_of);
        largest = maximum(largest, before);
        const Vector shrunk = exact_power_of_two(subtract(before, largest));
        total = multiplied(load(total_of), shrunk);
        for (Py_ssize_t i = 0; i < width; i++) store(sums + i * LANES, multiplied(load(sums + i * LANES), shrunk));
    }
    for (Py_ssize_t key = 0; key < keys; key++) {
        const Vector weight = exact_power_of_two(subtract(load(weights + key * LANES), largest));
        total = add(total, weight);
        store(weights + key * LANES, weight);
    }
    store(maximum_of, largest);
    store(total_of, total);
}

/* Attend from a tile of `count` vectors of queries to some keys. */
INLINED void attend_tile(
    Scratch *scratch, Py_ssize_t tile, Py_ssize_t keys, Py_ssize_t width, const int count, int is_first) {
    float *sums = scratch->sums[tile];
    for (Py_ssize_t key = 0; key < keys; key += ROWS_TOGETHER)
        add_products(
            scratch->keys + key * width, width, 1, scratch->query, LANES, width, scratch->weights + key * LANES, LANES,
            ROWS_TOGETHER, count, 1);
    for (int c = 0; c < count; c++) {
        const Py_ssize_t place = tile * LANES + c * VECTOR;
        weigh(
            scratch->weights + c * VECTOR, sums + c * VECTOR, scratch->maxima + place, scratch->totals + place, keys,
            width, is_first);
    }
    for (Py_ssize_t i = 0; i < width; i += ROWS_TOGETHER)
        add_products(
            scratch->values + i, 1, width, scratch->weights, LANES, keys, sums + i * LANES, LANES, ROWS_TOGETHER, count,
            is_first);
}

/* Divide the sums of a tile by the totals of the weights, and write them in the format of the states. */
VECTORISED static void write_results(
    const Scratch *scratch, const Attention *attention, Py_ssize_t head, Py_ssize_t tile, Py_ssize_t from,
    Py_ssize_t queries) {
    for (Py_ssize_t lane = 0; lane < queries; lane += VECTOR) {
        const Vector share = divide(all(1), load(scratch->totals + tile * LANES + lane));
        for (Py_ssize_t i = 0; i < attention->width; i += VECTOR) {
            Vector rows[VECTOR];
            for (int row = 0; row < VECTOR; row++)
                rows[row] = multiplied(load(scratch->sums[tile] + (i + row) * LANES + lane), share);
            transpose(rows);
            for (int row = 0; row < VECTOR && lane + row < queries; row++) {
                const Py_ssize_t token = from + lane + row;
                const Py_ssize_t place = (token * attention->heads + head) * attention->width + i;
                if (attention->is_float32)
                    store((float *)attention->attended + place, rows[row]);
                else
                    store_rounded((bfloat16 *)attention->attended + place, rows[row]);
            }
        }
    }
}

VECTORISED static void attend_head(Scratch *scratch, const Attention *attention, const Piece *piece, Py_ssize_t head) {
    const Py_ssize_t width = attention->width;
    for (Py_ssize_t key = 0; key < piece->length; key += KEYS) {
        const Py_ssize_t keys = smaller(KEYS, piece->length - key);
        copy_rows(scratch->keys, attention, &attention->key, head, piece->first + key, keys);
        copy_rows(scratch->values, attention, &attention->value, head, piece->first + key, keys);
        for (Py_ssize_t query = 0; query < piece->queries; query += LANES) {
            const Py_ssize_t queries = smaller(LANES, piece->queries - query), tile = query / LANES;
            const Py_ssize_t from = piece->first + piece->query + query;
            load_query(scratch, attention, head, from, queries);
            if (queries > VECTOR)
                attend_tile(scratch, tile, keys, width, 2, key == 0);
            else
                attend_tile(scratch, tile, keys, width, 1, key == 0);
            if (key + keys == piece->length) write_results(scratch, attention, head, tile, from, queries);
        }
    }
}

VECTORISED static void attend_pieces(Attention *attention) {
    Scratch *scratch = attention_memory(attention, sizeof(Scratch));
    if (scratch == NULL) return;
    for (Piece piece = {0}; take_piece(attention, &piece);)
        for (Py_ssize_t head = piece.head; head < piece.end_head; head++) attend_head(scratch, attention, &piece, head);
    free(scratch);
}
