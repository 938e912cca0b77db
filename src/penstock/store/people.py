"""Who there is: tenants, applications, users, groups, and the bearer tokens they hold. Secrets are here as hashes alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import bindparam, delete, select, update

from penstock.core import codec
from penstock.core.approval import Approval
from penstock.errors import Defect
from penstock.identity.model import UNLIMITED, Quotas, fold_email
from penstock.identity.tokens import same
from penstock.store import tables
from penstock.store.reader import Read
from penstock.store.rows import APPLICATIONS, GROUPS, MEMBERSHIPS, META, TENANTS, TOKENS, USERS, Tx

T = TypeVar("T")

CHANGED = "who"
"""Of the notice that a tenant's people have changed: `who:TID`."""
ENDED = ("token", "session")
"""Of the notices that one has been ended: `token:HASH`, `session:HASH`."""


class Secret(NamedTuple):
    """An application or a user that wants to prove itself. `old_hash` is good, too, while `old_left` ms is above 0."""

    tid: int
    id: str
    name: str
    hash: str | None
    roles: tuple[str, ...]
    disabled: bool
    old_hash: str | None = None
    old_left: int = 0
    tenant: str = ""
    """Code of a user's tenant."""


class Settings(NamedTuple):
    """A tenant and what it has chosen, as its row has it."""

    tid: int
    id: str
    code: str
    name: str
    created_at: int
    approval: str
    four_eyes: int
    disabled: int
    quotas: str
    """JSON."""
    rev: int


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
    quotas: Quotas = UNLIMITED
    """The tenant's."""


_t, _a, _u = tables.tenants.c, tables.applications.c, tables.users.c
_g, _m, _k = tables.groups.c, tables.memberships.c, tables.tokens.c
_APPLICATION = (
    select(*(_a.tid, _a.id, _a.name, _a.secret_hash, _a.roles, _a.disabled, _a.old_hash, _a.old_until, _t.disabled))
    .join(tables.tenants, _t.tid == _a.tid)
    .where(_a.id == bindparam("id"))
)
_USER = (
    select(_u.tid, _u.email, _u.name, _u.password_hash, _u.roles, _u.disabled, _t.code, _t.disabled)
    .join(tables.tenants, _t.tid == _u.tid)
    # tenants are few: one look into the index for each
    .where(_u.tid.in_(select(tables.tenants.alias("every").c.tid)), _u.email == bindparam("email"))
    .order_by(_u.tid)
)
_TOKEN = (
    select(_k.tid, _t.id, _t.code, _t.quotas, _t.disabled, _k.principal, _k.expires_at, _k.audience)
    .join(tables.tenants, _t.tid == _k.tid)
    .where(_k.token_hash == bindparam("hash"))
)
_USER_IN = select(_u.uid, _u.roles, _u.disabled).where(_u.tid == bindparam("tid"), _u.email == bindparam("email"))
_APP_IN = select(_a.roles, _a.disabled).where(_a.tid == bindparam("tid"), _a.id == bindparam("id"))
_GROUPS_OF = select(_g.code).join(tables.memberships, _m.gid == _g.gid).where(_m.uid == bindparam("uid"))
_TENANT = select(_t.tid, _t.id, _t.code).where(_t.code == bindparam("code"))
_TENANT_OF = select(_t.id, _t.code, _t.quotas, _t.disabled).where(_t.tid == bindparam("tid"))
_EXPIRED = (
    select(_k.token_hash).where(_k.expires_at < bindparam("before")).order_by(_k.expires_at).limit(bindparam("most"))
)


def application(read: Read, id: str) -> Secret | None:
    row = read.row(_APPLICATION, {"id": id})
    if row is None:
        return None
    old_left = 0 if row[7] is None else row[7] - read.now()
    return _secret(row)._replace(old_hash=row[6], old_left=old_left)


def users(read: Read, email: str) -> list[Secret]:
    """Users of this address; one address may stand in several tenants: by `tid`, the oldest tenant's first."""
    return [_secret(row)._replace(tenant=row[6]) for row in read.rows(_USER, {"email": email})]


def tenants_of(tx: Tx, kind: str, name: str, code: str | None = None) -> list[int]:
    """Where there is a user of this address (as it is kept), or an application of this id; in the tenant of this code alone."""
    if kind == "user":
        return [row[0] for row in tx.select(_USER, {"email": name}, of=[USERS]) if code in (None, row[6])]
    return [row[0] for row in tx.select(_APPLICATION, {"id": name}, of=[APPLICATIONS])]


_USER_AS_IS = (
    select(_u.password_hash, _u.disabled, _t.disabled)
    .join(tables.tenants, _t.tid == _u.tid)
    .where(_u.tid == bindparam("tid"), _u.email == bindparam("name"))
)
_APPLICATION_AS_IS = (
    select(_a.secret_hash, _a.disabled, _t.disabled, _a.old_hash, _a.old_until)
    .join(tables.tenants, _t.tid == _a.tid)
    .where(_a.tid == bindparam("tid"), _a.id == bindparam("name"))
)
_KEEP_USER = _USER_AS_IS.with_for_update(read=True, of=tables.users)
_KEEP_APPLICATION = _APPLICATION_AS_IS.with_for_update(read=True, of=tables.applications)
_LOCK_USER = _USER_AS_IS.with_for_update(key_share=True, of=tables.users)
_LOCK_APPLICATION = _APPLICATION_AS_IS.with_for_update(key_share=True, of=tables.applications)


def is_good(tx: Tx, tid: int, principal: str, hash: str) -> bool:
    """Whether the password or secret of this hash is still the principal's, who may log in. It stays so until the unit ends: who
    changes it waits (`lock`), and finds what this unit has made.
    """
    kind, _, name = principal.partition(":")
    statement, rows = (_KEEP_USER, USERS) if kind == "user" else (_KEEP_APPLICATION, APPLICATIONS)
    found = tx.select(statement, {"tid": tid, "name": name}, of=[rows, TENANTS])
    if not found:
        return False
    known, disabled, closed, *old = found[0]
    if disabled or closed:
        return False
    if old and old[0] is not None and old[1] > tx.now and same(old[0], hash):
        return True
    return known is not None and same(known, hash)


def lock(tx: Tx, tid: int, principal: str) -> None:
    """Who logs in as the principal by what is good now (`is_good`) has done so, or looks again after this unit."""
    if tx.sole_writer:
        return
    kind, _, name = principal.partition(":")
    statement, rows = (_LOCK_USER, USERS) if kind == "user" else (_LOCK_APPLICATION, APPLICATIONS)
    tx.select(statement, {"tid": tid, "name": name}, of=[rows])


def _secret(row: tuple[object, ...]) -> Secret:
    tid, id, name, hash, roles, disabled = row[:6]
    of_nobody = row[-1]  # the tenant is disabled
    assert isinstance(tid, int)
    return Secret(
        tid,
        str(id),
        str(name),
        None if hash is None else str(hash),
        tuple(codec.decode_json(str(roles))),
        bool(disabled or of_nobody),
    )


def principal(read: Read, token_hash: str, audience: str) -> Principal | None:
    """Who a token of this audience speaks for, as they are now."""
    row = read.row(_TOKEN, {"hash": token_hash})
    if row is None or row[7] != audience:
        return None
    tid, tenant_id, code, quotas, closed, name, expires_at, _ = row
    return _as_now(read, tid, (tenant_id, code, quotas, closed), name, expires_at - read.now())


def public_id(read: Read, tid: int) -> str:
    """What the world calls a tenant."""
    row = read.row(_TENANT_OF, {"tid": tid})
    if row is None:
        raise Defect(f"no tenant {tid}")
    return str(row[0])


def named(read: Read, tid: int, name: str) -> Principal | None:
    """A principal of a tenant as it is now, for what is done in its name later; that goes on in a disabled tenant."""
    row = read.row(_TENANT_OF, {"tid": tid})
    return None if row is None else _as_now(read, tid, (*row[:3], 0), name, 0)


def caller(read: Read, tid: int, name: str) -> Principal | None:
    """The same of somebody who calls now: disabled where the tenant is."""
    row = read.row(_TENANT_OF, {"tid": tid})
    return None if row is None else _as_now(read, tid, row, name, 0)


def _as_now(read: Read, tid: int, tenant: tuple[Any, ...], name: str, left: int) -> Principal | None:
    """`tenant`: id, code, quotas, disabled."""
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
    tenant_id, code, quotas, closed = tenant
    return Principal(
        tid,
        tenant_id,
        code,
        name,
        left,
        groups,
        tuple(codec.decode_json(roles)),
        bool(disabled or closed),
        quotas_of(quotas),
    )


_GROUP_IN = select(_g.gid).where(_g.tid == bindparam("tid"), _g.code == bindparam("code"))


def standing(read: Read, tid: int, kind: str, name: str) -> str:
    """Of a user (by e-mail address), an application (by id) or a group (by code): "known", "disabled" or "unknown"."""
    if kind == "group":
        return "unknown" if read.row(_GROUP_IN, {"tid": tid, "code": name}) is None else "known"
    if kind == "user":
        row = read.row(_USER_IN, {"tid": tid, "email": name})
    else:
        row = read.row(_APP_IN, {"tid": tid, "id": name})
    if row is None:
        return "unknown"
    return "disabled" if row[-1] else "known"


def tenant(read: Read, code: str) -> tuple[int, str, str] | None:
    row = read.row(_TENANT, {"code": code})
    return None if row is None else (row[0], row[1], row[2])


_TENANTS = select(_t.tid, _t.id, _t.code).order_by(_t.tid)


def tenants(read: Read) -> list[tuple[int, str, str]]:
    """(tid, public id, code) of each."""
    return [(row[0], row[1], row[2]) for row in read.rows(_TENANTS)]


_SETTINGS = select(*tables.tenants.columns).where(_t.tid == bindparam("tid"))
_HOLD = select(_t.tid).where(_t.tid == bindparam("tid")).with_for_update(key_share=True)


def settings(read: Read | Tx, tid: int) -> Settings:
    """What a tenant has chosen."""
    row = read.get(TENANTS, (tid,)) if isinstance(read, Tx) else read.row(_SETTINGS, {"tid": tid})
    if row is None:
        raise Defect(f"no tenant {tid}")
    return Settings(*row)


def set_settings(tx: Tx, settings: Settings) -> None:
    tx.put(TENANTS, tuple(settings))


def hold(tx: Tx, tid: int) -> None:
    """Whoever changes people, permissions or versions of a tenant does it after everybody else who does.

    What a unit decides by (who is the last administrator, which revision is there) it must read after this.
    """
    if not tx.sole_writer:
        tx.select(_HOLD, {"tid": tid}, of=[])
        tx.reread()


def held_or_first(tx: Tx, tid: int, look: Callable[[], T | None]) -> T | None:
    """What a unit looks for and locks by a name. There is no row to lock before the first: of those who make one at the
    same time the later waits, and finds the other's.
    """
    found = look()
    if found is not None or tx.sole_writer:
        return found
    hold(tx, tid)
    return look()


def add_tenant(tx: Tx, id: str, code: str, name: str, quotas: Quotas = UNLIMITED) -> int:
    tid = tx.next_id(TENANTS)
    tx.put(TENANTS, tuple(Settings(tid, id, code, name, tx.now, Approval.NONE.value, 0, 0, encode_quotas(quotas), 1)))
    return tid


def quotas_of(text: str) -> Quotas:
    """As a tenant's row has them."""
    return UNLIMITED if text == "{}" else msgspec.json.decode(text, type=Quotas)


def encode_quotas(quotas: Quotas) -> str:
    return msgspec.json.encode(quotas).decode()


def encode_roles(roles: Sequence[str]) -> str:
    return codec.encode_json(tuple(roles))


def add_application(tx: Tx, tid: int, id: str, name: str, secret_hash: str, roles: tuple[str, ...] = ()) -> None:
    row = (tx.next_id(APPLICATIONS), tid, id, name, secret_hash, codec.encode_json(roles), tx.now, 0, None, None, 1)
    tx.put(APPLICATIONS, row)


def add_user(
    tx: Tx, tid: int, id: str, email: str, name: str, password_hash: str | None, roles: tuple[str, ...] = ()
) -> int:
    uid = tx.next_id(USERS)
    row = (uid, tid, id, fold_email(email), name, password_hash, codec.encode_json(roles), tx.now, 0)
    tx.put(USERS, (*row, folded(name), 1))
    return uid


def folded(name: str) -> str:
    """A name as lists are sorted and searched by it."""
    return name.casefold()


def add_group(tx: Tx, tid: int, code: str, name: str) -> int:
    gid = tx.next_id(GROUPS)
    tx.put(GROUPS, (gid, tid, code, name, tx.now, 1))
    return gid


def add_member(tx: Tx, gid: int, uid: int) -> None:
    tx.put(MEMBERSHIPS, (gid, uid))


def drop_member(tx: Tx, gid: int, uid: int) -> None:
    tx.delete(MEMBERSHIPS, (gid, uid))


def is_member(tx: Tx, gid: int, uid: int) -> bool:
    return tx.get(MEMBERSHIPS, (gid, uid)) is not None


_LEAVE_ALL = delete(tables.memberships).where(_m.uid == bindparam("of_uid"))
_UNKNOWN = delete(tables.provider_users).where(tables.provider_users.c.uid == bindparam("of_uid"))
_EMPTY = delete(tables.memberships).where(_m.gid == bindparam("of_gid"))
_REGROUPED = (
    update(tables.users)
    .where(_u.uid.in_(select(_m.uid).where(_m.gid == bindparam("of_gid"))))
    .values(rev=_u.rev + 1)
)  # fmt: skip


def drop_user(tx: Tx, uid: int) -> None:
    """With all memberships, and what providers know the user by."""
    tx.execute(_LEAVE_ALL, {"of_uid": uid})
    tx.execute(_UNKNOWN, {"of_uid": uid})
    tx.delete(USERS, (uid,))


def drop_group(tx: Tx, gid: int) -> None:
    """With all memberships; a new revision of everybody who was a member."""
    tx.execute(_REGROUPED, {"of_gid": gid})
    tx.execute(_EMPTY, {"of_gid": gid})
    tx.delete(GROUPS, (gid,))


def add_token(  # noqa: PLR0913 - a row
    tx: Tx,
    token_hash: str,
    tid: int,
    principal: str,
    audience: str,
    lifetime_ms: int,
    *,
    id: str | None = None,
    kind: str = "access",
    name: str | None = None,
) -> None:
    """`id`: what lists call it; without one the beginning of its hash names it as well."""
    row = (token_hash, tid, principal, audience, tx.now, tx.now + lifetime_ms, id or token_hash[:32], kind, name)
    tx.put(TOKENS, row)


_REVOKE = delete(tables.tokens).where(
    _k.tid == bindparam("of_tid"), _k.principal == bindparam("of_principal"), _k.token_hash != bindparam("but")
)


def revoke(tx: Tx, tid: int, principal: str, *, but: str = "") -> int:
    """Take a principal's tokens away, all but the one with this hash; answers how many."""
    return tx.execute(_REVOKE, {"of_tid": tid, "of_principal": principal, "but": but})


def token_of(tx: Tx, tid: int, token_hash: str) -> str | None:
    """The principal a token of the tenant speaks for."""
    row = tx.get(TOKENS, (token_hash,))
    return row[2] if row is not None and row[1] == tid else None


def drop_token(tx: Tx, token_hash: str) -> None:
    tx.delete(TOKENS, (token_hash,))


def changed(tx: Tx, tid: int) -> None:
    """What nodes remember of who somebody is must be looked up again."""
    tx.notify(f"{CHANGED}:{tid}")


def token_ended(tx: Tx, token_hash: str) -> None:
    """What nodes remember of this token is so no more."""
    tx.notify(f"{ENDED[0]}:{token_hash}")


def session_ended(tx: Tx, session_hash: str) -> None:
    tx.notify(f"{ENDED[1]}:{session_hash}")


def forget_tokens(tx: Tx, before: int, most: int) -> int:
    """Drop tokens that expired before a time; answers how many."""
    rows = tx.select(_EXPIRED, {"before": before, "most": most}, of=[TOKENS])
    for (token_hash,) in rows:
        tx.delete(TOKENS, (token_hash,))
    return len(rows)


def meta(tx: Tx, key: str) -> str | None:
    row = tx.get(META, (key,))
    return None if row is None else str(row[1])


_FIRST_META = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING"


def first_meta(tx: Tx, key: str, value: str) -> None:
    """Keep a value where there is none; of two nodes that do it at the same time one does."""
    tx.execute(_FIRST_META, (key, value))


def set_meta(tx: Tx, key: str, value: str) -> None:
    tx.put(META, (key, value))
