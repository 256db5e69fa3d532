/* Clusters of similar vectors. */
#pragma once

#include "kernels.h"

enum { MOST_CLUSTERED = 1024 }; /* `MOST_ROWS` in clusters.py has the same value */

/* Rows that are clustered.
 *
 * numbers: (count, width), the width a multiple of 8.
 * count: 2 to MOST_CLUSTERED.
 */
typedef struct {
    const float *numbers;
    Py_ssize_t count, width;
} Clustered;

/* Divide rows into clusters by Ward's hierarchical clustering, and add up the rows of each.
 *
 * clusters: how many to make, 1 to `count`.
 * distances: (count, stride), for intermediate results. The stride is a multiple of 8 and at least `count`.
 * labels: (count,), the cluster of each row. Clusters are numbered in the order of their first rows.
 * sums: (clusters, width).
 */
void sum_clusters(
    const Clustered *rows, Py_ssize_t clusters, float *distances, Py_ssize_t stride, int64_t *labels, float *sums);
