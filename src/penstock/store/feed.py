"""Feed numbers: the order in which committed history is told to the world. Event streams, cursors and the audit seal use them.

On SQLite the one writer numbers rows as it writes them. On PostgreSQL commits of several nodes interleave, so one node, the leader
of the moment, numbers what is committed and has no number yet.
"""

from __future__ import annotations

from sqlalchemy import bindparam, func, select, update

from penstock.store import tables
from penstock.store.rows import Tx

LOCK = 7_236_001
"""Advisory lock of the numbering leader."""

_h = tables.history.c
_LAST = select(func.max(_h.feed))
_UNFED = select(_h.pid, _h.seq).where(_h.feed.is_(None)).order_by(_h.at, _h.pid, _h.seq).limit(bindparam("most"))
_LEAD = select(func.pg_try_advisory_xact_lock(LOCK))
_SET = (
    update(tables.history)
    .where(_h.pid == bindparam("of_pid"), _h.seq == bindparam("of_seq"))
    .values(feed=bindparam("number"))
)


def number(tx: Tx, most: int) -> int:
    """Number up to `most` rows; answers how many. Nothing to do on SQLite."""
    if tx.sole_writer or not tx.select(_LEAD, {})[0][0]:
        return 0
    rows = tx.select(_UNFED, {"most": most})
    last = tx.select(_LAST, {})[0][0] or 0
    for i, (pid, seq) in enumerate(rows, start=1):
        tx.execute(_SET, {"of_pid": pid, "of_seq": seq, "number": last + i})
    return len(rows)


