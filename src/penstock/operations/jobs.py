"""Jobs, as workers see them: poll, complete, fail, throw, extend, log.

A lease fences: an answer is applied once, and only while its lease (or the job's token) is good. In a batch each entry stands
for itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from penstock.core import codec
from penstock.core import events as ev
from penstock.core.pointers import escape
from penstock.errors import Invalid, LeaseLost, NotFound, PenstockError, Problem, TooLarge, Unauthenticated
from penstock.identity.model import Actor
from penstock.identity.policy import Action, require
from penstock.identity.tokens import hash_secret, same
from penstock.operations.context import Context, part_of
from penstock.operations.views import Extended, Result
from penstock.store import jobs, processes, values
from penstock.store.rows import JOBS, Tx

log = structlog.get_logger("penstock.jobs")

LARGEST_OUTPUT = 256 * 1024
LONGEST_KEY = 255
LONGEST_TOPIC = 200


class Poll(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs a worker wants. Seconds; `worker` is a name for the operator's eyes."""

    topics: list[str]
    max: int = 1
    wait: float = 0.0
    lease: float = 60.0
    worker: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One worker's word about one job it holds, by its lease or the job's token."""

    id: str
    lease: str | None = None
    token: str | None = None
    traceparent: str | None = None
    """The worker's span. One that is malformed is no error: then it has none."""


class Completed(Answer, frozen=True, kw_only=True):
    """`values` are put and `increments` counted in the same commit as the job's end."""

    output: Any = None
    values: dict[str, Any] = {}
    increments: list[str] = []


class Failed(Answer, frozen=True, kw_only=True):
    """`delay`: milliseconds until the next attempt, in place of the policy's."""

    failure: ev.Failure
    delay: int | None = None


class Thrown(Answer, frozen=True, kw_only=True):
    code: str
    message: str = ""
    data: Any = None


AnyAnswer = Completed | Failed | Thrown


def job_id(process_id: str, visit: int) -> str:
    """A job's public id holds its process's."""
    return f"{process_id}.{visit}"


def check_size(value: Any, pointer: str, largest: int = LARGEST_OUTPUT) -> None:
    """Raises: TooLarge."""
    size = 0 if value is None else len(codec.encode_json(value).encode())
    if size > largest:
        message = f"{size} bytes; at most {largest} fit, larger things are documents"
        raise TooLarge(message, [Problem(pointer, message, "too_large")])


# -- polling ---------------------------------------------------------------------------------------------------------


async def poll(ctx: Context, actor: Actor, request: Poll) -> list[Any]:
    """Take jobs; where there are none, wait for the first one to be born.

    Raises: Invalid, Forbidden.
    """
    require(actor, Action.JOB_WORK)
    queues = _queues(actor, request)
    worker = request.worker or actor.principal
    return await ctx.engine.poll(ctx.store, queues, request.max, request.wait, int(request.lease * 1000), worker)


def require_worker(actor: Actor) -> None:
    """Raises: Forbidden."""
    require(actor, Action.JOB_WORK)


def _queues(actor: Actor, request: Poll) -> list[str]:
    problems = [
        Problem(f"/topics/{i}", "1 to 200 characters, and not one of the engine's own", "topic")
        for i, topic in enumerate(request.topics)
        if not topic or len(topic) > LONGEST_TOPIC or topic == "http:"
    ]
    if not request.topics:
        problems.append(Problem("/topics", "at least one topic", "topic"))
    if problems:
        raise Invalid("these topics cannot be polled", problems)
    return [jobs.queue_of(actor.tenant.tid, topic) for topic in dict.fromkeys(request.topics)]


# -- answering -------------------------------------------------------------------------------------------------------


async def answer(ctx: Context, actor: Actor | None, entry: AnyAnswer, idempotency_key: str | None = None) -> None:
    """Apply one answer. `actor` None: the job's token is the only credential, and nothing is repeated.

    Raises: LeaseLost, NotFound, Invalid, TooLarge, Conflict (an increment on something else), Unauthenticated.
    """
    _check(entry)
    arrived = time.monotonic()
    pid, n = await _place(ctx, actor, entry)
    held = _Held()
    unit = _answering(ctx, actor, entry, pid, n, held, arrived)
    wants = ((JOBS, (pid, n)),)
    if actor is None:
        try:
            await ctx.store.submit_async(unit, (pid,), wants)
        except PenstockError:
            if not held.known:
                await _not_counted(ctx, pid)
            raise
        return
    key = part_of(idempotency_key, entry.id)
    # a repeat is part of another span
    same_request = entry if entry.traceparent is None else msgspec.structs.replace(entry, traceparent=None)
    await ctx.once(actor, key, [type(entry).__name__, same_request], unit, type(None), (pid,), wants)


async def _not_counted(ctx: Context, pid: int) -> None:
    """The request was let in as the tenant's, and no token of its job was seen."""
    identity = await ctx.identity(pid)
    if identity is not None:
        ctx.limits.was_nobody(identity.tid)


async def answer_many(
    ctx: Context,
    actor: Actor,
    entries: list[Completed] | list[Failed] | list[Thrown],
    then: Poll | None = None,
    idempotency_key: str | None = None,
) -> tuple[list[Result], list[Any]]:
    """Apply a batch, and take the next jobs in the same call when asked to."""
    require(actor, Action.JOB_WORK)
    reserved = None
    if then is not None:
        queues = _queues(actor, then)
        reserved = ctx.engine.reserve(queues, then.max, int(then.lease * 1000), then.worker or actor.principal)
    try:
        results = await _each(entries, lambda entry: answer(ctx, actor, entry, idempotency_key))
    finally:
        taken = await ctx.engine.collect(ctx.store, reserved) if reserved is not None else []
    return results, taken


async def _each(entries: Any, one: Callable[[Any], Awaitable[Any]]) -> list[Result]:
    async def guarded(entry: Any) -> Result:
        try:
            return Result(entry.id, await one(entry))
        except PenstockError as error:
            return Result(entry.id, error=error)

    return list(await asyncio.gather(*(guarded(entry) for entry in entries)))


async def _place(ctx: Context, actor: Actor | None, entry: Answer) -> tuple[int, int]:
    """(pid, visit) of the job an answer is for. Raises: NotFound."""
    process_id, _, number = entry.id.rpartition(".")
    if not number.isascii() or not number.isdigit() or len(number) > 12:
        raise NotFound("job", entry.id)
    if actor is None:
        place = ctx.engine.place_of(entry.token or "")
        if place is None or place[1] != int(number):
            raise Unauthenticated("the token is not this job's")
        identity = await ctx.identity(place[0])
        if identity is None or identity.id != process_id.lower():
            raise Unauthenticated("the token is not this job's")
        await ctx.limits.admit_job(identity.tid)
        return place
    try:
        return await ctx.pid(actor.tenant.tid, process_id), int(number)
    except NotFound:
        raise NotFound("job", entry.id) from None


class _Held:
    """Whether the unit has come to the answer's job, and the caller was found to hold it."""

    known = False


def _check(entry: AnyAnswer) -> None:
    """What can be said of an answer before anybody is asked who holds the job. Raises: Invalid, TooLarge."""
    if isinstance(entry, Completed):
        check_size(entry.output, "/output")
        for key, value in entry.values.items():
            check_key(key, f"/values/{escape(key)}")
            check_size(value, f"/values/{escape(key)}")
        for at, key in enumerate(entry.increments):
            check_key(key, f"/increments/{at}")
    elif isinstance(entry, Thrown):
        check_size(entry.data, "/data")


def _answering(
    ctx: Context, actor: Actor | None, entry: AnyAnswer, pid: int, n: int, held: _Held, arrived: float
) -> Callable[[Tx], None]:
    def unit(tx: Tx) -> None:
        if actor is None:
            _require_same_process(tx, pid, entry)
        row = held_job(tx, actor, entry, pid, n, arrived)
        held.known = True
        by = actor.principal if actor is not None else f"job:{entry.id}"
        if isinstance(entry, Completed):
            for key in entry.increments:
                values.increment(tx, values.OF_PROCESS, pid, key)
            for key, value in entry.values.items():
                values.put(tx, values.OF_PROCESS, pid, key, codec.encode_json(value))
        ctx.engine.answer(tx, row, _event(entry, row, by, tx.now), entry.traceparent)

    return unit


def _require_same_process(tx: Tx, pid: int, entry: Answer) -> None:
    """A token tells its job's process by number; the job's id in the path must be of the same. Raises: Unauthenticated."""
    held = processes.load(tx, pid)
    if held is None or held.process_id != entry.id.rpartition(".")[0].lower():
        raise Unauthenticated("the token is not this job's")


def _event(entry: AnyAnswer, row: jobs.Row, by: str, at: int) -> ev.JobCompleted | ev.JobFailed | ev.ErrorThrown:
    of: dict[str, Any] = {"at": at, "actor": by, "scope": row.scope, "visit": row.n, "attempt": row.attempt}
    match entry:
        case Completed():
            return ev.JobCompleted(output=entry.output, **of)
        case Failed():
            return ev.JobFailed(failure=entry.failure, delay=entry.delay, **of)
        case Thrown():
            return ev.ErrorThrown(code=entry.code, message=entry.message, data=entry.data, **of)


def held_job(tx: Tx, actor: Actor | None, entry: Answer, pid: int, n: int, arrived: float) -> jobs.Row:
    """The job, if the caller holds it. `arrived` (by the monotonic clock): a lease that was good then is, as long as nobody
    has taken it away since. What waited for its turn at the writer is not late.

    Raises: NotFound (another tenant's), LeaseLost, Unauthenticated.
    """
    row = jobs.get(tx, pid, n)
    if actor is not None and row is not None and row.tid != actor.tenant.tid:
        raise NotFound("job", entry.id)
    if entry.token is not None:
        good = row is not None and row.token_hash is not None and same(row.token_hash, hash_secret(entry.token))
        if not good and actor is None:
            raise Unauthenticated("the job's token is not valid (any more)")
    else:
        good = row is not None and row.lease is not None and entry.lease is not None and same(row.lease, entry.lease)
        good = (
            good and row is not None and row.leased_until is not None and row.leased_until > tx.now - _waited(arrived)
        )
    if not good or row is None:
        raise LeaseLost("the lease ran out, or the job is over: the answer is not applied")
    return row


def _waited(arrived: float) -> int:
    return int((time.monotonic() - arrived) * 1000)


# -- leases and logs -------------------------------------------------------------------------------------------------


class Extend(Answer, frozen=True, kw_only=True):
    seconds: float = 60.0


class LogLine(Answer, frozen=True, kw_only=True):
    message: str
    level: str = "info"


async def extend(ctx: Context, actor: Actor, entries: list[Extend]) -> list[Result]:
    """Keep jobs for longer from now on; the answer tells whether the job is to stop."""
    require(actor, Action.JOB_WORK)

    async def one(entry: Extend) -> Extended:
        arrived = time.monotonic()
        pid, n = await _place(ctx, actor, entry)

        def unit(tx: Tx) -> Extended:
            row = held_job(tx, actor, entry, pid, n, arrived)
            until = tx.now + int(entry.seconds * 1000)
            jobs.extend(tx, row, until)
            return Extended(until, bool(row.told))

        return await ctx.store.submit_async(unit, (pid,))

    return await _each(entries, one)


async def write_log(ctx: Context, actor: Actor, entries: list[LogLine]) -> list[Result]:
    """A worker's line about its job, into the server's log with the process's id."""
    require(actor, Action.JOB_WORK)

    async def one(entry: LogLine) -> None:
        arrived = time.monotonic()
        pid, n = await _place(ctx, actor, entry)

        def unit(tx: Tx) -> None:
            held_job(tx, actor, entry, pid, n, arrived)

        await ctx.store.submit_async(unit, (pid,))
        log.info("job.log", job=entry.id, level_of_worker=entry.level, message=entry.message[:2000])

    return await _each(entries, one)


def check_key(key: str, pointer: str = "key") -> None:
    """The key of a value; `pointer` is its parameter's name, or its place in a body. Raises: Invalid."""
    if not key or len(key) > LONGEST_KEY:
        message = f"a key has 1 to {LONGEST_KEY} characters, not {len(key)}"
        raise Invalid(message, [Problem(pointer, message, "key")])
