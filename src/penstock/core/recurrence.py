"""When a schedule is due: cron expressions in a time zone, or a fixed period, between two ends. No clock is read here.

The rules of a zone change with the installed table of zones, so nothing a process is replayed from may depend on this module:
due times are worked out outside of units and come in as values. Times are milliseconds since 1970 UTC.

Around the change to and from summer time the rule is that of Debian's cron. An expression whose minute or whose hour begins
with `*` goes by elapsed time: what does not exist is passed over, what comes twice is due twice. Any other names times of day:
one that does not exist is due at the first moment after the gap, one that comes twice is due the first time.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import msgspec

from penstock.core.durations import DAY, MAX_TIME, Duration

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
FIELDS = ("minute", "hour", "day of month", "month", "day of week")
MAX_TEXT = 200
SHORTEST = 1_000
"""Milliseconds of the shortest period."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIELD = re.compile(r"[0-9A-Za-z*/,#-]+")
_NO_ZONES = frozenset({"localtime", "posixrules", "Factory"})
"""What a table of zones may hold besides zones: these mean something else on each machine."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """When something is due. Exactly one of `cron`, `every` (milliseconds) is set; `every` counts from `anchor`."""

    cron: str | None = None
    every: int | None = None
    timezone: str = "UTC"
    anchor: int = 0
    starts_at: int | None = None
    """No time before it is due."""
    ends_at: int | None = None
    """Nor is any at or after it."""


class Span(NamedTuple):
    """What is due up to now: the latest times in order, whether there are earlier ones, and the first time that is not due."""

    due: list[int]
    more: bool
    next: int | None


def parse_cron(text: str) -> str:
    """An expression of five fields, or a nickname, as it is kept. Raises: ValueError, which names the field and its place."""
    if len(text) > MAX_TEXT:
        raise ValueError(f"may have {MAX_TEXT} characters")
    stripped = text.strip()
    if stripped.startswith("@"):
        if stripped.lower() not in NICKNAMES:
            raise ValueError(f"{stripped!r} is none of {', '.join(NICKNAMES)}")
        return stripped.lower()
    fields = list(re.finditer(r"\S+", text))
    if len(fields) != len(FIELDS):
        raise ValueError(f"must have the five fields {', '.join(FIELDS)}, and has {len(fields)}")
    for number, (field, name) in enumerate(zip(fields, FIELDS, strict=True), 1):
        if not _readable(field[0], number):
            raise ValueError(
                f"field {number}, the {name}, at character {field.start() + 1}: {field[0]!r} cannot be read"
            )
    found = " ".join(field[0] for field in fields)
    try:
        _simulated(found, _EPOCH)
    except ValueError:
        place = f"field 3, the {FIELDS[2]}, at character {fields[2].start() + 1}"
        raise ValueError(f"{place}: no month that is named has the day {fields[2][0]!r}") from None
    return found


def parse_period(text: str) -> int:
    """Milliseconds of an ISO 8601 duration of fixed length. Raises: ValueError."""
    period = Duration.parse(text)
    if period.months:
        raise ValueError("months and years have no fixed length; use a cron expression")
    if not SHORTEST <= period.milliseconds <= 366 * DAY:
        raise ValueError("must be from PT1S to P366D")
    return period.milliseconds


@lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """The names of the IANA table of this machine, else of the package tzdata."""
    import zoneinfo  # noqa: PLC0415 - it reads hundreds of files

    return frozenset(zoneinfo.available_timezones()) - _NO_ZONES


def zone(name: str) -> tzinfo:
    """Raises: ValueError for a name that is not in the IANA table."""
    if name == "UTC":
        return UTC
    if name not in zones():
        raise ValueError(f"{name[:80]!r} is not a time zone of the IANA table, such as Europe/Madrid")
    import zoneinfo  # noqa: PLC0415

    return zoneinfo.ZoneInfo(name)


def times(rule: Rule, after: int) -> Iterator[int]:
    """The due times later than `after`, in order, each once."""
    if rule.starts_at is not None:
        after = max(after, rule.starts_at - 1)
    for time in _from_cron(rule, after) if rule.cron is not None else _from_period(rule, after):
        if time > MAX_TIME or (rule.ends_at is not None and time >= rule.ends_at):
            return
        yield time


def upcoming(rule: Rule, after: int, most: int) -> list[int]:
    """The next times."""
    return list(islice(times(rule, after), most))


def next_time(rule: Rule, after: int) -> int | None:
    """The next time; None: there is none."""
    return next(times(rule, after), None)


def due_span(rule: Rule, first: int, now: int, most: int) -> Span:
    """What is due from `first`, a due time, to `now`: the latest `most` times. Costs no more for a year than for a day."""
    reach = DAY
    while True:
        begin = max(first - 1, now - reach)
        found: deque[int] = deque(maxlen=most)
        count, following = 0, None
        for time in times(rule, begin):
            if time > now:
                following = time
                break
            found.append(time)
            count += 1
        if begin == first - 1 or count > most:
            return Span(list(found), count > most, following)
        reach *= 4


def spread(key: str, due: int, jitter: int) -> int:
    """Milliseconds from 0 to `jitter` that a due time is put off by: the same for the same key and time."""
    if jitter <= 0:
        return 0
    digest = hashlib.sha256(f"{key}/{due}".encode()).digest()
    return int.from_bytes(digest[:8]) % (jitter + 1)


def _from_period(rule: Rule, after: int) -> Iterator[int]:
    assert rule.every is not None
    time = rule.anchor + max(0, (after - rule.anchor) // rule.every + 1) * rule.every
    while time <= MAX_TIME:
        yield time
        time += rule.every


def _from_cron(rule: Rule, after: int) -> Iterator[int]:
    assert rule.cron is not None
    try:
        begin = (_EPOCH + timedelta(milliseconds=after)).astimezone(zone(rule.timezone))
        for found in _simulated(NICKNAMES.get(rule.cron, rule.cron), begin):
            time = (found.astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)
            if time > after:  # of times that fall together behind a gap the first counts, of those that come twice too
                after = time
                yield time
    except OverflowError:  # the calendar ends
        return


def _simulated(expression: str, begin: datetime) -> Iterator[datetime]:
    """Raises: ValueError."""
    from cronsim import CronSim, CronSimError  # noqa: PLC0415

    try:
        return CronSim(expression, begin)
    except (CronSimError, AssertionError) as error:
        raise ValueError(str(error)) from None


def _readable(field: str, number: int) -> bool:
    """Whether a field can be read where it stands, whatever stands in the others."""
    if not _FIELD.fullmatch(field):
        return False
    alone = ["*"] * len(FIELDS)
    alone[number - 1] = field
    try:
        _simulated(" ".join(alone), _EPOCH)
    except ValueError:
        return False
    return True
