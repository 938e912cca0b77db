"""Who there is: tenants, applications, users, groups, and the bearer tokens they hold. Secrets are here as hashes alone."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, select

from penstock.core import codec
from penstock.store import tables
from penstock.store.reader import Read
from penstock.store.rows import APPLICATIONS, GROUPS, MEMBERSHIPS, META, TENANTS, TOKENS, USERS, Tx


class Secret(NamedTuple):
    """An application or a user that wants to prove itself."""

    tid: int
    id: str
    name: str
    hash: str | None
    roles: tuple[str, ...]
    disabled: bool


class Principal(NamedTuple):
    """Who a token speaks for."""

    tid: int
    tenant_id: str
    tenant_code: str
    principal: str
    left: int
    """Milliseconds until the token expires, by the database's clock; below 1: it has."""
    groups: tuple[str, ...]
    roles: tuple[str, ...]
    disabled: bool


_t, _a, _u = tables.tenants.c, tables.applications.c, tables.users.c
_g, _m, _k = tables.groups.c, tables.memberships.c, tables.tokens.c
_APPLICATION = select(_a.tid, _a.id, _a.name, _a.secret_hash, _a.roles, _a.disabled).where(_a.id == bindparam("id"))
_USER = (
    select(_u.tid, _u.email, _u.name, _u.password_hash, _u.roles, _u.disabled, _t.code)
    .join(tables.tenants, _t.tid == _u.tid)
    # tenants are few: one look into the index for each
    .where(_u.tid.in_(select(tables.tenants.alias("every").c.tid)), _u.email == bindparam("email"))
)
_TOKEN = (
    select(_k.tid, _t.id, _t.code, _k.principal, _k.expires_at)
    .join(tables.tenants, _t.tid == _k.tid)
    .where(_k.token_hash == bindparam("hash"))
)
_USER_IN = select(_u.uid, _u.roles, _u.disabled).where(_u.tid == bindparam("tid"), _u.email == bindparam("email"))
_APP_IN = select(_a.roles, _a.disabled).where(_a.tid == bindparam("tid"), _a.id == bindparam("id"))
_GROUPS_OF = select(_g.code).join(tables.memberships, _m.gid == _g.gid).where(_m.uid == bindparam("uid"))
_TENANT = select(_t.tid, _t.id, _t.code).where(_t.code == bindparam("code"))
_TENANT_OF = select(_t.id, _t.code).where(_t.tid == bindparam("tid"))
_EXPIRED = (
    select(_k.token_hash).where(_k.expires_at < bindparam("before")).order_by(_k.expires_at).limit(bindparam("most"))
)


def application(read: Read, id: str) -> Secret | None:
    row = read.row(_APPLICATION, {"id": id})
    return None if row is None else _secret(row)


def users(read: Read, email: str) -> list[Secret]:
    """Users of this address; one address may stand in several tenants."""
    return [_secret(row) for row in read.rows(_USER, {"email": email})]


def _secret(row: tuple[object, ...]) -> Secret:
    tid, id, name, hash, roles, disabled = row[:6]
    assert isinstance(tid, int)
    return Secret(
        tid,
        str(id),
        str(name),
        None if hash is None else str(hash),
        tuple(codec.decode_json(str(roles))),
        bool(disabled),
    )


def principal(read: Read, token_hash: str) -> Principal | None:
    """Who a token speaks for, as they are now."""
    row = read.row(_TOKEN, {"hash": token_hash})
    if row is None:
        return None
    tid, tenant_id, code, name, expires_at = row
    return _as_now(read, tid, (tenant_id, code), name, expires_at - read.now())


def named(read: Read, tid: int, name: str) -> Principal | None:
    """A principal of a tenant as it is now, for what is done in its name later."""
    row = read.row(_TENANT_OF, {"tid": tid})
    return None if row is None else _as_now(read, tid, (row[0], row[1]), name, 0)


def _as_now(read: Read, tid: int, tenant: tuple[str, str], name: str, left: int) -> Principal | None:
    kind, _, id = name.partition(":")
    groups: tuple[str, ...] = ()
    if kind == "user":
        user = read.row(_USER_IN, {"tid": tid, "email": id})
        if user is None:
            return None
        groups = tuple(sorted(group for (group,) in read.rows(_GROUPS_OF, {"uid": user[0]})))
        roles, disabled = user[1], user[2]
    else:
        application = read.row(_APP_IN, {"tid": tid, "id": id})
        if application is None:
            return None
        roles, disabled = application
    return Principal(tid, *tenant, name, left, groups, tuple(codec.decode_json(roles)), bool(disabled))


def tenant(read: Read, code: str) -> tuple[int, str, str] | None:
    row = read.row(_TENANT, {"code": code})
    return None if row is None else (row[0], row[1], row[2])


def add_tenant(tx: Tx, id: str, code: str, name: str) -> int:
    tid = tx.next_id(TENANTS)
    tx.put(TENANTS, (tid, id, code, name, tx.now))
    return tid


def add_application(tx: Tx, tid: int, id: str, name: str, secret_hash: str, roles: tuple[str, ...] = ()) -> None:
    row = (tx.next_id(APPLICATIONS), tid, id, name, secret_hash, codec.encode_json(roles), tx.now, 0)
    tx.put(APPLICATIONS, row)


def add_user(
    tx: Tx, tid: int, id: str, email: str, name: str, password_hash: str | None, roles: tuple[str, ...] = ()
) -> int:
    uid = tx.next_id(USERS)
    tx.put(USERS, (uid, tid, id, email.lower(), name, password_hash, codec.encode_json(roles), tx.now, 0))
    return uid


def add_group(tx: Tx, tid: int, code: str, name: str) -> int:
    gid = tx.next_id(GROUPS)
    tx.put(GROUPS, (gid, tid, code, name))
    return gid


def add_member(tx: Tx, gid: int, uid: int) -> None:
    tx.put(MEMBERSHIPS, (gid, uid))


def add_token(tx: Tx, token_hash: str, tid: int, principal: str, audience: str, lifetime_ms: int) -> None:
    tx.put(TOKENS, (token_hash, tid, principal, audience, tx.now, tx.now + lifetime_ms))


def forget_tokens(tx: Tx, before: int, most: int) -> int:
    """Drop tokens that expired before a time; answers how many."""
    rows = tx.select(_EXPIRED, {"before": before, "most": most}, of=[TOKENS])
    for (token_hash,) in rows:
        tx.delete(TOKENS, (token_hash,))
    return len(rows)


def meta(tx: Tx, key: str) -> str | None:
    row = tx.get(META, (key,))
    return None if row is None else str(row[1])


def set_meta(tx: Tx, key: str, value: str) -> None:
    tx.put(META, (key, value))
