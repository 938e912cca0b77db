"""Events for a process from outside its own steps: other processes, messages, chunks of a for_each, what was kept.

Each is applied in a unit of its own, lowest number first. A kept event waits until its process resumes.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from penstock.core import codec
from penstock.core.events import AnyEvent
from penstock.store import tables
from penstock.store.rows import INBOX, Tx


class Entry(NamedTuple):
    iid: int
    event: AnyEvent


def post(tx: Tx, pid: int, event: AnyEvent, *, kept: bool = False) -> None:
    """Leave an event for a process; the engine is to be told that there is something (`Effects.wake`)."""
    tx.put(INBOX, (None, pid, codec.encode(event), int(kept), tx.now))


_i = tables.inbox.c
_NEXT = (
    select(_i.iid, _i.event).where(_i.pid == bindparam("pid"), _i.kept == 0).order_by(_i.iid).limit(bindparam("most"))
)
_TENANT = select(tables.processes.c.tid).where(tables.processes.c.pid == _i.pid).scalar_subquery()
_PIDS = (
    select(_i.pid, _TENANT)
    .where(_i.kept == 0, _i.pid > bindparam("after"))
    .group_by(_i.pid)
    .order_by(_i.pid)
    .limit(bindparam("most"))
)
_RELEASE = update(tables.inbox).where(_i.pid == bindparam("of_pid"), _i.kept == 1).values(kept=0)


def pending(tx: Tx, pid: int, most: int) -> list[Entry]:
    """What is to be applied to a process, in order."""
    return [
        Entry(iid, codec.decode_event(text)) for iid, text in tx.select(_NEXT, {"pid": pid, "most": most}, of=[INBOX])
    ]


def pids(tx: Tx, after: int, most: int) -> list[tuple[int, int | None]]:
    """Processes that have something in the inbox, by number, from the one after `after`; and their tenants (None: the process
    is as new as that).
    """
    found = tx.select(_PIDS, {"after": after, "most": most}, of=[INBOX])
    return [(pid, tid) for pid, tid in found]


def done(tx: Tx, iid: int) -> None:
    tx.delete(INBOX, (iid,))


def release(tx: Tx, pid: int) -> None:
    """The process resumed: what was kept is due."""
    tx.execute(_RELEASE, {"of_pid": pid})


def set_aside(tx: Tx, iid: int) -> None:
    """An event that cannot be applied stays for the operator (`kept` 2) and does not block what comes after it."""
    tx.patch(INBOX, (iid,), {"kept": 2})
