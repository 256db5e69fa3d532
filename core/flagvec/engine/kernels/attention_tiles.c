/* Attention in bfloat16 on CPUs with AMX.
 *
 * tiles.h explains operands A and B. Scores are queries (A) times keys (B, so keys are transposed). Results are weights
 * (A) times values (B). Tile 0 holds scores, 1 and 2 sums of weighted values, 3 weights, 4 and 5 queries (a head of 64
 * needs two), 6 and 7 keys or values.
 */
#include "attention.h"

#include "tiles.h"
#include "vectors.h"

#include <immintrin.h>
#include <math.h>
#include <stdlib.h>

enum {
    TILES = LONGEST_BLOCK / TILE, /* of keys that are packed at a time */
    WIDEST_HEAD = 64,
};

/* The memory of one thread. Tiles are contiguous. */
typedef struct {
    bfloat16 keys[TILES * WIDEST_HEAD / PAIRS][TILE * PAIRS];
    bfloat16 values[TILES / 2 * WIDEST_HEAD / TILE][TILE * PAIRS];
    float scores[2][TILES][TILE][TILE]; /* of the current tile of queries and the next one */
    bfloat16 weights[TILES / 2][TILE][PAIRS];
    bfloat16 query[WIDEST_HEAD / PAIRS][TILE * PAIRS];
    float sums[TILES][WIDEST_HEAD / TILE][TILE][TILE]; /* of weighted values, for each tile of queries */
    float maxima[LONGEST_BLOCK], totals[LONGEST_BLOCK];
} Scratch;

/* A row of one head, or zeros after the last row. Also prefetch the next head's row: it is far away in memory. */
AMX static inline __m512i row_or_zeros(const States *states, Py_ssize_t token, Py_ssize_t end, Py_ssize_t offset) {
    if (token >= end) return _mm512_setzero_si512();
    const bfloat16 *row = (const bfloat16 *)states->numbers + token * states->row_stride + offset;
    _mm_prefetch((const char *)(row + states->head_stride), _MM_HINT_T0);
    return _mm512_loadu_si512(row);
}

/* Pack keys `from` to `to` as operand B: transposed, zeros after the last. */
AMX static void pack_keys(
    Scratch *scratch, const Attention *attention, Py_ssize_t head, Py_ssize_t from, Py_ssize_t to) {
    const Py_ssize_t offset = head * attention->key.head_stride;
    for (Py_ssize_t tile = 0; tile < parts(to - from, TILE); tile++)
        for (Py_ssize_t part = 0; part < attention->width / PAIRS; part++) {
            __m512i rows[TILE], columns[TILE];
            for (int i = 0; i < TILE; i++)
                rows[i] = row_or_zeros(&attention->key, from + tile * TILE + i, to, offset + part * PAIRS);
            transpose_bits(rows, columns);
            for (int i = 0; i < TILE; i++)
                _mm512_store_si512(scratch->keys[tile * (attention->width / PAIRS) + part] + i * PAIRS, columns[i]);
        }
}

/* Interleave 16 bfloat16 numbers of two rows. */
AMX static inline __m512i in_turns(__m256i even, __m256i odd) {
    return _mm512_or_si512(_mm512_cvtepu16_epi32(even), _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
}

/* Pack values `from` to `to` as operand B: the numbers of two tokens interleaved, zeros after the last. */
AMX static void pack_values(
    Scratch *scratch, const Attention *attention, Py_ssize_t head, Py_ssize_t from, Py_ssize_t to) {
    const Py_ssize_t offset = head * attention->value.head_stride;
    for (Py_ssize_t pair = 0; pair < parts(to - from, PAIRS) * TILE; pair++)
        for (Py_ssize_t part = 0; part < attention->width / PAIRS; part++) {
            const __m512i even = row_or_zeros(&attention->value, from + 2 * pair, to, offset + part * PAIRS);
            const __m512i odd = row_or_zeros(&attention->value, from + 2 * pair + 1, to, offset + part * PAIRS);
            bfloat16(*tiles)[TILE * PAIRS] = scratch->values + pair / TILE * (attention->width / TILE) + 2 * part;
            const Py_ssize_t row = pair % TILE * PAIRS;
            _mm512_store_si512(tiles[0] + row, in_turns(_mm512_castsi512_si256(even), _mm512_castsi512_si256(odd)));
            _mm512_store_si512(
                tiles[1] + row, in_turns(_mm512_extracti64x4_epi64(even, 1), _mm512_extracti64x4_epi64(odd, 1)));
        }
}

/* Load 16 queries into tiles 4 and 5. Rows after the last query are zeros. */
AMX static void load_query(
    Scratch *scratch, const Attention *attention, const Piece *piece, Py_ssize_t head, Py_ssize_t tile) {
    const States *query = &attention->query;
    const Py_ssize_t from = piece->first + piece->query + tile * TILE;
    const Py_ssize_t to = piece->first + piece->query + piece->queries;
    const bfloat16 *all_numbers = query->numbers;
    const bfloat16 *numbers = all_numbers + from * query->row_stride + head * query->head_stride;
    size_t stride = query->row_stride * sizeof(bfloat16);
    Py_ssize_t second = PAIRS;
    for (Py_ssize_t token = from; token < smaller(from + TILE, to); token++)
        _mm_prefetch(
            (const char *)(all_numbers + token * query->row_stride + (head + 1) * query->head_stride), _MM_HINT_T0);
    if (to - from < TILE) {
        for (Py_ssize_t part = 0; part < attention->width / PAIRS; part++)
            for (int i = 0; i < TILE; i++)
                _mm512_store_si512(
                    scratch->query[part] + i * PAIRS,
                    row_or_zeros(query, from + i, to, head * query->head_stride + part * PAIRS));
        numbers = scratch->query[0];
        stride = ROW_BYTES;
        second = TILE * PAIRS;
    }
    _tile_loadd(4, numbers, stride);
    if (attention->width > PAIRS) _tile_loadd(5, numbers + second, stride);
}

/* Multiply the queries in tiles 4 and 5 with key tiles `from` to `to`. */
AMX static void multiply_with_keys(
    const Scratch *scratch, float (*scores)[TILE][TILE], Py_ssize_t from, Py_ssize_t to, Py_ssize_t width) {
    for (Py_ssize_t tile = from; tile < to; tile++) {
        _tile_zero(0);
        _tile_loadd(6, scratch->keys[tile * (width / PAIRS)], ROW_BYTES);
        _tile_dpbf16ps(0, 4, 6);
        if (width > PAIRS) {
            _tile_loadd(7, scratch->keys[tile * (width / PAIRS) + 1], ROW_BYTES);
            _tile_dpbf16ps(0, 5, 7);
        }
        _tile_stored(0, scores[tile], ROW_BYTES);
    }
}

/* Reduce each of 16 vectors to one number; `result` has them in order. Each step halves the number of vectors. */
#define ACROSS(REDUCE, rows, result)                                                                             \
    do {                                                                                                         \
        __m512 pairs[8], quads[4], halves[2];                                                                    \
        for (int i = 0; i < 8; i++)                                                                              \
            pairs[i] = REDUCE(                                                                                   \
                _mm512_unpacklo_ps((rows)[2 * i], (rows)[2 * i + 1]),                                            \
                _mm512_unpackhi_ps((rows)[2 * i], (rows)[2 * i + 1]));                                           \
        for (int i = 0; i < 4; i++)                                                                              \
            quads[i] = REDUCE(                                                                                   \
                shuffled_pd(pairs[2 * i], pairs[2 * i + 1], 0), shuffled_pd(pairs[2 * i], pairs[2 * i + 1], 1)); \
        for (int i = 0; i < 2; i++)                                                                              \
            halves[i] = REDUCE(                                                                                  \
                _mm512_shuffle_f32x4(quads[2 * i], quads[2 * i + 1], 0x88),                                      \
                _mm512_shuffle_f32x4(quads[2 * i], quads[2 * i + 1], 0xdd));                                     \
        result = REDUCE(                                                                                         \
            _mm512_shuffle_f32x4(halves[0], halves[1], 0x88), _mm512_shuffle_f32x4(halves[0], halves[1], 0xdd)); \
    } while (0)

AMX static inline __m512 shuffled_pd(__m512 left, __m512 right, int high) {
    const __m512d a = _mm512_castps_pd(left), b = _mm512_castps_pd(right);
    return _mm512_castpd_ps(high ? _mm512_unpackhi_pd(a, b) : _mm512_unpacklo_pd(a, b));
}

/* The largest score of each of 16 queries. `last` masks the keys in the last tile. */
AMX static __m512 largest_scores(const float (*scores)[TILE][TILE], Py_ssize_t tiles, __mmask16 last) {
    __m512 rows[TILE], largest;
    for (int row = 0; row < TILE; row++)
        rows[row] = _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), last, scores[tiles - 1][row]);
    for (Py_ssize_t tile = 0; tile < tiles - 1; tile++)
        for (int row = 0; row < TILE; row++) rows[row] = _mm512_max_ps(rows[row], _mm512_load_ps(scores[tile][row]));
    ACROSS(_mm512_max_ps, rows, largest);
    return largest;
}

/* Write the weights of one query: exponentials of its scores minus their maximum. The numbers in the returned vector
 * add up to the sum of the weights. */
AMX static inline __m512 weigh_row(
    Scratch *scratch, const float (*scores)[TILE][TILE], int row, Py_ssize_t tiles, __mmask16 last, float scale,
    float scaled_maximum) {
    const __m512 scales = _mm512_set1_ps(scale), shift = _mm512_set1_ps(scaled_maximum);
    __m512 sum = _mm512_setzero_ps();
    for (Py_ssize_t tile = 0; tile < tiles; tile += 2) {
        __m512 low = power_of_two(_mm512_fmsub_ps(_mm512_load_ps(scores[tile][row]), scales, shift));
        __m512 high = _mm512_setzero_ps();
        if (tile + 1 < tiles) {
            high = power_of_two(_mm512_fmsub_ps(_mm512_load_ps(scores[tile + 1][row]), scales, shift));
            if (tile + 2 == tiles) high = _mm512_maskz_mov_ps(last, high);
        } else {
            low = _mm512_maskz_mov_ps(last, low);
        }
        sum = _mm512_add_ps(sum, _mm512_add_ps(low, high));
        _mm512_store_si512(scratch->weights[tile / 2][row], (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
    return sum;
}

/* Multiply the sums of earlier blocks with one factor for each query. */
AMX static void shrink_sums(Scratch *scratch, Py_ssize_t query_tile, __m512 shrunk, Py_ssize_t width) {
    float factors[TILE] __attribute__((aligned(64)));
    _mm512_store_ps(factors, shrunk);
    for (Py_ssize_t part = 0; part < width / TILE; part++)
        for (int row = 0; row < TILE; row++) {
            float *sums = scratch->sums[query_tile][part][row];
            _mm512_store_ps(sums, _mm512_mul_ps(_mm512_load_ps(sums), _mm512_set1_ps(factors[row])));
        }
}

/* Write the weights of a tile of queries for a block of keys, and scale the sums of earlier blocks to the new maximum.
 *
 * Between the exponentials it multiplies the next tile of queries with the keys. The tile unit works in parallel to the
 * vector unit. It also must not pause: after half a microsecond without work it powers down, and takes 0.2 us to wake
 * (measured on Emerald Rapids). The pauses had taken a third of the kernel's time on 128 tokens. */
AMX static void weigh(
    Scratch *scratch, const Attention *attention, Py_ssize_t query_tile, Py_ssize_t keys, int is_first, int has_next) {
    const float (*scores)[TILE][TILE] = (const float (*)[TILE][TILE])scratch->scores[query_tile % 2];
    float (*next_scores)[TILE][TILE] = scratch->scores[(query_tile + 1) % 2];
    const Py_ssize_t tiles = parts(keys, TILE);
    const __mmask16 last = (__mmask16)(0xffff >> (tiles * TILE - keys));
    float *maxima = scratch->maxima + query_tile * TILE, *totals = scratch->totals + query_tile * TILE;
    const float scale = attention->scaling * (float)M_LOG2E; /* exponentials have base 2 */
    float scaled_maxima[TILE] __attribute__((aligned(64)));
    __m512 rows[TILE], sums;

    __m512 largest = largest_scores(scores, tiles, last), shrunk = _mm512_setzero_ps();
    if (!is_first) {
        const __m512 before = _mm512_load_ps(maxima);
        largest = _mm512_max_ps(largest, before);
        shrunk = power_of_two(_mm512_mul_ps(_mm512_sub_ps(before, largest), _mm512_set1_ps(scale)));
        shrink_sums(scratch, query_tile, shrunk, attention->width);
    }
    _mm512_store_ps(maxima, largest);
    _mm512_store_ps(scaled_maxima, _mm512_mul_ps(largest, _mm512_set1_ps(scale)));
    for (int row = 0; row < TILE; row++) {
        rows[row] = weigh_row(scratch, scores, row, tiles, last, scale, scaled_maxima[row]);
        if (has_next)
            multiply_with_keys(scratch, next_scores, row * tiles / TILE, (row + 1) * tiles / TILE, attention->width);
    }
    ACROSS(_mm512_add_ps, rows, sums);
    if (!is_first) sums = _mm512_fmadd_ps(_mm512_load_ps(totals), shrunk, sums);
    _mm512_store_ps(totals, sums);
}

/* Add the products of weights and values to the sums of a tile of queries. */
AMX static void sum_weighted_values(
    Scratch *scratch, Py_ssize_t query_tile, Py_ssize_t keys, int is_first, Py_ssize_t width) {
    for (Py_ssize_t part = 0; part < width / TILE; part += 2) {
        float *sums = scratch->sums[query_tile][part][0], *more_sums = scratch->sums[query_tile][part + 1][0];
        if (is_first) {
            _tile_zero(1);
            _tile_zero(2);
        } else {
            _tile_loadd(1, sums, ROW_BYTES);
            _tile_loadd(2, more_sums, ROW_BYTES);
        }
        for (Py_ssize_t pair = 0; pair < parts(keys, PAIRS); pair++) {
            _tile_loadd(3, scratch->weights[pair], ROW_BYTES);
            _tile_loadd(6, scratch->values[pair * (width / TILE) + part], ROW_BYTES);
            _tile_loadd(7, scratch->values[pair * (width / TILE) + part + 1], ROW_BYTES);
            _tile_dpbf16ps(1, 3, 6);
            _tile_dpbf16ps(2, 3, 7);
        }
        _tile_stored(1, sums, ROW_BYTES);
        _tile_stored(2, more_sums, ROW_BYTES);
    }
}

/* Divide the sums by the totals of the weights, and write the result in bfloat16. */
AMX static void write_results(const Scratch *scratch, const Attention *attention, const Piece *piece, Py_ssize_t head) {
    const Py_ssize_t first = piece->first + piece->query;
    for (Py_ssize_t query = 0; query < piece->queries; query++) {
        bfloat16 *to = (bfloat16 *)attention->attended + ((first + query) * attention->heads + head) * attention->width;
        const __m512 share = _mm512_set1_ps(1 / scratch->totals[query]);
        for (Py_ssize_t part = 0; part < attention->width / TILE; part += 2) {
            __m512 low = _mm512_load_ps(scratch->sums[query / TILE][part][query % TILE]);
            __m512 high = _mm512_load_ps(scratch->sums[query / TILE][part + 1][query % TILE]);
            _mm512_storeu_si512(
                to + part * TILE, (__m512i)_mm512_cvtne2ps_pbh(_mm512_mul_ps(high, share), _mm512_mul_ps(low, share)));
        }
    }
}

AMX static void attend_head(Scratch *scratch, const Attention *attention, const Piece *piece, Py_ssize_t head) {
    const Py_ssize_t end = piece->first + piece->length;
    for (Py_ssize_t from = piece->first; from < end; from += LONGEST_BLOCK) {
        const Py_ssize_t to = smaller(from + LONGEST_BLOCK, end);
        const int is_first = from == piece->first;
        pack_keys(scratch, attention, head, from, to);
        pack_values(scratch, attention, head, from, to);
        const Py_ssize_t tiles = parts(piece->queries, TILE);
        load_query(scratch, attention, piece, head, 0);
        multiply_with_keys(scratch, scratch->scores[0], 0, parts(to - from, TILE), attention->width);
        for (Py_ssize_t tile = 0; tile < tiles; tile++) {
            const int has_next = tile + 1 < tiles;
            if (has_next) load_query(scratch, attention, piece, head, tile + 1);
            weigh(scratch, attention, tile, to - from, is_first, has_next);
            sum_weighted_values(scratch, tile, to - from, is_first, attention->width);
        }
    }
    write_results(scratch, attention, piece, head);
}

AMX void attend_in_tiles(Attention *attention) {
    Scratch *scratch = attention_memory(attention, sizeof(Scratch));
    if (scratch == NULL) return;
    use_whole_tiles();
    for (Piece piece = {0}; take_piece(attention, &piece);)
        for (Py_ssize_t head = piece.head; head < piece.end_head; head++) attend_head(scratch, attention, &piece, head);
    _tile_release();
    free(scratch);
}
