"""ISO 8601 durations and RFC 3339 times, as pure arithmetic on milliseconds since 1970 UTC.

Nothing here reads a clock: the time always comes from the caller.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MIN_TIME = -62_135_596_800_000
"""0001-01-01T00:00:00Z, the first time that RFC 3339 and `datetime` both know."""
MAX_TIME = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z, the last."""

_MAX_MONTHS = 12 * 1_000
_MAX_MILLISECONDS = 1_000 * 366 * DAY

_MAX_TEXT = 100

_DURATION = re.compile(
    r"P(?=[0-9T])(?:([0-9]{1,9})W|"
    r"(?:([0-9]{1,9})Y)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9}(?:[.,][0-9]{1,9})?)D)?"
    r"(?:T(?=[0-9])(?:([0-9]{1,9}(?:[.,][0-9]{1,9})?)H)?(?:([0-9]{1,9}(?:[.,][0-9]{1,9})?)M)?"
    r"(?:([0-9]{1,12}(?:[.,][0-9]{1,9})?)S)?)?)"
)
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,12}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)


class Duration(msgspec.Struct, frozen=True):
    """Calendar months, whose length depends on where they start, and exact milliseconds. Never negative."""

    months: int = 0
    milliseconds: int = 0

    @staticmethod
    def parse(text: str) -> Duration:
        """Read `P1Y2M`, `P3W`, `P2D`, `PT1.5S`; a fraction may stand in the last part alone.

        Raises: ValueError, with a text for the author.
        """
        match = _DURATION.fullmatch(text) if len(text) <= _MAX_TEXT else None
        if match is None:
            if text[:1] == "-":
                raise ValueError(f"a duration cannot be negative: {_quoted(text)}")
            raise ValueError(f"{_quoted(text)} is not an ISO 8601 duration such as P2D, PT1H30M or P1Y2M")
        weeks, years, months, *exact = match.groups()
        present = [part for part in exact if part is not None]
        if not all(part.isdigit() for part in present[:-1]):
            raise ValueError(f"{_quoted(text)}: only the last part of a duration may have a fraction")
        total = int(weeks or 0) * WEEK
        for part, unit in zip(exact, (DAY, HOUR, MINUTE, SECOND), strict=True):
            total += _exact(part, unit)
        found = Duration(int(years or 0) * 12 + int(months or 0), total)
        if found.months > _MAX_MONTHS or found.milliseconds > _MAX_MILLISECONDS:
            raise ValueError(f"{_quoted(text)} is longer than 1,000 years")
        return found

    def after(self, at: int) -> int:
        """The time this long after `at`: first the calendar months in UTC, clamped to the month's end, then the rest.

        Capped at the year 9999.
        """
        if self.months:
            at = _add_months(at, self.months)
        return min(at + self.milliseconds, MAX_TIME)


def format_duration(duration: Duration) -> str:
    """The canonical text: `P1Y2M3DT4H5M6.007S`; nothing at all is `PT0S`."""
    years, months = divmod(duration.months, 12)
    days, rest = divmod(duration.milliseconds, DAY)
    hours, rest = divmod(rest, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    seconds, thousandths = divmod(rest, SECOND)
    date = "".join(f"{count}{unit}" for count, unit in ((years, "Y"), (months, "M"), (days, "D")) if count)
    time = "".join(f"{count}{unit}" for count, unit in ((hours, "H"), (minutes, "M")) if count)
    if thousandths:
        time += f"{seconds}.{thousandths:03}".rstrip("0") + "S"
    elif seconds or not (date or time):
        time += f"{seconds}S"
    return f"P{date}T{time}" if time else f"P{date}"


def parse_time(text: str) -> int:
    """Read an RFC 3339 time; the offset must be there; what is finer than a millisecond is cut off.

    Raises: ValueError, with a text for the author.
    """
    match = _TIME.fullmatch(text) if len(text) <= _MAX_TEXT else None
    if match is None:
        raise ValueError(f"{_quoted(text)} is not an RFC 3339 time with an offset, such as 2026-11-21T12:00:00Z")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, offset_hours, offset_minutes = match.groups()[6:]
    offset = int(offset_hours or 0) * HOUR + int(offset_minutes or 0) * MINUTE
    try:
        if offset and (int(offset_hours) > 23 or int(offset_minutes) > 59):
            raise ValueError("the offset is out of range")
        local = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"{_quoted(text)} is not a time: {error}") from None
    at = (local - _EPOCH) // timedelta(milliseconds=1) + int(((fraction or "") + "000")[:3])
    at += offset if sign == "-" else -offset
    if not MIN_TIME <= at <= MAX_TIME:
        raise ValueError(f"{_quoted(text)} is outside the years 1 to 9999")
    return at


def format_time(at: int) -> str:
    """RFC 3339 in UTC with milliseconds. Raises: ValueError outside the years 1 to 9999."""
    if not MIN_TIME <= at <= MAX_TIME:
        raise ValueError(f"{at} is outside the years 1 to 9999")
    seconds, milliseconds = divmod(at, 1000)
    return f"{_to_the_second(seconds)}.{milliseconds:03}Z"


@lru_cache(maxsize=4096)
def _to_the_second(at: int) -> str:
    """Remembered: what a page shows happened within a few seconds."""
    return (_EPOCH + timedelta(seconds=at)).replace(tzinfo=None).isoformat()


def from_datetime(at: datetime) -> int:
    """Milliseconds of an aware `datetime`, finer parts cut off."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def _add_months(at: int, months: int) -> int:
    start = _EPOCH + timedelta(milliseconds=at)
    index = start.year * 12 + start.month - 1 + months
    year, month = index // 12, index % 12 + 1
    if year > 9999:
        return MAX_TIME
    day = min(start.day, monthrange(year, month)[1])
    return from_datetime(start.replace(year=year, month=month, day=day))


def _exact(part: str | None, unit: int) -> int:
    """`part` units in milliseconds, in integers: a float would lose some."""
    if part is None:
        return 0
    whole, _, fraction = part.replace(",", ".").partition(".")
    return int(whole) * unit + int(fraction or 0) * unit // int(10 ** len(fraction))


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
