from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core import recurrence
from penstock.core.recurrence import Rule, due_span, next_time, parse_cron, parse_period, spread, times, upcoming

DAY = 86_400_000


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def local(zone: str, after: str, cron: str, count: int) -> list[str]:
    """The next times, as clocks in the zone show them."""
    rule = Rule(cron=parse_cron(cron), timezone=zone)
    found = upcoming(rule, ms(after), count)
    return [datetime.fromtimestamp(each / 1000, ZoneInfo(zone)).strftime("%m-%d %H:%M %z") for each in found]


# In Madrid 2026-03-29 02:00 becomes 03:00, and 2026-10-25 03:00 becomes 02:00.


def test_a_time_of_day_that_does_not_exist_is_due_at_the_first_moment_after_the_gap():
    assert local("Europe/Madrid", "2026-03-28T12:00+01:00", "30 2 * * *", 3) == [
        "03-29 03:00 +0200", "03-30 02:30 +0200", "03-31 02:30 +0200",
    ]  # fmt: skip


def test_several_times_of_day_in_the_gap_are_due_once():
    assert local("Europe/Madrid", "2026-03-29T01:59+01:00", "0,15,30 2,3 * * *", 4) == [
        "03-29 03:00 +0200", "03-29 03:15 +0200", "03-29 03:30 +0200", "03-30 02:00 +0200",
    ]  # fmt: skip


def test_a_time_of_day_that_comes_twice_is_due_the_first_time():
    assert local("Europe/Madrid", "2026-10-24T12:00+02:00", "30 2 * * *", 2) == [
        "10-25 02:30 +0200", "10-26 02:30 +0100",
    ]  # fmt: skip


def test_it_is_not_due_again_for_who_looks_between_the_two():
    assert local("Europe/Madrid", "2026-10-25T02:10+01:00", "30 2 * * *", 1) == ["10-26 02:30 +0100"]


def test_what_goes_by_elapsed_time_is_due_in_both_hours_and_in_none():
    assert local("Europe/Madrid", "2026-10-25T01:45+02:00", "*/30 * * * *", 5) == [
        "10-25 02:00 +0200", "10-25 02:30 +0200", "10-25 02:00 +0100", "10-25 02:30 +0100", "10-25 03:00 +0100",
    ]  # fmt: skip
    assert local("Europe/Madrid", "2026-03-29T01:15+01:00", "*/30 * * * *", 3) == [
        "03-29 01:30 +0100", "03-29 03:00 +0200", "03-29 03:30 +0200",
    ]  # fmt: skip


def test_a_change_of_half_an_hour_is_one_too():
    assert local("Australia/Lord_Howe", "2026-10-03T12:00+10:30", "15 2 * * *", 2) == [
        "10-04 02:30 +1100", "10-05 02:15 +1100",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "cron", ["0 9 * * MON-FRI", "*/7 * * * *", "0 0 L * *", "30 4 1,15 * 5", "0 0 29 2 *", "@weekly"]
)
def test_times_rise_and_a_later_look_finds_the_same(cron):
    rule = Rule(cron=parse_cron(cron), timezone="America/New_York")
    found = upcoming(rule, ms("2026-01-01T00:00+00:00"), 30)
    assert len(found) == 30
    assert found == sorted(set(found))
    for before, after in pairwise(found):
        assert next_time(rule, before) == after
        assert next_time(rule, after - 1) == after


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("61 * * * *", "field 1, the minute, at character 1: '61'"),
        ("0 25 * * *", "field 2, the hour, at character 3: '25'"),
        ("0  0 0 * *", "field 3, the day of month, at character 6: '0'"),
        ("0 0 1 13 *", "field 4, the month, at character 7: '13'"),
        ("0 0 * * FOO", "field 5, the day of week, at character 9: 'FOO'"),
        ("0 0 * * 8", "field 5, the day of week"),
        ("*/0 * * * *", "field 1, the minute"),
        ("5-1 * * * *", "field 1, the minute"),
        ("1,,2 * * * *", "field 1, the minute"),
        ("\u0661 * * * *", "field 1, the minute"),
        ("0 0 30 2 *", "field 3, the day of month, at character 5: no month"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("", "five fields"),
        ("@reboot", "is none of @yearly"),
        ("nonsense", "five fields"),
        ("*" * 300, "200 characters"),
        ("0 0 * *\t\x00", "field 5"),
    ],
)
def test_what_is_no_cron_expression_is_refused_with_its_place(text, message):
    with pytest.raises(ValueError, match=r".") as caught:
        parse_cron(text)
    assert message in str(caught.value)


@given(st.text(alphabet="0123456789*/,-#LWMONFRI? \t@", max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        cron = parse_cron(text)
    except ValueError:
        return
    found = upcoming(Rule(cron=cron), ms("2026-01-01T00:00+00:00"), 2)
    assert found == sorted(set(found))


@pytest.mark.parametrize("text", ["P1M", "P1Y", "PT0.5S", "P0D", "P367D", "soon", "-P1D", ""])
def test_a_period_has_a_fixed_length_within_bounds(text):
    with pytest.raises(ValueError, match=r"."):
        parse_period(text)


def test_a_period_counts_from_its_anchor():
    rule = Rule(every=parse_period("PT90S"), anchor=1_000)
    assert upcoming(rule, 0, 3) == [1_000, 91_000, 181_000]
    assert next_time(rule, 91_000) == 181_000
    assert next_time(rule, 90_999) == 91_000


def test_nothing_is_due_outside_of_the_validity():
    start, end = ms("2026-06-01T00:00+00:00"), ms("2026-06-01T03:00+00:00")
    rule = Rule(cron="0 * * * *", starts_at=start, ends_at=end)
    assert list(times(rule, 0)) == [start, start + 3_600_000, start + 7_200_000]
    assert next_time(rule, end) is None


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "", "../../etc/passwd", "europe/madrid", "localtime", "CEST\0", "A" * 5000]
)
def test_an_unknown_zone_is_refused(name):
    with pytest.raises(ValueError, match="not a time zone"):
        recurrence.zone(name)


def test_the_latest_of_what_is_due_is_found_however_long_ago_it_began():
    rule = Rule(every=1_000)
    span = due_span(rule, 0, 10 * 366 * DAY + 500, 3)
    assert span.due == [10 * 366 * DAY - 2_000, 10 * 366 * DAY - 1_000, 10 * 366 * DAY]
    assert span.more
    assert span.next == 10 * 366 * DAY + 1_000


def test_all_of_what_is_due_is_found_when_it_is_little():
    rule = Rule(cron="0 0 1 * *")
    first = ms("2026-01-01T00:00+00:00")
    span = due_span(rule, first, ms("2026-03-15T00:00+00:00"), 10)
    assert [datetime.fromtimestamp(each / 1000, UTC).month for each in span.due] == [1, 2, 3]
    assert not span.more
    assert span.next == ms("2026-04-01T00:00+00:00")


def test_due_span_ends_with_the_rule():
    rule = Rule(every=1_000, ends_at=3_000)
    assert due_span(rule, 0, 10_000, 5) == ([0, 1_000, 2_000], False, None)


def test_jitter_is_the_same_each_time_and_within_its_bound():
    found = {spread("1/2", due, 60_000) for due in range(0, 100_000, 1_000)}
    assert len(found) > 50
    assert all(0 <= each <= 60_000 for each in found)
    assert spread("1/2", 5, 60_000) == spread("1/2", 5, 60_000) != spread("1/3", 5, 60_000)
    assert spread("1/2", 5, 0) == 0
