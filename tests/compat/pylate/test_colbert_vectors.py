"""`ColbertFlagModel` gives PyLate's vectors, for every setting that a checkpoint's files can have."""

import json
import shutil

import numpy as np
import pytest
import torch
from pylate import models, rank
from safetensors.torch import save_file

from flagvec import ColbertFlagModel, FlagAutoModel
from flagvec.frameworks.rerank import best_by_colbert

TOLERANCE = 1e-5
SETTINGS = {
    "defaults": {},
    "attended expansion": {"attend_to_expansion_tokens": True},
    "no expansion": {"do_query_expansion": False, "attend_to_expansion_tokens": True},
    "lengths": {"query_length": 12, "document_length": 20},
    "skip list": {"skiplist_words": ["the", "a", "not-a-token"]},
    "no skip list": {"skiplist_words": []},
    "no markers": {"query_prefix": "", "document_prefix": ""},
    "prompts": {"prompts": {"task": "find: ", "query": "unused: "}, "default_prompt_name": "task"},
}
HARD_TEXTS = [
    "",
    "  a text with spaces around it  ",
    "[MASK] what is this?",
    "a, b; c! (d)",
    "[D] [Q] marked",
    "long " * 300,
]


def assert_same_vectors(directory, golden):
    theirs = models.ColBERT(str(directory), device="cpu")
    ours = FlagAutoModel.from_finetuned(directory, use_fp16=False)
    assert isinstance(ours, ColbertFlagModel)
    for is_query, own in ((True, golden.queries), (False, golden.texts)):
        texts = [*own, *HARD_TEXTS]
        expected = theirs.encode(texts, is_query=is_query)
        found = (ours.encode_queries if is_query else ours.encode_corpus)(texts)["colbert_vecs"]
        assert [rows.shape for rows in found] == [rows.shape for rows in expected]
        for rows, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(rows, other, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_vectors_are_those_of_pylate(tmp_path, colbert_checkpoint, golden, settings):
    assert_same_vectors(colbert_checkpoint(tmp_path / "checkpoint", **settings), golden)


@pytest.mark.parametrize("architecture", ["xlm-roberta", "modernbert"])
def test_vectors_of_another_architecture_are_those_of_pylate(tmp_path, colbert_checkpoint, golden, architecture):
    assert_same_vectors(colbert_checkpoint(tmp_path / "checkpoint", architecture=architecture), golden)


@pytest.mark.parametrize(
    "metadata",
    [{}, {"query_token_id": "[unused1]", "doc_token_id": "[unused0]", "query_maxlen": 20, "doc_maxlen": 30}],
    ids=["defaults", "metadata"],
)
def test_vectors_of_a_stanford_checkpoint_are_those_of_pylate(tmp_path, colbert_checkpoint, golden, metadata):
    assert_same_vectors(colbert_checkpoint(tmp_path / "checkpoint", stanford=True, **metadata), golden)


def test_a_checkpoint_that_pylate_saved_gives_its_vectors(tmp_path, tiny_bert_directory, golden):
    torch.manual_seed(1)
    models.ColBERT(str(tiny_bert_directory), embedding_size=16, device="cpu").save_pretrained(str(tmp_path / "saved"))
    assert_same_vectors(tmp_path / "saved", golden)


def test_several_layers_with_activation_and_residual_give_pylates_vectors(tmp_path, colbert_checkpoint, golden):
    directory = colbert_checkpoint(tmp_path / "checkpoint")
    shutil.copytree(directory / "1_Dense", directory / "2_Dense")
    config = json.loads((directory / "1_Dense/config.json").read_text())
    config |= {"use_residual": True, "activation_function": "torch.nn.modules.activation.GELU"}
    for folder, inputs, outputs in (("1_Dense", 32, 24), ("2_Dense", 24, 24)):
        sizes = {"in_features": inputs, "out_features": outputs, "bias": True}
        (directory / folder / "config.json").write_text(json.dumps(config | sizes))
        tensors = {"linear.weight": torch.randn(outputs, inputs) / 5, "linear.bias": torch.randn(outputs)}
        if inputs != outputs:
            tensors["residual.weight"] = torch.randn(outputs, inputs) / 5
        save_file(tensors, directory / folder / "model.safetensors")
    modules = json.loads((directory / "modules.json").read_text())
    modules.append({"idx": 2, "name": "2", "path": "2_Dense", "type": "pylate.models.Dense.Dense"})
    (directory / "modules.json").write_text(json.dumps(modules))
    assert_same_vectors(directory, golden)


def test_texts_are_ordered_as_by_pylate(tmp_path, colbert_checkpoint, golden):
    directory = colbert_checkpoint(tmp_path / "checkpoint")
    theirs = models.ColBERT(str(directory), device="cpu")
    ours = FlagAutoModel.from_finetuned(directory, use_fp16=False)
    texts, query = golden.texts[:12], golden.queries[0]
    (expected,) = rank.rerank(
        documents_ids=[list(range(len(texts)))],
        queries_embeddings=theirs.encode([query], is_query=True),
        documents_embeddings=[theirs.encode(texts, is_query=False)],
    )
    found = best_by_colbert(ours, query, texts, [str(place) for place in range(len(texts))], None)
    assert [position for position, _ in found] == [result["id"] for result in expected]
    # PyLate adds up the best matches of the query's vectors, and flagvec takes their mean.
    np.testing.assert_allclose(
        [score * ours.query_max_length for _, score in found], [result["score"] for result in expected], rtol=1e-5
    )
