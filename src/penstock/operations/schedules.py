"""Schedules: say when processes are started, look at what comes, start one by hand.

The engine fires them (`engines.schedules`). What it starts acts as `system`; `role:starter` is who made the schedule.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from penstock.core import codec, recurrence
from penstock.core.durations import HOUR
from penstock.core.recurrence import Rule
from penstock.errors import AlreadyExists, Conflict, Invalid, NotFound, Problem, WrongState
from penstock.identity.model import Actor
from penstock.identity.policy import Action, Target, require
from penstock.operations import processes
from penstock.operations.context import Context, new_uuid, require_revision
from penstock.operations.definitions import version_of
from penstock.operations.sight import viewer_of
from penstock.operations.views import Page
from penstock.store import definitions, journal, schedules
from penstock.store.lookups import VersionRow
from penstock.store.rows import Tx
from penstock.store.schedules import ACTIVE, OVER, PAUSED, Row

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
LONGEST_JITTER = HOUR
MOST_CAUGHT_UP = 1_000
CHANGED = "schedules"
"""What every node is told when a schedule was changed."""


class NewSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. Exactly one of `cron`, `every` (an ISO 8601 duration); times in milliseconds."""

    definition: str
    id: str | None = None
    version: int | None = None
    cron: str | None = None
    every: str | None = None
    timezone: str = "UTC"
    input: Any = None
    starts_at: int | None = None
    ends_at: int | None = None
    jitter: int = 0
    overlap: str = "allow"
    catch_up: str = "last"
    catch_up_limit: int = 100


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as it is. Times in milliseconds since 1970 UTC, `every` and `jitter` in milliseconds."""

    id: str
    definition: str
    version: int | None
    cron: str | None
    every: int | None
    timezone: str
    input: Any
    starts_at: int | None
    ends_at: int | None
    jitter: int
    overlap: str
    catch_up: str
    catch_up_limit: int
    state: str
    revision: int
    next: int | None
    last_due: int | None
    last_process: str | None
    last_error: str | None
    failures: int
    skipped: int
    created_at: int
    created_by: str
    modified_at: int
    modified_by: str


class Started(msgspec.Struct, frozen=True):
    """The process that was started by hand."""

    process: str


# -- reading ---------------------------------------------------------------------------------------------------------


async def get(ctx: Context, actor: Actor, id: str) -> Schedule:
    """Raises: NotFound."""
    return view(await _readable(ctx, actor, id))


async def listed(
    ctx: Context, actor: Actor, states: tuple[str, ...], definition: str | None, after: list[Any] | None, limit: int
) -> Page:
    """By id."""
    tid = actor.tenant.tid
    start, viewer = after[0] if after else "", viewer_of(actor)
    rows = await ctx.store.async_read(
        lambda read: schedules.listed(read, tid, states, definition, start, limit + 1, viewer)
    )
    return Page([view(row) for row in rows[:limit]], [rows[limit - 1].id] if len(rows) > limit else None)


async def upcoming(ctx: Context, actor: Actor, id: str, most: int) -> tuple[list[int], str]:
    """The coming times, jitter apart, and their zone: those of a paused schedule as if it were resumed now."""
    row = await _readable(ctx, actor, id)
    now = await ctx.store.async_read(lambda read: read.now())
    after = now if row.due_at is None else row.due_at - 1
    return _coming(row, after, most), row.timezone


def _coming(row: Row, after: int, most: int) -> list[int]:
    try:
        return recurrence.upcoming(row.rule, after, most)
    except ValueError as error:  # the table of zones was another when the schedule was made
        raise Conflict(f"the schedule's times cannot be worked out: {error}") from None


async def _readable(ctx: Context, actor: Actor, id: str) -> Row:
    row = await ctx.store.async_read(lambda read: schedules.get(read, actor.tenant.tid, id))
    if row is None:
        raise NotFound("schedule", id)
    require(actor, Action.SCHEDULE_READ, await _seen(ctx, actor, row))
    return row


# -- changing --------------------------------------------------------------------------------------------------------


async def create(ctx: Context, actor: Actor, wanted: NewSchedule, key: str | None = None) -> Schedule:
    """Raises: NotFound (definition), Forbidden, Invalid, WrongState (retired definition), AlreadyExists (the id)."""
    tid = actor.tenant.tid
    await _checked_target(ctx, actor, wanted)
    rule, jitter = _rule(wanted)
    id = wanted.id if wanted.id is not None else new_uuid()
    if not ID.fullmatch(id):
        raise _wrong("/id", "must be 1 to 100 letters, digits, dots, - and _, the first a letter or digit")
    now = await ctx.store.async_read(lambda read: read.now())
    rule = msgspec.structs.replace(rule, anchor=now if rule.starts_at is None else rule.starts_at)
    due = _first(rule, now, wanted)
    text = codec.encode_json(wanted.input)

    def unit(tx: Tx) -> Schedule:
        if schedules.lock(tx, tid, id) is not None:
            raise AlreadyExists(f"there is a schedule {id!r} already")
        row = Row(
            sid=schedules.new_key(tx), tid=tid, id=id, definition=wanted.definition, version=wanted.version,
            cron=rule.cron, every=rule.every, timezone=rule.timezone, input=text, starts_at=rule.starts_at,
            ends_at=rule.ends_at, jitter=jitter, overlap=wanted.overlap, catch_up=wanted.catch_up,
            catch_up_limit=wanted.catch_up_limit, state=ACTIVE, revision=1, due_at=None, fires_at=None, last_due=None,
            last_process=None, last_pid=None, last_error=None, failures=0, skipped=0, created_at=now,
            created_by=actor.principal, modified_at=now, modified_by=actor.principal,
        )  # fmt: skip
        return _written(tx, actor, row.waiting_for(due), "created")

    answer, _ = await ctx.once(actor, key, ["schedule.create", wanted], unit, Schedule)
    return answer


async def update(
    ctx: Context, actor: Actor, id: str, wanted: NewSchedule, expected: frozenset[int] | None, key: str | None = None
) -> Schedule:
    """Replace what a schedule says. Its next time is worked out anew where the rule is another.

    Raises: as `create`, and Stale when what is there is none of `expected`.
    """
    await _checked_target(ctx, actor, wanted)
    rule, jitter = _rule(wanted)
    text = codec.encode_json(wanted.input)
    known = await _readable(ctx, actor, id)
    now = await ctx.store.async_read(lambda read: read.now())
    rule = msgspec.structs.replace(rule, anchor=known.created_at if rule.starts_at is None else rule.starts_at)
    due = _first(rule, now, wanted)

    def unit(tx: Tx) -> Schedule:
        row = _held(tx, actor, id, expected)
        same = row.rule == rule and row.state != OVER
        changed = row._replace(
            definition=wanted.definition, version=wanted.version, cron=rule.cron, every=rule.every,
            timezone=rule.timezone, input=text, starts_at=rule.starts_at, ends_at=rule.ends_at, jitter=jitter,
            overlap=wanted.overlap, catch_up=wanted.catch_up, catch_up_limit=wanted.catch_up_limit, failures=0,
            last_error=None, state=PAUSED if row.state == PAUSED else ACTIVE,
        )  # fmt: skip
        following = None if row.state == PAUSED else row.due_at if same else due
        return _written(tx, actor, changed.waiting_for(following), "updated")

    await _require_write(ctx, actor, known)
    answer, _ = await ctx.once(actor, key, ["schedule.update", id, expected, wanted], unit, Schedule)
    return answer


async def pause(
    ctx: Context, actor: Actor, id: str, expected: frozenset[int] | None, key: str | None = None
) -> Schedule:
    """No time is due until it is resumed. Raises: NotFound, Forbidden, WrongState, Stale."""
    await _require_write(ctx, actor, await _readable(ctx, actor, id))

    def unit(tx: Tx) -> Schedule:
        row = _held(tx, actor, id, expected)
        if row.state != ACTIVE:
            raise WrongState(f"cannot pause: the schedule is {row.state}")
        return _written(tx, actor, row.waiting_for(None)._replace(state=PAUSED), "paused")

    answer, _ = await ctx.once(actor, key, ["schedule.pause", id, expected], unit, Schedule)
    return answer


async def resume(
    ctx: Context, actor: Actor, id: str, expected: frozenset[int] | None, key: str | None = None
) -> Schedule:
    """Go on with the times from now; those of the pause were not missed. Raises: NotFound, Forbidden, WrongState, Stale."""
    known = await _readable(ctx, actor, id)
    await _require_write(ctx, actor, known)
    now = await ctx.store.async_read(lambda read: read.now())
    due = next(iter(_coming(known, now, 1)), None)

    def unit(tx: Tx) -> Schedule:
        row = _held(tx, actor, id, expected)
        if row.state != PAUSED:
            raise WrongState(f"cannot resume: the schedule is {row.state}")
        if row.rule != known.rule:
            raise Conflict("the schedule was changed at the same moment; try again")
        state = OVER if due is None else ACTIVE
        return _written(tx, actor, row.waiting_for(due)._replace(state=state, failures=0), "resumed")

    answer, _ = await ctx.once(actor, key, ["schedule.resume", id, expected], unit, Schedule)
    return answer


async def delete(ctx: Context, actor: Actor, id: str, expected: frozenset[int] | None, key: str | None = None) -> None:
    """What it has started goes on. Raises: NotFound, Forbidden, Stale."""
    tid = actor.tenant.tid
    known = await ctx.store.async_read(lambda read: schedules.get(read, tid, id))
    if known is not None:  # else this may be the repeat of the call that deleted it: the unit knows
        await _require_write(ctx, actor, known)

    def unit(tx: Tx) -> bool:
        row = _held(tx, actor, id, expected)
        schedules.remove(tx, row)
        journal.record(tx, row.tid, actor.principal, "schedule.deleted", "schedule", row.id, {"revision": row.revision})
        return True

    await ctx.once(actor, key, ["schedule.delete", id, expected], unit, bool)


async def run(ctx: Context, actor: Actor, id: str, key: str | None = None) -> Started:
    """Start its process now, whatever the times and the overlap rule say; the caller is its starter.

    Raises: NotFound, Forbidden, WrongState (retired definition), Invalid (the input does not fit any more), LimitExceeded.
    """
    row = await _readable(ctx, actor, id)
    version = await version_of(ctx, actor.tenant.tid, row.definition, row.version)
    require(actor, Action.PROCESS_START, _target(version, actor))
    process = new_uuid()

    def unit(tx: Tx) -> Started:
        held = _held(tx, actor, id, None)
        by = actor.principal
        place.require()
        started, pid = schedules.begin(tx, held, process, starter=by, actor=by, start=ctx.engine.start)
        schedules.put(tx, held._replace(last_process=started, last_pid=pid))
        journal.record(tx, held.tid, by, "schedule.run", "schedule", held.id, {})
        return Started(started)

    with await ctx.limits.place(actor.tenant, repeatable=key is not None) as place:
        answer, replayed = await ctx.once(actor, key, ["schedule.run", id], unit, Started)
        place.used = not replayed
    return answer


def _held(tx: Tx, actor: Actor, id: str, expected: frozenset[int] | None) -> Row:
    row = schedules.lock(tx, actor.tenant.tid, id)
    if row is None:
        raise NotFound("schedule", id)
    require_revision(expected, row.revision, f"the schedule {id!r}")
    return row


def _written(tx: Tx, actor: Actor, row: Row, what: str) -> Schedule:
    if what != "created":
        row = row._replace(revision=row.revision + 1, modified_at=tx.now, modified_by=actor.principal)
    schedules.put(tx, row)
    seen = view(row)
    data = {name: value for name, value in msgspec.structs.asdict(seen).items() if name in _TOLD}
    journal.record(tx, row.tid, actor.principal, f"schedule.{what}", "schedule", row.id, data)
    tx.notify(CHANGED)
    return seen


_TOLD = frozenset(
    {"definition", "version", "cron", "every", "timezone", "starts_at", "ends_at", "jitter", "overlap", "catch_up"}
    | {"catch_up_limit", "state", "revision"}
)
"""What the journal keeps of a schedule: its input may hold what only its process should."""


# -- checking --------------------------------------------------------------------------------------------------------


async def _checked_target(ctx: Context, actor: Actor, wanted: NewSchedule) -> None:
    """Whether the actor may start the definition by schedule, and its input fits today."""
    row = await version_of(ctx, actor.tenant.tid, wanted.definition, wanted.version)
    require(actor, Action.SCHEDULE_WRITE, _target(row, actor))
    require(actor, Action.PROCESS_START, _target(row, actor))
    if row.state != definitions.ACTIVE:
        raise WrongState(f"cannot schedule: definition {row.code!r} is retired")
    processes.checked(row, processes.StartProcess(definition=wanted.definition, input=wanted.input))


async def _require_write(ctx: Context, actor: Actor, row: Row) -> None:
    """Whether the actor may change this schedule, by the rights of the definition it starts."""
    require(actor, Action.SCHEDULE_WRITE, await _seen(ctx, actor, row))


async def _seen(ctx: Context, actor: Actor, row: Row) -> Target:
    """The schedule as policy sees it: with the permissions of its definition."""
    version = await ctx.version(actor.tenant.tid, row.definition, None)
    permissions = {} if version is None else version.permissions
    return Target(kind="schedule", id=row.id, tid=row.tid, permissions=permissions)


def _target(row: VersionRow, actor: Actor) -> Target:
    return Target(kind="definition", id=row.code, tid=actor.tenant.tid, permissions=row.permissions)


def _rule(wanted: NewSchedule) -> tuple[Rule, int]:
    """The rule, without its anchor, and the jitter. Raises: Invalid with every problem."""
    problems: list[Problem] = []
    if (wanted.cron is None) == (wanted.every is None):
        problems.append(Problem("", "exactly one of cron and every must be there", "invalid"))
    cron = _read(problems, "/cron", recurrence.parse_cron, wanted.cron)
    every = _read(problems, "/every", recurrence.parse_period, wanted.every)
    _read(problems, "/timezone", recurrence.zone, wanted.timezone)
    if wanted.starts_at is not None and wanted.ends_at is not None and wanted.ends_at <= wanted.starts_at:
        problems.append(Problem("/end", "must be later than start", "range"))
    if not 0 <= wanted.jitter <= LONGEST_JITTER:
        problems.append(Problem("/jitter", "must be at most PT1H", "range"))
    if problems:
        raise Invalid(f"{problems[0].pointer or 'the schedule'}: {problems[0].message}", problems)
    rule = Rule(
        cron=cron, every=every, timezone=wanted.timezone, starts_at=wanted.starts_at, ends_at=wanted.ends_at
    )  # fmt: skip
    return rule, wanted.jitter


def _read(problems: list[Problem], pointer: str, parse: Any, text: str | None) -> Any:
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as error:
        problems.append(Problem(pointer, str(error), pointer[1:]))
        return None


def _first(rule: Rule, now: int, wanted: NewSchedule) -> int:
    due = recurrence.next_time(rule, now)
    if due is not None:
        return due
    if rule.ends_at is not None:
        raise _wrong("/end", "there is no time left before it")
    raise _wrong("/cron" if wanted.cron is not None else "/every", "there is no such time within 50 years")


def _wrong(pointer: str, message: str) -> Invalid:
    return Invalid(f"{pointer}: {message}", [Problem(pointer, message)])


def view(row: Row) -> Schedule:
    """A row as it is answered."""
    own = {name: getattr(row, name) for name in _SAME}
    return Schedule(**own, input=codec.decode_json(row.input), next=row.due_at)


_SAME = tuple(name for name in Schedule.__struct_fields__ if name not in ("input", "next"))
