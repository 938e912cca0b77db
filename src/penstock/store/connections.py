"""Connections: named targets of http nodes. A document names secrets and holds none."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, select

from penstock.store import tables
from penstock.store.reader import Read
from penstock.store.rows import CONNECTIONS, Tx


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


_c = tables.connections.c
_ALL = select(*tables.connections.columns)
_ONE = _ALL.where(_c.tid == bindparam("tid"), _c.name == bindparam("name"))
_LOCK = _ONE.with_for_update()
_PAGE = _ALL.where(_c.tid == bindparam("tid"), _c.name > bindparam("after")).order_by(_c.name).limit(bindparam("most"))


def get(read: Read, tid: int, name: str) -> Row | None:
    row = read.row(_ONE, {"tid": tid, "name": name})
    return None if row is None else Row(*row)


def known(read: Read, tid: int, names: frozenset[str]) -> frozenset[str]:
    """Those of the names that are there."""
    if not names:
        return frozenset()
    rows = read.rows(select(_c.name).where(_c.tid == tid, _c.name.in_(sorted(names))), {})
    return frozenset(name for (name,) in rows)


def listed(read: Read, tid: int, after: str, most: int) -> list[Row]:
    """By name."""
    return [Row(*row) for row in read.rows(_PAGE, {"tid": tid, "after": after, "most": most})]


def lock(tx: Tx, tid: int, name: str) -> Row | None:
    """The row, held until the commit."""
    rows = tx.select(_LOCK, {"tid": tid, "name": name}, of=[CONNECTIONS])
    return Row(*rows[0]) if rows else None


def put(tx: Tx, row: Row) -> None:
    tx.put(CONNECTIONS, tuple(row))


def remove(tx: Tx, row: Row) -> None:
    tx.delete(CONNECTIONS, (row.tid, row.name))
