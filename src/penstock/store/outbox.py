"""What receivers outside are to be told. For each (receiver, process) only the lowest undelivered row may be claimed, so each
receiver hears of a process in order, and a dead receiver blocks only itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import bindparam, func, select

from penstock.core import codec
from penstock.store import tables
from penstock.store.rows import OUTBOX, RECEIVERS, Tx


class Delivery(NamedTuple):
    oid: int
    tid: int
    rid: int
    pid: int
    kind: str
    data: Any
    attempts: int


_r, _o = tables.receivers.c, tables.outbox.c
_RECEIVERS = select(_r.rid).where(_r.tid == bindparam("tid")).order_by(_r.rid)
_first = tables.outbox.alias("first")
_lowest = (
    select(func.min(_first.c.oid).label("oid"))
    .where(_first.c.rid == bindparam("rid"))
    .group_by(_first.c.pid)
    .subquery("lowest")
)
_CLAIMABLE = (
    select(_o.oid, _o.tid, _o.rid, _o.pid, _o.kind, _o.data, _o.attempts)
    .join(_lowest, _lowest.c.oid == _o.oid)
    .where(
        _o.due_at <= bindparam("now"),
        (_o.claimed_until.is_(None)) | (_o.claimed_until <= bindparam("now")),
    )
    .order_by(_o.oid)
    .limit(bindparam("most"))
)
_CLAIMABLE_SHARED = _CLAIMABLE.with_for_update(skip_locked=True, of=tables.outbox)


def receivers(tx: Tx, tid: int) -> tuple[int, ...]:
    """Who wants to hear of a tenant's processes."""
    known = tx.recalled("receivers", tid)
    if isinstance(known, tuple):
        return known
    found = tuple(rid for (rid,) in tx.select(_RECEIVERS, {"tid": tid}, of=[RECEIVERS]))
    tx.recall_later("receivers", tid, found)
    return found


def add_receiver(tx: Tx, tid: int, id: str) -> int:
    rid = tx.next_id(RECEIVERS)
    tx.put(RECEIVERS, (rid, tid, id))
    tx.reconfigured()
    return rid


def publish(tx: Tx, tid: int, pid: int, kind: str, data: dict[str, Any]) -> None:
    """A row for each receiver of the tenant."""
    found = receivers(tx, tid)
    if not found:
        return
    text = codec.encode_json(data)
    for rid in found:
        tx.put(OUTBOX, (None, tid, rid, pid, kind, text, tx.now, 0, tx.now, None))


def claim(tx: Tx, rid: int, most: int, hold_ms: int) -> list[Delivery]:
    """Rows to deliver now, held for the claimer until `hold_ms` have passed. On PostgreSQL passes over others' claims."""
    statement = _CLAIMABLE if tx.sole_writer else _CLAIMABLE_SHARED
    rows = tx.select(statement, {"rid": rid, "now": tx.now, "most": most}, of=[OUTBOX])
    for row in rows:
        tx.patch(OUTBOX, (row[0],), {"claimed_until": tx.now + hold_ms})
    return [
        Delivery(oid, tid, of, pid, kind, codec.decode_json(data), attempts)
        for oid, tid, of, pid, kind, data, attempts in rows
    ]


def delivered(tx: Tx, oid: int) -> None:
    tx.delete(OUTBOX, (oid,))


def failed(tx: Tx, delivery: Delivery, retry_at: int) -> None:
    """Try again later; what comes after it for this receiver and process waits."""
    change = {"attempts": delivery.attempts + 1, "due_at": retry_at, "claimed_until": None}
    tx.patch(OUTBOX, (delivery.oid,), change)
