"""Providers of identity, and by which of their subjects users are known. A client's secret is here encrypted alone."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import bindparam, select

from penstock.store import tables
from penstock.store.directory import UserRow
from penstock.store.named import Named, sealed
from penstock.store.reader import Read
from penstock.store.rows import GROUPS, PROVIDER_USERS, PROVIDERS, Tx


class Row(NamedTuple):
    """A row of `providers`, in the order of its columns. `name` is its code; `key`: the id of the key `secret` is encrypted
    with; `trusted_by`: who answers for issuer and client.
    """

    tid: int
    name: str
    document: str
    key: str | None
    secret: str | None
    revision: int
    created_at: int
    created_by: str
    modified_at: int
    modified_by: str
    trusted_by: str


NAMED = Named(tables.providers, PROVIDERS, Row)
_p, _t, _k, _u = tables.providers.c, tables.tenants.c, tables.provider_users.c, tables.users.c
_HERE = (
    select(_t.id, *tables.providers.columns)
    .join(tables.tenants, _t.tid == _p.tid)
    .where(_t.disabled == 0, _p.name == bindparam("name"))
)
_BY_CODE, _BY_TID = _HERE.where(_t.code == bindparam("tenant")), _HERE.where(_p.tid == bindparam("tid"))
_OF_TENANT = (
    select(*tables.providers.columns)
    .join(tables.tenants, _t.tid == _p.tid)
    .where(_t.disabled == 0, _t.code == bindparam("tenant"))
    .order_by(_p.name)
    .limit(bindparam("most"))
)
_KNOWN_AS = (
    select(*tables.users.columns)
    .join(tables.provider_users, _k.uid == _u.uid)
    .where(_k.tid == bindparam("tid"), _k.issuer == bindparam("issuer"), _k.subject == bindparam("subject"))
)
_g = tables.groups.c
_GROUPS = select(_g.code, _g.gid).where(
    _g.tid == bindparam("tid"), _g.code.in_(bindparam("codes", expanding=True))
)  # fmt: skip
_SUBJECT_OF = select(_k.subject).where(_k.uid == bindparam("uid"), _k.issuer == bindparam("issuer"))


def bound_to(tenant: str, name: str) -> str:
    """What a client's secret is encrypted for: it can be read nowhere else."""
    return f"{tenant}/provider/{name}"


def at(read: Read, tenant: str, name: str) -> tuple[str, Row] | None:
    """The tenant's public id and the provider, by the codes of both; None as well where the tenant is disabled."""
    row = read.row(_BY_CODE, {"tenant": tenant, "name": name})
    return None if row is None else (row[0], Row(*row[1:]))


def of(read: Read, tid: int, name: str) -> tuple[str, Row] | None:
    """The same, of a tenant that is known."""
    row = read.row(_BY_TID, {"tid": tid, "name": name})
    return None if row is None else (row[0], Row(*row[1:]))


def of_tenant(read: Read, tenant: str, most: int) -> list[Row]:
    """By code; none where there is no such tenant, or it is disabled."""
    return [Row(*row) for row in read.rows(_OF_TENANT, {"tenant": tenant, "most": most})]


def user_known_as(tx: Tx, tid: int, issuer: str, subject: str) -> UserRow | None:
    """The user of a provider's subject."""
    rows = tx.select(_KNOWN_AS, {"tid": tid, "issuer": issuer, "subject": subject})
    return UserRow(*rows[0]) if rows else None


def subject_of(tx: Tx, uid: int, issuer: str) -> str | None:
    """By which subject an issuer knows a user."""
    rows = tx.select(_SUBJECT_OF, {"uid": uid, "issuer": issuer}, of=[PROVIDER_USERS])
    return str(rows[0][0]) if rows else None


def groups_among(tx: Tx, tid: int, codes: Collection[str]) -> dict[str, int]:
    """Which of these are groups of the tenant: their ids, by code."""
    rows = tx.select(_GROUPS, {"tid": tid, "codes": sorted(codes)}, of=[GROUPS]) if codes else []
    return {str(code): int(gid) for code, gid in rows}


def bind(tx: Tx, tid: int, issuer: str, subject: str, uid: int) -> None:
    tx.put(PROVIDER_USERS, (tid, issuer, subject, uid, tx.now))


SEALED = sealed("providers' secrets", NAMED, tables.providers, "secret", bound_to)
