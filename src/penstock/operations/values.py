"""Values of processes and definitions: any JSON, and counters."""

from __future__ import annotations

from typing import Any

from penstock.core import codec
from penstock.errors import NotFound
from penstock.identity.model import Actor
from penstock.identity.policy import Action, Target, require
from penstock.operations import sight, views
from penstock.operations.context import Context
from penstock.operations.definitions import version_of
from penstock.operations.jobs import check_key, check_size
from penstock.store import lookups, values
from penstock.store.rows import Rows, Tx

LARGEST = 1024 * 1024


class Owner:
    """Whose values: a process or a definition."""

    def __init__(self, target: Target, number: int) -> None:
        self.target, self.kind, self.id, self.number = target, target.kind, target.id, number

    @property
    def rows(self) -> Rows:
        return values.OF_PROCESS if self.kind == "process" else values.OF_DEFINITION

    @property
    def keys(self) -> tuple[int, ...]:
        return (values.unit_key(self.rows, self.number),)


async def process(ctx: Context, actor: Actor, id: str) -> Owner:
    """Raises: NotFound."""
    tid = actor.tenant.tid
    pid = await ctx.pid(tid, id)
    found = await ctx.store.async_read(lambda reader: lookups.process(reader, tid, pid))
    if found is None:
        raise NotFound("process", id)
    return Owner(await sight.require_process(ctx, actor, id, pid, Action.VALUE_READ), pid)


async def definition(ctx: Context, actor: Actor, code: str) -> Owner:
    """Raises: NotFound."""
    row = await version_of(ctx, actor.tenant.tid, code)
    target = Target(kind="definition", id=code, tid=actor.tenant.tid, permissions=row.permissions)
    return Owner(target, row.did)


def _require(actor: Actor, action: Action, owner: Owner) -> None:
    require(actor, action, owner.target)


async def listed(ctx: Context, actor: Actor, owner: Owner, after: list[Any] | None, limit: int) -> views.Page:
    _require(actor, Action.VALUE_READ, owner)
    start = after[0] if after else ""
    of_process = owner.kind == "process"
    found = await ctx.store.async_read(
        lambda reader: lookups.values(reader, owner.number, start, limit + 1, of_process=of_process)
    )
    page = [views.Value(key, value) for key, value in found[:limit]]
    return views.Page(page, [page[-1].key] if len(found) > limit else None)


async def get(ctx: Context, actor: Actor, owner: Owner, key: str) -> views.Value:
    """Raises: NotFound."""
    _require(actor, Action.VALUE_READ, owner)
    check_key(key)
    of_process = owner.kind == "process"
    found = await ctx.store.async_read(lambda reader: lookups.value(reader, owner.number, key, of_process=of_process))
    if found is None:
        raise NotFound("value", key)
    return views.Value(key, found[0])


async def put(
    ctx: Context, actor: Actor, owner: Owner, key: str, value: Any, idempotency_key: str | None = None
) -> views.Value:
    """Raises: TooLarge."""
    _require(actor, Action.VALUE_WRITE, owner)
    check_key(key)
    check_size(value, "", LARGEST)
    text = codec.encode_json(value)

    def unit(tx: Tx) -> None:
        values.put(tx, owner.rows, owner.number, key, text)

    request = ["value.put", owner.kind, owner.number, key, value]
    await ctx.once(actor, idempotency_key, request, unit, type(None), owner.keys)
    return views.Value(key, value)


async def delete(ctx: Context, actor: Actor, owner: Owner, key: str, idempotency_key: str | None = None) -> None:
    """Raises: NotFound."""
    _require(actor, Action.VALUE_WRITE, owner)
    check_key(key)

    def unit(tx: Tx) -> None:
        if not values.delete(tx, owner.rows, owner.number, key):
            raise NotFound("value", key)

    request = ["value.delete", owner.kind, owner.number, key]
    await ctx.once(actor, idempotency_key, request, unit, type(None), owner.keys)


async def increment(
    ctx: Context, actor: Actor, owner: Owner, key: str, idempotency_key: str | None = None
) -> views.Value:
    """Add exactly 1, atomically; an absent key becomes 1. Raises: Conflict when it is not an integer."""
    _require(actor, Action.VALUE_WRITE, owner)
    check_key(key)
    request = ["value.increment", owner.kind, owner.number, key]
    counted, _ = await ctx.once(
        actor,
        idempotency_key,
        request,
        lambda tx: values.increment(tx, owner.rows, owner.number, key),
        int,
        owner.keys,
    )
    return views.Value(key, counted)
