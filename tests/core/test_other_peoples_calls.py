"""The calls that programs written for FlagEmbedding make, as they make them, on the classes of the alias.

Packages that can be installed beside the tests run unmodified in tests/compat; what is here are those that cannot
(xinference and lazyllm are servers), and habits found in many programs.
"""

import inspect
import json
from contextlib import contextmanager

import numpy as np
import pytest

TEXTS = ["Bread is baked in a hot oven.", "Rice is cooked in water.", ""]


@contextmanager
def xinferences_patch():
    """Replace `AutoModel.from_pretrained` while a model loads, as xinference 4.1 does to even out `torch_dtype`."""
    from transformers import AutoModel

    kept, original = inspect.getattr_static(AutoModel, "from_pretrained"), AutoModel.from_pretrained

    def from_pretrained(cls, *arguments, **keywords):
        keywords.setdefault("dtype", keywords.pop("torch_dtype", "auto"))
        return original(*arguments, **keywords)

    AutoModel.from_pretrained = classmethod(from_pretrained)
    try:
        yield
    finally:
        AutoModel.from_pretrained = kept


@pytest.fixture
def xinferences_model(tiny_m3_directory):
    from FlagEmbedding import BGEM3FlagModel

    with xinferences_patch():
        return BGEM3FlagModel(str(tiny_m3_directory), device="cpu", trust_remote_code=True, return_sparse=True)


def test_xinference_finds_the_models_that_it_may_serve():
    from FlagEmbedding.inference.embedder.model_mapping import support_native_bge_model_list

    assert {"bge-m3", "bge-large-zh-v1.5", "bge-small-en"} <= set(support_native_bge_model_list())
    assert not {"bge-en-icl", "bge-code-v1"} & set(support_native_bge_model_list())


def test_xinference_gets_dense_rows(xinferences_model):
    rows = [row.tolist() for row in xinferences_model.encode(TEXTS)["dense_vecs"]]
    assert [len(row) for row in rows] == [48] * 3


def test_xinference_gets_lexical_weights(xinferences_model):
    weights = xinferences_model.encode(TEXTS, return_sparse=True)["lexical_weights"]
    served = [{token: float(weight) for token, weight in of_text.items()} for of_text in weights]
    assert served[0] and served[1] and served[2] == {}
    assert json.loads(json.dumps(served))[0].keys() == {str(token) for token in served[0]}


def test_xinference_serves_a_checkpoint_without_heads_through_the_same_class(tiny_bert_directory):
    from FlagEmbedding import BGEM3FlagModel, FlagModel

    with xinferences_patch():
        model = BGEM3FlagModel(str(tiny_bert_directory), device="cpu", trust_remote_code=False, return_sparse=False)
    expected = FlagModel(tiny_bert_directory, devices="cpu").encode(TEXTS)
    np.testing.assert_allclose(model.encode(TEXTS)["dense_vecs"], expected, atol=1e-5)


@pytest.fixture(scope="module")
def lazyllms_model(tiny_m3_directory):
    import FlagEmbedding

    return FlagEmbedding.FlagAutoModel.from_finetuned(str(tiny_m3_directory), use_fp16=False, devices=["cpu"])


@pytest.mark.parametrize(("given", "shape"), [(TEXTS, (3, 48)), (TEXTS[0], (48,))], ids=["list", "str"])
def test_lazyllm_gets_dense_rows(lazyllms_model, given, shape):
    assert np.shape(lazyllms_model.encode(given, return_sparse=False)["dense_vecs"].tolist()) == shape


def test_lazyllm_sends_the_lexical_weights_of_a_list_as_json(lazyllms_model):
    weights = lazyllms_model.encode(TEXTS, return_sparse=True)["lexical_weights"]
    received = json.loads(json.dumps([dict(of_text) for of_text in weights], default=float))
    assert [{int(token): weight for token, weight in of_text.items()} for of_text in received] == weights


def test_lazyllm_sends_the_lexical_weights_of_one_text_as_json(lazyllms_model):
    weights = lazyllms_model.encode(TEXTS[0], return_sparse=True)["lexical_weights"]
    received = json.loads(json.dumps(dict(weights), default=float))
    assert {int(token): weight for token, weight in received.items()} == weights


def test_a_program_may_take_products_of_what_flagmodel_gives(tiny_bert_directory):
    from FlagEmbedding import FlagModel

    model = FlagModel(str(tiny_bert_directory), query_instruction_for_retrieval="search: ", use_fp16=False)
    assert (model.encode_queries(TEXTS[:2]) @ model.encode_corpus(TEXTS).T).shape == (2, 3)


def test_a_program_may_subclass_flagmodel(tiny_bert_directory):
    from FlagEmbedding import FlagModel

    class Embedder(FlagModel):
        def embed_documents(self, texts):
            return self.encode(texts).tolist()

    assert len(Embedder(str(tiny_bert_directory), use_fp16=False).embed_documents(TEXTS)) == 3


def test_a_program_may_score_pairs_with_weights(tiny_m3):
    scores = tiny_m3.compute_score(
        [["baking", text] for text in TEXTS], max_passage_length=128, weights_for_different_modes=[0.4, 0.2, 0.4]
    )
    assert sorted(scores) == ["colbert", "colbert+sparse+dense", "dense", "sparse", "sparse+dense"]
    assert all(type(score) is float for score in scores["colbert+sparse+dense"])


def test_a_class_may_be_named_by_upstreams_enum(tiny_m3_directory):
    from FlagEmbedding import BGEM3FlagModel, EmbedderModelClass, FlagAutoModel

    model = FlagAutoModel.from_finetuned(tiny_m3_directory, model_class=EmbedderModelClass.ENCODER_ONLY_M3)
    assert type(model) is BGEM3FlagModel


def test_a_program_may_stop_the_pool_and_go_on(tiny_m3):
    tiny_m3.stop_self_pool()
    assert tiny_m3.encode(TEXTS)["dense_vecs"].shape == (3, 48)


def test_encoding_on_a_single_device_is_encoding(tiny_m3):
    found = tiny_m3.encode_single_device(TEXTS, 2, 64, return_sparse=True, device="cpu")
    expected = tiny_m3.encode(TEXTS, 2, 64, return_sparse=True)
    np.testing.assert_array_equal(found["dense_vecs"], expected["dense_vecs"])
    assert found["lexical_weights"] == expected["lexical_weights"]


def test_encoding_on_another_device_than_the_models_is_refused(tiny_m3):
    with pytest.raises(ValueError, match=r"device='cuda:0': this model runs on cpu"):
        tiny_m3.encode_single_device(TEXTS, device="cuda:0")


@pytest.mark.parametrize("name", ["start_multi_process_pool", "encode_multi_process", "stop_multi_process_pool"])
def test_a_call_for_worker_processes_says_what_to_do_instead(tiny_m3, name):
    assert not hasattr(tiny_m3, name)
    with pytest.raises(AttributeError, match=f"there is no {name}, because .* no worker processes: call encode"):
        getattr(tiny_m3, name)()
