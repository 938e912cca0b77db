"""Items: what people see, claim and complete."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from penstock.core import codec
from penstock.core import events as ev
from penstock.core.definition import Task, Version
from penstock.core.requests import ItemFilter
from penstock.core.schema import coerce
from penstock.errors import Invalid, NotFound, WrongState
from penstock.identity.model import Actor, grantees_of
from penstock.identity.policy import Action, Target, require
from penstock.operations import views
from penstock.operations.context import Context
from penstock.operations.definitions import checker
from penstock.operations.jobs import check_size
from penstock.store import items, lookups, processes
from penstock.store.lookups import ItemRow, VersionRow
from penstock.store.rows import Tx


async def listed(
    ctx: Context,
    actor: Actor,
    wanted: ItemFilter,
    after: list[Any] | None,
    limit: int,
    *,
    mine: bool,
    process: str | None = None,
) -> views.Page:
    """Items, newest first. `mine`: what the caller owns or may claim; people never see more than that."""
    tid = actor.tenant.tid
    if process is not None:
        wanted = wanted._replace(of_pid=await ctx.pid(tid, process))
    if mine or not _sees_all(actor):
        wanted = wanted._replace(grantees=tuple(sorted(grantees_of(actor))), owner=actor.principal)
    rows = await ctx.store.async_read(lambda reader: lookups.items(reader, tid, wanted, after, limit + 1))
    versions = await _versions(ctx, tid, rows)
    page = [_view(row, versions[row.vid], whole=False) for row in rows[:limit]]
    last = rows[limit - 1] if len(rows) > limit else None
    return views.Page(page, [last.pid, last.n] if last is not None else None)


def _sees_all(actor: Actor) -> bool:
    return actor.kind != "user" or "admin" in actor.roles


async def get(ctx: Context, actor: Actor, id: str) -> views.Item:
    """An item with its form. Raises: NotFound."""
    row, version = await _item(ctx, actor, id)
    require(actor, Action.ITEM_READ, _target(row, version, actor.tenant.tid))
    return _view(row, version.compiled, whole=True)


async def claim(ctx: Context, actor: Actor, id: str, key: str | None = None) -> views.Item:
    """Make an item one's own; claiming one's own again changes nothing.

    Raises: NotFound, Forbidden (no candidate), WrongState (somebody else was quicker, or it is over).
    """
    row, version = await _item(ctx, actor, id)
    require(actor, Action.ITEM_CLAIM, _target(row, version, actor.tenant.tid))

    def unit(tx: Tx) -> None:
        now = _open_item(tx, row)
        if now.state == items.CLAIMED:
            if now.owner == actor.principal:
                return
            raise WrongState(f"cannot claim: the item is CLAIMED by {now.owner}")
        event = ev.ItemClaimed(at=tx.now, actor=actor.principal, scope=now.scope, visit=now.n, owner=actor.principal)
        ctx.engine.accept(tx, row.pid, event)

    await ctx.once(actor, key, ["item.claim", id], unit, type(None), (row.pid,))
    return await get(ctx, actor, id)


async def complete(ctx: Context, actor: Actor, id: str, output: Any, key: str | None = None) -> views.Item:
    """End an item with its form's data; one that nobody has claimed is claimed in the same step.

    Raises: NotFound, Forbidden, WrongState, Invalid against the task's schema.
    """
    row, version = await _item(ctx, actor, id)
    require(actor, Action.ITEM_READ, _target(row, version, actor.tenant.tid))
    task = version.compiled.tasks.get(row.task) or Task(code=row.task)
    if task.schema is not None:
        output = coerce(task.schema, {} if output is None else output)
        problems = checker(version.digest, f"task/{row.task}", task.schema).check(output, "/output")
        if problems:
            raise Invalid("the form's data does not fit its schema", problems)
    check_size(output, "/output")

    def unit(tx: Tx) -> bool:
        now = _open_item(tx, row)
        require(actor, Action.ITEM_COMPLETE, _target(row._replace(owner=now.owner), version, actor.tenant.tid))
        if now.state == items.READY:
            claimed = ev.ItemClaimed(
                at=tx.now, actor=actor.principal, scope=now.scope, visit=now.n, owner=actor.principal
            )
            ctx.engine.accept(tx, row.pid, claimed)
        done = ev.ItemCompleted(at=tx.now, actor=actor.principal, scope=now.scope, visit=now.n, output=output)
        ctx.engine.accept(tx, row.pid, done)
        return True

    await ctx.once(actor, key, ["item.complete", id, output], unit, bool, (row.pid,))
    row, version = await _item(ctx, actor, id)
    return _view(row, version.compiled, whole=True)


def _open_item(tx: Tx, row: ItemRow) -> items.Row:
    processes.load(tx, row.pid)
    now = items.get(tx, row.pid, row.n)
    if now is None:
        raise NotFound("item", row.id)
    if now.state in (items.COMPLETED, items.CANCELLED):
        raise WrongState(f"the item is {now.state}")
    return now


async def _item(ctx: Context, actor: Actor, id: str) -> tuple[ItemRow, VersionRow]:
    tid = actor.tenant.tid
    try:
        canonical = str(UUID(id))
    except ValueError:
        raise NotFound("item", id) from None
    row = await ctx.store.async_read(lambda reader: lookups.item(reader, tid, canonical))
    if row is None:
        raise NotFound("item", id)
    version = await ctx.store.async_read(lambda reader: lookups.version_by_vid(reader, tid, row.vid))
    assert version is not None
    return row, version


async def _versions(ctx: Context, tid: int, rows: list[ItemRow]) -> dict[int, Version]:
    wanted = {row.vid for row in rows}

    def read(reader: Any) -> dict[int, Version]:
        found = {vid: lookups.version_by_vid(reader, tid, vid) for vid in wanted}
        return {vid: version.compiled for vid, version in found.items() if version is not None}

    return await ctx.store.async_read(read) if wanted else {}


def _target(row: ItemRow, version: VersionRow, tid: int) -> Target:
    return Target(
        kind="item",
        id=row.id,
        tid=tid,
        permissions=version.permissions,
        starter=row.created_by,
        candidates=codec.decode_json(row.candidates),
        owner=row.owner,
    )


def _view(row: ItemRow, version: Version, *, whole: bool) -> views.Item:
    task = version.tasks.get(row.task) or Task(code=row.task)
    return views.Item(
        id=row.id,
        process=row.process_id,
        definition=row.code,
        visit=row.n,
        node=row.node,
        task=row.task,
        name=task.name or row.task,
        description=task.description,
        state=row.state,
        owner=row.owner,
        candidates=codec.decode_json(row.candidates),
        data=codec.decode_json(row.data),
        output=None if row.output is None else codec.decode_json(row.output),
        priority=row.priority,
        due_at=row.due_at,
        created_at=row.created_at,
        ended_at=row.ended_at,
        ended_by=row.ended_by,
        schema=task.schema if whole else None,
        ui=task.ui if whole else None,
    )
