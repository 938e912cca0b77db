"""Many rows of one process at once: withdraw a scope with all below it, hold and release jobs, supersede visits.

They are for commands and interruptions, not for the ordinary step, which names every row it touches. What lies in a scope has
higher numbers than the scope: numbers come from one counter, and a scope is there before what it holds.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import BindParameter, bindparam, delete, select, update

from penstock.core import codec
from penstock.core import commands as do
from penstock.core.events import MessageArrived
from penstock.core.state import VisitState
from penstock.store import items, messages, tables
from penstock.store.rows import INBOX, JOBS, SCOPES, SUBSCRIPTIONS, TIMERS, VISITS, Tx

_pid: BindParameter[int] = bindparam("of_pid")
_top: BindParameter[int] = bindparam("top")
_j, _v, _i, _s = tables.jobs.c, tables.visits.c, tables.items.c, tables.scopes.c
_OPEN = ("OPEN", "FAILED")
_WORKED = ("job", "http", "robot")

# -- a scope with all below it -----------------------------------------------------------------------------------------

_SCOPES_AFTER = select(_s.n, _s.parent).where(_s.pid == _pid, _s.n > _top)
_VISITS_AFTER = select(_v.n, _v.scope, _v.kind).where(_v.pid == _pid, _v.n > _top, _v.state.in_(_OPEN)).order_by(_v.n)
_LOOSE_AFTER = {
    rows: select(table.c.n, table.c.purpose).where(table.c.pid == _pid, table.c.n > _top)
    for rows, table in ((TIMERS, tables.timers), (SUBSCRIPTIONS, tables.subscriptions))
}


class Dropped(NamedTuple):
    """What went with a scope."""

    scopes: set[int]
    children: list[do.CancelChild]
    """To be cancelled."""


def drop_scope(tx: Tx, pid: int, top: int, state: VisitState, at: int) -> Dropped:
    """Withdraw a scope and all below it."""
    of = {"of_pid": pid, "top": top}
    rows = tx.select(_VISITS_AFTER, of, of=[VISITS])
    below = _below(top, tx.select(_SCOPES_AFTER, of, of=[SCOPES]), rows)
    visits = {n: kind for n, scope, kind in rows if scope in below}
    for table, statement in _LOOSE_AFTER.items():
        for n, purpose in tx.select(statement, of, of=[table]) if visits else ():
            if n in visits:
                tx.delete(table, (pid, n, purpose))
    for n, kind in visits.items():
        tx.patch(VISITS, (pid, n), {"state": state.value, "ended_at": at})
        if kind in _WORKED:
            tx.delete(JOBS, (pid, n))
        elif kind == "item":
            items.close(tx, pid, do.CloseItem(n, completed=False))
    for n in below:
        tx.delete(SCOPES, (pid, n))
    return Dropped(below, [do.CancelChild(n) for n, kind in visits.items() if kind == "call"])


def _below(top: int, scopes: list[tuple[int, ...]], visits: list[tuple[int, int, str]]) -> set[int]:
    """Numbers of a scope and those below it. One opened in this very step has no row yet, but its visit has."""
    parents = [(n, parent) for n, parent in scopes]
    parents += [(n, scope) for n, scope, kind in visits if kind == "scope"]
    found = {top}
    for n, parent in sorted(parents):
        if parent in found:
            found.add(n)
    return found


# -- the whole process -------------------------------------------------------------------------------------------------

_LOOSE = (tables.jobs, tables.timers, tables.subscriptions)
_ALL_LOOSE = [delete(table).where(table.c.pid == _pid) for table in _LOOSE]
_ALL_ITEMS = select(_i.n).where(_i.pid == _pid, _i.state.in_(("READY", "CLAIMED")))
_ALL_CALLS = select(_v.n).where(_v.pid == _pid, _v.state.in_(_OPEN), _v.kind == "call")
_ALL_VISITS = (
    update(tables.visits)
    .where(_v.pid == _pid, _v.state.in_(_OPEN))
    .values(state=bindparam("new_state"), ended_at=bindparam("new_at"))
)
_ALL_SCOPES = delete(tables.scopes).where(_s.pid == _pid, _s.n > 0)
_INBOX = select(tables.inbox.c.iid, tables.inbox.c.event).where(tables.inbox.c.pid == _pid)


class Withdrawn(NamedTuple):
    """What went with all that was open in a process."""

    children: list[do.CancelChild]
    """To be cancelled."""
    given_back: list[tuple[str, str]]
    """(name, key) of messages that wait for another receiver."""


def withdraw(tx: Tx, tid: int, pid: int, state: VisitState, at: int) -> Withdrawn:
    """Withdraw everything that is open in a process."""
    of = {"of_pid": pid}
    children = [do.CancelChild(n) for (n,) in tx.select(_ALL_CALLS, of)]
    _close_items(tx, pid)
    for statement in _ALL_LOOSE:
        tx.execute(statement, of)
    tx.execute(_ALL_VISITS, {**of, "new_state": state.value, "new_at": at})
    tx.execute(_ALL_SCOPES, of)
    return Withdrawn(children, _drop_inbox(tx, tid, pid))


def _close_items(tx: Tx, pid: int) -> None:
    for (n,) in tx.select(_ALL_ITEMS, {"of_pid": pid}):
        items.close(tx, pid, do.CloseItem(n, completed=False))


def _drop_inbox(tx: Tx, tid: int, pid: int) -> list[tuple[str, str]]:
    """Nobody will take what waits in the inbox; a message goes to another."""
    given_back: list[tuple[str, str]] = []
    for iid, text in tx.select(_INBOX, {"of_pid": pid}, of=[INBOX]):
        tx.delete(INBOX, (iid,))
        event = codec.decode_event(text)
        if isinstance(event, MessageArrived) and not event.signal:
            key = messages.give_back(tx, tid, event.name, event.message_id)
            if key is not None:
                given_back.append((event.name, key))
    return given_back


_TELL = update(tables.jobs).where(_j.pid == _pid, _j.state.in_(("LEASED", "AWAITING"))).values(told=1)
_DROP_UNLEASED = delete(tables.jobs).where(_j.pid == _pid, _j.state.not_in(("LEASED", "AWAITING")))
_TOLD = select(_j.n).where(_j.pid == _pid)
_END_OTHERS = (
    update(tables.visits)
    .where(_v.pid == _pid, _v.state.in_(_OPEN), _v.n.not_in(_TOLD))
    .values(state="CANCELLED", ended_at=bindparam("new_at"))
)


def tell_jobs(tx: Tx, pid: int, at: int) -> list[do.CancelChild]:
    """Tell leased jobs to stop and withdraw the rest, but for the scopes. Answers the children to cancel."""
    of = {"of_pid": pid}
    children = [do.CancelChild(n) for (n,) in tx.select(_ALL_CALLS, of)]
    _close_items(tx, pid)
    tx.execute(_TELL, of)
    tx.execute(_DROP_UNLEASED, of)
    for statement in _ALL_LOOSE[1:]:
        tx.execute(statement, of)
    tx.execute(_END_OTHERS, {**of, "new_at": at})
    return children


_LEASED = select(_j.n).where(_j.pid == _pid, _j.state.in_(("LEASED", "AWAITING")))


def leased(tx: Tx, pid: int) -> int:
    """How many jobs of a process somebody has in hand."""
    return len(tx.select(_LEASED, {"of_pid": pid}))


_HOLD = update(tables.jobs).where(_j.pid == _pid, _j.state == "READY").values(state="HELD")
_HELD = select(_j.queue).where(_j.pid == _pid, _j.state == "HELD").distinct()
_RELEASE = update(tables.jobs).where(_j.pid == _pid, _j.state == "HELD").values(state="READY")


def hold_jobs(tx: Tx, pid: int) -> None:
    tx.execute(_HOLD, {"of_pid": pid})


def release_jobs(tx: Tx, pid: int) -> set[str]:
    """Offer held jobs again. Answers their queues."""
    queues = {queue for (queue,) in tx.select(_HELD, {"of_pid": pid})}
    if queues:
        tx.execute(_RELEASE, {"of_pid": pid})
    return queues


# -- restart and migration ---------------------------------------------------------------------------------------------

_ENDED = ("COMPLETED", "SKIPPED", "THROWN", "CANCELLED")
_OF_SCOPE = select(_v.n, _v.node).where(
    _v.pid == _pid, _v.scope == bindparam("of_scope"), _v.n < bindparam("before"), _v.state.in_(_ENDED)
)


def supersede(tx: Tx, pid: int, command: do.SupersedeVisits) -> None:
    """Ended visits of these nodes in a scope were overtaken by a restart."""
    of = {"of_pid": pid, "of_scope": command.scope, "before": command.before}
    for n, node in tx.select(_OF_SCOPE, of, of=[VISITS]):
        if node in command.nodes:
            tx.patch(VISITS, (pid, n), {"state": "SUPERSEDED"})


_RENAMES = [
    update(table).where(table.c.pid == _pid, table.c.n == bindparam("of_n")).values(node=bindparam("to"))
    for table in (tables.visits, tables.jobs, tables.items)
]


def rename_visit(tx: Tx, pid: int, n: int, node: str) -> None:
    """After a migration: the visit, its job and its item stand at another node."""
    for statement in _RENAMES:
        tx.execute(statement, {"of_pid": pid, "of_n": n, "to": node})


_ELEMENTS = delete(tables.scopes).where(_s.pid == _pid, _s.n >= bindparam("first"), _s.n < bindparam("end"))


def drop_elements(tx: Tx, pid: int, first: int, count: int) -> None:
    """The rows of a for_each's ended elements, once their outputs are collected."""
    tx.execute(_ELEMENTS, {"of_pid": pid, "first": first, "end": first + count})
