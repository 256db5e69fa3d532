import json
import uuid
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagvec import Document, Hit
from flagvec.engine.unicode import valid_unicode
from flagvec.store.documents import InvalidDocument, checked_documents, checked_ids, listed_documents, text_id


def as_documents(documents):
    """Return what was given to add as checked documents, as a store does it."""

    def checked():
        for one in checked_documents(given):
            if isinstance(one, InvalidDocument):
                raise one.error
            yield one

    given = listed_documents(documents)
    return list(checked()) if isinstance(given, Sequence) else checked()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # Text without lone surrogates, which UTF-8 cannot hold.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=10,
)


@pytest.mark.parametrize("name", ["a", "ключ", "a/b c\x00\n", "x" * 512, "字" * 170, "😀" * 128])
def test_any_id_of_up_to_512_bytes_is_taken(name):
    assert checked_ids(name) == [name]


@pytest.mark.parametrize("name", ["", "x" * 513, "字" * 171])
def test_an_id_of_no_or_too_many_bytes_is_refused(name):
    with pytest.raises(ValueError, match="bytes in UTF-8; an id has 1 to 512"):
        as_documents(Document(name, "text"))


def test_an_id_that_is_not_valid_unicode_is_refused():
    with pytest.raises(ValueError, match="lone surrogate"):
        as_documents([Document("\ud800", "text")])


@pytest.mark.parametrize("name", [7, None, b"a"])
def test_an_id_that_is_no_str_is_refused(name):
    with pytest.raises(TypeError, match="a document's id is a str"):
        as_documents([Document(name, "text")])


@pytest.mark.parametrize("ids", [b"ab", {"a": 1}, 5, None])
def test_ids_that_are_no_strings_are_refused(ids):
    with pytest.raises(TypeError, match="ids takes a str or an iterable of str"):
        checked_ids(ids)


def test_the_id_of_a_text_depends_on_the_text_alone():
    assert text_id("a text") == text_id("a text") != text_id("another")
    assert uuid.UUID(text_id("a text")).version == 5


def test_a_bare_text_becomes_a_document_without_metadata():
    assert list(as_documents("a text")) == [Document(text_id("a text"), "a text", {})]


@given(st.text(st.characters()))
def test_every_text_becomes_valid_unicode_and_keeps_its_id(text):
    (document,) = as_documents(text)
    assert document.text.encode().decode() == document.text == valid_unicode(document.text)
    assert document.id == text_id(document.text)


def test_lone_surrogates_are_replaced_and_pairs_joined():
    assert valid_unicode("a\ud800b") == "a\ufffdb"
    assert valid_unicode("\ud83d\ude00") == "😀"


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values, max_size=4))
def test_metadata_of_json_values_is_kept_unchanged(metadata):
    (document,) = as_documents(Document("a", "text", metadata))
    assert document.metadata == metadata
    assert json.loads(json.dumps(document.metadata)) == metadata


def test_metadata_is_copied_whole_and_tuples_become_lists():
    tags = ["x"]
    (document,) = as_documents(Document("a", "text", {"tags": tags, "pair": (1, 2)}))
    tags.append("y")
    assert document.metadata == {"tags": ["x"], "pair": [1, 2]}


def test_flat_metadata_is_copied_too():
    metadata = {"number": 1, "language": "en", "share": 0.5, "draft": True, "author": None}
    (document,) = as_documents([Document("a", "text", metadata)])
    kept = dict(metadata)
    metadata["number"] = 2
    assert document.metadata == kept


@pytest.mark.parametrize("metadata", [None, ["a"], "a"])
def test_metadata_that_is_no_mapping_is_refused(metadata):
    with pytest.raises(TypeError, match=r"document 'a': metadata is .*, not a dict"):
        as_documents(Document("a", "text", metadata))


@pytest.mark.parametrize("text", [None, b"text", 3, ["text"]])
def test_a_text_that_is_no_str_is_refused_naming_the_document(text):
    with pytest.raises(TypeError, match="document 'a': text is"):
        as_documents(Document("a", text))


@pytest.mark.parametrize("documents", [None, 3, b"text"])
def test_what_is_no_documents_is_refused(documents):
    with pytest.raises(TypeError, match="add takes a str, a Document, a dict, or an iterable"):
        as_documents(documents)


def test_a_list_with_a_wrong_item_is_refused_whole_naming_its_position():
    with pytest.raises(TypeError, match=r"documents\[1\] is NoneType"):
        as_documents(["fine", None])


def test_a_generator_is_read_only_as_its_documents_are_taken():
    def texts():
        yield "first"
        raise AssertionError("read too far")

    documents = iter(as_documents(texts()))
    assert next(documents).text == "first"


def test_a_dict_with_a_text_is_a_document():
    assert as_documents({"text": "Rice.", "id": "1", "metadata": {"n": 1}}) == [Document("1", "Rice.", {"n": 1})]
    assert as_documents([{"text": "Rice."}]) == [Document(text_id("Rice."), "Rice.")]
    assert as_documents([{"text": "Rice.", "id": None, "metadata": None}]) == [Document(text_id("Rice."), "Rice.")]


def test_another_key_of_a_dict_is_refused_by_name():
    with pytest.raises(ValueError, match=r"documents\[0\] has the key 'lang'; .* put other values into metadata"):
        as_documents([{"text": "Rice.", "lang": "en"}])


@pytest.mark.parametrize("given", [{"id": "1"}, {"text": None}, {"text": 3}])
def test_a_dict_without_a_text_is_refused(given):
    with pytest.raises(TypeError, match=r"documents\[0\]\['text'\] is .*, not str"):
        as_documents([given])


@pytest.mark.parametrize("given", [{"a", "b"}, frozenset({"a"})])
def test_a_set_is_refused_because_it_has_no_order(given):
    with pytest.raises(TypeError, match=r"set.*no order"):
        as_documents(given)


def test_the_columns_of_a_data_frame_are_not_documents():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(TypeError, match=r"DataFrame.*Document\.from_records"):
        as_documents(pandas.DataFrame({"text": ["Rice."]}))


def test_a_series_of_texts_is_taken():
    pandas = pytest.importorskip("pandas")
    assert [document.text for document in as_documents(pandas.Series(["Rice.", "Bread."]))] == ["Rice.", "Bread."]


def test_what_is_wrong_with_a_document_comes_in_its_place():
    good, bad, odd = checked_documents([Document("a", "x"), Document("b", "y", {"z": object()}), 3])
    assert good == Document("a", "x")
    assert (bad.id, bad.document.text) == ("b", "y")
    assert (odd.id, odd.document) == ("documents[2]", None)


def test_an_invalid_id_is_reported_by_its_position():
    first, second = checked_documents([Document("", "one"), Document("", "two")])
    assert (first.id, second.id) == ("documents[0]", "documents[1]")


def test_an_invalid_document_can_be_shown():
    assert repr(Document("a", None, None)) == "Document('a', 'None', None)"


def test_long_texts_are_cut_in_what_is_shown_and_not_in_data():
    document, hit = Document("a", "x" * 10_000, {"k": "v" * 10_000}), Hit("a", 0.5, "x" * 10_000, {})
    assert len(repr(document)) < 300 > len(repr(hit))
    assert len(document.text) == len(hit.text) == 10_000
    assert repr(Hit("a", 0.123456, "short", {})) == "Hit('a', 0.1235, 'short')"
