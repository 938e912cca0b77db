"""Routes of `/schedules`."""

from __future__ import annotations

from typing import Any

from penstock.api import models
from penstock.api import schedule_models as words
from penstock.api.door import ApiCall, Native, page, position
from penstock.api.mapping import time_of
from penstock.core.durations import Duration, format_duration, parse_time
from penstock.errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound, Problem, Stale, WrongState
from penstock.operations import schedules
from penstock.web.routing import Reply, Route


async def create(call: ApiCall) -> Reply:
    body: words.NewSchedule = call.body
    made = await schedules.create(call.door.operations, call.actor, parse_schedule(body, body.id), call.idempotency_key)
    return _reply(made)


async def listed(call: ApiCall) -> words.Schedules:
    query: words.ScheduleQuery = call.query
    found = await schedules.listed(
        call.door.operations,
        call.actor,
        tuple(query.state),
        query.definition,
        position(call, call.actor),
        query.limit,
    )
    return page(call, call.actor, found, render_schedule, words.Schedules)


async def get(call: ApiCall) -> Reply:
    return _reply(await schedules.get(call.door.operations, call.actor, call.path["id"]))


async def update(call: ApiCall) -> Reply:
    wanted, revision = parse_schedule(call.body), call.revisions
    operations, actor, id = call.door.operations, call.actor, call.path["id"]
    return _reply(await schedules.update(operations, actor, id, wanted, revision, call.idempotency_key))


async def delete(call: ApiCall) -> None:
    revision = call.revisions
    await schedules.delete(call.door.operations, call.actor, call.path["id"], revision, call.idempotency_key)


async def pause(call: ApiCall) -> Reply:
    revision = call.revisions
    operations, actor, id = call.door.operations, call.actor, call.path["id"]
    return _reply(await schedules.pause(operations, actor, id, revision, call.idempotency_key))


async def resume(call: ApiCall) -> Reply:
    revision = call.revisions
    operations, actor, id = call.door.operations, call.actor, call.path["id"]
    return _reply(await schedules.resume(operations, actor, id, revision, call.idempotency_key))


async def run(call: ApiCall) -> words.RunNow:
    started = await schedules.run(call.door.operations, call.actor, call.path["id"], call.idempotency_key)
    return words.RunNow(process=started.process)


async def coming(call: ApiCall) -> words.Coming:
    operations, actor, id = call.door.operations, call.actor, call.path["id"]
    times, timezone = await schedules.upcoming(operations, actor, id, call.query.count)
    return words.Coming(times=[time_of(each) or "" for each in times], timezone=timezone)


def parse_schedule(body: words.ScheduleSpec, id: str | None = None) -> schedules.NewSchedule:
    """Raises: Invalid, with every time and duration that cannot be read."""
    problems: list[Problem] = []
    wanted = schedules.NewSchedule(
        id=id,
        definition=body.definition,
        version=body.version,
        cron=body.cron,
        every=body.every,
        timezone=body.timezone,
        input=body.input,
        starts_at=_moment(problems, "/start", body.start),
        ends_at=_moment(problems, "/end", body.end),
        jitter=_jitter(problems, body.jitter),
        overlap=body.overlap,
        catch_up=body.catch_up,
        catch_up_limit=body.catch_up_limit,
    )
    if problems:
        raise Invalid(f"{problems[0].pointer}: {problems[0].message}", problems)
    return wanted


def _moment(problems: list[Problem], pointer: str, text: str | None) -> int | None:
    try:
        return None if text is None else parse_time(text)
    except ValueError as error:
        problems.append(Problem(pointer, str(error), "time"))
        return None


def _jitter(problems: list[Problem], text: str | None) -> int:
    if text is None:
        return 0
    try:
        found = Duration.parse(text)
    except ValueError as error:
        problems.append(Problem("/jitter", str(error), "duration"))
        return 0
    if found.months:
        problems.append(Problem("/jitter", "months and years have no fixed length", "duration"))
    return found.milliseconds


def render_schedule(view: schedules.Schedule) -> words.Schedule:
    return words.Schedule(
        id=view.id,
        definition=view.definition,
        version=view.version,
        cron=view.cron,
        every=None if view.every is None else format_duration(Duration(0, view.every)),
        timezone=view.timezone,
        input=view.input,
        start=time_of(view.starts_at),
        end=time_of(view.ends_at),
        jitter=format_duration(Duration(0, view.jitter)) if view.jitter else None,
        overlap=view.overlap,
        catch_up=view.catch_up,
        catch_up_limit=view.catch_up_limit,
        state=view.state,  # type: ignore[arg-type]
        revision=view.revision,
        next=time_of(view.next),
        last_due=time_of(view.last_due),
        last_process=view.last_process,
        last_error=view.last_error,
        failures=view.failures,
        skipped=view.skipped,
        created_at=time_of(view.created_at) or "",
        created_by=view.created_by,
        modified_at=time_of(view.modified_at) or "",
        modified_by=view.modified_by,
    )


def _reply(view: schedules.Schedule) -> Reply:
    return Reply(render_schedule(view), revision=view.revision)


_COMMON: dict[str, Any] = {"tag": "Schedules"}
_CHANGE = (NotFound, Forbidden, WrongState, Stale, Conflict)
_IF_MATCH = "`If-Match` with the ETag that was read refuses the change (412) when somebody else was first."
EXAMPLE = {
    "id": "nightly-report",
    "definition": "report",
    "cron": "30 2 * * MON-FRI",
    "timezone": "Europe/Madrid",
    "input": {"of": "yesterday"},
    "overlap": "skip",
    "catch_up": "last",
}

ROUTES: tuple[Route[Native], ...] = (
    Route(
        method="POST", path="/schedules", operation="createSchedule", revised=True,
        summary="Have processes started by cron or period", handler=create, request=words.NewSchedule,
        response=words.Schedule, status=201, errors=(NotFound, Forbidden, AlreadyExists, WrongState, Conflict),
        examples={"nightly": EXAMPLE}, **_COMMON,
    ),
    Route(
        method="GET", path="/schedules", operation="listSchedules", summary="Schedules, by id", handler=listed,
        query=words.ScheduleQuery, response=words.Schedules, **_COMMON,
    ),
    Route(
        method="GET", path="/schedules/{id}", operation="getSchedule", revised=True, summary="A schedule, with its revision as ETag",
        handler=get, response=words.Schedule, errors=(NotFound,), **_COMMON,
    ),
    Route(
        method="PUT", path="/schedules/{id}", operation="updateSchedule", revised=True, summary="Replace what a schedule says",
        handler=update, request=words.ScheduleSpec, response=words.Schedule, errors=_CHANGE, description=_IF_MATCH,
        **_COMMON,
    ),
    Route(
        method="DELETE", path="/schedules/{id}", operation="deleteSchedule", revised=True,
        summary="Remove a schedule; what it has started goes on", handler=delete, status=204, errors=_CHANGE,
        description=_IF_MATCH, **_COMMON,
    ),
    Route(
        method="POST", path="/schedules/{id}/pause", operation="pauseSchedule", revised=True, summary="No time is due until resumed",
        handler=pause, request=models.Nothing, response=words.Schedule, errors=_CHANGE, description=_IF_MATCH,
        **_COMMON,
    ),
    Route(
        method="POST", path="/schedules/{id}/resume", operation="resumeSchedule", revised=True,
        summary="Go on from now; the times of the pause are not made up for", handler=resume, request=models.Nothing,
        response=words.Schedule, errors=_CHANGE, description=_IF_MATCH, **_COMMON,
    ),
    Route(
        method="POST", path="/schedules/{id}/run", operation="runSchedule",
        summary="Start its process now, by the caller, whatever the times and the overlap rule say", handler=run,
        request=models.Nothing, response=words.RunNow, status=201, errors=(NotFound, Forbidden, WrongState, Conflict),
        **_COMMON,
    ),
    Route(
        method="GET", path="/schedules/{id}/next", operation="listComingTimes", summary="The coming times, jitter apart",
        handler=coming, query=words.ComingQuery, response=words.Coming, errors=(NotFound, Conflict), **_COMMON,
    ),
)  # fmt: skip
