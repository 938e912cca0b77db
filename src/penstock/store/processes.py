"""A process in the store: load it for a step, commit the step. One step is one call of `commit_step`."""

from __future__ import annotations

from typing import Any

from msgspec import structs
from sqlalchemy import bindparam, select

from penstock.core import codec
from penstock.core import events as ev
from penstock.core.decider import Step
from penstock.core.state import ENDED, Process, Scope, Status
from penstock.errors import StaleSequence
from penstock.store import definitions, feed, search, tables
from penstock.store.carrying import Carrying, Effects, Offer, put_visit
from penstock.store.held import Held
from penstock.store.rows import HISTORY, PROCESSES, SCOPES, Tx


def load(tx: Tx, pid: int) -> Held | None:
    """The process as it is now; None when there is none (any more)."""
    known = tx.cached("process", pid)
    if isinstance(known, Held) and tx.sole_writer:
        return structs.replace(known, tx=tx)
    row = tx.get(PROCESSES, (pid,))
    if row is None:
        return None
    (_, tid, id, did, vid, status, seq, next_n, at, incidents, retrying, retries, running) = row[:13]
    if isinstance(known, Held) and known.process.seq == seq:
        return structs.replace(known, tx=tx)
    parent = None if row[17] is None else (row[17], row[18], row[19])
    process = Process(Status(status), seq, next_n, at, incidents, retrying, retries, running, parent is not None)
    number, version = definitions.version(tx, vid)
    held = Held(tx, pid, tid, id, did, vid, number, version, process, row[15], row[14], parent, row[20], seq)
    _keep(held)
    return held


def _keep(held: Held) -> None:
    """Remember the process as it is now, without the unit that has it: that would keep its whole group in memory."""
    held.tx.cache("process", held.pid, structs.replace(held, tx=None))


_p, _s = tables.processes.c, tables.scopes.c
_FIND = select(_p.pid).where(_p.tid == bindparam("tid"), _p.id == bindparam("id"))
_ALL_SCOPES = select(_s.state).where(_s.pid == bindparam("pid"), _s.state != "").order_by(_s.n)
_CHILDREN = select(_p.pid).where(_p.parent_pid == bindparam("parent"), _p.parent_visit == bindparam("visit"))


def children(tx: Tx, pid: int, visit: int) -> list[int]:
    """Processes that a visit of this one has called."""
    return [child for (child,) in tx.select(_CHILDREN, {"parent": pid, "visit": visit}, of=[PROCESSES])]


def find(tx: Tx, tid: int, id: str) -> int | None:
    """The number of a process by its public id, as this unit would see it."""
    rows = tx.select(_FIND, {"tid": tid, "id": id}, of=[PROCESSES])
    return rows[0][0] if rows else None


def all_scopes(held: Held) -> list[Scope]:
    """Every scope of a process, elements not yet started included."""
    return [codec.decode_scope(text) for (text,) in held.tx.select(_ALL_SCOPES, {"pid": held.pid}, of=[SCOPES])]


def at_version(held: Held, vid: int) -> Held:
    """The process as one of another version, for the step that moves it there."""
    number, version = definitions.version(held.tx, vid)
    search.move(held, version)
    held.tx.patch(PROCESSES, (held.pid,), {"vid": vid, "semantics": version.semantics})
    return structs.replace(held, vid=vid, number=number, version=version, epoch=held.process.seq + 1)


def create(
    tx: Tx,
    *,
    tid: int,
    id: str,
    did: int,
    vid: int,
    created_by: str,
    parent: tuple[int, int, int] | None = None,
    depth: int = 0,
) -> Held:
    """A new process, before its first step. Its row is written by the step (`commit_step`), or by `put_row`."""
    pid = tx.next_pid()
    number, version = definitions.version(tx, vid)
    process = Process(called=parent is not None)
    return Held(tx, pid, tid, id, did, vid, number, version, process, created_by, tx.now, parent, depth, 0)


def put_row(held: Held, process: Process) -> None:
    """Write the whole thin row."""
    p = process
    parent = held.parent or (None, None, None)
    ended_at = p.at if p.status in ENDED else None
    held.tx.put(
        PROCESSES,
        (
            *(held.pid, held.tid, held.process_id, held.did, held.vid, p.status.value, p.seq, p.next_n, p.at),
            *(p.incidents, p.retrying, p.retries, p.running, held.version.semantics, held.created_at, held.created_by),
            *(ended_at, *parent, held.depth),
        ),
    )
    search.created(held.tx, held.tid, held.pid, held.created_at, held.created_by)
    if ended_at is not None:
        search.ended(held.tx, held.tid, held.pid, held.created_at, ended_at)
    if p.incidents:
        search.incidents(held.tx, held.tid, held.pid, held.created_at, some=True)


def commit_step(held: Held, event: ev.AnyEvent, step: Step, offer: Offer) -> tuple[Held, Effects]:
    """Write what a step did into the unit's buffer: one history row, changed scopes, the thin row, and its open ends.

    Raises: StaleSequence when the process has moved since it was loaded.
    """
    tx, old, new = held.tx, held.process, step.process
    now = _sequence(held)
    if now != old.seq or new.seq != old.seq + 1:
        raise StaleSequence(f"process {held.process_id} is at {now}, the step is number {new.seq}")
    _put_process(held, old, new)
    _put_history(held, event, new)
    for visit in step.visits:
        put_visit(held, visit)
    effects = Effects()
    carrying = Carrying(held, new.at, offer, effects)
    for command in step.commands:
        carrying.carry(command)
    if effects.cascaded:
        # what was cached of the scopes that went must not be believed any more
        held = structs.replace(held, epoch=new.seq)
    for n, scope in step.scopes.items():
        tx.put(SCOPES, (held.pid, n, scope.parent, codec.encode(scope), None))
        tx.cache("scope", (held.pid, held.epoch, n), scope)
    moved = structs.replace(held, process=new)
    _keep(moved)
    return moved, effects


def _sequence(held: Held) -> int:
    """Where the process stands now, as far as this unit can know without asking for more than it has."""
    tx = held.tx
    known = tx.cached("process", held.pid)
    if isinstance(known, Held) and (tx.sole_writer or not held.process.seq):
        return known.process.seq
    row = tx.get(PROCESSES, (held.pid,)) if held.process.seq else None
    return row[6] if row is not None else 0


def _put_process(held: Held, old: Process, new: Process) -> None:
    if old.seq == 0:
        put_row(held, new)
        return
    columns: dict[str, Any] = {"seq": new.seq, "next_n": new.next_n, "at": new.at}
    if new.status is not old.status:
        # an indexed column: named only when it changes
        columns["status"] = new.status.value
        if new.status in ENDED:
            columns["ended_at"] = new.at
            search.ended(held.tx, held.tid, held.pid, held.created_at, new.at)
    if bool(old.incidents) != bool(new.incidents):
        search.incidents(held.tx, held.tid, held.pid, held.created_at, some=bool(new.incidents))
    if (old.incidents, old.retrying, old.retries, old.running) != (
        *(new.incidents, new.retrying, new.retries, new.running),
    ):
        columns |= {
            "incidents": new.incidents,
            "retrying": new.retrying,
            "retries": new.retries,
            "running": new.running,
        }
    held.tx.patch(PROCESSES, (held.pid,), columns)


def _put_history(held: Held, event: ev.AnyEvent, new: Process) -> None:
    scope = visit = None
    if isinstance(event, ev.VisitEvent):
        scope, visit = event.scope, event.visit
    number = feed.place(held.tx, held.tid)
    kind = type(event).__name__
    row = (held.pid, new.seq, held.tid, number, new.at, event.actor, kind, scope, visit, codec.encode(event))
    held.tx.put(HISTORY, row)
