"""`ColbertFlagModel` against a plain reference, one text at a time; tests/compat/pylate compares it with PyLate."""

import json
import pickle
import string

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from flagvec import BGEM3FlagModel, CheckpointError, ColbertFlagModel, FlagAutoModel, FlagModel
from flagvec.frameworks.rerank import best_by_colbert

QUERIES = ["what is hybrid search?", "[MASK]", "", "long " * 60]
TEXTS = ["Rice, rinsed; then cooked!", "", " a library for zip archives ", "long " * 300]
TOLERANCE = 1e-5


class PlainReference:
    """PyLate's way, written out for a single text: no batch, no padding, no engine."""

    def __init__(self, directory, attends=False):
        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        self.backbone = AutoModel.from_pretrained(directory).eval()
        self.head = load_file(directory / "1_Dense" / "model.safetensors")["linear.weight"]
        self.attends = attends

    def ids(self, text, marker, length):
        ids = self.tokenizer(text.strip(), truncation=True, max_length=length - 1)["input_ids"]
        return [ids[0], self.tokenizer.convert_tokens_to_ids(marker), *ids[1:]]

    @torch.inference_mode()
    def vectors(self, ids, attended):
        states = self.backbone(input_ids=torch.tensor([ids]), attention_mask=torch.tensor([attended]))
        return torch.nn.functional.normalize(states.last_hidden_state[0] @ self.head.T, dim=1).numpy()

    def query(self, text, length=32):
        ids = self.ids(text, "[Q] ", length)
        masks = length - len(ids)
        return self.vectors(ids + [self.tokenizer.mask_token_id] * masks, [1] * len(ids) + [int(self.attends)] * masks)

    def document(self, text, length=180):
        ids = self.ids(text, "[D] ", length)
        skipped = set(self.tokenizer.convert_tokens_to_ids(list(string.punctuation)))
        return self.vectors(ids, [1] * len(ids))[[token not in skipped for token in ids]]


@pytest.fixture(scope="module")
def directory(tmp_path_factory, colbert_checkpoint):
    return colbert_checkpoint(tmp_path_factory.mktemp("colbert") / "mine")


@pytest.fixture(scope="module")
def model(directory):
    return FlagAutoModel.from_finetuned(directory, use_fp16=False)


def assert_close(found, expected):
    assert [rows.shape for rows in found] == [rows.shape for rows in expected]
    for rows, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(rows, other, atol=TOLERANCE)


def test_the_class_is_chosen_by_the_layout(model, directory):
    assert isinstance(model, ColbertFlagModel)
    assert (model.representations, model.colbert_dimension) == ({"colbert"}, 8)
    assert (model.query_max_length, model.passage_max_length) == (32, 180)


def test_a_query_gets_a_vector_of_each_mask_token_that_fills_it_up(model, directory):
    reference = PlainReference(directory)
    assert_close(model.encode_queries(QUERIES)["colbert_vecs"], [reference.query(text) for text in QUERIES])


def test_a_document_gets_no_vector_of_punctuation(model, directory):
    reference = PlainReference(directory)
    assert_close(model.encode_corpus(TEXTS)["colbert_vecs"], [reference.document(text) for text in TEXTS])


def test_many_queries_give_what_each_gives_alone(model):
    queries = [f"query {number}" for number in range(21)]
    assert_close(
        model.encode_queries(queries)["colbert_vecs"],
        [model.encode_queries(query)["colbert_vecs"] for query in queries],
    )


def test_tokens_attend_to_the_masks_if_the_checkpoint_says_so(tmp_path, colbert_checkpoint):
    directory = colbert_checkpoint(tmp_path / "mine", attend_to_expansion_tokens=True)
    model = FlagAutoModel.from_finetuned(directory, use_fp16=False)
    reference = PlainReference(directory, attends=True)
    assert_close(model.encode_queries(QUERIES)["colbert_vecs"], [reference.query(text) for text in QUERIES])


def test_lengths_that_are_given_count_before_the_checkpoints(directory):
    model = ColbertFlagModel(directory, use_fp16=False, query_max_length=16, passage_max_length=20)
    reference = PlainReference(directory)
    assert_close(model.encode_queries(QUERIES)["colbert_vecs"], [reference.query(text, 16) for text in QUERIES])
    assert_close(model.encode_corpus(TEXTS)["colbert_vecs"], [reference.document(text, 20) for text in TEXTS])
    assert model.encode_corpus(TEXTS).truncated == (3,)


def test_a_stanford_checkpoint_has_its_head_among_its_weights(tmp_path, colbert_checkpoint, model):
    directory = colbert_checkpoint(tmp_path / "stanford", stanford=True, query_maxlen=20)
    stanford = FlagAutoModel.from_finetuned(directory, use_fp16=False)
    assert (type(stanford), stanford.query_max_length, stanford.passage_max_length) == (ColbertFlagModel, 20, 180)
    assert_close(stanford.encode_corpus(TEXTS)["colbert_vecs"], model.encode_corpus(TEXTS)["colbert_vecs"])


def test_a_repository_is_loaded_by_its_name(tmp_path, directory, add_to_hub, model):
    add_to_hub(tmp_path / "hub", "someone/colbert", directory)
    found = FlagAutoModel.from_finetuned("someone/colbert", cache_dir=tmp_path / "hub", use_fp16=False)
    assert_close(found.encode(TEXTS)["colbert_vecs"], model.encode(TEXTS)["colbert_vecs"])


def test_half_precision_is_near_float32(directory, model):
    half = FlagAutoModel.from_finetuned(directory, use_bf16=True)
    for encode in ("encode_queries", "encode_corpus"):
        for rows, other in zip(
            getattr(half, encode)(TEXTS)["colbert_vecs"], getattr(model, encode)(TEXTS)["colbert_vecs"], strict=True
        ):
            np.testing.assert_allclose(rows, other, atol=0.06)


def test_tensors_stay_on_the_device(model):
    rows = model.encode("a text", convert_to_numpy=False)["colbert_vecs"]
    assert isinstance(rows, torch.Tensor)
    np.testing.assert_array_equal(rows.numpy(), model.encode("a text")["colbert_vecs"])


def test_a_stream_gives_what_the_list_gives(model):
    streamed = [rows for batch in model.encode_stream(TEXTS, batch_size=2) for rows in batch["colbert_vecs"]]
    assert_close(streamed, model.encode_corpus(TEXTS)["colbert_vecs"])


def test_texts_are_reranked(model):
    texts = ["rice is cooked in water", "a library for zip archives", "what is hybrid search?"]
    best = best_by_colbert(model, "a library for zip archives", texts, ["0", "1", "2"], 2)
    assert len(best) == 2
    assert best[0][0] == 1


def test_a_score_is_the_mean_of_the_best_matches(model):
    query, document = model.encode_queries(QUERIES[0]), model.encode_corpus(TEXTS[0])
    expected = (query["colbert_vecs"] @ document["colbert_vecs"].T).max(axis=1).mean()
    assert model.compute_score(query, document) == pytest.approx(expected)
    assert model.compute_score((QUERIES[0], TEXTS[0])) == {"colbert": pytest.approx(expected)}
    assert model.compute_score([(QUERIES[0], TEXTS[0])] * 2) == {"colbert": [pytest.approx(expected)] * 2}


def test_a_pickled_model_gives_the_same(model):
    found = pickle.loads(pickle.dumps(model)).encode_queries(QUERIES)
    assert_close(found["colbert_vecs"], model.encode_queries(QUERIES)["colbert_vecs"])


@pytest.mark.parametrize("asked", [{"return_dense": True}, {"return_sparse": True}, {"return_colbert_vecs": False}])
def test_other_representations_are_refused(model, asked):
    with pytest.raises(CheckpointError, match="gives ColBERT vectors and nothing else"):
        model.encode(TEXTS, **asked)


def test_a_store_is_refused_because_it_needs_dense_vectors(model):
    from flagvec.store.schema import Schema

    with pytest.raises(CheckpointError, match="gives ColBERT vectors only, and a store needs a dense vector"):
        Schema.of(model)


def test_a_pooling_method_is_refused(directory):
    with pytest.raises(ValueError, match="keeps a vector of every token; leave pooling_method out"):
        FlagAutoModel.from_finetuned(directory, pooling_method="cls")


def test_another_checkpoint_is_refused(tiny_bert_directory):
    with pytest.raises(CheckpointError, match="is no ColBERT checkpoint"):
        ColbertFlagModel(tiny_bert_directory)


@pytest.mark.parametrize("model_class", [FlagModel, BGEM3FlagModel])
def test_a_class_with_dense_vectors_refuses_the_checkpoint(directory, model_class):
    with pytest.raises(CheckpointError, match="load it as a ColbertFlagModel"):
        model_class(directory)


def test_a_marker_that_is_no_token_is_refused(tmp_path, colbert_checkpoint):
    directory = colbert_checkpoint(tmp_path / "mine", document_prefix="[Doc] ")
    with pytest.raises(CheckpointError, match=r"the tokenizer has no token '\[Doc\] '"):
        ColbertFlagModel(directory)


def test_a_setting_of_another_type_is_refused(tmp_path, colbert_checkpoint):
    directory = colbert_checkpoint(tmp_path / "mine", query_length="32")
    with pytest.raises(CheckpointError, match="query_length is '32'"):
        ColbertFlagModel(directory)


def test_a_stanford_checkpoint_without_its_head_is_refused(tmp_path, build_checkpoint):
    directory = build_checkpoint(tmp_path / "mine", "bert")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"architectures": ["HF_ColBERT"]}))
    with pytest.raises(CheckpointError, match=r"gives no 'linear\.weight'"):
        ColbertFlagModel(directory)


def test_vectors_are_cut_to_their_first_dimensions(tmp_path, colbert_checkpoint):
    directory = colbert_checkpoint(tmp_path / "colbert")
    whole = ColbertFlagModel(directory, use_fp16=False, normalize_embeddings=False).encode(TEXTS)["colbert_vecs"]
    model = ColbertFlagModel(directory, use_fp16=False, normalize_embeddings=False, truncate_dim=3)
    assert model.colbert_dimension == 3
    for rows, expected in zip(model.encode(TEXTS)["colbert_vecs"], whole, strict=True):
        np.testing.assert_allclose(rows, expected[:, :3], atol=TOLERANCE)


def test_more_dimensions_than_the_vectors_have_are_refused(tmp_path, colbert_checkpoint):
    with pytest.raises(ValueError, match="truncate_dim=9: this model's vectors have 1 to 8 dimensions"):
        ColbertFlagModel(colbert_checkpoint(tmp_path / "colbert"), use_fp16=False, truncate_dim=9)
