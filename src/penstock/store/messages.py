"""Messages that wait for a receiver, and who waits for them.

A publisher writes its message, a subscriber its subscription, each in its own unit; `match` pairs them in a third. So two nodes
can never miss each other: whoever commits last finds both, and a sweep looks again.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import BindParameter, and_, bindparam, delete, or_, select, update

from penstock.core import codec
from penstock.core.events import MessageArrived
from penstock.store import inbox, tables
from penstock.store.rows import MESSAGES, SUBSCRIPTIONS, Tx

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
_KNOWN = select(_m.mid).where(_m.tid == _tid, _m.name == _name, _m.message_id == bindparam("message_id"))
_WAITERS = (
    select(_s.pid, _s.n, _s.purpose, _s.scope)
    .where(_s.tid == _tid, _s.name == _name, _s.key == _key, _s.signal == 0)
    .order_by(_s.pid, _s.n, _s.purpose)
    .limit(1)
)
_KEPT_ONES = (
    select(_m.mid, _m.message_id, _m.payload)
    .where(_m.tid == _tid, _m.name == _name, _m.key == _key, _m.state == KEPT, _m.expires_at > bindparam("now"))
    .order_by(_m.mid)
    .limit(1)
)
_KEPT_SHARED = _KEPT_ONES.with_for_update(skip_locked=True)
_WAITERS_SHARED = _WAITERS.with_for_update(skip_locked=True)
_LISTENERS = (
    select(_s.pid, _s.n, _s.purpose, _s.scope)
    .where(
        _s.tid == _tid,
        _s.name == _name,
        _s.signal == 1,
        or_(_s.pid > bindparam("after_pid"), and_(_s.pid == bindparam("after_pid"), _s.n > bindparam("after_n"))),
    )
    .order_by(_s.pid, _s.n)
    .limit(bindparam("most"))
)
_OF_PROCESS = select(_s.pid, _s.n, _s.purpose, _s.scope, _s.key, _s.signal).where(
    _s.pid == bindparam("of_pid"), _s.name == _name
)
_PAIRS = (
    select(_m.tid, _m.name, _m.key)
    .join(tables.subscriptions, (_s.tid == _m.tid) & (_s.name == _m.name) & (_s.key == _m.key) & (_s.signal == 0))
    .where(_m.state == KEPT, _m.expires_at > bindparam("now"))
    .distinct()
    .limit(bindparam("most"))
)
_CONSUME = update(tables.messages).where(_m.mid == bindparam("of_mid")).values(state=CONSUMED)
_CONSUME_ID = (
    update(tables.messages)
    .where(_m.tid == _tid, _m.name == _name, _m.message_id == bindparam("of_id"))
    .values(state=CONSUMED)
)
_GIVE_BACK = (
    update(tables.messages)
    .where(_m.tid == _tid, _m.name == _name, _m.message_id == bindparam("of_id"))
    .values(state=KEPT)
)
_EXPIRED = delete(tables.messages).where(_m.expires_at < bindparam("before"))


def keep(tx: Tx, tid: int, name: str, key: str, message_id: str, payload: str, expires_at: int) -> bool:
    """Keep a message until somebody takes it or it expires. False when its id is known already."""
    if tx.select(_KNOWN, {"tid": tid, "name": name, "message_id": message_id}, of=[MESSAGES]):
        return False
    tx.put(MESSAGES, (None, tid, name, key, message_id, payload, KEPT, tx.now, expires_at))
    return True


def match(tx: Tx, tid: int, name: str, key: str) -> int | None:
    """Give the oldest kept message to the first waiter. Answers the receiving process, None when nothing fits.

    On PostgreSQL rows that another node is pairing are passed over.
    """
    of = {"tid": tid, "name": name, "key": key}
    lock = not tx.sole_writer
    kept = _KEPT_SHARED if lock else _KEPT_ONES
    messages = tx.select(kept, {**of, "now": tx.now}, of=[MESSAGES])
    if not messages:
        return None
    waiting = _WAITERS_SHARED if lock else _WAITERS
    waiters = tx.select(waiting, of, of=[SUBSCRIPTIONS])
    if not waiters:
        return None
    mid, message_id, payload = messages[0]
    waiter = Waiter(*waiters[0])
    tx.execute(_CONSUME, {"of_mid": mid})
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


def give_back(tx: Tx, tid: int, name: str, message_id: str) -> None:
    """The receiver had gone on: the message waits for another."""
    tx.execute(_GIVE_BACK, {"tid": tid, "name": name, "of_id": message_id})


def listeners(tx: Tx, tid: int, name: str, after: tuple[int, int], most: int) -> list[Waiter]:
    """Who waits for a signal, by (process, visit), from the one after `after`."""
    of = {"tid": tid, "name": name, "after_pid": after[0], "after_n": after[1], "most": most}
    return [Waiter(*row) for row in tx.select(_LISTENERS, of, of=[SUBSCRIPTIONS])]


def waits(tx: Tx, tid: int, name: str, key: str) -> bool:
    """Whether somebody waits for a message now."""
    return bool(tx.select(_WAITERS, {"tid": tid, "name": name, "key": key}, of=[SUBSCRIPTIONS]))


def consume(tx: Tx, tid: int, name: str, message_id: str) -> None:
    """The message has started a process."""
    tx.execute(_CONSUME_ID, {"tid": tid, "name": name, "of_id": message_id})


def of_process(tx: Tx, pid: int, name: str) -> list[tuple[Waiter, str, bool]]:
    """What one process waits for under a name: (waiter, key, whether for a signal)."""
    return [(Waiter(*row[:4]), row[4], bool(row[5])) for row in tx.select(_OF_PROCESS, {"of_pid": pid, "name": name})]


def pairs(tx: Tx, most: int) -> list[tuple[int, str, str]]:
    """(tid, name, key) where a kept message and a waiter have missed each other."""
    return [(tid, name, key) for tid, name, key in tx.select(_PAIRS, {"now": tx.now, "most": most})]


def forget(tx: Tx, before: int) -> int:
    return tx.execute(_EXPIRED, {"before": before})
