"""Providers of identity, and by which of their subjects users are known. A client's secret is here encrypted alone."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, select

from penstock.store import tables
from penstock.store.directory import UserRow
from penstock.store.named import Named, sealed
from penstock.store.reader import Read
from penstock.store.rows import PROVIDER_USERS, PROVIDERS, Tx


class Row(NamedTuple):
    """A row of `providers`, in the order of its columns. `name` is its code; `key`: the id of the key `secret` is encrypted with."""

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


NAMED = Named(tables.providers, PROVIDERS, Row)
_p, _t, _k, _u = tables.providers.c, tables.tenants.c, tables.provider_users.c, tables.users.c
_BY_CODE = (
    select(_t.tid, _t.id, *(column for column in tables.providers.columns if column.name != "tid"))
    .join(tables.providers, _p.tid == _t.tid)
    .where(_t.code == bindparam("tenant"), _p.name == bindparam("name"))
)
_OF_TENANT = (
    select(*tables.providers.columns)
    .join(tables.tenants, _t.tid == _p.tid)
    .where(_t.code == bindparam("tenant"))
    .order_by(_p.name)
    .limit(bindparam("most"))
)
_KNOWN_AS = (
    select(*tables.users.columns)
    .join(tables.provider_users, _k.uid == _u.uid)
    .where(_k.tid == bindparam("tid"), _k.issuer == bindparam("issuer"), _k.subject == bindparam("subject"))
)
_SUBJECT_OF = select(_k.subject).where(_k.uid == bindparam("uid"), _k.issuer == bindparam("issuer"))


def bound_to(tenant: str, name: str) -> str:
    """What a client's secret is encrypted for: it can be read nowhere else."""
    return f"{tenant}/provider/{name}"


def at(read: Read, tenant: str, name: str) -> tuple[str, Row] | None:
    """The tenant's public id and the provider, by the codes of both."""
    row = read.row(_BY_CODE, {"tenant": tenant, "name": name})
    return None if row is None else (row[1], Row(row[0], *row[2:]))


def of_tenant(read: Read, tenant: str, most: int) -> list[Row]:
    """By code; none where there is no such tenant."""
    return [Row(*row) for row in read.rows(_OF_TENANT, {"tenant": tenant, "most": most})]


def user_known_as(tx: Tx, tid: int, issuer: str, subject: str) -> UserRow | None:
    """The user of a provider's subject."""
    rows = tx.select(_KNOWN_AS, {"tid": tid, "issuer": issuer, "subject": subject})
    return UserRow(*rows[0]) if rows else None


def subject_of(tx: Tx, uid: int, issuer: str) -> str | None:
    """By which subject an issuer knows a user."""
    rows = tx.select(_SUBJECT_OF, {"uid": uid, "issuer": issuer}, of=[PROVIDER_USERS])
    return str(rows[0][0]) if rows else None


def bind(tx: Tx, tid: int, issuer: str, subject: str, uid: int) -> None:
    tx.put(PROVIDER_USERS, (tid, issuer, subject, uid, tx.now))


SEALED = sealed("providers' secrets", NAMED, tables.providers, "secret", bound_to)
