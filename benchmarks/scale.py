"""The arithmetic of ``SCALE.md``: one billion passages on paper. ``python benchmarks/scale.py`` prints its tables.

Each constant is a number of ``RESULTS.md`` or a size that the code fixes; ``tests/test_scale.py`` compares both files.
"""

from __future__ import annotations

from collections.abc import Iterator

PASSAGES, TOKENS = 1_000_000_000, 100
# RESULTS.md, "Texts of one length, flagvec in float16", 256 tokens, on one H200, and its share of the matrix rate.
GPU_TOKENS_A_SECOND, GPU_SHARE, WANTED_SHARE = 500_425, 0.42, 0.55
# RESULTS.md, "64 package descriptions", flagvec in bfloat16, two cores.
CPU_TOKENS_A_SECOND = 2_550
DIMENSION, WEIGHTS, TEXT_BYTES = 1_024, 55, 400
# One bit a number, and the scale of a vector.
CODE_BYTES = DIMENSION // 8 + 2
# RESULTS.md, "What ColBERT vectors cost a store": bytes a document without ColBERT vectors and with 200 of them.
ON_DISK = {
    ("Qdrant", "none"): (4_948, 4_948),
    ("Qdrant", "native"): (4_948, 490_892),
    ("Qdrant", "compact"): (4_948, 39_939),
    ("Milvus Lite", "none"): (9_235, 9_235),
    ("Milvus Lite", "compact"): (9_235, 43_909),
    ("Elasticsearch", "none"): (6_919, 6_919),
    ("Elasticsearch", "compact"): (6_919, 41_942),
}
# The same table: documents a second with compact ColBERT vectors, on two shared cores.
WRITES_A_SECOND = {"Qdrant": 1_081, "Elasticsearch": 829}
# Bytes a dense vector takes in memory, from the storage profiles of flagvec_qdrant/schema.py.
IN_MEMORY = {"accurate": DIMENSION * 4, "balanced": DIMENSION, "small": DIMENSION // 8}
# A node of an HNSW graph has twice M links of 4 bytes on its lowest level: M is 16 in Qdrant, 30 in MilvusStore.
LINKS = {"Qdrant": 16 * 2 * 4, "Milvus": 30 * 2 * 4}
LINK_BYTES_A_SECOND = 10e9 / 8


def representations() -> dict[str, float]:
    """Return the bytes that one passage takes in each representation."""
    return {
        "text": TEXT_BYTES,
        "dense, float32": DIMENSION * 4,
        "dense, float16": DIMENSION * 2,
        "lexical weights": WEIGHTS * 8,
        "ColBERT, float16": TOKENS * DIMENSION * 2,
        "ColBERT, float16, pooled by 2": TOKENS * DIMENSION,
        "ColBERT, compact": TOKENS * CODE_BYTES,
        "ColBERT, compact, as base64": TOKENS * CODE_BYTES * 4 / 3,
    }


def on_disk(database: str, colbert: str) -> float:
    """Return the bytes that one passage takes on the disk of a database, between the two that were measured."""
    without, with_200 = ON_DISK[database, colbert]
    return without + (with_200 - without) * TOKENS / 200


def tables() -> Iterator[list[str]]:
    """Yield the tables of ``SCALE.md``, each as its lines."""
    total = PASSAGES * TOKENS
    gpu, cpu = (total / rate / 3_600 for rate in (GPU_TOKENS_A_SECOND, CPU_TOKENS_A_SECOND))
    yield [
        "| encoding | hours |",
        "|---|---|",
        f"| one H200, 42 % of its matrix rate | {gpu:,.1f} |",
        f"| the same at 55 % | {gpu * GPU_SHARE / WANTED_SHARE:,.1f} |",
        f"| two CPU cores with AMX | {cpu:,.0f} |",
    ]
    rows = representations().items()
    yield [
        "| representation | bytes a passage | a billion, TB |",
        "|---|---|---|",
        *(f"| {name} | {size:,.0f} | {size * PASSAGES / 1e12:.2f} |" for name, size in rows),
    ]
    yield [
        "| database | ColBERT | bytes a passage on disk | TB | TB with two replicas |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {form} | {(size := on_disk(name, form)):,.0f} | {size * PASSAGES / 1e12:.1f} "
            f"| {2 * size * PASSAGES / 1e12:.1f} |"
            for name, form in ON_DISK
        ),
    ]
    yield [
        "| Qdrant's storage | GB of dense vectors in memory | with the graph |",
        "|---|---|---|",
        *(
            f"| {name} | {size * PASSAGES / 1e9:,.0f} | {(size + LINKS['Qdrant']) * PASSAGES / 1e9:,.0f} |"
            for name, size in IN_MEMORY.items()
        ),
    ]
    passages = GPU_TOKENS_A_SECOND / TOKENS
    yield [
        "| database | passages/s of a node of two cores | hours for a billion | such nodes that keep up with one GPU |",
        "|---|---|---|---|",
        *(
            f"| {name} | {rate:,} | {PASSAGES / rate / 3_600:,.0f} | {passages / rate:.1f} |"
            for name, rate in WRITES_A_SECOND.items()
        ),
    ]
    sizes = representations()
    sent = sum(sizes[name] for name in ("text", "dense, float32", "lexical weights"))
    native, compact = sent + sizes["ColBERT, float16"], sent + sizes["ColBERT, compact, as base64"]
    yield [
        "| sent to the database | bytes a passage | TB | hours on 10 Gbit/s | MB/s of one GPU's passages |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {size:,.0f} | {size * PASSAGES / 1e12:.1f} "
            f"| {size * PASSAGES / LINK_BYTES_A_SECOND / 3_600:.1f} | {size * passages / 1e6:,.0f} |"
            for name, size in (("no ColBERT", sent), ("compact", compact), ("native", native))
        ),
    ]


if __name__ == "__main__":
    for table in tables():
        print("\n".join(table), end="\n\n")
