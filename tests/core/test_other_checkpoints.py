"""Equality with a plain reference, one text at a time, on random checkpoints of each architecture."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from flagvec import BGEM3FlagModel, FlagModel

TOLERANCE = 1e-5
ARCHITECTURES = ("bert", "xlm-roberta", "gte", "modernbert", "nomic_bert")
WITH_HEADS = ("xlm-roberta", "bert")
MIXED_TEXTS = [
    "a", "", "one hybrid search over dense, sparse and multi-vector representations of a text", "word " * 300, "b",
    "日本語のテキスト と emoji 🎉", "the library compiles the library", "x" * 200, "1 2 3", "tab\tnewline\nend", " ",
]  # fmt: skip


class PlainReference:
    """FlagEmbedding's formulas, written out for a single text: no batch, no padding, no engine."""

    def __init__(self, directory):
        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        self.backbone = AutoModel.from_pretrained(directory).eval()
        self.heads = {path.stem: torch.load(path, weights_only=True) for path in directory.glob("*_linear.pt")}

    @torch.inference_mode()
    def hidden_states(self, text, max_length):
        encoding = self.tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
        return encoding["input_ids"][0].tolist(), self.backbone(**encoding).last_hidden_state[0]

    def dense(self, text, max_length=512, pooling="cls", normalize=True):
        _, states = self.hidden_states(text, max_length)
        vector = states[0] if pooling == "cls" else states.mean(dim=0)
        return (vector / vector.norm() if normalize else vector).numpy()

    def lexical(self, text, max_length=512):
        ids, states = self.hidden_states(text, max_length)
        head, special = self.heads["sparse_linear"], self.tokenizer
        left_out = {special.cls_token_id, special.eos_token_id, special.pad_token_id, special.unk_token_id}
        strongest = {}
        for token, weight in zip(ids, torch.relu(states @ head["weight"][0] + head["bias"]).tolist(), strict=True):
            if token not in left_out and weight > strongest.get(token, 0.0):
                strongest[token] = weight
        return strongest

    def colbert(self, text, max_length=512):
        _, states = self.hidden_states(text, max_length)
        head = self.heads["colbert_linear"]
        vectors = states[1:] @ head["weight"].T + head["bias"]
        return (vectors / vectors.norm(dim=1, keepdim=True)).numpy()


@pytest.fixture(scope="module")
def directories(tmp_path_factory, build_checkpoint):
    root = tmp_path_factory.mktemp("random")
    return {
        name: build_checkpoint(root / name, name, heads=name in WITH_HEADS, seed=21 + i)
        for i, name in enumerate(ARCHITECTURES)
    }


@pytest.fixture(scope="module", params=WITH_HEADS)
def m3_directory(directories, request):
    return directories[request.param]


@pytest.fixture(scope="module")
def m3(m3_directory):
    return BGEM3FlagModel(m3_directory, use_fp16=False, return_sparse=True, return_colbert_vecs=True)


@pytest.fixture(scope="module")
def reference(m3_directory):
    return PlainReference(m3_directory)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_dense_vectors_equal_the_reference(directories, architecture, pooling, normalize):
    model = FlagModel(directories[architecture], pooling, normalize, use_fp16=False)
    plain = PlainReference(directories[architecture])
    expected = [plain.dense(text, pooling=pooling, normalize=normalize) for text in MIXED_TEXTS]
    np.testing.assert_allclose(model.encode(MIXED_TEXTS), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("max_length", [512, 20, 3])
def test_lexical_weights_equal_the_reference(m3, reference, max_length):
    found = m3.encode(MIXED_TEXTS, max_length=max_length)["lexical_weights"]
    for text, weights in zip(MIXED_TEXTS, found, strict=True):
        assert weights == pytest.approx(reference.lexical(text, max_length), rel=0, abs=TOLERANCE)


@pytest.mark.parametrize("max_length", [512, 20, 3])
def test_colbert_vectors_equal_the_reference(m3, reference, max_length):
    found = m3.encode(MIXED_TEXTS, max_length=max_length)["colbert_vecs"]
    for text, vectors in zip(MIXED_TEXTS, found, strict=True):
        np.testing.assert_allclose(vectors, reference.colbert(text, max_length), rtol=0, atol=TOLERANCE)


def test_a_text_is_cut_where_the_tokenizer_cuts_it(m3, reference):
    text = "the quick brown fox jumps over the lazy dog and runs away"
    for max_length in range(3, 20):
        np.testing.assert_allclose(
            m3.encode(text, max_length=max_length)["dense_vecs"],
            reference.dense(text, max_length),
            rtol=0,
            atol=TOLERANCE,
        )


@pytest.mark.parametrize("batch_size", [1, 2, 3, 256])
def test_the_batch_size_changes_no_result(m3, reference, batch_size):
    output = m3.encode(MIXED_TEXTS, batch_size=batch_size)
    expected = [reference.dense(text) for text in MIXED_TEXTS]
    np.testing.assert_allclose(output["dense_vecs"], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("seed", range(3))
def test_results_come_in_the_order_of_the_texts(m3, reference, seed):
    texts = np.random.default_rng(seed).permutation(MIXED_TEXTS).tolist()
    output = m3.encode(texts, batch_size=4)
    np.testing.assert_allclose(output["dense_vecs"], [reference.dense(text) for text in texts], rtol=0, atol=TOLERANCE)
    assert [len(vectors) for vectors in output["colbert_vecs"]] == [len(reference.colbert(text)) for text in texts]
    assert [set(weights) for weights in output["lexical_weights"]] == [set(reference.lexical(text)) for text in texts]


def test_more_tokens_than_one_forward_pass_holds_give_the_same(m3, reference):
    texts = [f"{'word ' * 400} {number}" for number in range(30)]
    np.testing.assert_allclose(
        m3.encode(texts)["dense_vecs"], [reference.dense(text) for text in texts], rtol=0, atol=TOLERANCE
    )
