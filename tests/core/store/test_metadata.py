"""Metadata as JSON has it."""

import enum
import math
import uuid
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from flagvec.store.metadata import plain_metadata


class Course(enum.Enum):
    SOUP = "soup"


class Key(str, enum.Enum):
    LANG = "lang"


class Level(enum.IntEnum):
    HIGH = 3


def plain(value):
    return plain_metadata({"key": value}, "document 'a'")["key"]


def nested(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(1.5), 1.5),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.datetime64("2024-05-17"), "2024-05-17T00:00:00"),
        (datetime(2024, 5, 17, 10, 30), "2024-05-17T10:30:00"),
        (datetime(2024, 5, 17, tzinfo=timezone(timedelta(hours=2))), "2024-05-17T00:00:00+02:00"),
        (date(2024, 5, 17), "2024-05-17"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Path("a") / "b", "a/b"),
        (Course.SOUP, "soup"),
        (Level.HIGH, 3),
        ((1, 2), [1, 2]),
    ],
)
def test_common_values_become_those_of_json(value, expected):
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)


def test_a_timestamp_of_pandas_becomes_a_moment_that_filters_read():
    pandas = pytest.importorskip("pandas")
    from flagvec.filters.dates import read_moment

    found = plain(pandas.Timestamp("2024-05-17T10:30:00.123456789"))
    assert found == "2024-05-17T10:30:00.123456"
    assert read_moment(found) is not None


def test_no_time_of_pandas_is_refused():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match="is NaT"):
        plain(pandas.NaT)


def test_a_key_that_is_an_enum_of_strings_is_its_value():
    assert plain_metadata({Key.LANG: "en"}, "document 'a'") == {"lang": "en"}


@pytest.mark.parametrize("value", [np.timedelta64(5, "ns"), np.clongdouble(1)])
def test_a_scalar_that_json_cannot_hold_is_refused(value):
    with pytest.raises(TypeError, match="metadata takes"):
        plain(value)


@pytest.mark.parametrize("value", [np.datetime64("20000-01-01"), np.datetime64("NaT")])
def test_a_date_that_iso_8601_cannot_write_is_refused(value):
    with pytest.raises(ValueError, match="which ISO 8601 cannot write"):
        plain(value)


def test_a_number_of_a_subclass_becomes_pythons_own():
    class Metres(float):
        pass

    assert type(plain(Metres(1.5))) is float
    assert plain(np.longdouble(1)) == 1.0


def test_a_decimal_is_refused_with_both_remedies():
    with pytest.raises(TypeError, match=r"is Decimal\('1\.10'\).*str\(\.\.\.\).*float\(\.\.\.\)"):
        plain(Decimal("1.10"))


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (math.nan, ValueError, "is nan, which JSON cannot hold"),
        (np.float64("inf"), ValueError, "is inf, which JSON cannot hold"),
        (2**63, ValueError, "over 64 bits: store it as a str"),
        ("\ud800", ValueError, "not valid Unicode"),
        ({1, 2}, TypeError, "is set; metadata takes"),
        (b"bytes", TypeError, "is bytes; metadata takes"),
        ({1: "one"}, TypeError, "has the key 1; keys of metadata are str"),
        ({"\ud800": 1}, ValueError, "not valid Unicode"),
    ],
)
def test_a_value_that_json_cannot_hold_is_refused_by_its_place(value, error, words):
    with pytest.raises(error, match=r"document 'a': metadata\['list'\]\[1\]") as caught:
        plain_metadata({"list": ["fine", value]}, "document 'a'")
    assert words in str(caught.value)


def test_metadata_may_be_nested_30_levels_and_no_deeper():
    plain(nested(29))
    with pytest.raises(ValueError, match="nested more than 30 levels"):
        plain(nested(30))
