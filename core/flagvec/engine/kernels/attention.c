/* Attention within each text of a packed batch: divides the work between threads.
 *
 * torch's kernel takes texts of one length at a time, and spends most of its time on exponentials. These kernels take a
 * whole batch in one call, and compute a vector of exponentials in nine to eleven instructions. Softmax runs over
 * blocks of keys with a running maximum, as in FlashAttention (Dao et al. 2022), so that memory does not grow with the
 * length of a text.
 */
#include "attention.h"

#include <stdlib.h>
#include <string.h>

enum {
    PIECES_PER_THREAD = 8, /* at least, so that no thread waits long for the others at the end */
    TILE_SIDE = 16, /* queries, and keys, of a tile of scores */
    TILES_PER_THREAD = 64, /* fewer do not pay for another thread */
};

/* Pieces are numbered text by text, within a text by groups of heads, within a group by blocks of queries. Numbers only
 * grow, so each thread walks through the texts once. */
int take_piece(Attention *attention, Piece *piece) {
    const Py_ssize_t groups = parts(attention->heads, attention->heads_together);
    const Py_ssize_t number = atomic_fetch_add(&attention->next_piece, 1);
    for (; piece->text < attention->texts; piece->text++) {
        piece->first = attention->starts[piece->text];
        piece->length = attention->starts[piece->text + 1] - piece->first;
        const Py_ssize_t blocks = parts(piece->length, LONGEST_BLOCK), within = number - piece->pieces_before;
        if (within < blocks * groups) {
            piece->query = within % blocks * LONGEST_BLOCK;
            piece->queries = smaller(LONGEST_BLOCK, piece->length - piece->query);
            piece->head = within / blocks * attention->heads_together;
            piece->end_head = smaller(piece->head + attention->heads_together, attention->heads);
            return 1;
        }
        piece->pieces_before += blocks * groups;
    }
    return 0;
}

void *attention_memory(Attention *attention, size_t bytes) {
    void *memory = aligned_alloc(64, bytes);
    if (memory == NULL) atomic_store(&attention->out_of_memory, 1);
    return memory;
}

void attend_on_this_thread(void *shared) {
    Attention *attention = shared;
    if (attention->level == LEVEL_AMX)
        attend_in_tiles(attention);
    else if (attention->level >= LEVEL_AVX512)
        attend_in_vectors(attention);
    else
        attend_in_vectors_of_8(attention);
}

Py_ssize_t share_attention(Attention *attention, Py_ssize_t threads) {
    Py_ssize_t blocks = 0, tiles = 0;
    for (Py_ssize_t text = 0; text < attention->texts; text++) {
        const Py_ssize_t length = attention->starts[text + 1] - attention->starts[text];
        blocks += parts(length, LONGEST_BLOCK);
        tiles += parts(length, TILE_SIDE) * parts(length, TILE_SIDE) * attention->heads;
    }
    threads = larger(1, smaller(threads, parts(tiles, TILES_PER_THREAD))); /* without a token there are no tiles */
    attention->heads_together =
        larger(1, smaller(attention->heads, blocks * attention->heads / (PIECES_PER_THREAD * threads)));
    return threads;
}

int attend(Attention *attention, Py_ssize_t rows, Team team, Py_ssize_t threads) {
    const Py_ssize_t end = attention->starts[attention->texts];
    const size_t row_bytes =
        attention->heads * attention->width * (attention->is_float32 ? sizeof(float) : sizeof(bfloat16));
    memset((char *)attention->attended + end * row_bytes, 0, (rows - end) * row_bytes);
    run_on(team, share_attention(attention, threads), attend_on_this_thread, attention);
    return attention->out_of_memory ? -1 : 0;
}
