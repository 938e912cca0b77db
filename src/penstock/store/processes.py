"""A process in the store: load it for a step, commit the step. One step is one call of `commit_step`.

`Held` is what a unit holds of a process: its row, its version, and the view the decider reads. Decoded state is cached under an
*epoch*: the sequence number at which this node read the process from the database. On PostgreSQL another node may have moved
the process since; its row, which the group has locked, then has another number, and a new epoch begins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import bindparam, select

from penstock.core import codec
from penstock.core import commands as do
from penstock.core import events as ev
from penstock.core.decider import Step
from penstock.core.definition import Version
from penstock.core.state import ENDED, Each, Process, Scope, Status, VisitState
from penstock.errors import Defect, StaleSequence
from penstock.store import cascade, definitions, inbox, items, jobs, tables, timers
from penstock.store.rows import DATA, HISTORY, PROCESSES, SCOPES, SUBSCRIPTIONS, VISITS, Tx


class Held(msgspec.Struct, eq=False):
    """A process as one unit holds it. It is the decider's view (`core.run.View`), too."""

    tx: Tx
    pid: int
    tid: int
    process_id: str
    did: int
    vid: int
    number: int
    """Of the version."""
    version: Version
    process: Process
    created_by: str
    created_at: int
    parent: tuple[int, int, int] | None
    """The calling process: pid, scope, visit."""
    depth: int
    epoch: int

    def scope(self, n: int) -> Scope:
        key = (self.pid, self.epoch, n)
        found = self.tx.cached("scope", key)
        if found is None:
            row = self.tx.get(SCOPES, (self.pid, n))
            if row is None or not row[3]:
                raise KeyError(n)
            found = codec.decode_scope(row[3])
            self.tx.cache("scope", key, found)
        assert isinstance(found, Scope)
        return found

    def _visit(self, n: int) -> tuple[Any, ...]:
        row = self.tx.get(VISITS, (self.pid, n))
        if row is None:
            raise Defect(f"process {self.process_id}: no row of visit {n}")
        return row

    def output(self, visit: int) -> Any:
        key = (self.pid, self.epoch, visit)
        found = self.tx.cached("output", key)
        if found is None:
            text = self._visit(visit)[8]
            found = (None if text is None else codec.decode_json(text),)
            self.tx.cache("output", key, found)
        assert isinstance(found, tuple)
        return found[0]

    def input(self, visit: int) -> Any:
        text = self._visit(visit)[7]
        return None if text is None else codec.decode_json(text)

    def data(self, name: str) -> Any:
        key = (self.pid, self.epoch, name)
        found = self.tx.cached("data", key)
        if found is None:
            row = self.tx.get(DATA, (self.pid, name))
            found = (None if row is None else codec.decode_json(row[2]),)
            self.tx.cache("data", key, found)
        assert isinstance(found, tuple)
        return found[0]

    def values(self) -> dict[str, Any]:
        rows = self.tx.select(_VALUES, {"pid": self.pid})
        return {key: codec.decode_json(value) for key, value in rows}

    def element_outputs(self, scope: int) -> list[Any]:
        each = self.scope(scope).each
        assert isinstance(each, Each)
        outputs: list[Any] = [None] * each.total
        for n, text in self.tx.select(_ELEMENT_OUTPUTS, {"pid": self.pid, "parent": scope}):
            outputs[n - each.first] = codec.decode_json(text)
        return outputs


_values = tables.process_values.c
_VALUES = select(_values.key, _values.value).where(_values.pid == bindparam("pid")).order_by(_values.key)
_scopes = tables.scopes.c
_ELEMENT_OUTPUTS = select(_scopes.n, _scopes.output).where(
    _scopes.pid == bindparam("pid"), _scopes.parent == bindparam("parent"), _scopes.output.is_not(None)
)


class Effects(msgspec.Struct):
    """What the engine does besides rows, once the step is in the unit's buffer."""

    born: list[tuple[do.OpenJob, jobs.Lease]] = []
    children: list[do.StartChild | do.CancelChild] = []
    wake: bool = False
    """Events of this process wait in the inbox."""
    ended: do.EndProcess | None = None
    due_at: int | None = None
    """The earliest timer started."""
    ready: set[str] = set()
    """Queues that got a job nobody has taken."""
    subscribed: list[tuple[str, str]] = []
    """(name, key) of new subscriptions to messages."""
    published: list[do.Publish] = []
    data_changed: bool = False
    cascaded: bool = False
    """Scopes were dropped by statements over many rows."""


Offer = Callable[[do.OpenJob], jobs.Lease | None]
"""Asked for each new job: a lease when a worker waits for its topic."""


def load(tx: Tx, pid: int) -> Held | None:
    """The process as it is now; None when there is none (any more)."""
    known = tx.cached("process", pid)
    if isinstance(known, Held) and tx.sole_writer:
        return msgspec.structs.replace(known, tx=tx)
    row = tx.get(PROCESSES, (pid,))
    if row is None:
        return None
    (_, tid, id, did, vid, status, seq, next_n, at, incidents, retrying, retries, running, _, created_at, created_by) = row[:16]
    if isinstance(known, Held) and known.process.seq == seq:
        return msgspec.structs.replace(known, tx=tx)
    parent = None if row[17] is None else (row[17], row[18], row[19])
    process = Process(Status(status), seq, next_n, at, incidents, retrying, retries, running, parent is not None)
    number, version = definitions.version(tx, vid)
    held = Held(tx, pid, tid, id, did, vid, number, version, process, created_by, created_at, parent, row[20], seq)
    tx.cache("process", pid, held)
    return held


_p = tables.processes.c
_FIND = select(_p.pid).where(_p.tid == bindparam("tid"), _p.id == bindparam("id"))
_ALL_SCOPES = select(_scopes.state).where(_scopes.pid == bindparam("pid"), _scopes.state != "").order_by(_scopes.n)
_CHILDREN = select(_p.pid).where(_p.parent_pid == bindparam("parent"), _p.parent_visit == bindparam("visit"))


def children(tx: Tx, pid: int, visit: int) -> list[int]:
    """Processes that a visit of this one has called."""
    return [child for (child,) in tx.select(_CHILDREN, {"parent": pid, "visit": visit})]


def find(tx: Tx, tid: int, id: str) -> int | None:
    """The number of a process by its public id, as this unit would see it."""
    rows = tx.select(_FIND, {"tid": tid, "id": id}, of=[PROCESSES])
    return rows[0][0] if rows else None


def all_scopes(held: Held) -> list[Scope]:
    """Every scope of a process, elements not yet started included."""
    return [codec.decode_scope(text) for (text,) in held.tx.select(_ALL_SCOPES, {"pid": held.pid})]


def at_version(held: Held, vid: int) -> Held:
    """The process as one of another version, for the step that moves it there."""
    number, version = definitions.version(held.tx, vid)
    held.tx.patch(PROCESSES, (held.pid,), {"vid": vid, "semantics": version.semantics})
    return msgspec.structs.replace(held, vid=vid, number=number, version=version, epoch=held.process.seq + 1)


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
    """A new process, before its first step. Its row is written by the step (`commit_step`), or by `put_unstarted`."""
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


def commit_step(held: Held, event: ev.AnyEvent, step: Step, offer: Offer) -> tuple[Held, Effects]:
    """Write what a step did into the unit's buffer: one history row, changed scopes, the thin row, and its open ends.

    Raises: StaleSequence when the process has moved since it was loaded.
    """
    tx, old, new = held.tx, held.process, step.process
    if new.seq != old.seq + 1:
        raise StaleSequence(f"process {held.process_id} is at {old.seq}, the step is number {new.seq}")
    _put_process(held, old, new)
    _put_history(held, event, new)
    for visit in step.visits:
        _put_visit(held, visit)
    effects = Effects(born=[], children=[], ready=set(), subscribed=[], published=[])
    for command in step.commands:
        _carry_out(held, new, command, offer, effects)
    if effects.cascaded:
        # what was cached of the scopes that went must not be believed any more
        held = msgspec.structs.replace(held, epoch=new.seq)
    for n, scope in step.scopes.items():
        tx.put(SCOPES, (held.pid, n, scope.parent, codec.encode(scope), None))
        tx.cache("scope", (held.pid, held.epoch, n), scope)
    moved = msgspec.structs.replace(held, process=new)
    tx.cache("process", held.pid, moved)
    return moved, effects


def _put_process(held: Held, old: Process, new: Process) -> None:
    if old.seq == 0:
        put_row(held, new)
        return
    columns: dict[str, Any] = {"seq": new.seq, "next_n": new.next_n, "at": new.at}
    if new.status is not old.status:
        # an indexed column: named only when it changes
        columns["status"] = new.status.value
        columns["ended_at"] = new.at if new.status in ENDED else None
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
    # one writer alone commits in the order it numbers; several nodes do not, and `feed.number` does it after them
    feed = held.tx.next_id(HISTORY) if held.tx.sole_writer else None
    held.tx.put(
        HISTORY,
        (held.pid, new.seq, feed, new.at, event.actor, type(event).__name__, scope, visit, codec.encode(event)),
    )


def _put_visit(held: Held, command: do.Command) -> None:
    tx, pid = held.tx, held.pid
    if isinstance(command, do.OpenVisit):
        c = command
        failure = None if c.failure is None else codec.encode_json(c.failure)
        tx.put(
            VISITS,
            (
                *(pid, c.n, c.scope, c.node, c.kind, c.state.value, 1),
                *(_json(c.input), _json(c.output), failure, c.started_at, c.ended_at),
            ),
        )
        if c.ended_at is not None:
            _keep_output(held, c.n, c.node, c.output)
    elif isinstance(command, do.ChangeVisit):
        columns: dict[str, Any] = {}
        for name in ("state", "attempt", "ended_at"):
            value = getattr(command, name)
            if value is not msgspec.UNSET:
                columns[name] = value.value if isinstance(value, VisitState) else value
        for name in ("input", "output", "failure"):
            value = getattr(command, name)
            if value is not msgspec.UNSET:
                columns[name] = _json(value)
        if columns:
            tx.patch(VISITS, (pid, command.n), columns)
        if command.output is not msgspec.UNSET:
            tx.cache("output", (pid, held.epoch, command.n), (command.output,))


def _keep_output(held: Held, n: int, node: str, output: Any) -> None:
    if node in held.version.read_outputs:
        held.tx.cache("output", (held.pid, held.epoch, n), (output,))


def _json(value: Any) -> str | None:
    return None if value is None else codec.encode_json(value)


def _carry_out(held: Held, process: Process, command: do.Command, offer: Offer, effects: Effects) -> None:
    tx, pid = held.tx, held.pid
    match command:
        case do.OpenJob():
            lease = offer(command)
            queue = jobs.open(tx, held.tid, held.vid, pid, command, lease)
            if lease is None:
                effects.ready.add(queue)
            else:
                effects.born.append((command, lease))
        case do.CloseJob():
            jobs.close(tx, pid, command.visit)
        case do.OpenItem():
            items.open(tx, held.tid, pid, held.process_id, command, held.created_by)
        case do.ClaimItem():
            items.claim(tx, pid, command.visit, command.owner)
        case do.CloseItem():
            items.close(tx, held.tid, pid, command)
        case do.StartTimer():
            timers.start(tx, pid, command)
            effects.due_at = command.due_at if effects.due_at is None else min(effects.due_at, command.due_at)
        case do.StopTimer():
            timers.stop(tx, pid, command.visit, command.purpose)
        case do.Subscribe():
            c = command
            row = (pid, c.visit, c.purpose, c.scope, held.tid, c.name, c.key, int(c.signal))
            tx.put(SUBSCRIPTIONS, row)
            if not c.signal:
                effects.subscribed.append((c.name, c.key))
        case do.Unsubscribe():
            inbox.unsubscribe(tx, pid, command.visit, command.purpose)
        case do.StartChild() | do.CancelChild():
            effects.children.append(command)
        case do.CreateElements():
            _create_elements(held, command)
        case do.ContinueElements():
            inbox.post(tx, pid, ev.ElementsDue(at=process.at, scope=command.scope))
            effects.wake = True
        case do.KeepEvent():
            inbox.post(tx, pid, command.event, kept=True)
        case do.HoldJobs():
            cascade.hold_jobs(tx, pid)
        case do.ReleaseJobs():
            effects.ready |= cascade.release_jobs(tx, pid)
            inbox.release(tx, pid)
            effects.wake = True
        case do.DropScope():
            _drop_scope(held, command, process.at, effects)
        case do.TellJobs():
            effects.cascaded = True
            effects.children += cascade.tell_jobs(tx, held.tid, pid, process.at)
        case do.Withdraw():
            effects.cascaded = True
            effects.children += cascade.withdraw(tx, held.tid, pid, command.state, process.at)
        case do.SupersedeVisits():
            cascade.supersede(tx, pid, command.scope, command.nodes)
        case do.SetData():
            effects.data_changed = True
            tx.put(DATA, (pid, command.name, codec.encode_json(command.value)))
            tx.cache("data", (pid, held.epoch, command.name), (command.value,))
        case do.RenameVisit():
            cascade.rename_visit(tx, pid, command.n, command.node)
        case do.EndProcess():
            effects.ended = command
        case do.Publish():
            effects.published.append(command)
        case _:
            raise Defect(f"no way to carry out {type(command).__name__}")


def _create_elements(held: Held, command: do.CreateElements) -> None:
    put, pid, first = held.tx.put, held.pid, command.first
    for index, value in enumerate(command.values):
        n = first + index
        scope = Scope(n=n, parent=command.scope, node=command.node, index=index, vars={command.name: value})
        put(SCOPES, (pid, n, command.scope, codec.encode(scope), None))


def _drop_scope(held: Held, command: do.DropScope, at: int, effects: Effects) -> None:
    tx, pid, n = held.tx, held.pid, command.n
    tx.uncache("scope", (pid, held.epoch, n))
    if command.state is not None:
        effects.cascaded = True
        effects.children += cascade.drop_scope(tx, held.tid, pid, n, command.state, at)
    elif command.output is not msgspec.UNSET:
        # the row stays for its output until the for_each has collected it
        tx.patch(SCOPES, (pid, n), {"state": "", "output": codec.encode_json(command.output)})
    else:
        tx.delete(SCOPES, (pid, n))
        if command.collected:
            cascade.drop_elements(tx, pid, n)
