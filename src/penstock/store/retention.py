"""Remove what is old: ended processes with all that is theirs.

In chunks, each a unit of the low lane, so that nobody waits for a clean-up. What is old is looked for by a reader: that reads
the whole table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter, bindparam, delete, select

from penstock.core import codec
from penstock.store import definitions, search, tables
from penstock.store.reader import Read
from penstock.store.rows import DATA, PROCESSES, Tx

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
    tables.jobs,
    tables.timers,
    tables.subscriptions,
    tables.process_values,
    tables.inbox,
    tables.processes,
)
_pids: BindParameter[Sequence[int]] = bindparam("pids", expanding=True)
_DELETE = [delete(table).where(table.c.pid.in_(_pids)) for table in _TABLES]


def old_processes(reader: Read, before: int, after: int, most: int) -> list[int]:
    """Processes that ended before a time (ms), by number, from the one after `after`."""
    return [pid for (pid,) in reader.rows(_OLD, {"before": before, "after": after, "most": most})]


def remove(tx: Tx, pids: list[int]) -> None:
    """Remove ended processes whole. Their items have no grants any more; what webhooks wait to deliver stays."""
    for pid in pids:
        row = tx.get(PROCESSES, (pid,))
        if row is not None:
            _remove_search(tx, dict(zip(PROCESSES.columns, row, strict=True)))
        tx.uncache("process", pid)
    for statement in _DELETE:
        tx.execute(statement, {"pids": pids})


def _remove_search(tx: Tx, row: dict[str, Any]) -> None:
    version = definitions.version(tx, row["vid"])[1]
    data = {}
    for name in ("input", "metadata", "entity") if version.search else ():
        found = tx.get(DATA, (row["pid"], name))
        if found is not None:
            data[name] = codec.decode_json(found[2])
    search.remove(tx, row, version, data)
