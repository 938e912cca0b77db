"""Groups and who is in them. Everybody of the tenant sees which there are; administrators change them."""

from __future__ import annotations

from typing import Any

from penstock.core.requests import UserFilter
from penstock.errors import AlreadyExists, NotFound
from penstock.identity.model import Actor, GranteeKind, format_grantee, parse_code, parse_name
from penstock.operations import users, views
from penstock.operations.administration import require_administrator, require_unused
from penstock.operations.context import Context, require_revision
from penstock.store import directory, journal, people
from penstock.store.directory import GroupRow, UserRow
from penstock.store.rows import GROUPS, USERS, Tx


async def listed(ctx: Context, actor: Actor, after: list[Any] | None, limit: int) -> views.Page:
    """By code."""
    start = after[0] if after else ""
    rows = await ctx.store.async_read(lambda reader: directory.groups(reader, actor.tenant.tid, start, limit + 1))
    return views.Page([_view(row) for row in rows[:limit]], [rows[limit - 1].code] if len(rows) > limit else None)


async def get(ctx: Context, actor: Actor, code: str) -> views.Group:
    """Raises: NotFound."""
    row = await ctx.store.async_read(lambda reader: directory.group(reader, actor.tenant.tid, code))
    if row is None:
        raise NotFound("group", code)
    return _view(row)


async def members(ctx: Context, actor: Actor, code: str, after: list[Any] | None, limit: int) -> views.Page:
    """Users, by e-mail address. Raises: NotFound."""
    await get(ctx, actor, code)
    return await users.listed(ctx, actor, UserFilter(group=code), after, limit)


def _view(row: GroupRow) -> views.Group:
    return views.Group(row.code, row.name, row.created_at, row.rev)


async def create(ctx: Context, actor: Actor, code: str, name: str | None, key: str | None = None) -> views.Group:
    """Raises: Forbidden, Invalid, AlreadyExists."""
    require_administrator(actor)
    code, name = parse_code(code), parse_name(code if name is None else name)
    tid = actor.tenant.tid

    def unit(tx: Tx) -> views.Group:
        people.hold(tx, tid)
        if directory.group(tx, tid, code) is not None:
            raise AlreadyExists(f"there is a group {code!r} already")
        people.add_group(tx, tid, code, name)
        journal.record(tx, tid, actor.principal, "group.created", "group", code, {"name": name})
        return _view(_row(tx, tid, code))

    return (await ctx.once(actor, key, ["group.create", code, name], unit, views.Group))[0]


def _row(tx: Tx, tid: int, code: str) -> GroupRow:
    row = directory.group(tx, tid, code)
    if row is None:
        raise NotFound("group", code)
    return row


async def change(
    ctx: Context, actor: Actor, code: str, name: str, expected: frozenset[int] | None, key: str | None = None
) -> views.Group:
    """Give a group another name. Raises: Forbidden, NotFound, Invalid, Stale."""
    require_administrator(actor)
    name = parse_name(name)
    tid = actor.tenant.tid

    def unit(tx: Tx) -> views.Group:
        people.hold(tx, tid)
        row = _row(tx, tid, code)
        require_revision(expected, row.rev, f"group {code!r}")
        if row.name == name:
            return _view(row)
        tx.patch(GROUPS, (row.gid,), {"name": name, "rev": row.rev + 1})
        journal.record(tx, tid, actor.principal, "group.changed", "group", code, {"name": name})
        return _view(_row(tx, tid, code))

    return (await ctx.once(actor, key, ["group.change", code, name], unit, views.Group))[0]


async def remove(
    ctx: Context, actor: Actor, code: str, expected: frozenset[int] | None, key: str | None = None
) -> None:
    """Remove a group that nothing open names. Raises: Forbidden, NotFound, Stale, Conflict."""
    require_administrator(actor)
    tid = actor.tenant.tid

    def unit(tx: Tx) -> None:
        people.hold(tx, tid)
        row = _row(tx, tid, code)
        require_revision(expected, row.rev, f"group {code!r}")
        grantee = format_grantee(GranteeKind.GROUP, code)
        require_unused(tx, tid, grantee, f"group {code!r}", "take it out of these first")
        people.drop_group(tx, row.gid)
        people.changed(tx, tid)
        journal.record(tx, tid, actor.principal, "group.deleted", "group", code, {"name": row.name})

    await ctx.once(actor, key, ["group.remove", code], unit, type(None))


async def add_member(ctx: Context, actor: Actor, code: str, who: str, key: str | None = None) -> None:
    """Put a user into a group; one who is in it already stays. Raises: Forbidden, NotFound (group, user)."""
    await _member(ctx, actor, code, who, key, wanted=True)


async def remove_member(ctx: Context, actor: Actor, code: str, who: str, key: str | None = None) -> None:
    """Raises: Forbidden, NotFound (group, user, or the user is no member)."""
    await _member(ctx, actor, code, who, key, wanted=False)


async def _member(ctx: Context, actor: Actor, code: str, who: str, key: str | None, *, wanted: bool) -> None:
    require_administrator(actor)
    tid = actor.tenant.tid

    def unit(tx: Tx) -> None:
        people.hold(tx, tid)
        group, user = _row(tx, tid, code), users.row_of(tx, tid, who)
        member = people.is_member(tx, group.gid, user.uid)
        if wanted and member:
            return
        if wanted:
            people.add_member(tx, group.gid, user.uid)
        elif member:
            people.drop_member(tx, group.gid, user.uid)
        else:
            raise NotFound("member", who)
        _note(tx, actor, group, user, wanted=wanted)

    await ctx.once(actor, key, ["group.member", code, who, wanted], unit, type(None))


def _note(tx: Tx, actor: Actor, group: GroupRow, user: UserRow, *, wanted: bool) -> None:
    """What a user may has changed: a new revision, and nobody goes by what was."""
    tx.patch(USERS, (user.uid,), {"rev": user.rev + 1})
    people.changed(tx, group.tid)
    type = "group.member_added" if wanted else "group.member_removed"
    journal.record(tx, group.tid, actor.principal, type, "group", group.code, {"user": user.email})
