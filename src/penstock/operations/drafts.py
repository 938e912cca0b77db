"""Drafts: what the owner of a task has typed and not sent, and the lines of an item's log.

A draft is free JSON: neither types nor what is required are looked at before the task is completed. Each owner has one of
an item; it is gone when the item has ended.
"""

from __future__ import annotations

from typing import Any

from penstock.core import codec
from penstock.errors import NotFound
from penstock.identity.model import Actor
from penstock.identity.policy import Action
from penstock.operations import views
from penstock.operations.context import Context, require_revision
from penstock.operations.item_access import Open, allowed, opened, readable
from penstock.operations.jobs import check_size
from penstock.store import item_lists, items
from penstock.store.items import Draft, Line
from penstock.store.rows import Tx

LARGEST = 256 * 1024


async def get(ctx: Context, actor: Actor, id: str) -> views.Draft:
    """The owner's draft. Raises: NotFound, Forbidden."""
    seen, _ = await readable(ctx, actor, id, Action.ITEM_DRAFT)
    row = seen.item
    found = await ctx.store.async_read(lambda reader: item_lists.draft(reader, row.pid, row.n, row.owner or ""))
    if found is None:
        raise NotFound("draft", id)
    return _view(found)


async def save(
    ctx: Context, actor: Actor, id: str, data: Any, expected: frozenset[int] | None, key: str | None = None
) -> views.Draft:
    """Keep unfinished data for the item's owner; `expected`: only in place of such a revision (0: none yet).

    Raises: NotFound, Forbidden (not the owner), WrongState, Stale, TooLarge.
    """
    check_size(data, "", LARGEST)
    text = codec.encode_json(data)
    place = await ctx.item_place(actor.tenant.tid, id)

    def unit(tx: Tx) -> Draft:
        item = opened(tx, actor, id, place)
        allowed(actor, Action.ITEM_DRAFT, item, "save a draft")
        _require_revision(item, expected)
        return items.save_draft(tx, item.row, item.row.owner or "", text)

    saved, _ = await ctx.once(actor, key, ["item.draft", id, data, expected], unit, Draft, (place.pid,))
    return _view(saved)


async def drop(ctx: Context, actor: Actor, id: str, expected: frozenset[int] | None, key: str | None = None) -> None:
    """Raises: NotFound, Forbidden, Stale, WrongState."""
    place = await ctx.item_place(actor.tenant.tid, id)

    def unit(tx: Tx) -> None:
        item = opened(tx, actor, id, place)
        allowed(actor, Action.ITEM_DRAFT, item, "save a draft")
        if items.draft(tx, item.row, item.row.owner or "") is None:
            raise NotFound("draft", id)
        _require_revision(item, expected)
        items.drop_draft(tx, item.row, item.row.owner or "")

    await ctx.once(actor, key, ["item.draft.drop", id, expected], unit, type(None), (place.pid,))


def _require_revision(item: Open, expected: frozenset[int] | None) -> None:
    if expected is not None:
        now = items.draft(item.tx, item.row, item.row.owner or "")
        require_revision(expected, 0 if now is None else now.rev, "the draft")


def _view(draft: Draft) -> views.Draft:
    return views.Draft(draft.owner, codec.decode_json(draft.data), draft.rev, draft.saved_at)


# -- the log ---------------------------------------------------------------------------------------------------------


async def write_log(
    ctx: Context, actor: Actor, id: str, level: str, message: str, key: str | None = None
) -> views.ItemLine:
    """Append a line to an open item's log. Raises: NotFound, Forbidden, WrongState."""
    place = await ctx.item_place(actor.tenant.tid, id)

    def unit(tx: Tx) -> Line:
        item = opened(tx, actor, id, place)
        allowed(actor, Action.ITEM_LOG, item, "log")
        return items.add_line(tx, *place[:2], actor.principal, "log", {"level": level, "message": message})

    line, _ = await ctx.once(actor, key, ["item.log", id, level, message], unit, Line, (place.pid,))
    return _line(line)


async def log(ctx: Context, actor: Actor, id: str, after: list[Any] | None, limit: int) -> views.Page:
    """Lines in order. A thread's holds what was edited and deleted in it: that is for managers."""
    seen, _ = await readable(ctx, actor, id)
    if seen.item.kind == items.THREAD:
        await readable(ctx, actor, id, Action.ITEM_CONTROL)
    row, start = seen.item, after[0] if after else 0
    found = await ctx.store.async_read(lambda reader: item_lists.log(reader, row.pid, row.n, start, limit + 1))
    page = [_line(line) for line in found[:limit]]
    return views.Page(page, [page[-1].line] if len(found) > limit else None)


def _line(line: Line) -> views.ItemLine:
    return views.ItemLine(line.line, line.at, line.actor, line.type, codec.decode_json(line.data))
