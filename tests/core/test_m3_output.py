"""`M3Output`: a dict of representations that also indexes by text."""

import copy
import json
import pickle

import numpy as np
import pytest

from flagvec import M3Output

KEYS = ("dense_vecs", "lexical_weights", "colbert_vecs")


def batch_of(size):
    """Return an output of `size` texts whose values tell the texts apart."""
    return M3Output(
        dense_vecs=np.arange(size * 2, dtype=np.float32).reshape(size, 2),
        lexical_weights=[{number: 0.5} for number in range(size)],
        colbert_vecs=[np.full((number + 1, 2), number, dtype=np.float32) for number in range(size)],
    )


def texts_in(output):
    """Return which texts of `batch_of` an output holds, as each of its representations tells it."""
    dense = [int(row[0]) // 2 for row in output["dense_vecs"]]
    lexical = [token for weights in output["lexical_weights"] for token in weights]
    colbert = [int(vectors[0, 0]) for vectors in output["colbert_vecs"]]
    assert dense == lexical == colbert
    return dense


@pytest.fixture
def output():
    return batch_of(5)


def test_it_is_a_dict(output):
    assert isinstance(output, dict)
    assert list(output) == list(KEYS)
    assert len(output) == 3


@pytest.mark.parametrize("key", KEYS)
def test_a_representation_that_was_not_asked_for_is_missing_and_reads_as_none(key):
    output = M3Output()
    assert key not in output
    assert output[key] is None
    assert output.get(key) is None
    assert key not in output


def test_an_unknown_key_is_refused_with_the_known_ones(output):
    with pytest.raises(KeyError, match="'dense': an M3Output has the keys dense_vecs, lexical_weights, colbert_vecs"):
        output["dense"]


@pytest.mark.parametrize("index", [0, 2, 4, -1, -5, np.int64(3)])
def test_an_integer_gives_a_text_as_a_batch_of_one(output, index):
    one = output[index]
    assert isinstance(one, M3Output)
    assert one.num_texts == 1
    assert texts_in(one) == [range(5)[index]]


def test_the_first_texts_weights_are_reached_by_two_indices(output):
    assert output[0]["lexical_weights"][0] == {0: 0.5}


@pytest.mark.parametrize(
    "texts", [slice(1, 3), slice(None), slice(-2, None), slice(None, None, 2), slice(None, None, -1), slice(9, 12)]
)
def test_a_slice_gives_the_sub_batch(output, texts):
    assert texts_in(output[texts]) == list(range(5))[texts]


@pytest.mark.parametrize("index", [5, -6, 100])
def test_an_integer_outside_the_batch_is_refused(output, index):
    with pytest.raises(IndexError, match=f"index {index} is outside this output of 5 texts"):
        output[index]


def test_an_output_of_no_texts_has_no_first_one():
    with pytest.raises(IndexError, match="outside this output of 0 texts"):
        batch_of(0)[0]


@pytest.mark.parametrize("index", [1.0, None, [0, 1], (0, 1)])
def test_another_index_is_refused(output, index):
    with pytest.raises(TypeError):
        output[index]


def test_a_sub_batch_shares_its_memory(output):
    assert np.shares_memory(output[1]["dense_vecs"], output["dense_vecs"])
    assert output[1]["colbert_vecs"][0] is output["colbert_vecs"][1]


@pytest.mark.parametrize("kept", KEYS)
def test_a_sub_batch_has_the_representations_of_the_batch(output, kept):
    assert list(M3Output({kept: output[kept]})[1:3]) == [kept]


@pytest.mark.parametrize("kept", KEYS)
def test_one_representation_is_enough_to_count_texts(output, kept):
    assert M3Output({kept: output[kept]}).num_texts == 5


@pytest.mark.parametrize("kept", KEYS)
def test_an_unbatched_output_becomes_a_batch_of_one(output, kept):
    one = M3Output({kept: output[kept][3]})
    assert (one.is_batch, one.num_texts) == (False, 1)
    batch = one.as_batch()
    assert (batch.is_batch, batch.num_texts) == (True, 1)
    np.testing.assert_equal(batch[kept][0], output[kept][3])


def test_a_batch_is_its_own_batch(output):
    assert output.as_batch() is output


@pytest.mark.parametrize("index", [0, slice(1)])
def test_an_unbatched_output_has_no_texts_to_index(tiny_m3, index):
    with pytest.raises(TypeError, match=r"holds one text, encoded from a bare string: encode \[text\]"):
        tiny_m3.encode("a text")[index]


@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        *(lambda o, p=p: pickle.loads(pickle.dumps(o, p)) for p in range(pickle.HIGHEST_PROTOCOL)),
    ],
)
def test_a_copy_is_an_output_of_the_same_texts(output, copied):
    again = copied(output)
    assert type(again) is M3Output
    assert texts_in(again[1:]) == [1, 2, 3, 4]


def test_a_batch_is_shown_by_its_shapes(output):
    assert repr(output) == (
        "M3Output(5 texts: dense_vecs (5, 2) float32, lexical_weights 5 dicts, 1.0 tokens on average, "
        "colbert_vecs 5 x (1-5, 2))"
    )


def test_one_text_is_shown_by_its_shapes(tiny_m3):
    output = tiny_m3.encode("machine learning")
    tokens, rows = len(output["lexical_weights"]), len(output["colbert_vecs"])
    assert repr(output) == (
        f"M3Output(1 text: dense_vecs (48,) float32, lexical_weights {tokens} tokens, "
        f"colbert_vecs ({rows}, 48) float32)"
    )


def test_tensors_are_shown_as_arrays_are(tiny_m3):
    texts = ["one text", "and another"]
    assert repr(tiny_m3.encode(texts, convert_to_numpy=False)) == repr(tiny_m3.encode(texts))


@pytest.mark.parametrize(
    ("odd", "shown"),
    [
        (M3Output(), "M3Output()"),
        (batch_of(0), "0 texts: dense_vecs (0, 2) float32, lexical_weights 0 items, colbert_vecs 0 items"),
        (M3Output(dense_vecs=[[0.5, 0.5]]), "1 text: dense_vecs 1 x (2)"),
        (M3Output(dense_vecs=None), "dense_vecs NoneType"),
        (M3Output(lexical_weights=[None]), "1 text: lexical_weights 1 items"),
    ],
)
def test_odd_outputs_can_be_shown(odd, shown):
    assert shown in repr(odd)


def test_many_texts_are_shown_in_few_characters(tiny_m3):
    output = tiny_m3.encode(["a text of some words"] * 64, max_length=4)
    assert len(output.truncated) == 64
    assert len(repr(output)) < 300


def test_outputs_are_equal_as_dicts_are():
    assert M3Output(lexical_weights=[{1: 0.5}]) == {"lexical_weights": [{1: 0.5}]}
    assert M3Output(lexical_weights=[{1: 0.5}], truncated=(0,)) == M3Output(lexical_weights=[{1: 0.5}])


@pytest.mark.parametrize(
    ("texts", "truncated"),
    [
        (0, ()),
        (1, (0,)),
        (-1, (0,)),
        (slice(1, 3), (0,)),
        (slice(None, None, -1), (0, 3)),
        (slice(2, 4), ()),
        (slice(None), (1, 4)),
    ],
)
def test_a_sub_batch_knows_which_of_its_texts_were_truncated(output, texts, truncated):
    output.truncated = (1, 4)
    assert output[texts].truncated == truncated


@pytest.mark.parametrize("copied", [M3Output, M3Output.copy, copy.copy, copy.deepcopy, M3Output.as_batch])
def test_a_copy_knows_which_texts_were_truncated(output, copied):
    output.truncated = (1, 4)
    assert copied(output).truncated == (1, 4)


def test_the_copy_method_gives_an_output(output):
    assert type(output.copy()) is M3Output


def test_lexical_weights_survive_json(tiny_m3):
    weights = tiny_m3.encode("machine learning")["lexical_weights"]
    again = json.loads(json.dumps(weights))
    assert tiny_m3.compute_lexical_matching_score(again, weights) == pytest.approx(
        sum(weight**2 for weight in weights.values())
    )
