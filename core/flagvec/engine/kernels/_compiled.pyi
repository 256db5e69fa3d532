from typing import TypeAlias

# (address, stride from row to row, stride from head to head); strides count numbers
_States: TypeAlias = tuple[int, int, int]

def attend(
    query: _States,
    key: _States,
    value: _States,
    attended: int,
    rows: int,
    starts: int,
    texts: int,
    heads: int,
    width: int,
    scaling: float,
    is_float32: bool,
    level: int,
    team: int,
    threads: int,
    /,
) -> None: ...
def normalise_sum(
    fresh: int,
    states: int,
    weight: int,
    bias: int,
    rows: int,
    width: int,
    epsilon: float,
    team: int,
    threads: int,
    /,
) -> None: ...
def run_layers(
    layers: int,
    count: int,
    width: int,
    inner_width: int,
    heads: int,
    columns: int,
    has_float32_weights: bool,
    level: int,
    epsilon: float,
    states: int,
    starts: int,
    texts: int,
    team: int,
    barrier: int,
    threads: int,
    /,
) -> None: ...

# (kind, tables, steps, blocks, words, offsets, count)
_Vectors: TypeAlias = tuple[int, int, int, int, int, int, int]
# (rows, bytes of a row, lengths, count)
_Documents: TypeAlias = tuple[int, int, int, int]

def best_products(vectors: _Vectors, documents: _Documents, indices: int, sums: int, best: int, /) -> None: ...

# (numbers, count, width)
_Clustered: TypeAlias = tuple[int, int, int]

def sum_clusters(rows: _Clustered, clusters: int, distances: int, stride: int, labels: int, sums: int, /) -> None: ...

# (rows, width, whether to use AVX512, team, threads)
_Rows: TypeAlias = tuple[int, int, bool, int, int]
# (address, whether it is bfloat16)
_Numbers: TypeAlias = tuple[int, bool]
# (address, scales, minima, largest byte)
_Bytes: TypeAlias = tuple[int, int, int, float]
# (sums, scales, minima, sums of weights, bias)
_Product: TypeAlias = tuple[int, int, int, int, int]
# (weight, bias, epsilon)
_LayerNorm: TypeAlias = tuple[int, int, float]

def numbers_to_bytes(rows: _Rows, numbers: _Numbers, to: _Bytes, /) -> None: ...
def product_to_numbers(rows: _Rows, product: _Product, to: _Numbers, /) -> None: ...
def gelu_to_bytes(rows: _Rows, product: _Product, to: _Bytes, /) -> None: ...
def norm_to_bytes(rows: _Rows, product: _Product, states: _Numbers, norm: _LayerNorm, to: _Bytes, /) -> None: ...
def cpu_level() -> int: ...
