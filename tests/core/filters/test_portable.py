from datetime import date, datetime, timezone

import numpy as np
import pytest

from flagvec.filters.portable import All, Any_, Condition, NativeFilter, Not, matches, parse_filter

NEW_YEAR = datetime(2024, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("filter", "tree"),
    [
        ({}, All(())),
        ({"lang": "en"}, Condition("lang", "eq", "en")),
        ({"lang": {"eq": "en"}}, Condition("lang", "eq", "en")),
        ({"lang": {"ne": "en"}}, Not(Condition("lang", "eq", "en"))),
        ({"n": {"in": [1, "a", True]}}, Condition("n", "in", (1, "a", True))),
        ({"n": {"in": []}}, Any_(())),
        ({"n": {"not in": (1,)}}, Not(Condition("n", "in", (1,)))),
        ({"n": {"gte": 1, "lt": 2.5}}, All((Condition("n", "gte", 1), Condition("n", "lt", 2.5)))),
        ({"n": {"exists": True}}, Condition("n", "exists", True)),
        ({"n": {"exists": False}}, Not(Condition("n", "exists", True))),
        ({"a": 1, "b": 2}, All((Condition("a", "eq", 1), Condition("b", "eq", 2)))),
        ({"or": [{"a": 1}, {"b": 2}]}, Any_((Condition("a", "eq", 1), Condition("b", "eq", 2)))),
        ({"and": [{"a": 1}, {"b": 2}]}, All((Condition("a", "eq", 1), Condition("b", "eq", 2)))),
        ({"not": {"a": 1}}, Not(Condition("a", "eq", 1))),
        ({"or": []}, Any_(())),
        ({"day": date(2024, 1, 1)}, Condition("day", "eq", NEW_YEAR)),
        ({"day": {"gt": datetime(2024, 1, 1)}}, Condition("day", "gt", NEW_YEAR)),
        ({"n": np.int64(3)}, Condition("n", "eq", 3)),
        ({"été.2-x_y": 1}, Condition("été.2-x_y", "eq", 1)),
    ],
)
def test_a_filter_becomes_a_tree(filter, tree):
    assert parse_filter(filter) == tree


def test_a_tree_and_a_native_filter_stay_as_they_are():
    for ready in (Condition("a", "eq", 1), All(()), NativeFilter("a == 1")):
        assert parse_filter(ready) is ready


def test_a_condition_knows_the_keys_that_lead_to_its_field():
    assert parse_filter({"a.b.c": 1}).path == ("a", "b", "c")


@pytest.mark.parametrize(
    ("filter", "error", "words"),
    [
        ("lang == 'en'", TypeError, "filter takes a dict .* or a NativeFilter, not str"),
        ({"lang": None}, TypeError, r"filter\['lang'\]\['eq'\] takes .* not NoneType: .* {'exists': False} for none"),
        ({"lang": ["en"]}, TypeError, r"say {'in': \[\.\.\.\]} for one of several"),
        ({"lang": {"in": "en"}}, TypeError, r"filter\['lang'\]\['in'\] takes a list of values, not str"),
        ({"lang": {"in": [None]}}, TypeError, r"filter\['lang'\]\['in'\]\[0\] takes"),
        ({"lang": {"in": [["en"]]}}, TypeError, "not list"),
        ({"n": {"gt": "2024-01-01"}}, TypeError, r"filter\['n'\]\['gt'\] takes a number, date or datetime, not str"),
        ({"n": {"gt": True}}, TypeError, "not bool"),
        ({"n": {"exists": 1}}, TypeError, "takes True or False"),
        ({"and": {"a": 1}}, TypeError, r"filter\['and'\] takes a list of filters, not dict"),
        ({"or": ["a"]}, TypeError, r"filter\['or'\]\[0\] takes a dict"),
        ({1: 2}, TypeError, "a field's name is a str, not int"),
        ({"n": b"x"}, TypeError, "not bytes"),
        ({"n": {}}, ValueError, "names no operator: choose eq, ne, in"),
        ({"n": {"like": "x"}}, ValueError, r"filter\['n'\]\['like'\] is no operator: choose"),
        ({"n": float("nan")}, ValueError, "finite"),
        ({"n": 2**63}, ValueError, "over 64 bits"),
        ({"n": "\ud800"}, ValueError, "surrogate"),
    ],
)
def test_what_no_filter_takes_is_refused_by_its_place(filter, error, words):
    with pytest.raises(error, match=words):
        parse_filter(filter)


@pytest.mark.parametrize(
    "name",
    ["", ".", "a.", ".a", "a..b", "a b", 'a"b', "a'b", "a[0]", "a\\", "$a", "a\x00", "😀", "x" * 65, "a==1 or b"],
)
def test_a_field_that_cannot_be_filtered_by_is_refused(name):
    with pytest.raises(ValueError, match="this field cannot be filtered by"):
        parse_filter({name: 1})


def test_deep_filters_are_refused():
    def nested(levels):
        filter = {"a": 1}
        for _ in range(levels - 1):
            filter = {"not": filter}
        return filter

    parse_filter(nested(16))
    with pytest.raises(ValueError, match="more than 16 levels deep"):
        parse_filter(nested(17))


@pytest.mark.parametrize(
    ("filter", "metadata", "expected"),
    [
        ({}, {}, True),
        ({"or": []}, {}, False),
        ({"n": 1}, {"n": 1.0}, True),
        ({"n": 1}, {"n": "1"}, False),
        ({"n": 1}, {"n": True}, False),
        ({"n": True}, {"n": 1}, False),
        ({"n": "1"}, {"n": 1}, False),
        ({"n": 2**53 + 1}, {"n": 2**53 + 1}, True),
        ({"n": 2**53 + 1}, {"n": 2**53}, False),
        ({"n": 2**53}, {"n": float(2**53)}, False),
        ({"n": float(2**53)}, {"n": 2**53 + 1}, True),
        ({"n": 0}, {"n": -0.0}, True),
        ({"n": 1}, {}, False),
        ({"n": {"ne": 1}}, {}, True),
        ({"n": {"ne": 1}}, {"n": None}, True),
        ({"n": {"not in": [1]}}, {"n": [1, 2]}, False),
        ({"n": {"in": [1, "a"]}}, {"n": ["a"]}, True),
        ({"n": {"gt": 1, "lt": 3}}, {"n": [0, 5]}, True),
        ({"n": {"gt": 1, "lt": 3}}, {"n": [0, 5, 2]}, True),
        ({"n": {"gte": 2}}, {"n": 2}, True),
        ({"n": {"gt": 2}}, {"n": 2}, False),
        ({"n": {"lte": 2}}, {"n": "1"}, False),
        ({"n": {"lt": 2}}, {"n": True}, False),
        ({"n": 1}, {"n": [[1]]}, False),
        ({"n.a": 1}, {"n": {"a": 1}}, True),
        ({"n.a": 1}, {"n": [{"a": 1}]}, False),
        ({"n.a": 1}, {"n.a": 1}, False),
        ({"n": {"exists": True}}, {"n": {}}, True),
        ({"n": {"exists": True}}, {"n": [None]}, True),
        ({"n": {"exists": True}}, {"n": []}, False),
        ({"n": {"exists": True}}, {"n": False}, True),
        ({"n": {"exists": False}}, {"n": None}, True),
        ({"day": date(2024, 1, 1)}, {"day": "2024-01-01T01:00:00+01:00"}, True),
        ({"day": {"gte": date(2024, 1, 1)}}, {"day": "2023-12-31"}, False),
        ({"day": {"gte": date(2024, 1, 1)}}, {"day": "soon"}, False),
        ({"day": {"gte": date(2024, 1, 1)}}, {"day": 1_800_000_000}, False),
        ({"day": "2024-01-01"}, {"day": "2024-01-01T00:00:00"}, False),
        ({"not": {"a": 1, "b": 2}}, {"a": 1}, True),
    ],
)  # fmt: skip
def test_a_filter_means_what_its_documentation_says(filter, metadata, expected):
    assert matches(parse_filter(filter), metadata) is expected


@pytest.mark.parametrize(
    ("with_dollars", "without"),
    [
        ({"lang": {"$eq": "en"}}, {"lang": "en"}),
        ({"lang": {"$ne": "en"}}, {"lang": {"ne": "en"}}),
        ({"lang": {"$in": ["en", "de"]}}, {"lang": {"in": ["en", "de"]}}),
        ({"lang": {"$nin": ["en"]}}, {"lang": {"not in": ["en"]}}),
        ({"year": {"$gte": 2020, "$lt": 2024}}, {"year": {"gte": 2020, "lt": 2024}}),
        ({"draft": {"$exists": False}}, {"draft": {"exists": False}}),
        ({"$and": [{"a": 1}, {"b": 2}]}, {"and": [{"a": 1}, {"b": 2}]}),
        ({"$or": [{"a": 1}, {"$not": {"b": 2}}]}, {"or": [{"a": 1}, {"not": {"b": 2}}]}),
    ],
)
def test_a_dollar_before_an_operator_changes_nothing(with_dollars, without):
    assert parse_filter(with_dollars) == parse_filter(without)


def test_a_field_may_be_called_like_an_operator():
    assert parse_filter({"nin": 1, "in": 2}) == parse_filter({"and": [{"nin": 1}, {"in": 2}]})


def test_a_filter_of_the_database_is_taken_as_it_is():
    assert parse_filter("lang == 'en'", lambda value: isinstance(value, str)) == NativeFilter("lang == 'en'")


def test_a_date_of_numpys_in_nanoseconds_is_a_moment():
    moment = np.datetime64("2024-05-17", "ns")
    assert parse_filter({"when": {"gte": moment}}) == parse_filter({"when": {"gte": datetime(2024, 5, 17)}})
