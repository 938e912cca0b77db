"""Remove what is old: ended processes with all that is theirs.

In chunks, each a unit of the low lane, so that nobody waits for a clean-up. What is old is looked for by a reader: that reads
the whole table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BindParameter, bindparam, delete, select

from penstock.core import codec
from penstock.store import definitions, documents, items, journal, seals, search, tables
from penstock.store.reader import Read
from penstock.store.rows import DATA, HISTORY, PROCESSES, Tx

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
    tables.drafts,
    tables.item_log,
    tables.posts,
    tables.jobs,
    tables.timers,
    tables.subscriptions,
    tables.process_values,
    tables.inbox,
    tables.processes,
)
_pids: BindParameter[Sequence[int]] = bindparam("pids", expanding=True)
_h = tables.history.c
_FEEDS = select(_h.tid, _h.pid, _h.feed).where(_h.pid.in_(_pids))
_DELETE = [delete(table).where(table.c.pid.in_(_pids)) for table in _TABLES]


def old_processes(reader: Read, before: int, after: int, most: int) -> list[int]:
    """Processes that ended before a time (ms), by number, from the one after `after`."""
    return [pid for (pid,) in reader.rows(_OLD, {"before": before, "after": after, "most": most})]


def remove(tx: Tx, pids: list[int]) -> int:
    """Remove ended processes whole, with unread messages and documents that no other process links; answers how many.

    What is not sealed yet stays: nobody could say later that it was there. What webhooks wait to deliver stays. The journal is
    told the feed numbers and not the ids: the digests that the seals keep are of rows with an id in them, so nobody can try
    guesses at what was erased.
    """
    feeds: dict[int, dict[int, list[int]]] = {}
    unnumbered: set[int] = set()
    for tid, pid, feed in tx.select(_FEEDS, {"pids": pids}, of=[HISTORY]):
        feeds.setdefault(tid, {}).setdefault(pid, []).append(feed or 0)
        if feed is None:
            unnumbered.add(pid)
    gone: list[int] = [pid for pid in pids if not any(pid in of for of in feeds.values())]
    for tid, of in feeds.items():
        sealed = seals.sealed(tx, tid)
        sound = [pid for pid in of if pid not in unnumbered and max(of[pid]) <= sealed]
        if sound:
            numbers = sorted(feed for pid in sound for feed in of[pid])
            data = {"processes": len(sound), "rows": len(numbers), "feeds": seals.ranges(numbers)}
            journal.record(tx, tid, journal.SYSTEM, seals.ERASED, seals.RETENTION, "", data)
        gone += sound
    if gone:
        _remove(tx, gone)
    return len(gone)


def _remove(tx: Tx, pids: list[int]) -> None:
    for pid in pids:
        items.drop_open_grants(tx, pid)
        row = tx.get(PROCESSES, (pid,))
        if row is not None:
            _remove_search(tx, dict(zip(PROCESSES.columns, row, strict=True)))
        tx.uncache("process", pid)
    documents.remove_of_processes(tx, pids)
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
