/* Ward's hierarchical clustering by chains of nearest neighbours, with squared distances.
 *
 * A chain goes from a cluster to its nearest one, and on, until two are each other's nearest. These are merged. Each
 * step is to a smaller distance, so the chain ends. Fionn Murtagh, "A Survey of Recent Advances in Hierarchical
 * Clustering Algorithms", The Computer Journal 26(4), 1983; Daniel Müllner, arXiv 1109.2378. */
#include "clusters.h"

#include "vectors_of_8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    float distance;
    int one, other; /* a row of each of the two clusters */
} Merge;

/* A cluster has the place of one of its rows. Places without one have the size 0 and infinite distances. */
typedef struct {
    float *distances;
    Py_ssize_t stride;
    int count;
    float sizes[MOST_CLUSTERED + VECTOR];
} State;

enum { ROWS_TOGETHER = 2, OTHERS_TOGETHER = 4 }; /* each load of numbers then serves several products */

/* Compute the dot products of two rows with four others. */
AVX2 static void multiply(
    const float *const rows[ROWS_TOGETHER], const float *const others[OTHERS_TOGETHER], Py_ssize_t width,
    float products[ROWS_TOGETHER][OTHERS_TOGETHER]) {
    Vector sums[ROWS_TOGETHER][OTHERS_TOGETHER];
#pragma GCC unroll 8
    for (int i = 0; i < ROWS_TOGETHER * OTHERS_TOGETHER; i++) sums[i / OTHERS_TOGETHER][i % OTHERS_TOGETHER] = zeros();
    for (Py_ssize_t start = 0; start < width; start += VECTOR)
#pragma GCC unroll 8
        for (int i = 0; i < ROWS_TOGETHER * OTHERS_TOGETHER; i++) {
            Vector *sum = &sums[i / OTHERS_TOGETHER][i % OTHERS_TOGETHER];
            *sum =
                add_product(load(rows[i / OTHERS_TOGETHER] + start), load(others[i % OTHERS_TOGETHER] + start), *sum);
        }
#pragma GCC unroll 8
    for (int i = 0; i < ROWS_TOGETHER * OTHERS_TOGETHER; i++)
        products[i / OTHERS_TOGETHER][i % OTHERS_TOGETHER] = sum_of(sums[i / OTHERS_TOGETHER][i % OTHERS_TOGETHER]);
}

/* Write the dot products of all pairs of rows into both halves of the distances, so that these are equal bit for bit.
 * Otherwise a chain could go in a circle. */
AVX2 static void compute_products(const Clustered *rows, State *state) {
    const float *own[ROWS_TOGETHER], *others[OTHERS_TOGETHER];
    float products[ROWS_TOGETHER][OTHERS_TOGETHER];
    for (int first = 0; first < state->count; first += ROWS_TOGETHER) {
        for (int i = 0; i < ROWS_TOGETHER; i++)
            own[i] = rows->numbers + smaller(first + i, state->count - 1) * rows->width;
        for (int other = 0; other < first + ROWS_TOGETHER; other += OTHERS_TOGETHER) {
            for (int j = 0; j < OTHERS_TOGETHER; j++)
                others[j] = rows->numbers + smaller(other + j, state->count - 1) * rows->width;
            multiply(own, others, rows->width, products);
            for (int i = 0; i < ROWS_TOGETHER && first + i < state->count; i++)
                for (int j = 0; j < OTHERS_TOGETHER && other + j <= first + i; j++) {
                    state->distances[(first + i) * state->stride + other + j] = products[i][j];
                    state->distances[(other + j) * state->stride + first + i] = products[i][j];
                }
        }
    }
}

AVX2 static void compute_distances(const Clustered *rows, State *state) {
    float squares[MOST_CLUSTERED + VECTOR];
    compute_products(rows, state);
    for (int row = 0; row < state->count; row++) squares[row] = state->distances[row * (state->stride + 1)];
    for (int row = 0; row < state->count; row++) {
        float *distances = state->distances + row * state->stride;
        for (int other = 0; other < state->count; other++) {
            const float distance = squares[row] + squares[other] - 2 * distances[other];
            distances[other] = distance > 0 ? distance : 0;
        }
        distances[row] = INFINITY;
        for (Py_ssize_t rest = state->count; rest < state->stride; rest++) distances[rest] = INFINITY;
        state->sizes[row] = 1;
    }
    for (Py_ssize_t rest = state->count; rest < state->stride; rest++) state->sizes[rest] = 0;
}

/* Return the first place with the smallest distance, if that is below `limit`; otherwise -1. */
AVX2 static int nearest(const float *distances, Py_ssize_t stride, float limit) {
    Vector least = all(limit);
    for (Py_ssize_t start = 0; start < stride; start += VECTOR) least = minimum(load(distances + start), least);
    float lanes[VECTOR], smallest = limit;
    store(lanes, least);
    for (int lane = 0; lane < VECTOR; lane++) smallest = lanes[lane] < smallest ? lanes[lane] : smallest;
    if (!(smallest < limit)) return -1;
    int place = 0;
    while (distances[place] != smallest) place++;
    return place;
}

static int first_cluster(const State *state, int besides) {
    int place = 0;
    while (state->sizes[place] == 0 || place == besides) place++;
    return place;
}

/* Merge two clusters into the place of the second one. */
AVX2 static void merge(State *state, int one, int other) {
    float *from = state->distances + one * state->stride, *to = state->distances + other * state->stride;
    const float between = to[one], size = state->sizes[one], other_size = state->sizes[other];
    for (Py_ssize_t place = 0; place < state->stride; place++) {
        const float own = state->sizes[place];
        to[place] =
            ((size + own) * from[place] + (other_size + own) * to[place] - own * between) / (size + other_size + own);
        from[place] = INFINITY;
    }
    to[one] = to[other] = INFINITY;
    for (int place = 0; place < state->count; place++) {
        state->distances[place * state->stride + one] = INFINITY;
        state->distances[place * state->stride + other] = to[place];
    }
    state->sizes[one] = 0;
    state->sizes[other] = size + other_size;
}

static void make_merges(State *state, Merge *merges) {
    int chain[MOST_CLUSTERED + 1], length = 0;
    for (int made = 0; made < state->count - 1; made++) {
        if (length == 0) chain[length++] = first_cluster(state, -1);
        int last, before;
        for (;;) {
            last = chain[length - 1];
            before = length > 1 ? chain[length - 2] : -1;
            const float *distances = state->distances + last * state->stride;
            int next = nearest(distances, state->stride, before < 0 ? INFINITY : distances[before]);
            /* No distance is smaller, or none is a finite number. */
            if (next < 0) next = before < 0 ? first_cluster(state, last) : before;
            if (next == before) break;
            chain[length++] = next;
        }
        length -= 2;
        const int one = last < before ? last : before, other = last < before ? before : last;
        merges[made] = (Merge){state->distances[one * state->stride + other], one, other};
        merge(state, one, other);
    }
}

static int compare(const void *left, const void *right) {
    const Merge *one = left, *other = right;
    if (one->distance != other->distance) return one->distance < other->distance ? -1 : 1;
    return 0;
}

/* Return the first row of a cluster, and let its rows point there. */
static int root_of(int *roots, int row) {
    int root = row;
    while (roots[root] != root) root = roots[root];
    while (roots[row] != root) {
        const int next = roots[row];
        roots[row] = root;
        row = next;
    }
    return root;
}

AVX2 static void add_rows(const Clustered *rows, Py_ssize_t clusters, const int64_t *labels, float *sums) {
    memset(sums, 0, clusters * rows->width * sizeof *sums);
    for (Py_ssize_t row = 0; row < rows->count; row++) {
        const float *from = rows->numbers + row * rows->width;
        float *to = sums + labels[row] * rows->width;
        for (Py_ssize_t number = 0; number < rows->width; number++) to[number] += from[number];
    }
}

void sum_clusters(
    const Clustered *rows, Py_ssize_t clusters, float *distances, Py_ssize_t stride, int64_t *labels, float *sums) {
    State state = {.distances = distances, .stride = stride, .count = (int)rows->count};
    Merge merges[MOST_CLUSTERED];
    int roots[MOST_CLUSTERED];
    compute_distances(rows, &state);
    make_merges(&state, merges);
    qsort(merges, state.count - 1, sizeof *merges, compare);
    for (int row = 0; row < state.count; row++) roots[row] = row;
    /* Each merge joins two rows that no other one has joined, so any of them leave the right number of clusters. */
    for (int made = 0; made < state.count - clusters; made++) {
        const int one = root_of(roots, merges[made].one), other = root_of(roots, merges[made].other);
        roots[one < other ? other : one] = one < other ? one : other;
    }
    int64_t next = 0;
    for (int row = 0; row < state.count; row++) {
        const int root = root_of(roots, row);
        labels[row] = root == row ? next++ : labels[root];
    }
    add_rows(rows, clusters, labels, sums);
}
