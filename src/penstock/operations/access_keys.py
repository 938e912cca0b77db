"""Access keys of applications: an AK that a request names and an SK that it is signed with. Administrators make them; the SK is shown
once, and kept encrypted, for a signature can only be checked with it.
"""

from __future__ import annotations

import os
import secrets
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from penstock.errors import Conflict, NotFound
from penstock.identity.keys import NONCE_BYTES
from penstock.identity.model import Actor, Tenant, parse_name
from penstock.operations import views
from penstock.operations.administration import require_administrator, require_operator_for
from penstock.operations.context import Context
from penstock.store import access_keys, directory, journal, people
from penstock.store.access_keys import Row
from penstock.store.rows import Tx

MOST = 100
"""Of one application."""


class AccessKey(msgspec.Struct, frozen=True, kw_only=True):
    """All that is told of one, but for the SK in the answer that makes it."""

    ak: str
    name: str
    disabled: bool
    created_at: int
    created_by: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is UNSET stays."""

    name: str | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


async def create(
    ctx: Context, actor: Actor, id: str, name: str, key: str | None = None
) -> tuple[AccessKey, str | None]:
    """A new access key of an application, and its SK; None for the SK when the key has had this answer already.

    Raises: Forbidden, NotFound, Invalid, Conflict (there are too many; the installation has no key).
    """
    require_administrator(actor)
    name = parse_name(name)
    ak, sk = secrets.token_hex(10).upper(), secrets.token_urlsafe(30)
    keys, tenant = ctx.require_keys(), actor.tenant
    sealed = keys.seal(sk, access_keys.bound_to(tenant.id, ak), os.urandom(NONCE_BYTES))

    def unit(tx: Tx) -> AccessKey:
        people.hold(tx, tenant.tid)
        principal = _principal(tx, actor, id)
        if access_keys.count(tx, tenant.tid, principal) >= MOST:
            raise Conflict(f"application {id} has {MOST} access keys: remove one that nobody uses")
        row = Row(ak, tenant.tid, principal, name, keys.newest, sealed, tx.now, actor.principal, 0)
        access_keys.put(tx, row)
        _record(tx, row, actor.principal, "created", {"name": name})
        return _view(row)

    made, replayed = await ctx.once(actor, key, ["access_key.create", id, name], unit, AccessKey)
    return made, None if replayed else sk


async def listed(ctx: Context, actor: Actor, id: str, after: list[Any] | None, limit: int) -> views.Page:
    """An application's, by AK. Raises: Forbidden, NotFound."""
    require_administrator(actor)
    tid, start = actor.tenant.tid, after[0] if after else ""

    def read(reader: Any) -> list[Row]:
        if directory.application(reader, tid, id) is None:
            raise NotFound("application", id)
        return access_keys.listed(reader, tid, f"app:{id}", start, limit + 1)

    rows = await ctx.store.async_read(read)
    return views.Page([_view(row) for row in rows[:limit]], [rows[limit - 1].ak] if len(rows) > limit else None)


async def change(ctx: Context, actor: Actor, id: str, ak: str, given: Change, key: str | None = None) -> AccessKey:
    """Another name; disable or enable. Raises: Forbidden, NotFound, Invalid."""
    require_administrator(actor)
    changes: dict[str, Any] = {}
    if given.name is not UNSET:
        changes["name"] = parse_name(given.name)
    if given.disabled is not UNSET:
        changes["disabled"] = given.disabled
    tid = actor.tenant.tid

    def unit(tx: Tx) -> AccessKey:
        people.hold(tx, tid)
        row = _row(tx, actor, id, ak)
        changed = {name: value for name, value in changes.items() if getattr(row, name) != value}
        if not changed:
            return _view(row)
        row = row._replace(name=changed.get("name", row.name), disabled=int(changed.get("disabled", row.disabled)))
        access_keys.change(tx, row)
        people.changed(tx, tid)
        _record(tx, row, actor.principal, "changed", changed)
        return _view(row)

    request = ["access_key.change", id, ak, changes]
    return (await ctx.once(actor, key, request, unit, AccessKey))[0]


async def remove(ctx: Context, actor: Actor, id: str, ak: str, key: str | None = None) -> None:
    """What is signed with it is refused from here on. Raises: Forbidden, NotFound."""
    require_administrator(actor)
    tid = actor.tenant.tid

    def unit(tx: Tx) -> None:
        people.hold(tx, tid)
        row = _row(tx, actor, id, ak)
        access_keys.remove(tx, ak)
        people.changed(tx, tid)
        _record(tx, row, actor.principal, "deleted", {"name": row.name})

    await ctx.once(actor, key, ["access_key.remove", id, ak], unit, type(None))


async def ensure(ctx: Context, tenant: Tenant, id: str, name: str, pair: tuple[str, str]) -> None:
    """An application has this AK and SK, if there is the application; for a pair that was chosen elsewhere."""
    ak, sk = pair
    keys = ctx.require_keys()
    if await ctx.store.async_read(lambda read: access_keys.get(read, ak)) is not None:
        return
    sealed = keys.seal(sk, access_keys.bound_to(tenant.id, ak), os.urandom(NONCE_BYTES))

    def unit(tx: Tx) -> None:
        people.hold(tx, tenant.tid)
        if access_keys.get(tx, ak) is not None or directory.application(tx, tenant.tid, id) is None:
            return
        row = Row(ak, tenant.tid, f"app:{id}", name, keys.newest, sealed, tx.now, journal.SYSTEM, 0)
        access_keys.put(tx, row)
        _record(tx, row, journal.SYSTEM, "created", {"name": name})

    await ctx.store.submit_async(unit)


def _principal(tx: Tx, actor: Actor, id: str) -> str:
    """Raises: NotFound, Forbidden (an operator's, by somebody who is none)."""
    application = directory.application(tx, actor.tenant.tid, id)
    if application is None:
        raise NotFound("application", id)
    require_operator_for(actor, directory.roles_of(application))
    return f"app:{id}"


def _row(tx: Tx, actor: Actor, id: str, ak: str) -> Row:
    tid, principal = actor.tenant.tid, _principal(tx, actor, id)
    row = access_keys.get(tx, ak)
    if row is None or (row.tid, row.principal) != (tid, principal):
        raise NotFound("access key", ak)
    return row


def _record(tx: Tx, row: Row, by: str, what: str, data: dict[str, Any]) -> None:
    told = {**data, "principal": row.principal}
    journal.record(tx, row.tid, by, f"access_key.{what}", "access_key", row.ak, told)


def _view(row: Row) -> AccessKey:
    return AccessKey(
        ak=row.ak,
        name=row.name,
        disabled=bool(row.disabled),
        created_at=row.created_at,
        created_by=row.created_by,
    )
