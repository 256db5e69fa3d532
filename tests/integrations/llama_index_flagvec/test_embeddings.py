"""A model as LlamaIndex's embedding model: what it gives, and how it is serialised, copied and sent elsewhere."""

import copy
import json
import pickle

import numpy as np
import pytest
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.core.storage.kvstore import SimpleKVStore

from flagvec import BGEM3FlagModel, FlagModel, ModelNotFoundError
from llama_index_flagvec import ColbertRerank, DeferredEmbedding, FlagEmbedding, M3SparseEmbedding

TEXTS = ["How to cook rice.", "Rinse it first.", ""]


@pytest.fixture(params=["FlagModel", "BGEM3FlagModel"])
def model(request, tiny_bert, tiny_m3):
    return tiny_bert if request.param == "FlagModel" else tiny_m3


def dense(output):
    return output["dense_vecs"] if isinstance(output, dict) else output


def test_texts_get_the_models_dense_vectors_as_python_floats(model):
    found = FlagEmbedding(model).get_text_embedding_batch(TEXTS)
    np.testing.assert_allclose(found, dense(model.encode_corpus(TEXTS)), rtol=0, atol=1e-6)
    assert {type(value) for row in found for value in row} == {float}


def test_a_query_gets_the_query_instruction_and_documents_theirs(tiny_bert_directory):
    model = FlagModel(
        tiny_bert_directory,
        use_fp16=False,
        query_instruction_for_retrieval="query: ",
        passage_instruction_for_retrieval="passage: ",
    )
    embedding = FlagEmbedding(model)
    for found, instructed in (
        (embedding.get_query_embedding(TEXTS[0]), "query: " + TEXTS[0]),
        (embedding.get_text_embedding(TEXTS[0]), "passage: " + TEXTS[0]),
    ):
        np.testing.assert_allclose(found, model.encode(instructed), rtol=0, atol=1e-6)


def test_the_async_methods_give_the_same(model):
    async def ask(embedding):
        return [
            await embedding.aget_query_embedding(TEXTS[0]),
            await embedding.aget_text_embedding(TEXTS[1]),
            *await embedding.aget_text_embedding_batch(TEXTS),
        ]

    import asyncio

    embedding = FlagEmbedding(model, embed_batch_size=2)
    found = asyncio.run(ask(embedding))
    expected = [
        embedding.get_query_embedding(TEXTS[0]),
        embedding.get_text_embedding(TEXTS[1]),
        *embedding.get_text_embedding_batch(TEXTS),
    ]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_a_batch_is_one_call_of_the_model(counting):
    FlagEmbedding(counting).get_text_embedding_batch(TEXTS)
    FlagEmbedding(counting, embed_batch_size=2).get_text_embedding_batch(TEXTS)
    assert counting.documents == [TEXTS, TEXTS[:2], TEXTS[2:]]


def test_nodes_are_embedded_with_the_metadata_that_is_not_excluded(tiny_m3):
    node = TextNode(text="Rinse it.", metadata={"title": "Rice", "page": 3}, excluded_embed_metadata_keys=["page"])
    FlagEmbedding(tiny_m3)([node])
    text = node.get_content(MetadataMode.EMBED)
    assert text == "title: Rice\n\nRinse it."
    np.testing.assert_allclose(node.embedding, dense(tiny_m3.encode_corpus(text)), rtol=0, atol=1e-6)


def test_dense_and_sparse_of_one_model_share_one_pass(counting):
    embedding, sparse = FlagEmbedding(counting), M3SparseEmbedding(counting)
    embedding.get_text_embedding_batch(TEXTS)
    sparse.get_text_embedding_batch(TEXTS)
    sparse.get_query_embedding(TEXTS[0])
    embedding.get_query_embedding(TEXTS[0])
    assert (counting.documents, counting.queries) == ([TEXTS], [[TEXTS[0]]])


def test_dict_and_json_give_an_equal_embedding(model):
    embedding = FlagEmbedding(model, embed_batch_size=7, num_workers=3)
    data = json.loads(embedding.to_json())
    assert data == embedding.to_dict()
    for again in (FlagEmbedding.from_dict(data), FlagEmbedding.from_json(embedding.to_json())):
        assert (again.embed_batch_size, again.num_workers, again.model_name) == (7, 3, embedding.model_name)
        assert type(again.model) is type(model)
        assert again.get_query_embedding(TEXTS[0]) == embedding.get_query_embedding(TEXTS[0])


def test_a_pickle_gives_an_equal_embedding(model):
    embedding = FlagEmbedding(model, embed_batch_size=7)
    again = pickle.loads(pickle.dumps(embedding))
    assert again.embed_batch_size == 7
    assert again.get_text_embedding_batch(TEXTS) == embedding.get_text_embedding_batch(TEXTS)


def test_pickle_and_dict_hold_neither_weights_nor_the_access_token(tiny_m3_directory, caplog):
    model = BGEM3FlagModel(tiny_m3_directory, token="hf_secret", local_files_only=True)
    embedding = FlagEmbedding(model, embeddings_cache=SimpleKVStore())
    embedding.get_text_embedding("kept in the cache")
    pickled = pickle.dumps(embedding)
    assert len(pickled) < 1_000
    assert b"hf_secret" not in pickled
    assert "hf_secret" not in embedding.to_json() + repr(embedding) + str(embedding.to_payload())
    # LlamaIndex logs a warning for each field that it drops from a pickle.
    assert "unpickleable" not in caplog.text


def test_copies_share_the_model_and_what_it_encoded(counting):
    embedding = FlagEmbedding(counting, embeddings_cache=SimpleKVStore())
    M3SparseEmbedding(counting)
    sparse = M3SparseEmbedding(counting)
    for again in (copy.copy(embedding), copy.deepcopy(embedding), embedding.model_copy(deep=True)):
        assert again.model is counting
        assert again.embeddings_cache is embedding.embeddings_cache
    copy.deepcopy(embedding).get_text_embedding(TEXTS[0])
    copy.deepcopy(sparse).get_text_embedding(TEXTS[0])
    assert counting.documents == [[TEXTS[0]]]


def test_a_pipelines_cache_tells_models_apart_and_knows_one_again(tiny_m3_directory, tiny_m3):
    def key(model):
        return get_transformation_hash([TextNode(id_="a", text="text")], FlagEmbedding(model))

    assert key(tiny_m3) == key(pickle.loads(pickle.dumps(tiny_m3)))
    others = [
        BGEM3FlagModel(tiny_m3_directory, use_fp16=False, normalize_embeddings=False),
        BGEM3FlagModel(tiny_m3_directory, use_fp16=False, passage_instruction_for_retrieval="passage: "),
    ]
    assert len({key(tiny_m3), *map(key, others)}) == 3


def test_a_model_of_another_class_is_not_loaded_from_a_description(counting):
    data = FlagEmbedding(counting).to_dict()
    with pytest.raises(
        ValueError, match=r"description of the model has class='.*CountingModel'.*pass the model itself"
    ):
        FlagEmbedding.from_dict(data)
    assert FlagEmbedding.from_dict(data, model=counting).model is counting


@pytest.mark.parametrize("make", [FlagEmbedding, M3SparseEmbedding, ColbertRerank])
def test_a_model_is_taken_by_its_name_or_path(make, tiny_m3_directory):
    for given in (tiny_m3_directory, str(tiny_m3_directory)):
        made = make(given)
        assert isinstance(made.model, BGEM3FlagModel)
        fields = json.loads(made.model_dump_json())
        fields.pop("class_name")
        copies = [pickle.loads(pickle.dumps(made)), make(**fields)]
        assert [again.model.model_name_or_path for again in copies] == [str(tiny_m3_directory)] * 2
    with pytest.raises(ModelNotFoundError, match="bge-m33"):
        make("bge-m33")


@pytest.mark.parametrize("given", [None, 3])
def test_something_other_than_a_model_is_refused(given):
    with pytest.raises(TypeError, match=f"model={given} is a {type(given).__name__}: pass a FlagModel"):
        FlagEmbedding(given)


def test_a_model_of_another_library_is_refused(seeded):
    with pytest.raises(TypeError, match="model is a SeededModel, which is not flagvec's: pass a FlagModel"):
        FlagEmbedding(seeded())


def test_a_repr_names_the_model_and_fits_a_screen(tiny_m3):
    name = tiny_m3.model_name_or_path
    assert repr(FlagEmbedding(tiny_m3, embed_batch_size=7)) == f"FlagEmbedding(model={name!r}, embed_batch_size=7)"
    assert repr(M3SparseEmbedding(tiny_m3)).startswith(f"M3SparseEmbedding(model={name!r}, embed_batch_size=")
    assert repr(DeferredEmbedding()) == "DeferredEmbedding()"
    assert repr(ColbertRerank(tiny_m3, top_n=2)) == f"ColbertRerank(model={name!r}, top_n=2)"


@pytest.mark.parametrize("options", [{"batch_size": 3}, {"embed_batch_size": 0}, {"embed_batch_size": 4096}], ids=str)
def test_an_unknown_option_and_one_out_of_range_are_named(tiny_m3, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        FlagEmbedding(tiny_m3, **options)


def test_a_models_larger_batch_is_cut_to_what_llama_index_takes(tiny_bert_directory):
    assert FlagEmbedding(FlagModel(tiny_bert_directory, batch_size=5_000)).embed_batch_size == 2048
