"""Bulk operations: begin one, look at it, cancel it. What it does to each process is in `bulk_running`."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

import msgspec

from penstock.core import codec
from penstock.core import events as ev
from penstock.core.decider import LEGAL
from penstock.core.requests import Condition, Filter
from penstock.core.state import ENDED, Status
from penstock.errors import Invalid, NotFound, Problem, WrongState
from penstock.identity.model import Actor, Kind
from penstock.identity.policy import ADMIN, Action, Target, require
from penstock.operations import commands, reading, views
from penstock.operations.commands import Commands
from penstock.operations.context import Context, new_uuid
from penstock.operations.definitions import version_of
from penstock.operations.jobs import check_size
from penstock.store import bulks, journal
from penstock.store.rows import Tx

Command = Literal["cancel", "terminate", "suspend", "resume", "retry", "skip", "signal", "migrate", "delete"]

MOST_IDS = 10_000

NOTICE = "bulk"
"""Tells every node that there is an operation to carry out."""

_EVENTS: dict[str, type[ev.Event]] = {
    "cancel": ev.CancelRequested,
    "terminate": ev.TerminateRequested,
    "suspend": ev.SuspendRequested,
    "resume": ev.ResumeRequested,
    "retry": ev.RetryRequested,
    "skip": ev.SkipRequested,
    "migrate": ev.Migrated,
}


class NewBulk(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for: a command with its arguments, to the processes of a filter or to those named."""

    command: Command
    filter: Filter | None = None
    ids: tuple[str, ...] = ()
    arguments: dict[str, Any] = {}
    dry_run: bool = False


def legal(command: str) -> frozenset[Status]:
    """The states a command is for."""
    if command == "delete":
        return frozenset(ENDED)
    if command == "signal":
        return frozenset(Status) - ENDED
    return LEGAL[_EVENTS[command]][1]


async def begin(ctx: Context, actor: Actor, wanted: NewBulk, key: str | None = None) -> views.Bulk:
    """Begin a bulk operation; it goes on in the background, and after a restart.

    Raises: Invalid (filter, ids, arguments), Forbidden.
    """
    require(actor, Action.BULK_RUN)
    tid = actor.tenant.tid
    deed(ctx, actor, wanted)  # its arguments are checked
    if wanted.filter is not None:
        wanted = msgspec.structs.replace(wanted, filter=await _checked(ctx, tid, wanted, wanted.filter))
    else:
        wanted = msgspec.structs.replace(wanted, ids=_canonical(wanted.ids))
    id = new_uuid()
    total = None if wanted.filter is not None else len(wanted.ids)

    def unit(tx: Tx) -> views.Bulk:
        row = bulks.add(*(tx, tid, id, wanted.command, wanted), dry_run=wanted.dry_run, total=total, by=actor.principal)
        journal.record(
            tx, tid, actor.principal, "bulk.started", "bulk", id, {"command": wanted.command, "dry_run": wanted.dry_run}
        )
        tx.notify(NOTICE)
        return view(row)

    answer, _ = await ctx.once(actor, key, ["bulk", wanted], unit, views.Bulk)
    return answer


async def _checked(ctx: Context, tid: int, wanted: NewBulk, asked: Filter) -> Filter:
    """The filter, narrowed to the states the command is for. Raises: Invalid."""
    if asked == Filter():
        message = "an empty filter would be every process: name at least one condition"
        raise Invalid(f"/filter: {message}", [Problem("/filter", message, "empty")])
    states = legal(wanted.command)
    for at, status in enumerate(asked.statuses):
        if status not in states:
            message = f"cannot {wanted.command} what is {status}: {', '.join(sorted(states))}"
            raise Invalid(f"/filter/status/{at}: {message}", [Problem(f"/filter/status/{at}", message, "wrong_state")])
    if wanted.command == "migrate":
        await _check_version(ctx, tid, asked.definition, wanted.arguments["version"])
    try:
        await ctx.store.async_read(lambda reader: reading.check_filter(reader, tid, asked))
    except Invalid as error:
        problems = [problem._replace(pointer=_place(problem.pointer)) for problem in error.problems]
        raise Invalid(error.message, problems) from None
    in_order = (status.value for status in Status if status in states)
    return asked._replace(statuses=asked.statuses or tuple(in_order), oldest=True)


def _place(name: str) -> str:
    """Where a filter's member stands in the body."""
    return f"/filter/search/{name}" if "." in name else f"/filter/{name}"


async def _check_version(ctx: Context, tid: int, definition: str | None, number: int) -> None:
    if definition is None:
        message = "name the definition whose processes are moved: versions are numbered in each"
        raise Invalid(f"/filter/definition: {message}", [Problem("/filter/definition", message, "missing")])
    try:
        await version_of(ctx, tid, definition, number)
    except NotFound as error:
        raise Invalid(error.message, [Problem("/arguments/version", error.message, "not_found")]) from None


def _canonical(ids: tuple[str, ...]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for at, id in enumerate(ids):
        try:
            canonical = str(UUID(id))
        except ValueError:
            raise Invalid(f"/ids/{at}: not a UUID", [Problem(f"/ids/{at}", "not a UUID", "id")]) from None
        if canonical in found:
            raise Invalid(f"/ids/{at}: stands twice", [Problem(f"/ids/{at}", "stands twice", "duplicate")])
        found[canonical] = None
    return tuple(found)


def deed(ctx: Context, actor: Actor, wanted: NewBulk) -> commands.Do | None:
    """What is done to each process that is held; None where it is more than a command. Raises: Invalid, TooLarge."""
    given = wanted.arguments
    match wanted.command:
        case "cancel":
            return commands.cancel(ctx, actor, given.get("reason", ""))
        case "terminate":
            return commands.terminate(ctx, actor, given.get("reason", ""))
        case "suspend":
            return commands.suspend(ctx, actor)
        case "resume":
            return commands.resume(ctx, actor)
        case "retry":
            return commands.retry(ctx, actor)
        case "skip":
            return commands.skip(ctx, actor, Commands(node=given["node"]), given.get("output"))
        case "signal":
            check_size(given.get("payload"), "/arguments/payload")
            return None
        case "migrate" | "delete":
            return None


# -- looking -----------------------------------------------------------------------------------------------------------


async def get(ctx: Context, actor: Actor, id: str) -> views.Bulk:
    """Raises: NotFound, for one of somebody else's too."""
    return view(await _own(ctx, actor, id, Action.BULK_READ))


async def listed(ctx: Context, actor: Actor, after: list[Any] | None, limit: int) -> views.Page:
    """Bulk operations, newest first; people who are no administrators see their own."""
    by = actor.principal if actor.kind is Kind.USER and ADMIN not in actor.roles else None
    before = after[0] if after else 2**62
    rows = await ctx.store.async_read(lambda read: bulks.listed(read, actor.tenant.tid, by, before, limit + 1))
    page = rows[:limit]
    return views.Page([view(row) for row in page], [page[-1].bid] if len(rows) > limit else None)


async def results(
    ctx: Context, actor: Actor, id: str, outcome: str | None, after: list[Any] | None, limit: int
) -> views.Page:
    """What came of processes: those that failed or were skipped, and in a dry run all. Raises: NotFound."""
    row = await _own(ctx, actor, id, Action.BULK_READ)
    start_at = after[0] if after else -1
    found = await ctx.store.async_read(lambda read: bulks.results(read, row.bid, outcome, start_at, limit + 1))
    page = [
        views.BulkResult(process=each.process_id, outcome=each.outcome, at=each.at, **codec.decode_json(each.data))
        for each in found[:limit]
    ]
    return views.Page(page, [found[limit - 1].n] if len(found) > limit else None)


async def cancel(ctx: Context, actor: Actor, id: str, key: str | None = None) -> views.Bulk:
    """Stop an operation: what it has done stays done.

    Raises: NotFound, WrongState when it has ended.
    """
    row = await _own(ctx, actor, id, Action.BULK_CONTROL)

    def unit(tx: Tx) -> None:
        now = bulks.get(tx, row.bid)
        if now is None:
            raise NotFound("bulk operation", id)
        if now.state != bulks.RUNNING:
            raise WrongState(f"cannot cancel: the bulk operation is {now.state}")
        bulks.end(tx, row.bid, bulks.CANCELLED)
        journal.record(tx, row.tid, actor.principal, "bulk.cancelled", "bulk", row.id, {"command": row.command})

    await ctx.once(actor, key, ["bulk.cancel", id], unit, type(None))
    return await get(ctx, actor, id)


async def _own(ctx: Context, actor: Actor, id: str, action: Action) -> bulks.Row:
    try:
        canonical = str(UUID(id))
    except ValueError:
        raise NotFound("bulk operation", id) from None
    row = await ctx.store.async_read(lambda read: bulks.find(read, actor.tenant.tid, canonical))
    if row is None:
        raise NotFound("bulk operation", id)
    require(actor, action, Target(kind="bulk operation", id=id, tid=row.tid, starter=row.created_by))
    return row


def view(row: bulks.Row) -> views.Bulk:
    wanted = request_of(row)
    shown = {} if wanted.filter is None else _shown(wanted.filter)
    return views.Bulk(
        id=row.id,
        command=row.command,
        state=row.state,
        filter=shown if wanted.filter is not None else None,
        arguments=wanted.arguments,
        dry_run=bool(row.dry_run),
        total=row.total,
        done=row.done,
        failed=row.failed,
        skipped=row.skipped,
        message=row.message,
        created_by=row.created_by,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )


def request_of(row: bulks.Row) -> NewBulk:
    return msgspec.json.decode(row.request, type=NewBulk)


def _shown(wanted: Filter) -> dict[str, Any]:
    """The filter's conditions by name; times as milliseconds."""
    plain = {name: value for name, value in wanted._asdict().items() if value not in (None, (), "")}
    for inner in ("sort", "oldest", "parent_pid"):
        plain.pop(inner, None)
    plain["search"] = {_spelled(each): each.value for each in wanted.search if each.name}
    plain["q"] = " ".join(each.value for each in wanted.search if not each.name)
    return {name: value for name, value in plain.items() if value}


def _spelled(condition: Condition) -> str:
    return condition.name if condition.op == "is" else f"{condition.name}[{condition.op}]"
