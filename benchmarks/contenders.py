"""One contender of `encode.py`: a process that loads a model once and encodes on request.

Run as ``python contenders.py NAME CHECKPOINT POOLING PRECISION``. It reads one JSON request a line, ``{"texts": file,
"max_length": tokens, "batch_size": texts or null, "repeats": times, "at_least": seconds}``. It encodes the texts
``repeats`` times and takes the median, and does so again until ``at_least`` seconds are over. It answers with the best
median, ``{"seconds": ..., "tokens": ...}``.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

from peak_memory import peak_megabytes

Encode = Callable[[list[str], int, int | None], object]


def flagvec(checkpoint: str, pooling: str, precision: str) -> Encode:
    """Return our own encoder, all three outputs; ``as chosen`` is its default format, ``int8`` that with int8."""
    from flagvec import BGEM3FlagModel

    model = BGEM3FlagModel(
        checkpoint, pooling, use_fp16=precision in ("as chosen", "int8"), use_bf16=precision == "bfloat16",
        quantization="int8" if precision == "int8" else None, return_sparse=True, return_colbert_vecs=True,
    )  # fmt: skip
    return lambda texts, length, size: model.encode(texts, size, length)


def flagvec_dense(checkpoint: str, pooling: str, precision: str) -> Encode:
    """Return our own encoder, dense vectors only."""
    from flagvec import BGEM3FlagModel

    model = BGEM3FlagModel(checkpoint, pooling, use_fp16=False, use_bf16=precision == "bfloat16")
    return lambda texts, length, size: model.encode(texts, size, length)


def flagembedding(checkpoint: str, pooling: str, precision: str) -> Encode:
    """Return FlagEmbedding, all three outputs; on a CPU it always computes in float32."""
    import FlagEmbedding
    from FlagEmbedding import BGEM3FlagModel

    assert "flagvec" not in sys.modules, f"{FlagEmbedding.__file__} is our alias"
    model = BGEM3FlagModel(
        checkpoint, pooling_method=pooling, use_fp16=precision != "float32", devices="cpu",
        return_sparse=True, return_colbert_vecs=True,
    )  # fmt: skip
    return lambda texts, length, size: model.encode(texts, batch_size=size or 256, max_length=length)


def sentence_transformers(checkpoint: str, pooling: str, precision: str) -> Encode:
    """Return sentence-transformers, which gives dense vectors only."""
    import torch
    from sentence_transformers import SentenceTransformer, models

    transformer = models.Transformer(checkpoint, model_args={"dtype": getattr(torch, precision)})
    model = SentenceTransformer(
        modules=[transformer, models.Pooling(transformer.get_word_embedding_dimension(), pooling)], device="cpu"
    )

    def encode(texts: list[str], length: int, size: int | None) -> object:
        model.max_seq_length = length
        return model.encode(texts, batch_size=size or 32, show_progress_bar=False)

    return encode


def openvino(checkpoint: str, pooling: str, precision: str) -> Encode:
    """Return OpenVINO on padded batches sorted by length, the three heads in numpy."""
    import numpy as np
    import openvino
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    backbone = AutoModel.from_pretrained(checkpoint, add_pooling_layer=False).eval()
    example = {
        "input_ids": torch.ones((2, 8), dtype=torch.long),
        "attention_mask": torch.ones((2, 8), dtype=torch.long),
    }
    hint = "bf16" if precision == "bfloat16" else "f32"
    compiled = openvino.Core().compile_model(
        openvino.convert_model(backbone, example_input=example), "CPU", {"INFERENCE_PRECISION_HINT": hint}
    )
    heads = {
        name: torch.load(Path(checkpoint) / f"{name}_linear.pt")["weight"].numpy() for name in ("sparse", "colbert")
    }

    def encode(texts: list[str], length: int, size: int | None) -> object:
        order = np.argsort([-len(text) for text in texts])
        results = []
        for start in range(0, len(texts), size or 16):
            chosen = [texts[position] for position in order[start : start + (size or 16)]]
            inputs = tokenizer(chosen, padding=True, truncation=True, max_length=length, return_tensors="np")
            states = compiled({"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]})[0]
            results.append((states[:, 0], states @ heads["sparse"].T, states[:, 1:] @ heads["colbert"].T))
        return results

    return encode


def bound(checkpoint: str, pooling: str, precision: str) -> Encode:
    """Return the bare matrix products of the encoder's linear layers over the same tokens, and nothing else."""
    import torch
    from torch import nn
    from transformers import AutoConfig, AutoTokenizer

    from flagvec.engine.prepacked import PrepackedLinear, can_prepack

    config = AutoConfig.from_pretrained(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    width, wide, dtype = config.hidden_size, config.intermediate_size, getattr(torch, precision)
    # Each layer has its own weights, because reading them takes most of the time of a short query.
    shapes = ((3 * width, width), (width, width), (wide, width), (width, wide)) * config.num_hidden_layers
    plain = (nn.Linear(columns, rows, dtype=dtype).requires_grad_(False) for rows, columns in shapes)
    layers = [PrepackedLinear(layer) for layer in plain] if can_prepack(torch.device("cpu"), dtype) else list(plain)
    budget = 2_048
    inputs = {columns: torch.randn(budget, columns, dtype=dtype) for columns in (width, wide)}
    counted: dict[int, int] = {}

    def encode(texts: list[str], length: int, size: int | None) -> object:
        key = hash(tuple(texts)) ^ length
        if key not in counted:
            counted[key] = sum(map(len, tokenizer(texts, truncation=True, max_length=length)["input_ids"]))
        started = time.perf_counter()
        for start in range(0, counted[key], budget):
            rows = min(budget, counted[key] - start)
            for layer, (_, columns) in zip(layers, shapes, strict=True):
                layer(inputs[columns][:rows])
        return {"seconds": time.perf_counter() - started, "tokens": counted[key]}

    return encode


CONTENDERS = {
    contender.__name__: contender
    for contender in (flagvec, flagvec_dense, flagembedding, sentence_transformers, openvino, bound)
}


def main(name: str, checkpoint: str, pooling: str, precision: str) -> None:
    """Answer requests until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    encode = CONTENDERS[name](checkpoint, pooling, precision)
    print(json.dumps({"ready": name}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(encode, json.loads(line))), file=answers, flush=True)


def _answer(encode: Encode, request: dict[str, Any]) -> dict[str, Any]:
    texts = json.loads(Path(request["texts"]).read_text(encoding="utf-8"))
    answers: list[dict[str, Any]] = []
    began = time.perf_counter()
    while not answers or time.perf_counter() - began < request["at_least"]:
        times = [_timed(encode, texts, request["max_length"], request["batch_size"]) for _ in range(request["repeats"])]
        answers.append(times[0] | {"seconds": statistics.median(answer["seconds"] for answer in times)})
    best = min(answers, key=itemgetter("seconds"))
    return best | {"peak_mb": peak_megabytes()}


def _timed(encode: Encode, texts: list[str], max_length: int, batch_size: int | None) -> dict[str, Any]:
    started = time.perf_counter()
    result = encode(texts, max_length, batch_size)
    seconds = time.perf_counter() - started
    # The bound times itself, because it first counts the tokens of the texts.
    is_bound = isinstance(result, dict) and "tokens" in result
    return {"seconds": result["seconds"], "tokens": result["tokens"]} if is_bound else {"seconds": seconds}


if __name__ == "__main__":
    main(*sys.argv[1:])
