"""Wrong arguments are refused before any work, naming what was given and what to give."""

import math

import pandas
import pyarrow
import pytest

from flagvec import BGEM3FlagModel, FlagModel, ModelNotFoundError

METHODS = {"encode": "sentences", "encode_queries": "queries", "encode_corpus": "corpus"}


@pytest.fixture(params=["tiny_bert", "tiny_m3"])
def model(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (None, "NoneType"),
        (b"bytes", "bytes"),
        (5, "int"),
        (math.nan, "float"),
        (["nested"], "list"),
        (("a", "b"), "tuple"),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_an_item_that_is_no_str_is_refused_with_its_position(model, method, bad, kind):
    with pytest.raises(TypeError, match=rf"{METHODS[method]}\[2\] is {kind}, not str"):
        getattr(model, method)(["good", "good", bad, "good"])


@pytest.mark.parametrize(("bad", "kind"), [(None, "NoneType"), (b"bytes", "bytes"), (5, "int"), ({"a": 1}, "dict")])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_neither_str_nor_iterable_is_refused(model, method, bad, kind):
    with pytest.raises(TypeError, match=f"{METHODS[method]} takes a str or a list of str, not {kind}"):
        getattr(model, method)(bad)


@pytest.mark.parametrize(
    "table",
    [pandas.DataFrame({"text": ["a"], "id": [1]}), pyarrow.table({"text": ["a"], "id": [1]})],
    ids=["pandas", "arrow"],
)
@pytest.mark.parametrize("method", METHODS)
def test_a_table_is_refused_with_its_columns_because_it_iterates_over_them(model, method, table):
    kind = type(table).__name__
    with pytest.raises(
        TypeError, match=rf"{METHODS[method]} is a {kind} with the columns 'text', 'id', not a list: pass one column"
    ):
        getattr(model, method)(table)


def test_a_table_is_refused_in_a_stream(tiny_bert):
    with pytest.raises(TypeError, match="sentences is a DataFrame with the columns 'text'"):
        next(tiny_bert.encode_stream(pandas.DataFrame({"text": ["a"]})))


@pytest.mark.parametrize("form", [set, frozenset])
@pytest.mark.parametrize("method", METHODS)
def test_a_set_is_refused_because_it_has_no_order(model, method, form):
    argument = METHODS[method]
    with pytest.raises(TypeError, match=rf"{argument} is a {form.__name__}, which has no order.*sorted\({argument}\)"):
        getattr(model, method)(form(["a", "b"]))


def test_nothing_is_encoded_before_all_texts_are_checked(tiny_bert, monkeypatch):
    monkeypatch.setattr(tiny_bert, "_tokenize", None)
    with pytest.raises(TypeError, match=r"sentences\[1000\] is int"):
        tiny_bert.encode(["good"] * 1000 + [5])


@pytest.mark.parametrize("max_length", [513, 8192, 2, 0, -1, 12.0, "12", math.inf])
@pytest.mark.parametrize("method", METHODS)
def test_a_max_length_the_model_cannot_take_is_refused_with_its_limits(model, method, max_length):
    with pytest.raises(ValueError, match=r"max_length=.*: this model takes 3 to 512 tokens a text"):
        getattr(model, method)(["a text"], max_length=max_length)


@pytest.mark.parametrize("argument", ["query_max_length", "passage_max_length"])
@pytest.mark.parametrize("value", [513, 2])
def test_the_models_own_lengths_are_held_to_its_limit(tiny_bert_directory, argument, value):
    with pytest.raises(ValueError, match=f"{argument}={value}: this model takes 3 to 512 tokens"):
        FlagModel(tiny_bert_directory, **{argument: value})


@pytest.mark.parametrize("argument", ["max_query_length", "max_passage_length"])
def test_the_lengths_of_pairs_are_held_to_the_models_limit(tiny_m3, argument):
    with pytest.raises(ValueError, match="max_length=513: this model takes 3 to 512 tokens"):
        tiny_m3.compute_score(("a", "b"), **{argument: 513})


def test_a_text_at_the_models_limit_encodes(model):
    assert model.encode(["word " * 1000], max_length=512)[0] is not None


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, "8", True])
def test_a_batch_size_that_is_none_is_refused(model, tiny_bert_directory, batch_size):
    expected = "give a whole number of texts, at least 1"
    with pytest.raises(ValueError, match=expected):
        model.encode(["a text"], batch_size=batch_size)
    with pytest.raises(ValueError, match=expected):
        FlagModel(tiny_bert_directory, batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [2**31, 2**64, pytest.param(10**5000, id="5,000 digits")])
def test_a_batch_size_that_numpy_cannot_count_is_refused(model, batch_size):
    for call in (model.encode, lambda texts, batch_size: list(model.encode_stream(texts, batch_size))):
        with pytest.raises(ValueError, match=r"batch_size=.*: give a number of texts up to 2,147,483,647"):
            call(["a text"], batch_size)


def test_asking_for_no_representation_is_refused(tiny_m3):
    with pytest.raises(ValueError, match="set one of return_dense, return_sparse, return_colbert_vecs"):
        tiny_m3.encode(["a text"], return_dense=False, return_sparse=False, return_colbert_vecs=False)


@pytest.mark.parametrize("truncate_dim", [0, -1, 49])
def test_a_truncation_the_vectors_cannot_have_is_refused(tiny_bert_directory, truncate_dim):
    with pytest.raises(ValueError, match=f"truncate_dim={truncate_dim}: this model's vectors have 1 to 48 dimensions"):
        FlagModel(tiny_bert_directory, truncate_dim=truncate_dim)


@pytest.mark.parametrize("truncate_dim", [2.5, True, "8"])
def test_a_truncation_that_is_no_whole_number_is_refused(tiny_bert_directory, truncate_dim):
    with pytest.raises(ValueError, match="this model's vectors have 1 to 48 dimensions"):
        FlagModel(tiny_bert_directory, truncate_dim=truncate_dim)


@pytest.mark.parametrize("pooling", ["last", "CLS", "", None])
def test_an_unknown_pooling_is_refused_with_the_known_ones(tiny_bert_directory, pooling):
    with pytest.raises(ValueError, match=r"pooling_method=.*: choose 'cls' or 'mean'"):
        FlagModel(tiny_bert_directory, pooling_method=pooling)


@pytest.mark.parametrize("model_class", [FlagModel, BGEM3FlagModel])
@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("bge-m4", "bge-m3"),
        ("bge-large-en-v15", "bge-large-en-v1.5"),
        ("multilingual-e5", "multilingual-e5-base"),
        ("BAAI/bge-m33", "bge-m3"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_ones(model_class, name, nearest):
    with pytest.raises(
        ModelNotFoundError, match=f"model '{name}' was not found: .*the nearest known names are .*{nearest}"
    ):
        model_class(name)


@pytest.mark.parametrize(
    "name", ["zzzzzzzz", "./no/such/directory", "/no/such/directory", "~/no/such", "a/b/c", "a\0b"]
)
def test_a_name_like_no_other_is_refused_saying_where_names_are(name):
    with pytest.raises(ModelNotFoundError, match=r"flagvec\.list_models\(\) shows the known names"):
        FlagModel(name)


def test_a_repository_that_is_not_cached_says_that_the_hub_was_not_reached():
    with pytest.raises(ModelNotFoundError, match="'someone/unheard-of' is not in the local cache, and the Hub was not"):
        FlagModel("someone/unheard-of")


def test_an_empty_name_is_refused_as_a_name():
    with pytest.raises(ModelNotFoundError):
        FlagModel("")
