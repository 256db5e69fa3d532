"""Dates and times: how strings of metadata are read as moments, the same for every store."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
# The forms that `isoformat` and JavaScript's `toISOString` write, and that all databases read alike.
_ISO_8601 = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ]((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:\.(\d{1,6}))?(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)?)?",
    re.ASCII,
)


def as_moment(value: date | datetime) -> datetime:
    """Return a date (as its midnight) or a time as an aware datetime in UTC; without a zone it is taken as UTC.

    Raises:
        ValueError: In UTC it is outside the years 1 to 9999.
    """
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if value.utcoffset() is None:
        return value.replace(tzinfo=timezone.utc)
    try:
        return value.astimezone(timezone.utc)
    except OverflowError:
        raise ValueError(f"{value.isoformat()} is outside the years 1 to 9999 in UTC") from None


def read_moment(text: str) -> datetime | None:
    """Return the moment that a string names, in UTC; None if it is not a date or time.

    These forms of ISO 8601 are read: ``2024-05-17``, which is midnight, and ``2024-05-17T10:30:00`` with ``T`` or a
    space, with or without one to six digits of a fraction, and with ``Z``, an offset like ``+02:00``, or nothing for
    UTC.

    Example:
        >>> read_moment("2024-05-17T10:30:00+02:00").isoformat()
        '2024-05-17T08:30:00+00:00'
    """
    found = _ISO_8601.fullmatch(text)
    if found is None:
        return None
    day, time, fraction, zone = found.groups()
    zone = "+00:00" if zone in (None, "Z") else zone
    try:
        return as_moment(datetime.fromisoformat(f"{day}T{time or '00:00:00'}.{(fraction or '').ljust(6, '0')}{zone}"))
    except ValueError:  # a thirteenth month, or over the end of the calendar
        return None


def epoch_microseconds(moment: datetime) -> int:
    """Return an aware datetime as whole microseconds since 1970 in UTC, negative before."""
    return (moment - _EPOCH) // _MICROSECOND
