"""Timers, keyed by process, visit and purpose. `due_at` is by the database's clock."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, select

from penstock.core import commands as do
from penstock.store import tables
from penstock.store.rows import TIMERS, Tx


class Row(NamedTuple):
    """A row of `timers`, in the order of its columns."""

    pid: int
    n: int
    purpose: str
    scope: int
    attempt: int
    due_at: int
    trace: str | None
    """`traceparent` of the step that started it, where steps are traced."""


def start(tx: Tx, pid: int, command: do.StartTimer) -> None:
    c = command
    tx.put(TIMERS, (pid, c.visit, c.purpose, c.scope, c.attempt, c.due_at, tx.trace))


_t = tables.timers.c
_TENANT = select(tables.processes.c.tid).where(tables.processes.c.pid == _t.pid).scalar_subquery()
_DUE = (
    select(*tables.timers.columns, _TENANT)
    .where(_t.due_at <= bindparam("now"))
    .order_by(_t.due_at, _t.pid, _t.n, _t.purpose)
    .limit(bindparam("most"))
)
_NEXT_AFTER = select(_t.due_at).where(_t.due_at > bindparam("now")).order_by(_t.due_at).limit(1)


def stop(tx: Tx, pid: int, visit: int, purpose: str) -> None:
    tx.delete(TIMERS, (pid, visit, purpose))


def postpone(tx: Tx, row: Row, until: int) -> None:
    """A timer that could not be fired is tried again later, so that it does not stand in the way of the others."""
    if get(tx, row.pid, row.n, row.purpose) == row:
        tx.patch(TIMERS, (row.pid, row.n, row.purpose), {"due_at": until})


def get(tx: Tx, pid: int, n: int, purpose: str) -> Row | None:
    row = tx.get(TIMERS, (pid, n, purpose))
    return None if row is None else Row(*row)


def due(tx: Tx, most: int) -> list[tuple[Row, int | None]]:
    """Timers that are due and their tenants (None: the process is as new as that), earliest first."""
    found = tx.select(_DUE, {"now": tx.now, "most": most}, of=[TIMERS])
    return [(Row(*row[:-1]), row[-1]) for row in found]


def next_due_after(tx: Tx, now: int) -> int | None:
    rows = tx.select(_NEXT_AFTER, {"now": now}, of=[TIMERS])
    return rows[0][0] if rows else None
