/* AMX tiles. All kernels use whole tiles: 16 rows of 64 bytes.
 *
 * TDPBF16PS adds the product of tiles A and B to a tile of 16 x 16 float32. A holds 16 rows of 32 bfloat16. B holds 32
 * rows of 16 bfloat16, interleaved in pairs of rows: B[k / 2][n] = (b[k][n], b[k + 1][n]). docs/kernels.md has a
 * drawing.
 */
#pragma once

#include "kernels.h"

#include <immintrin.h>

enum {
    TILE = 16, /* rows of a tile, and float32 numbers in one of its rows */
    PAIRS = 32, /* bfloat16 numbers in a row of a tile */
    ROW_BYTES = 64,
};

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} TileShapes;

/* Call this between tile instructions and code that writes what they read, or reads what they wrote. gcc's intrinsics
 * do not say that they use memory, so that it may move or drop such code if the memory is on the stack. */
static inline void finish_memory(void) { __asm__ volatile("" ::: "memory"); }

/* Configure all eight tiles of the calling thread, until `_tile_release`. */
AMX static inline void use_whole_tiles(void) {
    TileShapes shapes = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) {
        shapes.row_bytes[tile] = ROW_BYTES;
        shapes.rows[tile] = TILE;
    }
    finish_memory();
    _tile_loadconfig(&shapes);
}
