"""Secrets of tenants: encrypted values under names. What encrypts and decrypts is above; nothing here knows a value."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select

from penstock.store import tables
from penstock.store.named import Named, sealed
from penstock.store.reader import Read
from penstock.store.rows import SECRETS


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


SEALED = sealed("secrets", NAMED, tables.secrets, "value", bound_to)
