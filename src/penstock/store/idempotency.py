"""Answers kept under the caller's idempotency key, in the same commit as what they answer for."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, select

from penstock.errors import Conflict
from penstock.store import tables
from penstock.store.rows import IDEMPOTENCY, Key, Rows, Tx


class Kept(NamedTuple):
    status: int
    answer: str


def row(tid: int, key: str) -> tuple[Rows, Key]:
    """The row of an answer, for a unit's `wants`."""
    return IDEMPOTENCY, (tid, key)


def recall(tx: Tx, tid: int, key: str, digest: str) -> Kept | None:
    """The first answer under this key. Raises: Conflict when the key was used for another request."""
    row = tx.get(IDEMPOTENCY, (tid, key))
    if row is None:
        return None
    if row[2] != digest:
        raise Conflict(f"the idempotency key {key!r} was used for another request")
    return Kept(row[3], row[4])


def keep(tx: Tx, tid: int, key: str, digest: str, status: int, answer: str) -> None:
    tx.put(IDEMPOTENCY, (tid, key, digest, status, answer, tx.now))


_i = tables.idempotency.c
_OLD = select(_i.tid, _i.key).where(_i.created_at < bindparam("before")).limit(bindparam("most"))


def forget(tx: Tx, before: int, most: int) -> int:
    """Drop answers older than a time; answers how many."""
    rows = tx.select(_OLD, {"before": before, "most": most})
    for row in rows:
        tx.delete(IDEMPOTENCY, tuple(row))
    return len(rows)
