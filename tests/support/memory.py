"""A process in memory: tables, the decider's view of them, and commands carried out as the engine does.

Visits' rows are written first, then commands in their order, then scopes. What a scope has below it is found by the rows there are,
as the store finds it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from penstock.core import codec
from penstock.core import commands as do
from penstock.core import events as ev
from penstock.core.decider import Step
from penstock.core.state import ROOT, Active, Phase, Process, Scope, VisitState

OPEN_STATES = (VisitState.OPEN, VisitState.FAILED)


class Memory:
    """The tables of one process. It is the decider's view, too."""

    def __init__(self, process_id: str, *, checked: bool) -> None:
        self.process_id = process_id
        self.checked = checked
        """Answers are taken out of the tables before they are given, so nothing may be opened twice."""
        self.now = 1_000_000
        self.process = Process()
        self.scopes: dict[int, str] = {}
        self.parents: dict[int, int | None] = {}
        self.kept_outputs: dict[int, tuple[int, Any]] = {}
        """Ended element -> its for_each and its output."""
        self.visits: dict[int, dict[str, Any]] = {}
        self.jobs: dict[int, do.OpenJob] = {}
        self.items: dict[int, do.OpenItem] = {}
        self.left: dict[int, do.OpenItem] = {}
        """Shown to people with no token that waits."""
        self.owners: dict[int, str] = {}
        self.timers: dict[tuple[int, str], do.StartTimer] = {}
        self.subscriptions: dict[tuple[int, str], do.Subscribe] = {}
        self.children: dict[int, do.StartChild] = {}
        self.fired: set[tuple[int, str]] = set()
        """Timers that fired and subscriptions that were used up."""
        self.inbox: list[str] = []
        self.kept: list[str] = []
        self.held = False
        self.told = False
        self.values_: dict[str, Any] = {}
        self.data_: dict[str, Any] = {}
        self.published: list[do.Publish] = []
        self.ended: do.EndProcess | None = None
        self.lookups: Counter[str] = Counter()
        self.seen: dict[int, Scope] = {}
        """Scopes the decider has been given in this step."""

    # -- the view ------------------------------------------------------------------------------------------------------

    def scope(self, n: int) -> Scope:
        self.lookups["scope"] += 1
        if n not in self.seen:
            self.seen[n] = codec.decode_scope(self.scopes[n])
        return self.seen[n]

    def output(self, visit: int) -> Any:
        self.lookups["output"] += 1
        return self.visits[visit].get("output")

    def input(self, visit: int) -> Any:
        self.lookups["input"] += 1
        return self.visits[visit].get("input")

    def data(self, name: str) -> Any:
        self.lookups["data"] += 1
        return self.data_.get(name)

    def values(self) -> dict[str, Any]:
        self.lookups["values"] += 1
        return self.values_

    def element_outputs(self, scope: int) -> list[Any]:
        self.lookups["element_outputs"] += 1
        each = codec.decode_scope(self.scopes[scope]).each
        assert each is not None
        outputs: list[Any] = [None] * each.total
        for n, (parent, output) in self.kept_outputs.items():
            if parent == scope:
                outputs[n - each.first] = output
        return outputs

    # -- carrying out --------------------------------------------------------------------------------------------------

    def carry_out(self, step: Step) -> None:
        for command in step.visits:
            self._visit(command)
        for command in step.commands:
            self._carry_out(command)
        for n, scope in step.scopes.items():
            assert scope.n == n
            self._put_scope(scope)

    def _put_scope(self, scope: Scope) -> None:
        text = codec.encode(scope)
        assert codec.decode_scope(text) == scope
        self.scopes[scope.n] = text
        self.parents[scope.n] = scope.parent

    def _visit(self, command: do.Command) -> None:
        columns = {name: getattr(command, name) for name in command.__struct_fields__}
        columns = {name: value for name, value in columns.items() if value is not msgspec.UNSET}
        n = columns["n"]
        if isinstance(command, do.OpenVisit):
            assert n not in self.visits
            self.visits[n] = {"attempt": 1, **columns}
        else:
            assert isinstance(command, do.ChangeVisit)
            self.visits[n].update(columns)

    def _carry_out(self, command: do.Command) -> None:
        carried = self._work(command) or self._arm(command) or self._process(command) or self._many(command)
        assert carried, f"no way to carry out {command}"

    def _open(self, table: dict[Any, Any], key: Any, command: do.Command) -> None:
        assert not self.checked or key not in table, f"opened twice: {command}"
        table[key] = command

    def _work(self, command: do.Command) -> bool:
        match command:
            case do.OpenJob():
                self._open(self.jobs, command.visit, command)
            case do.CloseJob():
                self.jobs.pop(command.visit, None)
            case do.StartChild():
                self._open(self.children, command.visit, command)
            case do.CancelChild():
                self.children.pop(command.visit, None)
            case _:
                return self._item(command)
        return True

    def _item(self, command: do.Command) -> bool:
        match command:
            case do.OpenItem():
                self._open(self.items if command.waits else self.left, command.visit, command)
            case do.ClaimItem():
                self.owners[command.visit] = command.owner
            case do.AssignItem() | do.DelegateItem():
                self.owners[command.visit] = command.to
            case do.UnclaimItem():
                self.owners.pop(command.visit, None)
            case do.ChangeItem():
                assert command.visit in self.items
            case do.CloseItem():
                self.items.pop(command.visit, None)
            case _:
                return False
        return True

    def _arm(self, command: do.Command) -> bool:
        match command:
            case do.StartTimer() | do.Subscribe():
                table = self.timers if isinstance(command, do.StartTimer) else self.subscriptions
                key = command.visit, command.purpose
                self.fired.discard(key)
                self._open(table, key, command)
            case do.StopTimer():
                self.timers.pop((command.visit, command.purpose), None)
            case do.Unsubscribe():
                self.subscriptions.pop((command.visit, command.purpose), None)
            case do.RenameVisit():
                self.visits[command.n]["node"] = command.node
                self.fired = {(n, p) for n, p in self.fired if n != command.n or p.startswith("@")}
            case _:
                return False
        return True

    def _process(self, command: do.Command) -> bool:
        match command:
            case do.KeepEvent():
                self.kept.append(codec.encode(command.event))
            case do.HoldJobs():
                self.held = True
            case do.ReleaseJobs():
                self.held = False
                self.inbox += self.kept
                self.kept = []
            case do.ContinueElements():
                self.inbox.append(codec.encode(ev.ElementsDue(at=self.now, scope=command.scope)))
            case do.SetData():
                self.data_[command.name] = command.value
            case do.Publish():
                self.published.append(command)
            case do.EndProcess():
                self.ended = command
            case _:
                return False
        return True

    def _many(self, command: do.Command) -> bool:
        match command:
            case do.CreateElements():
                for index, value in enumerate(command.values):
                    n = command.first + index
                    self._put_scope(
                        Scope(n=n, parent=command.scope, node=command.node, index=index, vars={command.name: value})
                    )
            case do.DropScope():
                self._drop_scope(command)
            case do.SupersedeVisits():
                for n, row in self.visits.items():
                    there = row["scope"] == command.scope and row["node"] in command.nodes and n < command.before
                    if there and row["state"] not in OPEN_STATES:
                        row["state"] = VisitState.SUPERSEDED
            case do.TellJobs():
                self.told = True
                self._withdraw_visits([n for n in self.visits if n not in self.jobs], VisitState.CANCELLED)
                self.timers.clear()
                self.subscriptions.clear()
            case do.Withdraw():
                self._withdraw_visits(list(self.visits), command.state)
                self.timers.clear()
                for n in [n for n in self.scopes if n != ROOT]:
                    del self.scopes[n]
                self.kept_outputs.clear()
                self.inbox.clear()
                self.kept.clear()
            case _:
                return False
        return True

    def _drop_scope(self, command: do.DropScope) -> None:
        n = command.n
        if command.state is not None:
            below = self._below(n)
            self._withdraw_visits([v for v, row in self.visits.items() if row["scope"] in below], command.state)
            for m in below:
                self.scopes.pop(m, None)
                self.kept_outputs.pop(m, None)
            return
        parent = self.parents.get(n)
        self.scopes.pop(n, None)  # it may have come and gone in one step
        if command.output is not msgspec.UNSET:
            assert parent is not None
            self.kept_outputs[n] = (parent, command.output)
        if command.collected:
            for m in [m for m, (of, _) in self.kept_outputs.items() if of == n]:
                del self.kept_outputs[m]

    def _below(self, top: int) -> set[int]:
        """The scope, if it has a row, and those below it by their rows."""
        rows = {n: self.parents[n] for n in (*self.scopes, *self.kept_outputs)}
        found = {top} & rows.keys()
        for n in sorted(rows):
            if rows[n] in found:
                found.add(n)
        return found

    def _withdraw_visits(self, numbers: list[int], state: VisitState) -> None:
        for n in numbers:
            row = self.visits[n]
            if row["state"] in OPEN_STATES:
                row["state"], row["ended_at"] = state, self.process.at
                for table in (self.jobs, self.items, self.children):
                    table.pop(n, None)
                for loose in (self.timers, self.subscriptions):
                    for key in [key for key in loose if key[0] == n]:
                        del loose[key]

    # -- looking -------------------------------------------------------------------------------------------------------

    def find(self, place: int | str) -> tuple[int, int]:
        """Scope and number of the oldest active visit at a node, or of a visit by its number."""
        for n, scope, active in self.active():
            if place in (n, active.node):
                return scope, n
        raise LookupError(f"no active visit at {place!r}: {[(n, a.node, a.phase) for n, _, a in self.active()]}")

    def active(self) -> list[tuple[int, int, Active]]:
        found = []
        for m, text in self.scopes.items():
            found += [(n, m, active) for n, active in codec.decode_scope(text).active.items()]
        return sorted(found, key=lambda each: each[0])

    def at(self, node: str) -> list[int]:
        """Numbers of the active visits at a node."""
        return [n for n, _, active in self.active() if active.node == node]

    def phase(self, place: int | str) -> Phase:
        scope, n = self.find(place)
        return self.peek(scope).active[n].phase

    def peek(self, n: int = ROOT) -> Scope:
        return codec.decode_scope(self.scopes[n])

    def row(self, place: int | str) -> dict[str, Any]:
        """The latest visit of a node, or a visit by its number."""
        if isinstance(place, int):
            return self.visits[place]
        return self.visits[max(n for n, row in self.visits.items() if row["node"] == place)]

    def states(self) -> list[tuple[str, str]]:
        """Node and state of every visit, oldest first."""
        return [(row["node"], row["state"].value) for _, row in sorted(self.visits.items())]
