"""Messages that wait for a receiver, and who waits for them.

A publisher writes its message, a subscriber its subscription, each in its own unit; `match` pairs them in a third. So two nodes
can never miss each other: whoever commits last finds both, and a sweep looks again.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import BindParameter, bindparam, literal_column, select, tuple_

from penstock.core import codec
from penstock.core.events import MessageArrived
from penstock.store import inbox, tables
from penstock.store.rows import MESSAGES, PROCESSES, SUBSCRIPTIONS, Tx

KEPT, CONSUMED = "KEPT", "CONSUMED"


class Waiter(NamedTuple):
    pid: int
    n: int
    purpose: str
    scope: int


_m, _s = tables.messages.c, tables.subscriptions.c
_tid: BindParameter[int] = bindparam("tid")
_name: BindParameter[str] = bindparam("name")
_key: BindParameter[str] = bindparam("key")
_IS_KEPT = _m.state == literal_column(f"'{KEPT}'")
"""Written out, or the partial index could not be used."""
_KNOWN = select(_m.mid, _m.key).where(_m.tid == _tid, _m.name == _name, _m.message_id == bindparam("message_id"))
_WAITERS = (
    select(_s.pid, _s.n, _s.purpose, _s.scope)
    .where(_s.tid == _tid, _s.name == _name, _s.key == _key, _s.signal == 0)
    .order_by(_s.pid, _s.n, _s.purpose)
    .limit(1)
)
_KEPT_ONES = (
    select(_m.mid, _m.message_id, _m.payload)
    .where(_m.tid == _tid, _m.name == _name, _m.key == _key, _IS_KEPT, _m.expires_at > bindparam("now"))
    .order_by(_m.mid)
    .limit(1)
)
_KEPT_SHARED = _KEPT_ONES.with_for_update(skip_locked=True)
# With its process's row, as every unit that changes a process has it: two nodes never wait for each other's rows.
# The process's row first: the row of a waiter that is passed over must not stay locked.
_WAITERS_SHARED = _WAITERS.select_from(
    tables.processes.join(tables.subscriptions, tables.processes.c.pid == _s.pid)
).with_for_update(key_share=True, skip_locked=True)
_LISTENERS = (
    select(_s.pid, _s.n, _s.purpose, _s.scope)
    .where(_s.tid == _tid, _s.name == _name, _s.key == "", _s.signal == 1)
    .order_by(_s.pid, _s.n, _s.purpose)
    .limit(bindparam("most"))
)
_FROM = tuple_(_s.pid, _s.n) > tuple_(bindparam("after_pid"), bindparam("after_n"))
_SAME_VISIT = tuple_(_s.pid, _s.n) == tuple_(bindparam("after_pid"), bindparam("after_n"))
_MORE_LISTENERS = _LISTENERS.where(_FROM)
_LISTENERS_THERE = _LISTENERS.where(_SAME_VISIT)
_OF_PROCESS = select(_s.pid, _s.n, _s.purpose, _s.scope, _s.key, _s.signal).where(
    _s.pid == bindparam("of_pid"), _s.name == _name
)
_NAMES = (
    select(_m.tid, _m.name, _m.key)
    .where(_IS_KEPT, tuple_(_m.tid, _m.name, _m.key) > tuple_(_tid, _name, _key))
    .group_by(_m.tid, _m.name, _m.key)
    .order_by(_m.tid, _m.name, _m.key)
    .limit(bindparam("most"))
)
_EXPIRED = select(_m.mid).where(_m.expires_at < bindparam("before")).order_by(_m.expires_at).limit(bindparam("most"))


def keep(tx: Tx, tid: int, name: str, key: str, message_id: str, payload: str, expires_at: int) -> bool:
    """Keep a message until somebody takes it or it expires. False when its id is known already."""
    if tx.select(_KNOWN, {"tid": tid, "name": name, "message_id": message_id}, of=[MESSAGES]):
        return False
    tx.put(MESSAGES, (None, tid, name, key, message_id, payload, KEPT, tx.now, expires_at))
    return True


def match(tx: Tx, tid: int, name: str, key: str) -> int | None:
    """Give the oldest kept message to the first waiter. Answers the receiving process, None when nothing fits.

    On PostgreSQL messages that another node is pairing, and waiters whose process another node holds, are passed over.
    """
    of = {"tid": tid, "name": name, "key": key}
    lock = not tx.sole_writer
    messages = tx.select(_KEPT_SHARED if lock else _KEPT_ONES, {**of, "now": tx.now}, of=[MESSAGES])
    if not messages:
        return None
    waiters = tx.select(_WAITERS_SHARED if lock else _WAITERS, of, of=[SUBSCRIPTIONS, PROCESSES])
    if not waiters:
        return None
    mid, message_id, payload = messages[0]
    waiter = Waiter(*waiters[0])
    tx.patch(MESSAGES, (mid,), {"state": CONSUMED})
    deliver(tx, waiter, name, message_id, payload, signal=False)
    tx.delete(SUBSCRIPTIONS, (waiter.pid, waiter.n, waiter.purpose))
    return waiter.pid


def deliver(tx: Tx, waiter: Waiter, name: str, message_id: str, payload: str, *, signal: bool) -> None:
    event = MessageArrived(
        at=tx.now,
        scope=waiter.scope,
        visit=waiter.n,
        purpose=waiter.purpose,
        name=name,
        payload=codec.decode_json(payload),
        message_id=message_id,
        signal=signal,
    )
    inbox.post(tx, waiter.pid, event)


def give_back(tx: Tx, tid: int, name: str, message_id: str) -> str | None:
    """The receiver had gone on: the message waits for another. Answers its key, None when it is gone."""
    return _turn(tx, tid, name, message_id, KEPT)


def _turn(tx: Tx, tid: int, name: str, message_id: str, state: str) -> str | None:
    for mid, key in tx.select(_KNOWN, {"tid": tid, "name": name, "message_id": message_id}, of=[MESSAGES]):
        tx.patch(MESSAGES, (mid,), {"state": state})
        return str(key)
    return None


def listeners(tx: Tx, tid: int, name: str, after: tuple[int, int], most: int) -> list[Waiter]:
    """Who waits for a signal, by (process, visit), from the one after `after`.

    Fewer than `most` are the last; it may be a few more, for those of one visit are never parted.
    """
    of = {"tid": tid, "name": name, "after_pid": after[0], "after_n": after[1], "most": most}
    found = [Waiter(*row) for row in tx.select(_MORE_LISTENERS, of, of=[SUBSCRIPTIONS])]
    if len(found) == most:
        last = {**of, "after_pid": found[-1].pid, "after_n": found[-1].n}
        found = list(dict.fromkeys([*found, *(Waiter(*row) for row in tx.select(_LISTENERS_THERE, last, of=[]))]))
    return found


def waits(tx: Tx, tid: int, name: str, key: str) -> bool:
    """Whether somebody waits for a message now."""
    return bool(tx.select(_WAITERS, {"tid": tid, "name": name, "key": key}, of=[SUBSCRIPTIONS]))


def consume(tx: Tx, tid: int, name: str, message_id: str) -> None:
    """The message has started a process."""
    _turn(tx, tid, name, message_id, CONSUMED)


def of_process(tx: Tx, pid: int, name: str) -> list[tuple[Waiter, str, bool]]:
    """What one process waits for under a name: (waiter, key, whether for a signal)."""
    rows = tx.select(_OF_PROCESS, {"of_pid": pid, "name": name}, of=[SUBSCRIPTIONS])
    return [(Waiter(*row[:4]), row[4], bool(row[5])) for row in rows]


def kept_names(tx: Tx, after: tuple[int, str, str], most: int) -> list[tuple[int, str, str]]:
    """(tid, name, key) under which messages are kept, in order, from the one after `after`."""
    of = {"tid": after[0], "name": after[1], "key": after[2], "most": most}
    return [(tid, name, key) for tid, name, key in tx.select(_NAMES, of, of=[MESSAGES])]


def forget(tx: Tx, before: int, most: int) -> int:
    """Drop messages that expired before a time; answers how many."""
    rows = tx.select(_EXPIRED, {"before": before, "most": most}, of=[MESSAGES])
    for (mid,) in rows:
        tx.delete(MESSAGES, (mid,))
    return len(rows)
