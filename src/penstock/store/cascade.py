"""Statements over many rows of one process: withdraw a scope with all below it, hold and release jobs, supersede visits.

They are for commands and interruptions, not for the ordinary step, which names every row it touches.
"""

from __future__ import annotations

from sqlalchemy import CTE, BindParameter, Delete, Select, and_, bindparam, delete, select, update

from penstock.core import commands as do
from penstock.core.state import VisitState
from penstock.store import items, tables
from penstock.store.rows import VISITS, Tx

_pid: BindParameter[int] = bindparam("of_pid")
_top: BindParameter[int] = bindparam("top")
_state: BindParameter[str] = bindparam("new_state")
_at: BindParameter[int] = bindparam("new_at")
_OPEN = ("OPEN", "FAILED")


def _below(*, itself: bool) -> CTE:
    """Numbers of the scopes at and below `top`."""
    s = tables.scopes.c
    start: Select[tuple[int]] = select(s.n).where(s.pid == _pid, s.n == _top if itself else s.parent == _top)
    found = start.cte("below", recursive=True)
    inner = tables.scopes.alias("inner_scopes")
    return found.union_all(select(inner.c.n).where(inner.c.pid == _pid, inner.c.parent == found.c.n))


def _visits_below() -> Select[tuple[int]]:
    v = tables.visits.c
    return select(v.n).where(v.pid == _pid, v.scope.in_(select(_below(itself=True).c.n)), v.state.in_(_OPEN))


def _of_visits(table: object, visits: Select[tuple[int]]) -> Delete:
    assert hasattr(table, "c")
    return delete(table).where(and_(table.c.pid == _pid, table.c.n.in_(visits)))  # type: ignore[arg-type]


_j, _v, _i = tables.jobs.c, tables.visits.c, tables.items.c
_LOOSE = (tables.jobs, tables.timers, tables.subscriptions)
_DROP_LOOSE = [_of_visits(table, _visits_below()) for table in _LOOSE]
_ITEMS_BELOW = select(_i.n).where(_i.pid == _pid, _i.n.in_(_visits_below()), _i.state.in_(("READY", "CLAIMED")))
_CALLS_BELOW = select(_v.n).where(
    _v.pid == _pid, _v.scope.in_(select(_below(itself=True).c.n)), _v.state.in_(_OPEN), _v.kind == "call"
)
_END_VISITS_BELOW = (
    update(tables.visits)
    .where(_v.pid == _pid, _v.scope.in_(select(_below(itself=True).c.n)), _v.state.in_(_OPEN))
    .values(state=_state, ended_at=_at)
)
_SCOPES_BELOW = select(_below(itself=True).c.n)
_DELETE_SCOPES = delete(tables.scopes).where(tables.scopes.c.pid == _pid, tables.scopes.c.n.in_(_SCOPES_BELOW))

_ALL_LOOSE = [delete(table).where(table.c.pid == _pid) for table in _LOOSE]
_ALL_ITEMS = select(_i.n).where(_i.pid == _pid, _i.state.in_(("READY", "CLAIMED")))
_ALL_CALLS = select(_v.n).where(_v.pid == _pid, _v.state.in_(_OPEN), _v.kind == "call")
_ALL_VISITS = update(tables.visits).where(_v.pid == _pid, _v.state.in_(_OPEN)).values(state=_state, ended_at=_at)
_ALL_SCOPES = delete(tables.scopes).where(tables.scopes.c.pid == _pid, tables.scopes.c.n > 0)


def drop_scope(
    tx: Tx, tid: int, pid: int, top: int, state: VisitState, at: int
) -> list[do.StartChild | do.CancelChild]:
    """Withdraw a scope and all below it. Answers the children to cancel."""
    of = {"of_pid": pid, "top": top}
    children = [do.CancelChild(n) for (n,) in tx.select(_CALLS_BELOW, of)]
    _close_items(tx, tid, pid, [n for (n,) in tx.select(_ITEMS_BELOW, of)])
    for statement in _DROP_LOOSE:
        tx.execute(statement, of)
    tx.execute(_END_VISITS_BELOW, {**of, "new_state": state.value, "new_at": at})
    tx.execute(_DELETE_SCOPES, of)
    return [*children]


def withdraw(tx: Tx, tid: int, pid: int, state: VisitState, at: int) -> list[do.StartChild | do.CancelChild]:
    """Withdraw everything that is open in a process. Answers the children to cancel."""
    of = {"of_pid": pid}
    children = [do.CancelChild(n) for (n,) in tx.select(_ALL_CALLS, of)]
    _close_items(tx, tid, pid, [n for (n,) in tx.select(_ALL_ITEMS, of)])
    for statement in _ALL_LOOSE:
        tx.execute(statement, of)
    tx.execute(_ALL_VISITS, {**of, "new_state": state.value, "new_at": at})
    tx.execute(_ALL_SCOPES, of)
    tx.execute(_DROP_KEPT, of)
    return [*children]


def _close_items(tx: Tx, tid: int, pid: int, numbers: list[int]) -> None:
    for n in numbers:
        items.close(tx, tid, pid, do.CloseItem(n, completed=False), by="system")


_DROP_KEPT = delete(tables.inbox).where(tables.inbox.c.pid == _pid)
_TELL = update(tables.jobs).where(_j.pid == _pid, _j.state.in_(("LEASED", "AWAITING"))).values(told=1)
_DROP_UNLEASED = delete(tables.jobs).where(_j.pid == _pid, _j.state.not_in(("LEASED", "AWAITING")))
_TOLD = select(_j.n).where(_j.pid == _pid)
_END_OTHERS = (
    update(tables.visits)
    .where(_v.pid == _pid, _v.state.in_(_OPEN), _v.n.not_in(_TOLD))
    .values(state="CANCELLED", ended_at=_at)
)


def tell_jobs(tx: Tx, tid: int, pid: int, at: int) -> list[do.StartChild | do.CancelChild]:
    """Tell leased jobs to stop and withdraw the rest, but for the scopes. Answers the children to cancel."""
    of = {"of_pid": pid}
    children = [do.CancelChild(n) for (n,) in tx.select(_ALL_CALLS, of)]
    _close_items(tx, tid, pid, [n for (n,) in tx.select(_ALL_ITEMS, of)])
    tx.execute(_TELL, of)
    tx.execute(_DROP_UNLEASED, of)
    for statement in _ALL_LOOSE[1:]:
        tx.execute(statement, of)
    tx.execute(_END_OTHERS, {**of, "new_at": at})
    return [*children]


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


_ENDED = ("COMPLETED", "SKIPPED", "THROWN", "CANCELLED")
_OF_NODE = select(_v.n, _v.node).where(_v.pid == _pid, _v.scope == bindparam("of_scope"), _v.state.in_(_ENDED))


def supersede(tx: Tx, pid: int, scope: int, nodes: tuple[str, ...]) -> None:
    """Ended visits of these nodes in a scope were overtaken by a restart."""
    for n, node in tx.select(_OF_NODE, {"of_pid": pid, "of_scope": scope}):
        if node in nodes:
            tx.patch(VISITS, (pid, n), {"state": "SUPERSEDED"})


_RENAMES = [
    update(table).where(table.c.pid == _pid, table.c.n == bindparam("of_n")).values(node=bindparam("to"))
    for table in (tables.visits, tables.jobs, tables.items)
]


def rename_visit(tx: Tx, pid: int, n: int, node: str) -> None:
    """After a migration: the visit, its job and its item stand at another node."""
    for statement in _RENAMES:
        tx.execute(statement, {"of_pid": pid, "of_n": n, "to": node})


_ELEMENTS = delete(tables.scopes).where(tables.scopes.c.pid == _pid, tables.scopes.c.parent == _top)


def drop_elements(tx: Tx, pid: int, scope: int) -> None:
    """The rows of a for_each's ended elements, once their outputs are collected."""
    tx.execute(_ELEMENTS, {"of_pid": pid, "top": scope})
