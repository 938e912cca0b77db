"""One process in memory: what the decider reads of it, and what its commands have opened. No time passes here, nothing is answered.

It stands where `store.carrying` and `store.held` stand in production: every command of the decider has one line in `_HANDLERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from penstock.core import commands as do
from penstock.core import events as ev
from penstock.core.decider import Step
from penstock.core.definition import AnyNode, Version
from penstock.core.state import ROOT, Process, Scope, VisitState

OPEN = (VisitState.OPEN, VisitState.FAILED)
_ENDED = (VisitState.COMPLETED, VisitState.SKIPPED, VisitState.THROWN, VisitState.CANCELLED)


class Trouble(msgspec.Struct, frozen=True):
    """A failure of one attempt of a visit."""

    at: int
    attempt: int
    failure: ev.Failure


class Visit(msgspec.Struct):
    """A visit's row, with the failures it has seen."""

    n: int
    scope: int
    node: str
    kind: str
    state: VisitState
    started_at: int
    attempt: int = 1
    input: Any = None
    output: Any = None
    failure: ev.Failure | None = None
    ended_at: int | None = None
    troubles: list[Trouble] = []


class Effects(msgspec.Struct):
    """What a step asks of the world around the process."""

    jobs: list[do.OpenJob] = []
    items: list[do.OpenItem] = []
    children: list[do.StartChild] = []
    cancelled: list[int] = []
    """Visits whose called processes are to be cancelled."""
    timers: list[do.StartTimer] = []
    subscribed: list[do.Subscribe] = []
    inbox: list[ev.AnyEvent] = []
    left: list[str] = []
    """Nodes that tokens have left by their flows."""
    ended: do.EndProcess | None = None


class Simulated:
    """A process. It is the decider's view (`core.run.View`), too."""

    def __init__(
        self, number: int, id: str, version: Version, parent: tuple[Simulated, int, int] | None = None, depth: int = 0
    ) -> None:
        self.number = number
        self.process_id = id
        self.version = version
        self.parent = parent
        """The calling process, scope and visit."""
        self.depth = depth
        self.process = Process(called=parent is not None)
        self.scopes: dict[int, Scope] = {}
        self.visits: dict[int, Visit] = {}
        self.open: dict[int, Visit] = {}
        self.jobs: dict[int, do.OpenJob] = {}
        self.promised: set[int] = set()
        """Visits whose job, item or call somebody is going to answer."""
        self.items: dict[int, do.OpenItem] = {}
        self.owners: dict[int, str] = {}
        self.timers: dict[int, dict[str, do.StartTimer]] = {}
        self.subscriptions: dict[int, dict[str, do.Subscribe]] = {}
        self.children: dict[int, do.StartChild] = {}
        self.kept: list[ev.AnyEvent] = []
        self.datas: dict[str, Any] = {}
        self.keys: dict[str, Any] = {}
        """The process's values."""
        self.ended: do.EndProcess | None = None
        self._elements: dict[int, int] = {}
        """Element's scope -> its for_each."""
        self._outputs: dict[int, dict[int, Any]] = {}
        """for_each -> outputs of its ended elements, by the number of their scope."""

    # -- the view ------------------------------------------------------------------------------------------------------

    def scope(self, n: int) -> Scope:
        return self.scopes[n]

    def output(self, visit: int) -> Any:
        return self.visits[visit].output

    def input(self, visit: int) -> Any:
        return self.visits[visit].input

    def data(self, name: str) -> Any:
        return self.datas.get(name)

    def values(self) -> Mapping[str, Any]:
        return self.keys

    def element_outputs(self, scope: int) -> list[Any]:
        each = self.scopes[scope].each
        assert each is not None
        outputs: list[Any] = [None] * each.total
        for n, output in self._outputs.get(scope, {}).items():
            outputs[n - each.first] = output
        return outputs

    # -- what the world asks -------------------------------------------------------------------------------------------

    def node(self, code: str) -> AnyNode:
        return self.version.places[code].nodes[code]

    @property
    def in_hand(self) -> set[int]:
        """Visits whose job somebody works on."""
        return self.jobs.keys() & self.promised

    def at(self, node: str) -> list[Visit]:
        """Open visits at a node."""
        return [visit for visit in self.open.values() if visit.node == node]

    def scope_of(self, n: int) -> int | None:
        """The scope around a scope; a scope node's visit and the scope it opens share one number."""
        if n in self._elements:
            return self._elements[n]
        visit = self.visits.get(n)
        return None if visit is None else visit.scope

    # -- carrying out --------------------------------------------------------------------------------------------------

    def take(self, step: Step) -> Effects:
        """Carry out the commands of a step in the engine's order: visits, commands, scopes."""
        effects = Effects()
        self.process = step.process
        for command in step.visits:
            self._visit(command, effects)
        for command in step.commands:
            _HANDLERS[type(command)](self, command, effects)
        self.scopes.update(step.scopes)
        return effects

    def _visit(self, command: do.Command, effects: Effects) -> None:
        given = {name: getattr(command, name) for name in command.__struct_fields__}
        columns = {name: value for name, value in given.items() if value is not msgspec.UNSET}
        if isinstance(command, do.OpenVisit):
            visit = self.visits[command.n] = Visit(**columns)
        else:
            visit = self.visits[columns.pop("n")]
            for name, value in columns.items():
                setattr(visit, name, value)
        if columns.get("failure") is not None:
            visit.troubles.append(Trouble(self.process.at, visit.attempt, columns["failure"]))
        if visit.state in OPEN:
            self.open[visit.n] = visit
            return
        self.open.pop(visit.n, None)
        self.children.pop(visit.n, None)
        if visit.state in (VisitState.COMPLETED, VisitState.SKIPPED):
            effects.left.append(visit.node)

    def close_job(self, c: do.CloseJob, _: Effects) -> None:
        self.jobs.pop(c.visit, None)
        self.promised.discard(c.visit)

    def withdraw(self, visits: Iterable[Visit], state: VisitState, effects: Effects) -> None:
        """End visits from outside, with all that is out for them."""
        for visit in list(visits):
            visit.state, visit.ended_at = state, self.process.at
            del self.open[visit.n]
            for table in (self.jobs, self.items, self.timers, self.subscriptions):
                table.pop(visit.n, None)
            self.promised.discard(visit.n)
            if self.children.pop(visit.n, None) is not None:
                effects.cancelled.append(visit.n)

    def drop_scope(self, c: do.DropScope, effects: Effects) -> None:
        if c.state is not None:
            self.withdraw([visit for visit in self.open.values() if self._is_below(visit.scope, c.n)], c.state, effects)
            for n in [n for n in self.scopes if self._is_below(n, c.n)]:
                del self.scopes[n]
            return
        self.scopes.pop(c.n, None)
        if c.output is not msgspec.UNSET:
            self._outputs.setdefault(self._elements[c.n], {})[c.n] = c.output
        if c.collected:
            self._outputs.pop(c.n, None)

    def _is_below(self, scope: int | None, top: int) -> bool:
        """Whether a scope is this one, or lies below it."""
        while scope is not None and scope != top:
            scope = self.scope_of(scope)
        return scope is not None

    def create_elements(self, c: do.CreateElements, _: Effects) -> None:
        for index, value in enumerate(c.values):
            n = c.first + index
            self._elements[n] = c.scope
            self.scopes[n] = Scope(n=n, parent=c.scope, node=c.node, index=index, vars={c.name: value})

    def release(self, _: do.ReleaseJobs, effects: Effects) -> None:
        effects.inbox += self.kept
        self.kept = []

    def supersede(self, c: do.SupersedeVisits, _: Effects) -> None:
        for visit in self.visits.values():
            overtaken = visit.scope == c.scope and visit.node in c.nodes and visit.n < c.before
            if overtaken and visit.state in _ENDED:
                visit.state = VisitState.SUPERSEDED

    def tell_jobs(self, _: do.TellJobs, effects: Effects) -> None:
        told = self.in_hand
        self.withdraw([visit for visit in self.open.values() if visit.n not in told], VisitState.CANCELLED, effects)
        self.timers.clear()
        self.subscriptions.clear()

    def withdraw_all(self, c: do.Withdraw, effects: Effects) -> None:
        self.withdraw(self.open.values(), c.state, effects)
        self.timers.clear()
        self.scopes = {n: scope for n, scope in self.scopes.items() if n == ROOT}
        self.kept.clear()

    def rename(self, c: do.RenameVisit, _: Effects) -> None:
        self.visits[c.n].node = c.node

    def end(self, c: do.EndProcess, effects: Effects) -> None:
        self.ended = effects.ended = c


def _open_job(to: Simulated, c: do.OpenJob, effects: Effects) -> None:
    to.jobs[c.visit] = c
    effects.jobs.append(c)


def _open_item(to: Simulated, c: do.OpenItem, effects: Effects) -> None:
    if not c.waits:
        return  # what is only shown to people is answered by nobody
    to.items[c.visit] = c
    effects.items.append(c)


def _unclaim_item(to: Simulated, c: do.UnclaimItem, _: Effects) -> None:
    to.owners.pop(c.visit, None)


def _close_item(to: Simulated, c: do.CloseItem, _: Effects) -> None:
    to.items.pop(c.visit, None)


def _start_timer(to: Simulated, c: do.StartTimer, effects: Effects) -> None:
    to.timers.setdefault(c.visit, {})[c.purpose] = c
    effects.timers.append(c)


def _stop_timer(to: Simulated, c: do.StopTimer, _: Effects) -> None:
    to.timers.get(c.visit, {}).pop(c.purpose, None)


def _subscribe(to: Simulated, c: do.Subscribe, effects: Effects) -> None:
    to.subscriptions.setdefault(c.visit, {})[c.purpose] = c
    effects.subscribed.append(c)


def _unsubscribe(to: Simulated, c: do.Unsubscribe, _: Effects) -> None:
    to.subscriptions.get(c.visit, {}).pop(c.purpose, None)


def _start_child(to: Simulated, c: do.StartChild, effects: Effects) -> None:
    to.children[c.visit] = c
    effects.children.append(c)


def _nothing(_: Simulated, __: do.Command, ___: Effects) -> None:
    """Nobody listens, and what is held is in nobody's hand anyway."""


_HANDLERS: dict[type[do.Command], Callable[[Simulated, Any, Effects], None]] = {
    do.OpenJob: _open_job,
    do.CloseJob: Simulated.close_job,
    do.OpenItem: _open_item,
    do.ClaimItem: lambda to, c, _: to.owners.update({c.visit: c.owner}),
    do.UnclaimItem: _unclaim_item,
    do.AssignItem: lambda to, c, _: to.owners.update({c.visit: c.to}),
    do.DelegateItem: lambda to, c, _: to.owners.update({c.visit: c.to}),
    do.ChangeItem: _nothing,
    do.CloseItem: _close_item,
    do.StartTimer: _start_timer,
    do.StopTimer: _stop_timer,
    do.Subscribe: _subscribe,
    do.Unsubscribe: _unsubscribe,
    do.StartChild: _start_child,
    do.CancelChild: lambda _, c, effects: effects.cancelled.append(c.visit),
    do.CreateElements: Simulated.create_elements,
    do.ContinueElements: lambda to, c, effects: effects.inbox.append(ev.ElementsDue(at=to.process.at, scope=c.scope)),
    do.DropScope: Simulated.drop_scope,
    do.SupersedeVisits: Simulated.supersede,
    do.SetData: lambda to, c, _: to.datas.update({c.name: c.value}),
    do.KeepEvent: lambda to, c, _: to.kept.append(c.event),
    do.HoldJobs: _nothing,
    do.ReleaseJobs: Simulated.release,
    do.TellJobs: Simulated.tell_jobs,
    do.Withdraw: Simulated.withdraw_all,
    do.EndProcess: Simulated.end,
    do.RenameVisit: Simulated.rename,
    do.Publish: _nothing,
}
