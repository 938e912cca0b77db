"""The words of `/schedules`. Times are RFC 3339 texts, durations ISO 8601."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from penstock.api.models import Answer, Name, Paged, Request

Text = Annotated[str, Meta(min_length=1, max_length=200)]
ScheduleId = Annotated[str, Meta(min_length=1, max_length=100)]
State = Literal["ACTIVE", "PAUSED", "ENDED"]


class ScheduleSpec(Request, frozen=True, kw_only=True):
    """What a schedule says. Exactly one of `cron` and `every` must be there."""

    definition: Name
    version: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None
    """None: the one that is active when it fires."""
    cron: Text | None = None
    """Five fields (minute, hour, day of month, month, day of week), or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`."""
    every: Text | None = None
    """A duration of fixed length, from PT1S; it counts from `start`, else from the schedule's birth."""
    timezone: Text = "UTC"
    input: Any = None
    start: str | None = None
    end: str | None = None
    jitter: Text | None = None
    """Each start is put off by a part of this, at most PT1H."""
    overlap: Literal["allow", "skip"] = "allow"
    """`skip`: a time passes while the process it started last has not ended."""
    catch_up: Literal["none", "last", "all"] = "last"
    """What becomes of times that were missed by more than a minute."""
    catch_up_limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    """Of `all`: how many of the latest."""


class NewSchedule(ScheduleSpec, frozen=True, kw_only=True):
    id: ScheduleId | None = None


class Schedule(Answer, frozen=True, kw_only=True):
    id: str
    definition: str
    version: int | None
    cron: str | None
    every: str | None
    timezone: str
    input: Any
    start: str | None
    end: str | None
    jitter: str | None
    overlap: str
    catch_up: str
    catch_up_limit: int
    state: State
    revision: int
    next: str | None
    last_due: str | None
    last_process: str | None
    last_error: str | None
    failures: int
    """Starts that failed in a row."""
    skipped: int
    """Times that passed because the last process had not ended."""
    created_at: str
    created_by: str
    modified_at: str
    modified_by: str


class Schedules(Answer, frozen=True, kw_only=True):
    items: list[Schedule]
    next: str | None


class ScheduleQuery(Paged, frozen=True, kw_only=True):
    state: list[State] = msgspec.field(default_factory=list)
    definition: str | None = None


class ComingQuery(Request, frozen=True, kw_only=True):
    count: Annotated[int, Meta(ge=1, le=100)] = 10


class Coming(Answer, frozen=True, kw_only=True):
    times: list[str]
    timezone: str


class RunNow(Answer, frozen=True, kw_only=True):
    process: str
