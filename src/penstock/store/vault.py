"""Secrets of tenants: encrypted values under names. What encrypts and decrypts is above; nothing here knows a value."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import select, tuple_

from penstock.store import tables
from penstock.store.named import Named
from penstock.store.reader import Read
from penstock.store.rows import SECRETS, Tx
from penstock.store.sealed import Kind, Sealed


class Row(NamedTuple):
    """A row of `secrets`, in the order of its columns. `key`: the id of the key that `value` is encrypted with."""

    tid: int
    name: str
    key: str
    value: str
    revision: int
    created_at: int
    created_by: str
    modified_at: int
    modified_by: str


_s, _t = tables.secrets.c, tables.tenants.c
_ALL = select(*tables.secrets.columns)
NAMED = Named(tables.secrets, SECRETS, Row)


def bound_to(tenant: str, name: str) -> str:
    """What a value is encrypted for: it can be read nowhere else."""
    return f"{tenant}/secret/{name}"


def several(read: Read, tid: int, names: frozenset[str]) -> tuple[str, dict[str, Row]]:
    """The tenant's public id, and those of the names that are there."""
    tenant = read.row(select(_t.id).where(_t.tid == tid), {})
    rows = read.rows(_ALL.where(_s.tid == tid, _s.name.in_(sorted(names))), {}) if names else []
    return "" if tenant is None else str(tenant[0]), {row[1]: Row(*row) for row in rows}


def _chunk(read: Read, after: tuple[Any, ...], most: int) -> list[Sealed]:
    statement = (
        select(_s.tid, _t.id, _s.name, _s.key, _s.value)
        .join(tables.tenants, _t.tid == _s.tid)
        .where(tuple_(_s.tid, _s.name) > after)
        .order_by(_s.tid, _s.name)
        .limit(most)
    )
    rows = read.rows(statement, {})
    return [Sealed((tid, name), bound_to(tenant, name), key, value) for tid, tenant, name, key, value in rows]


def _rewrite(tx: Tx, before: Sealed, key: str, value: str) -> bool:
    row = NAMED.lock(tx, *before.place)
    if row is None or row.value != before.value:
        return False
    NAMED.put(tx, row._replace(key=key, value=value))
    return True


SEALED = Kind("secrets", (0, ""), _chunk, _rewrite)
