"""Items: what people see, claim, hand on and complete. Threads, drafts and logs have modules of their own.

A command is one unit: it loads the item, asks the policy, looks at the state (`item_access.LEGAL`), and lets one event have
its effect; what it answers is the item as it leaves it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from penstock.core import events as ev
from penstock.core.definition import Task
from penstock.core.requests import ItemFilter, Viewer
from penstock.core.schema import coerce
from penstock.errors import Invalid, PenstockError, Problem, WrongState
from penstock.identity.model import Actor, grantees_of
from penstock.identity.policy import Action, Target, may
from penstock.operations import views
from penstock.operations.context import Context, found_or_refused, part_of, require_revision, tried
from penstock.operations.definitions import checker
from penstock.operations.item_access import Open, allowed, carry_out, grantee_of, opened, readable, view_of
from penstock.operations.jobs import check_size
from penstock.operations.sight import require_process
from penstock.store import item_lists, lookups, visibility
from penstock.store.items import CLAIMED, NEVER, OPEN_STATES, READY, THREAD, Seen
from penstock.store.rows import Tx

MOST_URGENT = 1_000
"""Priorities go from its negative up to it; 0 is the ordinary."""


# -- reading ---------------------------------------------------------------------------------------------------------


async def listed(
    ctx: Context,
    actor: Actor,
    wanted: ItemFilter,
    after: list[Any] | None,
    limit: int,
    *,
    mine: bool,
    process: str | None = None,
    definition: str | None = None,
) -> views.Page:
    """Items in the order that `wanted` names. `mine`: what the caller owns or may claim; people see no more than that,
    but for the items of a process or definition that they look after.

    Raises: NotFound (process), Invalid (an order or a time that goes with open items alone).
    """
    tid = actor.tenant.tid
    _check_order(wanted)
    if process is not None:
        pid = await ctx.pid(tid, process)
        await require_process(ctx, actor, process, pid)
        wanted = wanted._replace(of_pid=pid)
    version = None if definition is None else await ctx.version(tid, definition, None)
    if definition is not None:
        if version is None:
            return views.Page([])
        wanted = wanted._replace(did=version.did)
    if mine or not await _sees_all(ctx, actor, wanted, version):
        wanted = wanted._replace(grantees=tuple(sorted(grantees_of(actor))), principal=actor.principal)
    # an inbox is one statement, but for the clock that tells what is overdue
    single = bool(wanted.grantees) and wanted.of_pid is None and not wanted.overdue and wanted.due_before is None
    rows = await ctx.store.async_read(
        lambda reader: item_lists.page(reader, tid, wanted, after, limit + 1), single=single
    )
    page = []
    for seen in rows[:limit]:
        ctx.remember_item(tid, seen.item.id, seen)
        page.append(view_of(seen, (await ctx.version_by_vid(tid, seen.vid)).compiled, whole=False))
    last = item_lists.position(rows[limit - 1].item, wanted.sort) if len(rows) > limit else None
    return views.Page(page, last)


def _check_order(wanted: ItemFilter) -> None:
    """Raises: Invalid."""
    problems = []
    ended = [state for state in wanted.states if state not in OPEN_STATES]
    timed = wanted.overdue or wanted.due_before is not None
    if wanted.sort != "created" and ended:
        problems.append(Problem("state", f"the order {wanted.sort} is of open items: {' and '.join(OPEN_STATES)}"))
    if timed and wanted.sort == "created":
        problems.append(Problem("sort", "overdue and due_before go by due or priority, not by created"))
    if problems:
        raise Invalid(f"{problems[0].pointer}: {problems[0].message}", problems)


async def _sees_all(ctx: Context, actor: Actor, wanted: ItemFilter, version: lookups.VersionRow | None) -> bool:
    tid = actor.tenant.tid
    if may(actor, Action.ITEM_READ, Target(kind="item", id="", tid=tid)):
        return True
    of_pid = wanted.of_pid
    if of_pid is not None:
        viewer = Viewer(actor.principal, ())
        found = await ctx.store.async_read(lambda reader: visibility.of_process(reader, tid, of_pid, viewer))
        if found is None:
            return False
        starter: str | None = found[0]
        permissions = found[1]
    elif version is not None:
        permissions, starter = version.permissions, None
    else:
        return False
    return may(actor, Action.ITEM_READ, Target(kind="item", id="", tid=tid, permissions=permissions, starter=starter))


async def get(ctx: Context, actor: Actor, id: str) -> views.Item:
    """An item with its form. Raises: NotFound."""
    seen, version = await readable(ctx, actor, id)
    return view_of(seen, version, whole=True)


async def counts(ctx: Context, actor: Actor) -> views.Inbox:
    """What waits for the caller."""
    tid, grantees = actor.tenant.tid, sorted(grantees_of(actor))
    found = await ctx.store.async_read(lambda reader: item_lists.counts(reader, tid, grantees))
    return views.Inbox(*found)


# -- commands --------------------------------------------------------------------------------------------------------


async def _command(
    ctx: Context, actor: Actor, id: str, key: str | None, request: list[Any], do: Callable[[Open], None]
) -> views.Item:
    """Run a command on an item. Raises: what `do` raises, NotFound."""
    place = await ctx.item_place(actor.tenant.tid, id)

    def unit(tx: Tx) -> Seen:
        item = opened(tx, actor, id, place)
        do(item)
        return item.seen

    seen, _ = await ctx.once(actor, key, [f"item.{request[0]}", id, *request[1:]], unit, Seen, (place.pid,))
    return view_of(seen, (await ctx.version_by_vid(actor.tenant.tid, seen.vid)).compiled, whole=True)


async def claim(ctx: Context, actor: Actor, id: str, key: str | None = None) -> views.Item:
    """Make an item one's own, or take back what one has delegated; claiming one's own again changes nothing.

    Raises: NotFound, Forbidden (no candidate), WrongState (somebody else was quicker, or it is over).
    """

    def do(item: Open) -> None:
        allowed(actor, Action.ITEM_CLAIM, item, "claim")
        row = item.row
        if row.owner == actor.principal:
            return
        if row.state == CLAIMED and row.delegator != actor.principal:
            raise WrongState(f"cannot claim: the item is CLAIMED by {row.owner}")
        _claim(ctx, actor, item)

    return await _command(ctx, actor, id, key, ["claim"], do)


def _claim(ctx: Context, actor: Actor, item: Open) -> None:
    event = ev.ItemClaimed(actor=actor.principal, owner=actor.principal, **item.where)
    ctx.engine.accept(item.tx, item.row.pid, event)


async def unclaim(ctx: Context, actor: Actor, id: str, key: str | None = None) -> views.Item:
    """Give an item back: to who delegated it, else to its candidates. A manager may do it for its owner."""

    def do(item: Open) -> None:
        allowed(actor, Action.ITEM_UNCLAIM, item, "unclaim")
        carry_out(ctx, item, actor, ev.ItemUnclaimed(actor=actor.principal, **item.where), "unclaimed")

    return await _command(ctx, actor, id, key, ["unclaim"], do)


async def assign(ctx: Context, actor: Actor, id: str, to: str, key: str | None = None) -> views.Item:
    """Give an item to a user or an application, who owns it then, or to a group, which may claim it.

    Raises: NotFound, Forbidden, Invalid (nobody of that name, or disabled), WrongState.
    """
    await readable(ctx, actor, id, Action.ITEM_CONTROL)
    grantee = await grantee_of(ctx, actor, to, "/to", ("user", "app", "group"))

    def do(item: Open) -> None:
        allowed(actor, Action.ITEM_CONTROL, item, "assign")
        event = ev.ItemAssigned(actor=actor.principal, to=grantee, **item.where)
        carry_out(ctx, item, actor, event, "assigned")

    return await _command(ctx, actor, id, key, ["assign", grantee], do)


async def delegate(ctx: Context, actor: Actor, id: str, to: str, note: str, key: str | None = None) -> views.Item:
    """Hand one's item on. It comes back: whoever has it gives it back by unclaiming, and the first owner may claim it back
    at any time.

    Raises: NotFound, Forbidden (not the owner), Invalid, WrongState.
    """

    async def check() -> str:
        await readable(ctx, actor, id, Action.ITEM_DELEGATE)
        return await grantee_of(ctx, actor, to, "/to", ("user", "app"))

    checked = await tried(key, check())

    def do(item: Open) -> None:
        grantee = found_or_refused(checked)
        allowed(actor, Action.ITEM_DELEGATE, item, "delegate")
        if grantee == item.row.owner:
            raise Invalid("the item is theirs already", [Problem("/to", f"{grantee} has the item", "owner")])
        event = ev.ItemDelegated(actor=actor.principal, to=grantee, note=note, **item.where)
        carry_out(ctx, item, actor, event, "delegated")

    return await _command(ctx, actor, id, key, ["delegate", to, note], do)


class Change(NamedTuple):
    """What of an item changes; a member that is UNSET stays. `due_at` None: due at no time. `expected`: only if it has one of
    these revisions.
    """

    due_at: int | msgspec.UnsetType | None = msgspec.UNSET
    priority: int | msgspec.UnsetType = msgspec.UNSET
    expected: frozenset[int] | None = None


async def change(ctx: Context, actor: Actor, id: str, change: Change, key: str | None = None) -> views.Item:
    """Change when an item is due and how urgent it is. Raises: NotFound, Forbidden, Stale, WrongState."""

    def do(item: Open) -> None:
        allowed(actor, Action.ITEM_CONTROL, item, "change")
        row = item.row
        require_revision(change.expected, row.rev, "the item")
        due_at = row.due_at if change.due_at is msgspec.UNSET else change.due_at
        priority = row.priority if change.priority is msgspec.UNSET else change.priority
        assert due_at is None or isinstance(due_at, int)
        assert isinstance(priority, int)
        if (due_at, priority) == (None if row.due_at == NEVER else row.due_at, row.priority):
            return
        event = ev.ItemChanged(
            actor=actor.principal, due_at=None if due_at == NEVER else due_at, priority=priority, **item.where
        )
        carry_out(ctx, item, actor, event, "changed")

    given = [None if value is msgspec.UNSET else [value] for value in (change.due_at, change.priority)]
    return await _command(ctx, actor, id, key, ["change", given, change.expected], do)


async def cancel(ctx: Context, actor: Actor, id: str, reason: str, key: str | None = None) -> views.Item:
    """Take an item from everybody. The process goes on with the error `ItemCancelled`: a boundary takes it, or it is an
    incident; where no token waits for the item, nothing follows.
    """

    def do(item: Open) -> None:
        allowed(actor, Action.ITEM_CONTROL, item, "cancel")
        event = ev.ItemCancelled(actor=actor.principal, reason=reason, **item.where)
        carry_out(ctx, item, actor, event, "cancelled")

    return await _command(ctx, actor, id, key, ["cancel", reason], do)


async def acknowledge(ctx: Context, actor: Actor, id: str, key: str | None = None) -> views.Item:
    """A message has been read: it is done, for all whom it was for."""

    def do(item: Open) -> None:
        allowed(actor, Action.MESSAGE_ACKNOWLEDGE, item, "acknowledge")
        event = ev.ItemCompleted(actor=actor.principal, **item.where)
        carry_out(ctx, item, actor, event, "acknowledged")

    return await _command(ctx, actor, id, key, ["acknowledge"], do)


# -- completing ------------------------------------------------------------------------------------------------------


async def complete(ctx: Context, actor: Actor, id: str, output: Any, key: str | None = None) -> views.Item:
    """End an item with its form's data; a task that nobody has claimed is claimed in the same step. A thread is closed.

    Raises: NotFound, Forbidden, WrongState, Invalid against the task's schema.
    """
    check_size(output, "/output")
    place = await ctx.item_place(actor.tenant.tid, id)
    vid = place.vid
    while True:
        try:
            fitting = await _fitted(ctx, actor, id, vid, place.task, output)
            return await _complete_as(ctx, actor, id, vid, fitting, output, key)
        except _Moved as moved:
            vid = moved.vid  # a migration came in between: the form may be another


class _Moved(Exception):
    """The process is of another version than the output was checked for."""

    def __init__(self, vid: int) -> None:
        super().__init__(f"version {vid}")
        self.vid = vid


async def _fitted(ctx: Context, actor: Actor, id: str, vid: int, code: str, output: Any) -> Any:
    """The output in the types of its form. Raises: Invalid, but NotFound for who may not see the item; _Moved."""
    version = await ctx.version_by_vid(actor.tenant.tid, vid)
    task = version.compiled.tasks.get(code) or Task(code=code)
    if task.schema is None:
        return output
    fitting = coerce(task.schema, {} if output is None else output)
    problems = checker(version.digest, f"task/{code}", task.schema).check(fitting, "/output")
    if problems:
        seen, _ = await readable(ctx, actor, id)
        if seen.vid != vid:
            raise _Moved(seen.vid)
        raise Invalid("the form's data does not fit its schema", problems)
    check_size(fitting, "/output")
    return fitting


async def _complete_as(
    ctx: Context, actor: Actor, id: str, vid: int, output: Any, given: Any, key: str | None
) -> views.Item:
    def do(item: Open) -> None:
        action = Action.THREAD_CLOSE if item.row.kind == THREAD else Action.ITEM_COMPLETE
        allowed(actor, action, item, "complete")
        if item.held.vid != vid:
            raise _Moved(item.held.vid)
        if item.row.state == READY and item.row.kind != THREAD:
            _claim(ctx, actor, item)
        carry_out(ctx, item, actor, ev.ItemCompleted(actor=actor.principal, output=output, **item.where), "closed")

    return await _command(ctx, actor, id, key, ["complete", given], do)


# -- many ------------------------------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """One part of a batch: "claim", "unclaim", "acknowledge" or "complete" (with an output) an item."""

    id: str
    command: str
    output: Any = None


async def batch(
    ctx: Context, actor: Actor, entries: list[Entry], key: str | None = None
) -> list[views.Item | PenstockError]:
    """Commands side by side; each succeeds or fails by itself."""

    async def one(at: int, entry: Entry) -> views.Item | PenstockError:
        part = part_of(key, at)
        try:
            match entry.command:
                case "claim":
                    return await claim(ctx, actor, entry.id, part)
                case "unclaim":
                    return await unclaim(ctx, actor, entry.id, part)
                case "acknowledge":
                    return await acknowledge(ctx, actor, entry.id, part)
                case _:
                    return await complete(ctx, actor, entry.id, entry.output, part)
        except PenstockError as error:
            return error

    return list(await asyncio.gather(*(one(at, entry) for at, entry in enumerate(entries))))
