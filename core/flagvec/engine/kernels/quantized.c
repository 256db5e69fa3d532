#include "quantized.h"

enum { NUMBERS_PER_THREAD = 1 << 13 }; /* fewer do not pay for another thread */

static const QuantizedFunctions *functions(const Rows *rows) {
    return rows->has_avx512 ? &quantized_avx512 : &quantized_avx2;
}

static void run(void (*function)(void *), QuantizedCall call) {
    const Rows *rows = call.rows;
    run_on(rows->team, smaller(rows->threads, parts(rows->rows * rows->width, NUMBERS_PER_THREAD)), function, &call);
}

void numbers_to_bytes(const Rows *rows, const Numbers *from, const Bytes *to) {
    run(functions(rows)->numbers_to_bytes, (QuantizedCall){.rows = rows, .numbers = from, .bytes = to});
}

void product_to_numbers(const Rows *rows, const Product *from, const Numbers *to) {
    run(functions(rows)->product_to_numbers, (QuantizedCall){.rows = rows, .product = from, .numbers = to});
}

void gelu_to_bytes(const Rows *rows, const Product *from, const Bytes *to) {
    run(functions(rows)->gelu_to_bytes, (QuantizedCall){.rows = rows, .product = from, .bytes = to});
}

void norm_to_bytes(
    const Rows *rows, const Product *from, const Numbers *states, const LayerNorm *norm, const Bytes *to) {
    run(functions(rows)->norm_to_bytes,
        (QuantizedCall){.rows = rows, .product = from, .numbers = states, .norm = norm, .bytes = to});
}
