/* The Python module `_compiled`. It takes addresses and strides, and checks nothing: __init__.py does. */
#include "attention.h"
#include "bit_sums.h"
#include "clusters.h"
#include "kernels.h"
#include "layers.h"
#include "normalised_sum.h"
#include "quantized.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#define POINTER(type, address) ((type)(uintptr_t)(address))

static PyObject *call_attend(PyObject *module, PyObject *arguments) {
    unsigned long long numbers[3], attended, starts, team;
    Attention attention = {0};
    States *query = &attention.query, *key = &attention.key, *value = &attention.value;
    Py_ssize_t rows, threads;
    int failed;
    if (!PyArg_ParseTuple(
            arguments, "(Knn)(Knn)(Knn)KnKnnnfiiKn:attend", &numbers[0], &query->row_stride, &query->head_stride,
            &numbers[1], &key->row_stride, &key->head_stride, &numbers[2], &value->row_stride, &value->head_stride,
            &attended, &rows, &starts, &attention.texts, &attention.heads, &attention.width, &attention.scaling,
            &attention.is_float32, &attention.level, &team, &threads))
        return NULL;
    query->numbers = POINTER(const void *, numbers[0]);
    key->numbers = POINTER(const void *, numbers[1]);
    value->numbers = POINTER(const void *, numbers[2]);
    attention.attended = POINTER(void *, attended);
    attention.starts = POINTER(const int32_t *, starts);
    Py_BEGIN_ALLOW_THREADS;
    failed = attend(&attention, rows, POINTER(Team, team), threads);
    Py_END_ALLOW_THREADS;
    if (failed) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *call_normalise_sum(PyObject *module, PyObject *arguments) {
    unsigned long long fresh, states, weight, bias, team;
    Norm norm;
    Py_ssize_t rows, threads;
    if (!PyArg_ParseTuple(
            arguments, "KKKKnnfKn:normalise_sum", &fresh, &states, &weight, &bias, &rows, &norm.width, &norm.epsilon,
            &team, &threads))
        return NULL;
    norm.weight = POINTER(const void *, weight);
    norm.bias = POINTER(const void *, bias);
    Py_BEGIN_ALLOW_THREADS;
    normalise_sum(
        &norm, POINTER(bfloat16 *, fresh), POINTER(const bfloat16 *, states), rows, POINTER(Team, team), threads);
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

static PyObject *call_run_layers(PyObject *module, PyObject *arguments) {
    unsigned long long layers, states, starts, team, barrier;
    Model model;
    Py_ssize_t texts, threads;
    int failed;
    if (!PyArg_ParseTuple(
            arguments, "KnnnnniifKKnKKn:run_layers", &layers, &model.count, &model.width, &model.inner_width,
            &model.heads, &model.columns, &model.has_float32_weights, &model.level, &model.epsilon, &states, &starts,
            &texts, &team, &barrier, &threads))
        return NULL;
    model.layers = POINTER(const Layer *, layers);
    Py_BEGIN_ALLOW_THREADS;
    failed = run_layers(
        &model, POINTER(void *, states), POINTER(const int32_t *, starts), texts, POINTER(Team, team),
        POINTER(Barrier, barrier), threads);
    Py_END_ALLOW_THREADS;
    if (failed) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *call_sum_clusters(PyObject *module, PyObject *arguments) {
    unsigned long long numbers, distances, labels, sums;
    Clustered rows;
    Py_ssize_t clusters, stride;
    if (!PyArg_ParseTuple(
            arguments, "(Knn)nKnKK:sum_clusters", &numbers, &rows.count, &rows.width, &clusters, &distances, &stride,
            &labels, &sums))
        return NULL;
    rows.numbers = POINTER(const float *, numbers);
    Py_BEGIN_ALLOW_THREADS;
    sum_clusters(
        &rows, clusters, POINTER(float *, distances), stride, POINTER(int64_t *, labels), POINTER(float *, sums));
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

static PyObject *call_best_products(PyObject *module, PyObject *arguments) {
    unsigned long long tables, steps, offsets, rows, lengths, indices, sums, best;
    int kind;
    Vectors vectors;
    Documents documents;
    if (!PyArg_ParseTuple(
            arguments, "(iKKnnKn)(KnKn)KKK:best_products", &kind, &tables, &steps, &vectors.prepared.blocks,
            &vectors.prepared.words, &offsets, &vectors.count, &rows, &documents.row_bytes, &lengths, &documents.count,
            &indices, &sums, &best))
        return NULL;
    vectors.kind = (Kind)kind;
    vectors.prepared.tables = POINTER(const void *, tables);
    vectors.prepared.steps = POINTER(const float *, steps);
    vectors.offsets = POINTER(const float *, offsets);
    documents.rows = POINTER(const uint8_t *, rows);
    documents.lengths = POINTER(const int64_t *, lengths);
    Py_BEGIN_ALLOW_THREADS;
    best_products(&vectors, &documents, POINTER(uint32_t *, indices), POINTER(float *, sums), POINTER(float *, best));
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

/* The next five convert a tuple to what the functions of quantized.h take. */
static int to_rows(PyObject *tuple, void *to) {
    Rows *rows = to;
    unsigned long long team;
    if (!PyArg_ParseTuple(tuple, "nnpKn", &rows->rows, &rows->width, &rows->has_avx512, &team, &rows->threads))
        return 0;
    rows->team = POINTER(Team, team);
    return 1;
}

static int to_numbers(PyObject *tuple, void *to) {
    Numbers *numbers = to;
    unsigned long long address;
    if (!PyArg_ParseTuple(tuple, "Kp", &address, &numbers->is_bfloat16)) return 0;
    numbers->numbers = POINTER(void *, address);
    return 1;
}

static int to_bytes(PyObject *tuple, void *to) {
    Bytes *bytes = to;
    unsigned long long address, scales, minima;
    if (!PyArg_ParseTuple(tuple, "KKKf", &address, &scales, &minima, &bytes->largest)) return 0;
    bytes->bytes = POINTER(uint8_t *, address);
    bytes->scales = POINTER(float *, scales);
    bytes->minima = POINTER(float *, minima);
    return 1;
}

static int to_product(PyObject *tuple, void *to) {
    Product *product = to;
    unsigned long long sums, scales, minima, weight_sums, bias;
    if (!PyArg_ParseTuple(tuple, "KKKKK", &sums, &scales, &minima, &weight_sums, &bias)) return 0;
    product->sums = POINTER(const float *, sums);
    product->scales = POINTER(const float *, scales);
    product->minima = POINTER(const float *, minima);
    product->weight_sums = POINTER(const float *, weight_sums);
    product->bias = POINTER(const float *, bias);
    return 1;
}

static int to_layer_norm(PyObject *tuple, void *to) {
    LayerNorm *norm = to;
    unsigned long long weight, bias;
    if (!PyArg_ParseTuple(tuple, "KKf", &weight, &bias, &norm->epsilon)) return 0;
    norm->weight = POINTER(const float *, weight);
    norm->bias = POINTER(const float *, bias);
    return 1;
}

static PyObject *call_numbers_to_bytes(PyObject *module, PyObject *arguments) {
    Rows rows;
    Numbers numbers;
    Bytes bytes;
    if (!PyArg_ParseTuple(arguments, "O&O&O&:numbers_to_bytes", to_rows, &rows, to_numbers, &numbers, to_bytes, &bytes))
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    numbers_to_bytes(&rows, &numbers, &bytes);
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

static PyObject *call_product_to_numbers(PyObject *module, PyObject *arguments) {
    Rows rows;
    Product product;
    Numbers numbers;
    if (!PyArg_ParseTuple(
            arguments, "O&O&O&:product_to_numbers", to_rows, &rows, to_product, &product, to_numbers, &numbers))
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    product_to_numbers(&rows, &product, &numbers);
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

static PyObject *call_gelu_to_bytes(PyObject *module, PyObject *arguments) {
    Rows rows;
    Product product;
    Bytes bytes;
    if (!PyArg_ParseTuple(arguments, "O&O&O&:gelu_to_bytes", to_rows, &rows, to_product, &product, to_bytes, &bytes))
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    gelu_to_bytes(&rows, &product, &bytes);
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

static PyObject *call_norm_to_bytes(PyObject *module, PyObject *arguments) {
    Rows rows;
    Product product;
    Numbers states;
    LayerNorm norm;
    Bytes bytes;
    if (!PyArg_ParseTuple(
            arguments, "O&O&O&O&O&:norm_to_bytes", to_rows, &rows, to_product, &product, to_numbers, &states,
            to_layer_norm, &norm, to_bytes, &bytes))
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    norm_to_bytes(&rows, &product, &states, &norm, &bytes);
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

/* Linux kills a process that uses AMX without asking first, see arch_prctl(ARCH_REQ_XCOMP_PERM). */
static int may_use_amx(void) {
    enum { ASK_FOR_STATE = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_DATA) == 0;
}

static CpuLevel highest_level(void) {
    enum { AVX512_BF16_BIT = 1 << 5, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, AMX_INT8 = 1 << 25 };
    const unsigned amx = AMX_BF16 | AMX_TILE | AMX_INT8;
    unsigned a, b, c, d;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return OFF;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return LEVEL_AVX2;
    if (!__builtin_cpu_supports("avx512vnni")) return LEVEL_AVX512;
    if (!__builtin_cpu_supports("avx512vbmi")) return LEVEL_AVX512_VNNI;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & AVX512_BF16_BIT)) return LEVEL_AVX512_VBMI;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & amx) != amx || !may_use_amx()) return LEVEL_AVX512_BF16;
    return LEVEL_AMX;
}

static PyObject *cpu_level(PyObject *module, PyObject *nothing) { return PyLong_FromLong(highest_level()); }

static PyMethodDef methods[] = {
    {"attend", call_attend, METH_VARARGS, "Attend within each text of a packed batch."},
    {"normalise_sum", call_normalise_sum, METH_VARARGS, "Overwrite the first term of a sum with the sum's layer norm."},
    {"run_layers", call_run_layers, METH_VARARGS, "Run all layers of a model on few rows."},
    {"best_products", call_best_products, METH_VARARGS, "Compare vectors with documents of rows of bits."},
    {"sum_clusters", call_sum_clusters, METH_VARARGS, "Add up the rows of each cluster of similar rows."},
    {"numbers_to_bytes", call_numbers_to_bytes, METH_VARARGS, "Round rows of numbers to bytes."},
    {"product_to_numbers", call_product_to_numbers, METH_VARARGS, "Write a linear layer's results as numbers."},
    {"gelu_to_bytes", call_gelu_to_bytes, METH_VARARGS, "Write their GELU as bytes."},
    {"norm_to_bytes", call_norm_to_bytes, METH_VARARGS, "Write the norm of their sum with states to both."},
    {"cpu_level", cpu_level, METH_NOARGS, "Return the number of this CPU's `Level`; asks Linux for AMX."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_compiled", .m_size = 0, .m_methods = methods};

PyMODINIT_FUNC PyInit__compiled(void) { return PyModuleDef_Init(&definition); }
