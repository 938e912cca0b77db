from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.durations import (
    DAY,
    HOUR,
    MAX_TIME,
    MIN_TIME,
    MINUTE,
    SECOND,
    WEEK,
    Duration,
    format_duration,
    format_time,
    from_datetime,
    parse_time,
)

GOOD = [
    ("P2D", 0, 2 * DAY),
    ("PT0S", 0, 0),
    ("P0D", 0, 0),
    ("PT1.5S", 0, 1_500),
    ("PT1,5S", 0, 1_500),
    ("PT0.0019S", 0, 1),
    ("PT0.5H", 0, 30 * MINUTE),
    ("P0.5D", 0, 12 * HOUR),
    ("PT1H0.5M", 0, HOUR + 30 * SECOND),
    ("P1Y2M", 14, 0),
    ("P1M", 1, 0),
    ("PT1M", 0, MINUTE),
    ("P3W", 0, 3 * WEEK),
    ("P1Y2M3DT4H5M6.007S", 14, 3 * DAY + 4 * HOUR + 5 * MINUTE + 6_007),
    ("P1000Y", 12_000, 0),
]


@pytest.mark.parametrize(("text", "months", "milliseconds"), GOOD)
def test_parse_reads(text, months, milliseconds):
    assert Duration.parse(text) == Duration(months, milliseconds)


BAD = [
    ("", "not an ISO 8601"),
    ("P", "not an ISO 8601"),
    ("PT", "not an ISO 8601"),
    ("P1DT", "not an ISO 8601"),
    ("2D", "not an ISO 8601"),
    ("p2d", "not an ISO 8601"),
    (" P2D", "not an ISO 8601"),
    ("P2D\n", "not an ISO 8601"),
    ("P1D2M", "not an ISO 8601"),
    ("P1H", "not an ISO 8601"),
    ("P1W2D", "not an ISO 8601"),
    ("P1.5Y", "not an ISO 8601"),
    ("P1.5W", "not an ISO 8601"),
    ("PT1.S", "not an ISO 8601"),
    ("PT.5S", "not an ISO 8601"),
    ("P٣D", "not an ISO 8601"),
    ("-P2D", "cannot be negative"),
    ("P-2D", "not an ISO 8601"),
    ("PT0.5H1M", "only the last part"),
    ("P1.5DT1S", "only the last part"),
    ("P1001Y", "longer than 1,000 years"),
    ("P999999999D", "longer than 1,000 years"),
    ("P" + "1" * 1_000_000 + "D", "not an ISO 8601"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_parse_refuses(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        Duration.parse(text)
    assert len(str(caught.value)) < 200


@given(st.integers(0, 12_000), st.integers(0, 1_000 * 365 * DAY))
def test_format_is_read_back(months, milliseconds):
    duration = Duration(months, milliseconds)
    assert Duration.parse(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (Duration(), "PT0S"),
        (Duration(14), "P1Y2M"),
        (Duration(0, WEEK), "P7D"),
        (Duration(1, MINUTE), "P1MT1M"),
        (Duration(0, 1_500), "PT1.5S"),
        (Duration(0, 10 * SECOND), "PT10S"),
        (Duration(0, DAY + 20), "P1DT0.02S"),
    ],
)
def test_format_is_canonical(duration, text):
    assert format_duration(duration) == text


@pytest.mark.parametrize(
    ("start", "duration", "end"),
    [
        ("2026-01-31T10:00:00Z", "P1M", "2026-02-28T10:00:00.000Z"),
        ("2024-01-31T10:00:00Z", "P1M", "2024-02-29T10:00:00.000Z"),
        ("2024-02-29T10:00:00Z", "P1Y", "2025-02-28T10:00:00.000Z"),
        ("2026-11-30T23:59:59.999Z", "P3M", "2027-02-28T23:59:59.999Z"),
        ("2026-12-31T00:00:00Z", "P1D", "2027-01-01T00:00:00.000Z"),
        ("2026-01-31T00:00:00Z", "P1M1D", "2026-03-01T00:00:00.000Z"),
        ("1969-12-31T23:59:59.500Z", "P1M", "1970-01-31T23:59:59.500Z"),
        ("9999-12-01T00:00:00Z", "P1M", "9999-12-31T23:59:59.999Z"),
        ("9999-12-01T00:00:00Z", "P900D", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_after_adds_months_then_the_rest(start, duration, end):
    assert format_time(Duration.parse(duration).after(parse_time(start))) == end


@given(st.integers(MIN_TIME, MAX_TIME), st.integers(0, 12_000), st.integers(0, 366_000 * DAY))
def test_after_never_goes_back_nor_leaves_the_calendar(at, months, milliseconds):
    assert at <= Duration(months, milliseconds).after(at) <= MAX_TIME


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.001Z", 1),
        ("1969-12-31T23:59:59.999Z", -1),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T19:00:00-05:00", 0),
        ("1970-01-01T00:00:00.0019999Z", 1),
        ("1970-01-01T00:00:00.5-00:00", 500),
        ("0001-01-01T00:00:00Z", MIN_TIME),
        ("9999-12-31T23:59:59.999Z", MAX_TIME),
    ],
)
def test_parse_time_reads(text, at):
    assert parse_time(text) == at


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026-11-21T12:00:00", "with an offset"),
        ("2026-11-21", "with an offset"),
        ("2026-11-21 12:00:00Z", "with an offset"),
        ("2026-11-21T12:00Z", "with an offset"),
        ("2026-11-21T12:00:00.Z", "with an offset"),
        ("2026-11-21T12:00:00Z\n", "with an offset"),
        ("2026-02-30T12:00:00Z", "day is out of range"),
        ("2026-02-28T24:00:00Z", "hour must be"),
        ("2026-06-30T23:59:60Z", "second must be"),
        ("2026-06-30T23:59:59+24:00", "offset is out of range"),
        ("2026-06-30T23:59:59+01:60", "offset is out of range"),
        ("0001-01-01T00:00:00+01:00", "outside the years"),
        ("9999-12-31T23:59:59-01:00", "outside the years"),
        ("x" * 1_000_000, "with an offset"),
    ],
)
def test_parse_time_refuses(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse_time(text)
    assert len(str(caught.value)) < 200


@given(st.integers(MIN_TIME, MAX_TIME))
def test_format_time_is_read_back(at):
    assert parse_time(format_time(at)) == at


def test_format_time_has_milliseconds_and_z():
    assert format_time(1_795_262_400_000) == "2026-11-21T12:00:00.000Z"


@pytest.mark.parametrize("at", [MIN_TIME - 1, MAX_TIME + 1])
def test_format_time_refuses_what_has_no_text(at):
    with pytest.raises(ValueError, match="outside the years"):
        format_time(at)


def test_from_datetime_cuts_off():
    assert from_datetime(datetime(1970, 1, 1, 0, 0, 1, 999, tzinfo=UTC)) == 1_000
