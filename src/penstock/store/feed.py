"""Feed numbers: the order in which committed history is told to the world. Event streams, cursors and the audit seal use them.

On SQLite the one writer numbers rows as it writes them. On PostgreSQL commits of several nodes interleave, so one node, the leader
of the moment, numbers what is committed and has no number yet. What it has numbered is never looked behind again: a row that
is committed later gets a higher number, and a number that was removed with its row is not given again.
"""

from __future__ import annotations

from sqlalchemy import bindparam, func, select, update

from penstock.store import tables
from penstock.store.rows import META, Tx

LOCK = 7_236_001
"""Advisory lock of the numbering leader."""

LAST = "feed"
"""Under which `meta` has the last number given."""

_h = tables.history.c
_LEAD = select(func.pg_try_advisory_xact_lock(LOCK))
_unfed = (
    select(_h.pid, _h.seq, _h.at)
    .where(_h.feed.is_(None))
    .order_by(_h.at, _h.pid, _h.seq)
    .limit(bindparam("most"))
    .subquery("unfed")
)
_numbered = select(
    _unfed.c.pid,
    _unfed.c.seq,
    func.row_number().over(order_by=(_unfed.c.at, _unfed.c.pid, _unfed.c.seq)).label("place"),
).subquery("numbered")
_NUMBER = (
    update(tables.history)
    .where(_h.pid == _numbered.c.pid, _h.seq == _numbered.c.seq)
    .values(feed=bindparam("last") + _numbered.c.place)
)


def number(tx: Tx, most: int) -> int:
    """Number up to `most` rows; answers how many. Nothing to do on SQLite."""
    if tx.sole_writer or not tx.select(_LEAD, {}, of=[])[0][0]:
        return 0
    row = tx.get(META, (LAST,))
    last = 0 if row is None else int(row[1])
    found = tx.execute(_NUMBER, {"last": last, "most": most})
    if found:
        tx.put(META, (LAST, str(last + found)))
    return found
