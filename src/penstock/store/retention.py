"""Remove what is old: ended processes with all that is theirs, answers under idempotency keys, tokens, messages.

In chunks, each a unit of the low lane, so that nobody waits for a clean-up.
"""

from __future__ import annotations

from sqlalchemy import BindParameter, bindparam, delete, select

from penstock.store import tables
from penstock.store.rows import Tx

_p = tables.processes.c
_OLD = (
    select(_p.pid)
    .where(_p.ended_at.is_not(None), _p.ended_at < bindparam("before"), _p.pid > bindparam("after"))
    .order_by(_p.pid)
    .limit(bindparam("most"))
)
_TABLES = (
    tables.history,
    tables.visits,
    tables.scopes,
    tables.data,
    tables.items,
    tables.item_grants,
    tables.search,
    tables.process_values,
    tables.inbox,
    tables.processes,
)
_pids: BindParameter[list[int]] = bindparam("pids", expanding=True)
_DELETE = [delete(table).where(table.c.pid.in_(_pids)) for table in _TABLES]


def old_processes(tx: Tx, before: int, after: int, most: int) -> list[int]:
    """Processes that ended before a time (ms), by number, from the one after `after`."""
    return [pid for (pid,) in tx.select(_OLD, {"before": before, "after": after, "most": most})]


def remove(tx: Tx, pids: list[int]) -> None:
    """Remove ended processes whole."""
    for statement in _DELETE:
        tx.execute(statement, {"pids": pids})
    for pid in pids:
        tx.uncache("process", pid)
