"""Commands into rows: what a step wants done becomes writes in the unit's buffer. One small function a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from penstock.core import codec
from penstock.core import commands as do
from penstock.core import events as ev
from penstock.core.state import Scope, VisitState
from penstock.errors import Defect
from penstock.store import cascade, grants, inbox, items, jobs, timers
from penstock.store.held import Held
from penstock.store.rows import DATA, SCOPES, SUBSCRIPTIONS, VISITS


class Effects(msgspec.Struct):
    """What the engine does besides rows, once the step is in the unit's buffer."""

    children: list[do.StartChild | do.CancelChild] = []
    wake: bool = False
    """Events of this process wait in the inbox."""
    ended: do.EndProcess | None = None
    due_at: int | None = None
    """The earliest timer started."""
    ready: set[str] = set()
    """Queues that got a job nobody has taken."""
    to_match: list[tuple[str, str]] = []
    """(name, key) of messages and new waiters that may find each other now."""
    published: list[do.Publish] = []
    old_data: dict[str, Any] = {}
    """What the data set by this step was before, where the definition makes some of it searchable."""
    cascaded: bool = False
    """Many scopes changed without being named: what is cached of them is not to be believed any more."""


Offer = Callable[[do.OpenJob], jobs.Lease | None]
"""Asked for each new job: a lease when a worker waits for its topic."""


class Carrying(msgspec.Struct):
    """The commands of one step on their way to rows."""

    held: Held
    at: int
    """Time of the step."""
    offer: Offer
    effects: Effects
    elements: dict[int, tuple[int, int]] = {}
    """By for_each scope opened in this step: number of its first element, and how many."""

    def carry(self, command: do.Command) -> None:
        """Raises: Defect for a command without a line in the table."""
        handler = _HANDLERS.get(type(command))
        if handler is None:
            raise Defect(f"no way to carry out {type(command).__name__}")
        handler(self, command)


def put_visit(held: Held, command: do.Command) -> None:
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


def _open_job(to: Carrying, c: do.OpenJob) -> None:
    held = to.held
    lease = to.offer(c)
    queue = jobs.open(held.tx, held.tid, held.vid, held.pid, c, lease)
    if lease is None:
        to.effects.ready.add(queue)


def _close_job(to: Carrying, c: do.CloseJob) -> None:
    jobs.close(to.held.tx, to.held.pid, c.visit)


def _open_item(to: Carrying, c: do.OpenItem) -> None:
    usual = () if c.candidates else grants.of(to.held.tx, to.held.did).get("candidate", ())
    items.open(to.held, c, usual)


def _claim_item(to: Carrying, c: do.ClaimItem) -> None:
    items.claim(to.held.tx, to.held.pid, c.visit, c.owner)


def _unclaim_item(to: Carrying, c: do.UnclaimItem) -> None:
    items.unclaim(to.held.tx, to.held.pid, c.visit)


def _assign_item(to: Carrying, c: do.AssignItem) -> None:
    items.assign(to.held.tx, to.held.pid, c.visit, c.to)


def _delegate_item(to: Carrying, c: do.DelegateItem) -> None:
    items.delegate(to.held.tx, to.held.pid, c.visit, c.to)


def _change_item(to: Carrying, c: do.ChangeItem) -> None:
    items.change(to.held.tx, to.held.pid, c.visit, c.due_at, c.priority)


def _close_item(to: Carrying, c: do.CloseItem) -> None:
    items.close(to.held.tx, to.held.pid, c)


def _start_timer(to: Carrying, c: do.StartTimer) -> None:
    timers.start(to.held.tx, to.held.pid, c)
    due_at = to.effects.due_at
    to.effects.due_at = c.due_at if due_at is None else min(due_at, c.due_at)


def _stop_timer(to: Carrying, c: do.StopTimer) -> None:
    timers.stop(to.held.tx, to.held.pid, c.visit, c.purpose)


def _subscribe(to: Carrying, c: do.Subscribe) -> None:
    held = to.held
    held.tx.put(SUBSCRIPTIONS, (held.pid, c.visit, c.purpose, c.scope, held.tid, c.name, c.key, int(c.signal)))
    if not c.signal:
        to.effects.to_match.append((c.name, c.key))


def _unsubscribe(to: Carrying, c: do.Unsubscribe) -> None:
    to.held.tx.delete(SUBSCRIPTIONS, (to.held.pid, c.visit, c.purpose))


def _child(to: Carrying, c: do.StartChild | do.CancelChild) -> None:
    to.effects.children.append(c)


def _continue_elements(to: Carrying, c: do.ContinueElements) -> None:
    inbox.post(to.held.tx, to.held.pid, ev.ElementsDue(at=to.at, scope=c.scope))
    to.effects.wake = True


def _keep_event(to: Carrying, c: do.KeepEvent) -> None:
    inbox.post(to.held.tx, to.held.pid, c.event, kept=True)


def _hold_jobs(to: Carrying, _: do.HoldJobs) -> None:
    cascade.hold_jobs(to.held.tx, to.held.pid)


def _release_jobs(to: Carrying, _: do.ReleaseJobs) -> None:
    to.effects.ready |= cascade.release_jobs(to.held.tx, to.held.pid)
    inbox.release(to.held.tx, to.held.pid)
    to.effects.wake = True


def _tell_jobs(to: Carrying, _: do.TellJobs) -> None:
    to.effects.cascaded = True
    to.effects.children += cascade.tell_jobs(to.held.tx, to.held.pid, to.at)


def _withdraw(to: Carrying, c: do.Withdraw) -> None:
    held = to.held
    withdrawn = cascade.withdraw(held.tx, held.tid, held.pid, c.state, to.at)
    to.effects.cascaded = True
    to.effects.children += withdrawn.children
    to.effects.to_match += withdrawn.given_back


def _supersede(to: Carrying, c: do.SupersedeVisits) -> None:
    cascade.supersede(to.held.tx, to.held.pid, c)


def _set_data(to: Carrying, c: do.SetData) -> None:
    held = to.held
    if held.version.search and c.name not in to.effects.old_data:
        to.effects.old_data[c.name] = held.data(c.name) if held.process.seq else None
    held.tx.put(DATA, (held.pid, c.name, codec.encode_json(c.value)))
    held.tx.cache("data", (held.pid, held.epoch, c.name), (c.value,))


def _rename_visit(to: Carrying, c: do.RenameVisit) -> None:
    cascade.rename_visit(to.held.tx, to.held.pid, c.n, c.node)


def _end_process(to: Carrying, c: do.EndProcess) -> None:
    to.effects.ended = c


def _publish(to: Carrying, c: do.Publish) -> None:
    to.effects.published.append(c)


def _create_elements(to: Carrying, command: do.CreateElements) -> None:
    put, pid, first = to.held.tx.put, to.held.pid, command.first
    to.elements[command.scope] = (first, len(command.values))
    for index, value in enumerate(command.values):
        n = first + index
        scope = Scope(n=n, parent=command.scope, node=command.node, index=index, vars={command.name: value})
        put(SCOPES, (pid, n, command.scope, codec.encode(scope), None))


def _drop_scope(to: Carrying, command: do.DropScope) -> None:
    held, effects = to.held, to.effects
    tx, pid, n = held.tx, held.pid, command.n
    if command.state is not None:
        dropped = cascade.drop_scope(tx, pid, n, command.state, to.at)
        effects.children += dropped.children
        for each in dropped.scopes:
            tx.uncache("scope", (pid, held.epoch, each))
        return
    elements = _elements(to, n) if command.collected else (0, 0)
    tx.uncache("scope", (pid, held.epoch, n))
    if command.output is not msgspec.UNSET:
        # the row stays for its output until the for_each has collected it
        tx.patch(SCOPES, (pid, n), {"state": "", "output": codec.encode_json(command.output)})
    else:
        tx.delete(SCOPES, (pid, n))
        if command.collected:
            cascade.drop_elements(tx, pid, *elements)


def _elements(to: Carrying, n: int) -> tuple[int, int]:
    if n in to.elements:
        return to.elements[n]
    each = to.held.scope(n).each
    assert each is not None
    return each.first, each.total


_HANDLERS: dict[type[do.Command], Callable[[Carrying, Any], None]] = {
    do.OpenJob: _open_job,
    do.CloseJob: _close_job,
    do.OpenItem: _open_item,
    do.ClaimItem: _claim_item,
    do.UnclaimItem: _unclaim_item,
    do.AssignItem: _assign_item,
    do.DelegateItem: _delegate_item,
    do.ChangeItem: _change_item,
    do.CloseItem: _close_item,
    do.StartTimer: _start_timer,
    do.StopTimer: _stop_timer,
    do.Subscribe: _subscribe,
    do.Unsubscribe: _unsubscribe,
    do.StartChild: _child,
    do.CancelChild: _child,
    do.CreateElements: _create_elements,
    do.ContinueElements: _continue_elements,
    do.KeepEvent: _keep_event,
    do.HoldJobs: _hold_jobs,
    do.ReleaseJobs: _release_jobs,
    do.DropScope: _drop_scope,
    do.TellJobs: _tell_jobs,
    do.Withdraw: _withdraw,
    do.SupersedeVisits: _supersede,
    do.SetData: _set_data,
    do.RenameVisit: _rename_visit,
    do.EndProcess: _end_process,
    do.Publish: _publish,
}
