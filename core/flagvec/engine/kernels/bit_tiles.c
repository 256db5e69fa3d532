/* Sums of the numbers that bits choose, with AMX: bits become bytes of 0 or 1, which tiles multiply by int8.
 *
 * A query's number is in two int8 parts, because one would be too coarse. Integers add up exactly.
 */
#include "bit_sums.h"

#include "tiles.h"

#include <string.h>

enum {
    ROWS = 2 * TILE, /* two tiles of rows use each tile of vectors that is loaded */
    BLOCK_BYTES = ROW_BYTES / 8, /* of bits, which become a row of a tile */
    PART = TILE * ROW_BYTES, /* bytes of a tile */
};

/* Write a block of 64 bits of each row as bytes. Fewer than BLOCK_BYTES are read if a row ends before. */
AMX static inline void bits_to_bytes(
    const uint8_t *const *rows, Py_ssize_t from, Py_ssize_t row_bytes, uint8_t bytes[ROWS][ROW_BYTES]) {
    const Py_ssize_t left = row_bytes - from;
    for (int row = 0; row < ROWS; row++) {
        uint64_t block = 0;
        if (left >= BLOCK_BYTES)
            memcpy(&block, rows[row] + from, BLOCK_BYTES);
        else
            memcpy(&block, rows[row] + from, left);
        _mm512_store_si512(bytes[row], _mm512_maskz_set1_epi8(block, 1));
    }
}

AMX static void write_sums(
    const int32_t high[TILE][TILE], const int32_t low[TILE][TILE], const float *steps, Py_ssize_t valid, float *sums,
    Py_ssize_t stride) {
    const __m512 step = _mm512_loadu_ps(steps);
    for (Py_ssize_t row = 0; row < valid; row++) {
        const __m512i sum =
            _mm512_add_epi32(_mm512_slli_epi32(_mm512_load_si512(high[row]), 8), _mm512_load_si512(low[row]));
        _mm512_storeu_ps(sums + row * stride, _mm512_mul_ps(_mm512_cvtepi32_ps(sum), step));
    }
}

/* Compute the sums of ROWS rows, which may be the same, and the 16 vectors of a group. `valid` rows are written. */
AMX static void sum_group(
    const Prepared *vectors, Py_ssize_t group, const uint8_t *const *rows, Py_ssize_t row_bytes, Py_ssize_t valid,
    float *sums) {
    _Alignas(64) uint8_t bytes[ROWS][ROW_BYTES];
    _Alignas(64) int32_t high[TILE][TILE], low[TILE][TILE];
    const Py_ssize_t blocks = vectors->words * WORD_BITS / ROW_BYTES;
    const int8_t *part = (const int8_t *)vectors->tables + group * blocks * 2 * PART;
    const float *steps = vectors->steps + group * TILE;
    const Py_ssize_t stride = vectors->blocks * TILE;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (Py_ssize_t block = 0; block < blocks; block++, part += 2 * PART) {
        bits_to_bytes(rows, block * BLOCK_BYTES, row_bytes, bytes);
        finish_memory();
        _tile_loadd(4, bytes, ROW_BYTES);
        _tile_loadd(5, bytes + TILE, ROW_BYTES);
        _tile_loadd(6, part, ROW_BYTES);
        _tile_loadd(7, part + PART, ROW_BYTES);
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_stored(0, high, ROW_BYTES);
    _tile_stored(1, low, ROW_BYTES);
    finish_memory();
    write_sums(high, low, steps, smaller(valid, TILE), sums, stride);
    _tile_stored(2, high, ROW_BYTES);
    _tile_stored(3, low, ROW_BYTES);
    finish_memory();
    write_sums(high, low, steps, valid - TILE, sums + TILE * stride, stride);
}

AMX void bit_sums_in_tiles(
    const Prepared *vectors, const uint8_t *bits, Py_ssize_t rows, Py_ssize_t row_bytes, uint32_t *indices,
    float *sums) {
    const Py_ssize_t stride = vectors->blocks * TILE;
    (void)indices;
    const uint8_t *together[ROWS];
    use_whole_tiles();
    for (Py_ssize_t from = 0; from < rows; from += ROWS) {
        const Py_ssize_t valid = smaller(ROWS, rows - from);
        for (Py_ssize_t row = 0; row < ROWS; row++) together[row] = bits + (from + smaller(row, valid - 1)) * row_bytes;
        for (Py_ssize_t group = 0; group < vectors->blocks; group++)
            sum_group(vectors, group, together, row_bytes, valid, sums + from * stride + group * TILE);
    }
    _tile_release();
}
