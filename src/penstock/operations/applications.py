"""Applications: administrators make them, change them and give them new secrets. A secret is shown once and kept as a hash."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from penstock.core import codec
from penstock.errors import Conflict, Invalid, NotFound, Problem
from penstock.identity.model import Actor, GranteeKind, format_grantee, parse_name
from penstock.identity.policy import ADMIN
from penstock.identity.tokens import RANDOM_BYTES, hash_secret, new_secret
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
from penstock.store import access_keys, directory, journal, people
from penstock.store.directory import ApplicationRow
from penstock.store.rows import APPLICATIONS, Tx

LONGEST_OLD = 90 * 24 * 3600 * 1000
"""Milliseconds that an old secret may stay good beside a new one."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is UNSET stays."""

    name: str | UnsetType = UNSET
    roles: Sequence[str] | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


async def listed(ctx: Context, actor: Actor, after: list[Any] | None, limit: int) -> views.Page:
    """Oldest first. Raises: Forbidden."""
    require_administrator(actor)
    start = after[0] if after else 0

    def read(reader: Any) -> tuple[list[ApplicationRow], int]:
        return directory.applications(reader, actor.tenant.tid, start, limit + 1), reader.now()

    rows, now = await ctx.store.async_read(read)
    page = [_view(row, now) for row in rows[:limit]]
    return views.Page(page, [rows[limit - 1].aid] if len(rows) > limit else None)


async def get(ctx: Context, actor: Actor, id: str) -> views.Application:
    """Raises: Forbidden, NotFound."""
    require_administrator(actor)

    def read(reader: Any) -> tuple[ApplicationRow | None, int]:
        return directory.application(reader, actor.tenant.tid, id), reader.now()

    row, now = await ctx.store.async_read(read)
    if row is None:
        raise NotFound("application", id)
    return _view(row, now)


def _view(row: ApplicationRow, now: int) -> views.Application:
    until = row.old_until if row.old_until is not None and row.old_until > now else None
    roles = directory.roles_of(row)
    return views.Application(row.id, row.name, roles, bool(row.disabled), row.created_at, until, row.rev)


def _row(tx: Tx, tid: int, id: str) -> ApplicationRow:
    row = directory.application(tx, tid, id)
    if row is None:
        raise NotFound("application", id)
    return row


async def create(
    ctx: Context, actor: Actor, name: str, roles: Sequence[str], key: str | None = None
) -> tuple[views.Application, str | None]:
    """A new application and its secret; None for the secret when the key has had this answer already.

    Raises: Forbidden, Invalid.
    """
    require_administrator(actor)
    name, given = parse_name(name), parse_roles(roles)
    require_operator_for(actor, given)
    tid, id, secret = actor.tenant.tid, new_uuid(), _new_secret()

    def unit(tx: Tx) -> views.Application:
        people.hold(tx, tid)
        people.add_application(tx, tid, id, name, hash_secret(secret), tuple(given))
        data = {"name": name, "roles": given}
        journal.record(tx, tid, actor.principal, "application.created", "application", id, data)
        return _view(_row(tx, tid, id), tx.now)

    request = ["application.create", name, given]
    made, replayed = await ctx.once(actor, key, request, unit, views.Application)
    return made, None if replayed else secret


def _new_secret() -> str:
    return new_secret("ps", secrets.token_bytes(RANDOM_BYTES))


async def change(
    ctx: Context, actor: Actor, id: str, given: Change, expected: frozenset[int] | None, key: str | None = None
) -> views.Application:
    """Raises: Forbidden, NotFound, Invalid, Stale, Conflict (the last administrator; it would become an operator)."""
    require_administrator(actor)
    columns: dict[str, Any] = {}
    if given.name is not UNSET:
        columns["name"] = parse_name(given.name)
    if given.roles is not UNSET:
        columns["roles"] = codec.encode_json(parse_roles(given.roles))
    if given.disabled is not UNSET:
        columns["disabled"] = int(given.disabled)
    tid = actor.tenant.tid

    def unit(tx: Tx) -> views.Application:
        people.hold(tx, tid)
        row = _row(tx, tid, id)
        require_operator_for(actor, directory.roles_of(row), codec.decode_json(columns.get("roles", "[]")))
        require_revision(expected, row.rev, f"application {id}")
        changed = {name: value for name, value in columns.items() if getattr(row, name) != value}
        if not changed:
            return _view(row, tx.now)
        if gains_operator(directory.roles_of(row), codec.decode_json(changed.get("roles", row.roles))):
            raise Conflict(
                f"application {id} is there already, and administrators of the tenant may know its secret and access keys: "
                "make a new one with the role operator"
            )
        if changed.get("disabled") or ADMIN not in codec.decode_json(changed.get("roles", row.roles)):
            keep_an_administrator(tx, row)
        if changed.get("disabled"):
            lock_out(tx, tid, f"app:{id}")
        _write(tx, actor, row, changed, "application.changed", _shown(changed))
        return _view(_row(tx, tid, id), tx.now)

    request = ["application.change", id, columns, sorted(expected) if expected is not None else None]
    return (await ctx.once(actor, key, request, unit, views.Application))[0]


def _shown(changed: dict[str, Any]) -> dict[str, Any]:
    shown = dict(changed)
    if "roles" in shown:
        shown["roles"] = codec.decode_json(shown["roles"])
    if "disabled" in shown:
        shown["disabled"] = bool(shown["disabled"])
    return shown


def _write(tx: Tx, actor: Actor, row: ApplicationRow, changed: dict[str, Any], type: str, data: dict[str, Any]) -> None:
    tx.patch(APPLICATIONS, (row.aid,), {**changed, "rev": row.rev + 1})
    people.changed(tx, row.tid)
    journal.record(tx, row.tid, actor.principal, type, "application", row.id, data)


async def rotate(
    ctx: Context,
    actor: Actor,
    id: str,
    old_until: int | None,
    expected: frozenset[int] | None,
    key: str | None = None,
) -> tuple[views.Application, str | None]:
    """A new secret; the old one is good until a time (ms), or no more at once, and the application's tokens with it.

    None for the secret when the key has had this answer already. Raises: Forbidden, NotFound, Invalid, Stale.
    """
    require_administrator(actor)
    tid, secret = actor.tenant.tid, _new_secret()

    def unit(tx: Tx) -> views.Application:
        people.hold(tx, tid)
        row = _row(tx, tid, id)
        require_operator_for(actor, directory.roles_of(row))
        require_revision(expected, row.rev, f"application {id}")
        columns: dict[str, Any] = {"secret_hash": hash_secret(secret), "old_hash": None, "old_until": None}
        if old_until is not None:
            _check_until(old_until, tx.now)
            columns |= {"old_hash": row.secret_hash, "old_until": old_until}
        else:
            lock_out(tx, tid, f"app:{id}")
        _write(tx, actor, row, columns, "application.secret_rotated", {"old_secret_until": old_until})
        return _view(_row(tx, tid, id), tx.now)

    made, replayed = await ctx.once(actor, key, ["application.rotate", id, old_until], unit, views.Application)
    return made, None if replayed else secret


def _check_until(until: int, now: int) -> None:
    if not now < until <= now + LONGEST_OLD:
        message = f"must lie in the next {LONGEST_OLD // 86_400_000} days"
        raise Invalid(f"old_secret_until: {message}", [Problem("/old_secret_until", message, "out_of_range")])


async def remove(ctx: Context, actor: Actor, id: str, expected: frozenset[int] | None, key: str | None = None) -> None:
    """Remove an application that nothing open names. Raises: Forbidden, NotFound, Stale, Conflict."""
    require_administrator(actor)
    tid = actor.tenant.tid

    def unit(tx: Tx) -> None:
        people.hold(tx, tid)
        row = _row(tx, tid, id)
        require_operator_for(actor, directory.roles_of(row))
        require_revision(expected, row.rev, f"application {id}")
        keep_an_administrator(tx, row)
        grantee = format_grantee(GranteeKind.APPLICATION, id)
        require_unused(tx, tid, grantee, f"application {id}", "disable it, or reassign these")
        lock_out(tx, tid, grantee)
        access_keys.forget(tx, tid, grantee)
        tx.delete(APPLICATIONS, (row.aid,))
        people.changed(tx, tid)
        journal.record(tx, tid, actor.principal, "application.deleted", "application", id, {"name": row.name})

    await ctx.once(actor, key, ["application.remove", id], unit, type(None))
