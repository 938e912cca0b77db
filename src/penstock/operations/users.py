"""Users: administrators make and change them, everybody finds those of the tenant, and each changes the own name and password."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from penstock.core import codec
from penstock.core.requests import UserFilter
from penstock.errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound, Problem
from penstock.identity.model import Actor, Kind, fold_email, parse_email, parse_name
from penstock.identity.policy import ADMIN, Action, may
from penstock.identity.tokens import hash_secret
from penstock.operations import views
from penstock.operations.administration import (
    gains_operator,
    keep_an_administrator,
    lock_out,
    parse_roles,
    require_administrator,
    require_operator_for,
    require_unused,
)
from penstock.operations.context import Context, new_uuid, require_revision
from penstock.operations.people import Credentials
from penstock.store import access_keys, directory, journal, people
from penstock.store.directory import UserRow
from penstock.store.rows import USERS, Tx


class NewUser(msgspec.Struct, frozen=True, kw_only=True):
    """Without a password nobody can log in as the user."""

    email: str
    name: str | None = None
    password: str | None = None
    groups: Sequence[str] = ()
    roles: Sequence[str] = ()


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is UNSET stays."""

    name: str | UnsetType = UNSET
    password: str | UnsetType | None = UNSET
    groups: Sequence[str] | UnsetType = UNSET
    roles: Sequence[str] | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class Caller(NamedTuple):
    """`secret`: the token or session that asks."""

    secret: str
    address: str


# -- reading ---------------------------------------------------------------------------------------------------------


async def listed(ctx: Context, actor: Actor, wanted: UserFilter, after: list[Any] | None, limit: int) -> views.Page:
    """Who is not an administrator sees who there is, and nobody who is disabled. Raises: Forbidden."""
    whole = may(actor, Action.PEOPLE_ADMINISTER)
    if not whole and wanted.disabled is not None:
        raise Forbidden("only administrators see who is disabled", action=str(Action.PEOPLE_ADMINISTER))
    asked = wanted._replace(
        email=fold_email(wanted.email), name=people.folded(wanted.name), disabled=wanted.disabled if whole else False
    )
    tid = actor.tenant.tid

    def read(reader: Any) -> tuple[list[UserRow], dict[int, list[str]]]:
        found = directory.users(reader, tid, asked, after, limit + 1)
        return found, directory.groups_of(reader, [row.uid for row in found[:limit]])

    rows, groups = await ctx.store.async_read(read)
    next = directory.place_of(rows[limit - 1], wanted.sort) if len(rows) > limit else None
    return views.Page([_view(row, groups[row.uid], whole=whole) for row in rows[:limit]], next)


async def get(ctx: Context, actor: Actor, who: str) -> views.User:
    """By id or e-mail address. Raises: NotFound, of a disabled one to all but administrators and themself."""
    tid = actor.tenant.tid

    def read(reader: Any) -> tuple[UserRow, list[str]] | None:
        found = directory.user(reader, tid, _who(who))
        return None if found is None else (found, directory.groups_of(reader, [found.uid])[found.uid])

    found = await ctx.store.async_read(read)
    if found is None:
        raise NotFound("user", who)
    row, groups = found
    whole = may(actor, Action.PEOPLE_ADMINISTER) or actor.principal == _principal(row)
    if row.disabled and not whole:
        raise NotFound("user", who)
    return _view(row, groups, whole=whole)


def _who(text: str) -> str:
    return fold_email(text[:300]) if "@" in text else text


def _principal(row: UserRow) -> str:
    return f"user:{row.email}"


def _view(row: UserRow, groups: list[str], *, whole: bool = True) -> views.User:
    account = None
    if whole:
        password = row.password_hash is not None
        account = views.Account(directory.roles_of(row), bool(row.disabled), password, row.created_at)
    return views.User(row.id, row.email, row.name, groups, row.rev, account)


# -- changing --------------------------------------------------------------------------------------------------------


async def create(
    ctx: Context, credentials: Credentials, actor: Actor, new: NewUser, key: str | None = None
) -> views.User:
    """Raises: Forbidden, Invalid, AlreadyExists (the address, in any case), LimitExceeded."""
    require_administrator(actor)
    email = parse_email(new.email)
    name = parse_name(email if new.name is None else new.name)
    roles = parse_roles(new.roles)
    require_operator_for(actor, roles)
    hash = None if new.password is None else await credentials.hash_password(new.password)
    tid, id = actor.tenant.tid, new_uuid()

    def unit(tx: Tx) -> views.User:
        people.hold(tx, tid)
        if directory.user(tx, tid, email) is not None:
            raise AlreadyExists(f"there is a user {email} already")
        gids = _gids(tx, tid, new.groups)
        uid = people.add_user(tx, tid, id, email, name, hash, tuple(roles))
        for gid in gids.values():
            people.add_member(tx, gid, uid)
        data = {"name": name, "roles": roles, "groups": sorted(gids), "password": hash is not None}
        journal.record(tx, tid, actor.principal, "user.created", "user", email, data)
        return _view(row_of(tx, tid, id), sorted(gids))

    # a password is neither kept nor hashed quickly under the key
    request = ["user.create", msgspec.structs.replace(new, password=new.password and "")]
    return (await ctx.once(actor, key, request, unit, views.User))[0]


def _gids(tx: Tx, tid: int, codes: Sequence[str]) -> dict[str, int]:
    """The groups of these codes. Raises: Invalid for one there is not."""
    found: dict[str, int] = {}
    problems = []
    for at, code in enumerate(codes):
        group = directory.group(tx, tid, code)
        if group is None:
            problems.append(Problem(f"/groups/{at}", f"no group {code[:50]!r}", "unknown"))
        else:
            found[code] = group.gid
    if problems:
        raise Invalid(problems[0].message, problems)
    return found


def row_of(tx: Tx, tid: int, who: str) -> UserRow:
    """By id or e-mail address. Raises: NotFound."""
    row = directory.user(tx, tid, _who(who))
    if row is None:
        raise NotFound("user", who)
    return row


async def change(
    ctx: Context,
    credentials: Credentials,
    actor: Actor,
    who: str,
    given: Change,
    expected: frozenset[int] | None,
    key: str | None = None,
) -> views.User:
    """Change a user; who is disabled, or gets another password, is logged out everywhere. Who becomes an operator is so, too,
    and has no password any more unless this change gives one: administrators of the tenant could know the one before.

    Raises: Forbidden, NotFound, Invalid, Stale, Conflict (the last administrator), LimitExceeded.
    """
    require_administrator(actor)
    columns: dict[str, Any] = {}
    if given.name is not UNSET:
        columns |= {"name": parse_name(given.name), "folded": people.folded(given.name)}
    if given.roles is not UNSET:
        columns["roles"] = codec.encode_json(parse_roles(given.roles))
    if given.disabled is not UNSET:
        columns["disabled"] = int(given.disabled)
    if given.password is not UNSET:
        columns["password_hash"] = None if given.password is None else await credentials.hash_password(given.password)
    tid = actor.tenant.tid

    def unit(tx: Tx) -> views.User:
        people.hold(tx, tid)
        row = row_of(tx, tid, who)
        require_operator_for(actor, directory.roles_of(row), codec.decode_json(columns.get("roles", "[]")))
        require_revision(expected, row.rev, f"user {row.email}")
        groups = directory.groups_of(tx, [row.uid])[row.uid]
        wanted = None if given.groups is UNSET else _gids(tx, tid, given.groups)
        changed = {name: value for name, value in columns.items() if getattr(row, name) != value}
        regrouped = wanted is not None and sorted(wanted) != groups
        if not changed and not regrouped:
            return _view(row, groups)
        _keep_administrator(tx, row, changed)
        if gains_operator(directory.roles_of(row), codec.decode_json(changed.get("roles", row.roles))):
            _begin_anew(tx, row, changed)
        if wanted is not None:
            _regroup(tx, tid, row.uid, groups, wanted)
            groups = sorted(wanted)
        _write(tx, row, changed)
        _record(tx, actor, row, changed, groups if regrouped else None)
        return _view(row_of(tx, tid, row.id), groups)

    shown = given if not given.password else msgspec.structs.replace(given, password="")
    request = ["user.change", who, _unset_out(shown), sorted(expected) if expected is not None else None]
    return (await ctx.once(actor, key, request, unit, views.User))[0]


def _unset_out(given: Change) -> dict[str, Any]:
    return {name: value for name in given.__struct_fields__ if (value := getattr(given, name)) is not UNSET}


def _keep_administrator(tx: Tx, row: UserRow, changed: dict[str, Any]) -> None:
    roles = codec.decode_json(changed.get("roles", row.roles))
    if changed.get("disabled") or ADMIN not in roles:
        keep_an_administrator(tx, row)


def _begin_anew(tx: Tx, row: UserRow, changed: dict[str, Any]) -> None:
    """Nothing that was made before proves that it is the user."""
    if row.password_hash is not None:
        changed.setdefault("password_hash", None)
    lock_out(tx, row.tid, _principal(row))
    access_keys.forget(tx, row.tid, _principal(row))


def _regroup(tx: Tx, tid: int, uid: int, before: Sequence[str], wanted: dict[str, int]) -> None:
    for code, gid in _gids(tx, tid, before).items():
        if code not in wanted:
            people.drop_member(tx, gid, uid)
    for code, gid in wanted.items():
        if code not in before:
            people.add_member(tx, gid, uid)


def _write(tx: Tx, row: UserRow, changed: dict[str, Any], *, but: str = "") -> None:
    if changed.get("disabled") or "password_hash" in changed:
        lock_out(tx, row.tid, _principal(row), but=but)
    tx.patch(USERS, (row.uid,), {**changed, "rev": row.rev + 1})
    people.changed(tx, row.tid)


def _record(tx: Tx, actor: Actor, row: UserRow, changed: dict[str, Any], groups: list[str] | None) -> None:
    data: dict[str, Any] = {}
    if "name" in changed:
        data["name"] = changed["name"]
    if "roles" in changed:
        data["roles"] = codec.decode_json(changed["roles"])
    if "password_hash" in changed:
        data["password"] = changed["password_hash"] is not None
    if "disabled" in changed:
        data["disabled"] = bool(changed["disabled"])
    if groups is not None:
        data["groups"] = groups
    journal.record(tx, row.tid, actor.principal, "user.changed", "user", row.email, data)


async def remove(ctx: Context, actor: Actor, who: str, expected: frozenset[int] | None, key: str | None = None) -> None:
    """Remove a user whom nothing open names: the same address may become somebody else's.

    Raises: Forbidden, NotFound, Stale, Conflict (open items, permissions, the last administrator).
    """
    require_administrator(actor)
    tid = actor.tenant.tid

    def unit(tx: Tx) -> None:
        people.hold(tx, tid)
        row = row_of(tx, tid, who)
        require_operator_for(actor, directory.roles_of(row))
        require_revision(expected, row.rev, f"user {row.email}")
        keep_an_administrator(tx, row)
        require_unused(tx, tid, _principal(row), f"user {row.email}", "disable the user, or reassign these")
        lock_out(tx, tid, _principal(row))
        access_keys.forget(tx, tid, _principal(row))
        people.drop_user(tx, row.uid)
        people.changed(tx, tid)
        journal.record(tx, tid, actor.principal, "user.deleted", "user", row.email, {"name": row.name})

    await ctx.once(actor, key, ["user.remove", who], unit, type(None))


# -- oneself ---------------------------------------------------------------------------------------------------------


async def change_own(
    ctx: Context,
    credentials: Credentials,
    actor: Actor,
    caller: Caller,
    *,
    name: str | UnsetType,
    password: str | UnsetType,
    old_password: str | None,
    key: str | None = None,
) -> views.User:
    """Change one's own name, or the password with the old one; other tokens and sessions than the caller's are good no more then.

    Raises: Forbidden (an application), Invalid, LimitExceeded, Conflict (somebody changed it meanwhile).
    """
    if actor.kind is not Kind.USER:
        raise Forbidden("only users have a name and a password of their own")
    tid, email = actor.tenant.tid, actor.principal.partition(":")[2]
    columns: dict[str, Any] = {}
    known: str | None = None
    if name is not UNSET:
        columns |= {"name": parse_name(name), "folded": people.folded(name)}
    if password is not UNSET:
        row = await ctx.store.async_read(lambda reader: directory.user(reader, tid, email))
        known = None if row is None else row.password_hash

        async def check() -> bool | None:
            if await credentials.matches(known, old_password or ""):
                columns["password_hash"] = await credentials.hash_password(password)
                return True
            # else it may be the same request again
            return True if key is not None and await credentials.matches(known, password) else None

        if not await credentials.limits.guard(actor.principal, caller.address, check, tenant=actor.tenant.code):
            message = "is not your password"
            raise Invalid(f"old_password: {message}", [Problem("/old_password", message, "wrong")])

    def unit(tx: Tx) -> views.User:
        people.hold(tx, tid)
        row = row_of(tx, tid, email)
        if password is not UNSET and row.password_hash != known:
            raise Conflict("the password has changed since: log in again")
        changed = {column: value for column, value in columns.items() if getattr(row, column) != value}
        if changed:
            _write(tx, row, changed, but=hash_secret(caller.secret))
            _record(tx, actor, row, changed, None)
        return _view(row_of(tx, tid, email), directory.groups_of(tx, [row.uid])[row.uid])

    request = ["me.change", None if name is UNSET else name, password is not UNSET]
    return (await ctx.once(actor, key, request, unit, views.User))[0]
