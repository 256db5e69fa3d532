from hypothesis import given
from hypothesis import strategies as st

from flagvec.filters.portable import Condition, matches
from flagvec.filters.typed_values import TypedFields, typed_fields

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "a.b", "é", ""]), inner),
    max_leaves=10,
)
metadata = st.dictionaries(st.sampled_from(["a", "b", "a.b"]), values)


def test_values_are_sorted_by_type_and_place():
    found = typed_fields(
        {
            "lang": "en",
            "tags": ["a", 1, 2.5, True, None, ["x"], {"y": 1}],
            "made": {"on": "2024-01-01", "by": {}},
            "none": None,
            "empty": [],
            "a.b": 1,
            "with space": {"inside": 1},
        }
    )
    assert found == TypedFields(
        strings={"lang": ["en"], "tags": ["a"], "made.on": ["2024-01-01"]},
        numbers={"tags": [1, 2.5]},
        booleans={"tags": [True]},
        moments={"made.on": [1_704_067_200_000_000]},
        present=["lang", "tags", "made", "made.on", "made.by"],
    )


@given(metadata)
def test_what_a_filter_finds_is_there_and_nothing_else(metadata):
    found = typed_fields(metadata)
    for path in ("a", "b", "a.a", "a.b", "b.é"):
        assert matches(Condition(path, "exists", True), metadata) == (path in found.present)
        for kind in (found.strings, found.numbers, found.booleans):
            assert all(matches(Condition(path, "eq", value), metadata) for value in kind.get(path, []))
