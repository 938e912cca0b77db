"""Threads: conversations on a process. A thread is an item; what is said in it are posts, numbered in their thread.

Who takes part: its candidates, who began it, and the managers of the definition. A post is its author's to edit and to
delete while the thread is open; what it said before stays in the thread's log, for managers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from penstock.core import events as ev
from penstock.core.requests import ItemFilter
from penstock.errors import NotFound, WrongState
from penstock.identity.model import Actor
from penstock.identity.policy import Action, require
from penstock.operations import items as tasks
from penstock.operations import views
from penstock.operations.context import Context, own
from penstock.operations.item_access import (
    Open,
    allowed,
    grantee_of,
    opened,
    readable,
    require_legal,
    target_of,
    view_of,
)
from penstock.operations.sight import require_process
from penstock.store import grants, item_lists, items, processes
from penstock.store.items import THREAD, Post, Seen
from penstock.store.rows import Tx

DEFAULT = ("role:starter",)
"""Who takes part besides its beginner and the managers where nobody is named: who started the process."""


async def begin(
    ctx: Context, actor: Actor, process: str, name: str, candidates: list[str], text: str | None, key: str | None = None
) -> views.Item:
    """Begin a conversation on a process that has not ended, with a first post where there is a text.

    Raises: NotFound, Forbidden, Invalid (candidates), WrongState.
    """
    tid = actor.tenant.tid
    pid = await ctx.pid(tid, process)
    await require_process(ctx, actor, process, pid, Action.THREAD_OPEN)
    kinds = ("user", "group", "app", "role")
    named = [
        await grantee_of(ctx, actor, each, f"/candidates/{at}", kinds) for at, each in enumerate(candidates)
    ] or list(DEFAULT)

    def unit(tx: Tx) -> Seen:
        held = own(processes.load(tx, pid), actor, process)
        event = ev.ThreadOpened(at=tx.now, actor=actor.principal, name=name, candidates=tuple(dict.fromkeys(named)))
        moved = ctx.engine.accept(tx, held.pid, event)
        n = moved.process.next_n - 1
        if text is not None:
            items.add_post(tx, pid, n, actor.principal, text)
        row = items.get(tx, pid, n)
        assert row is not None
        return Seen(moved.process_id, moved.vid, moved.created_by, row)

    seen, _ = await ctx.once(actor, key, ["thread.begin", process, name, named, text], unit, Seen, (pid,))
    return view_of(seen, (await ctx.version_by_vid(tid, seen.vid)).compiled, whole=True)


async def listed(ctx: Context, actor: Actor, process: str, after: list[Any] | None, limit: int) -> views.Page:
    """The threads of a process that the caller may see, newest first."""
    return await tasks.listed(ctx, actor, ItemFilter(kinds=(THREAD,)), after, limit, mine=False, process=process)


# -- posts -----------------------------------------------------------------------------------------------------------


async def posts(ctx: Context, actor: Actor, id: str, after: list[Any] | None, limit: int) -> views.Page:
    """What was said, in order. Raises: NotFound, WrongState when the item is no thread."""
    seen, _ = await readable(ctx, actor, id)
    row, start = seen.item, after[0] if after else 0
    if row.kind != THREAD:
        raise WrongState(f"cannot read posts: the item is a {row.kind}")
    found = await ctx.store.async_read(lambda reader: item_lists.posts(reader, row.pid, row.n, start, limit + 1))
    page = [_view(post) for post in found[:limit]]
    return views.Page(page, [page[-1].number] if len(found) > limit else None)


async def write(ctx: Context, actor: Actor, id: str, text: str, key: str | None = None) -> views.Post:
    """Say something. Raises: NotFound, Forbidden, WrongState."""
    place = await ctx.item_place(actor.tenant.tid, id)

    def unit(tx: Tx) -> Post:
        item = opened(tx, actor, id, place)
        allowed(actor, Action.POST_WRITE, item, "post")
        return items.add_post(tx, place.pid, place.n, actor.principal, text)

    post, _ = await ctx.once(actor, key, ["post.write", id, text], unit, Post, (place.pid,))
    return _view(post)


async def edit(ctx: Context, actor: Actor, id: str, number: int, text: str, key: str | None = None) -> views.Post:
    """Say it otherwise. Raises: NotFound, Forbidden (another's post), WrongState."""

    def do(item: Open, post: Post) -> Post:
        if post.text == text:
            return post
        items.add_line(
            item.tx, item.row.pid, item.row.n, actor.principal, "post.edited", {"post": number, "before": post.text}
        )
        return post._replace(text=text, edited_at=item.tx.now)

    return await _change(ctx, actor, id, number, ["post.edit", id, number, text], do, key)


async def delete(ctx: Context, actor: Actor, id: str, number: int, key: str | None = None) -> None:
    """Take it back: its place stays, its text is gone from the thread. Raises: NotFound, Forbidden, WrongState."""

    def do(item: Open, post: Post) -> Post:
        items.add_line(
            item.tx, item.row.pid, item.row.n, actor.principal, "post.deleted", {"post": number, "before": post.text}
        )
        return post._replace(text="", deleted_at=item.tx.now)

    await _change(ctx, actor, id, number, ["post.delete", id, number], do, key)


async def _change(
    ctx: Context,
    actor: Actor,
    id: str,
    number: int,
    request: list[Any],
    do: Callable[[Open, Post], Post],
    key: str | None,
) -> views.Post:
    place = await ctx.item_place(actor.tenant.tid, id)

    def unit(tx: Tx) -> Post:
        item = opened(tx, actor, id, place)
        target = target_of(item.seen, grants.of(tx, item.held.did))
        require(actor, Action.ITEM_READ, target)
        post = items.post(tx, place.pid, place.n, number)
        if post is None or post.deleted_at is not None:
            raise NotFound("post", number)
        require(actor, Action.POST_CHANGE, msgspec.structs.replace(target, owner=post.author))
        require_legal("post", item.row)
        changed = do(item, post)
        items.change_post(tx, place.pid, place.n, changed)
        return changed

    post, _ = await ctx.once(actor, key, request, unit, Post, (place.pid,))
    return _view(post)


def _view(post: Post) -> views.Post:
    text = None if post.deleted_at is not None else post.text
    return views.Post(post.post, post.author, text, post.at, post.edited_at, post.deleted_at)
