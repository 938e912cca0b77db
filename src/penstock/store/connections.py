"""Connections: named targets of http nodes. A document names secrets and holds none."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select

from penstock.store import tables
from penstock.store.named import Named
from penstock.store.reader import Read
from penstock.store.rows import CONNECTIONS


class Row(NamedTuple):
    """A row of `connections`, in the order of its columns."""

    tid: int
    name: str
    document: str
    revision: int
    created_at: int
    created_by: str
    modified_at: int
    modified_by: str


NAMED = Named(tables.connections, CONNECTIONS, Row)
_c = tables.connections.c


def known(read: Read, tid: int, names: frozenset[str]) -> frozenset[str]:
    """Those of the names that are there."""
    if not names:
        return frozenset()
    rows = read.rows(select(_c.name).where(_c.tid == tid, _c.name.in_(sorted(names))), {})
    return frozenset(name for (name,) in rows)
