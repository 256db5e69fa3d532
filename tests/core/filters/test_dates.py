from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagvec.filters.dates import as_moment, epoch_microseconds, read_moment

moments = st.datetimes(timezones=st.just(timezone.utc))


@given(moments)
def test_what_isoformat_writes_is_read_back(moment):
    assert read_moment(moment.isoformat()) == moment
    assert read_moment(moment.isoformat(" ")) == moment
    assert read_moment(moment.replace(tzinfo=None).isoformat()) == moment


@given(st.dates())
def test_a_date_is_its_midnight_in_utc(day):
    assert read_moment(day.isoformat()) == datetime(day.year, day.month, day.day, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-17T10:30:00.123Z", datetime(2024, 5, 17, 10, 30, 0, 123_000)),
        ("2024-05-17T10:30:00.1", datetime(2024, 5, 17, 10, 30, 0, 100_000)),
        ("2024-05-17T10:30:00+02:00", datetime(2024, 5, 17, 8, 30)),
        ("2024-05-17 10:30:00-05:30", datetime(2024, 5, 17, 16, 0)),
    ],
)
def test_offsets_and_fractions_are_read(text, expected):
    assert read_moment(text) == expected.replace(tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "text",
    ["", "2024", "2024-5-17", "2024-13-01", "2024-02-30", "2024-05-17T10:30", "2024-05-17T24:00:00", " 2024-05-17",
     "2024-05-17\n", "2024-05-17T10:30:60", "2024-05-17T10:30:00.1234567", "２０２４-05-17",
     "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "2024-05-17T10:30:00+0200", "20240517", "1715941800"],
)  # fmt: skip
def test_other_strings_are_no_moments(text):
    assert read_moment(text) is None


@given(moments)
def test_microseconds_count_from_1970(moment):
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    assert epoch + timedelta(microseconds=epoch_microseconds(moment)) == moment


def test_a_time_without_a_zone_is_in_utc():
    assert as_moment(datetime(2024, 5, 17, 10)) == datetime(2024, 5, 17, 10, tzinfo=timezone.utc)
    assert as_moment(date(2024, 5, 17)) == datetime(2024, 5, 17, tzinfo=timezone.utc)


def test_a_moment_outside_the_calendar_is_refused():
    with pytest.raises(ValueError, match="outside the years 1 to 9999"):
        as_moment(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))))
