/* Included before each kernel when it is compiled for the sanitizers.
 *
 * AddressSanitizer checks loads and stores that the compiler writes, and AMX tile instructions are inline assembly. So
 * each of them reads the ends of its 16 rows of 64 bytes first, which AddressSanitizer checks. */
#pragma once

#include <immintrin.h>
#include <stddef.h>

#define TILE_INSTRUCTIONS __attribute__((target("amx-tile")))

static inline void check_rows(const void *base, size_t stride) {
    const volatile char *bytes = base;
    for (size_t row = 0; row < 16; row++) {
        (void)bytes[row * stride];
        (void)bytes[row * stride + 63];
    }
}

#define FOR_TILE(number)                                                                          \
    TILE_INSTRUCTIONS static inline void checked_load_##number(const void *base, size_t stride) { \
        check_rows(base, stride);                                                                 \
        _tile_loadd(number, base, stride);                                                        \
    }                                                                                             \
    TILE_INSTRUCTIONS static inline void checked_store_##number(void *base, size_t stride) {      \
        check_rows(base, stride);                                                                 \
        _tile_stored(number, base, stride);                                                       \
    }

FOR_TILE(0)
FOR_TILE(1)
FOR_TILE(2)
FOR_TILE(3)
FOR_TILE(4)
FOR_TILE(5)
FOR_TILE(6)
FOR_TILE(7)

#undef _tile_loadd
#undef _tile_stored
#define _tile_loadd(number, base, stride) checked_load_##number(base, stride)
#define _tile_stored(number, base, stride) checked_store_##number(base, stride)
