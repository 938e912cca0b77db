"""The working set of one step: what it reads, what it has changed, what it still has to look at.

A `Run` copies a scope when it first changes it, so what the step was given stays as it was. How tokens move is not told here
but in `moves` (the loop), `entering`, `leaving`, `joins`, `scopes`, `withdrawal` and `incidents`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any, Protocol

from penstock.core import commands as do
from penstock.core.definition import AnyNode, Graph, ScopeNode, Version
from penstock.core.state import ROOT, Active, Process, Scope, Status, VisitState

HTTP_TOPIC = "http:"
"""Topic of the engine's own runner of http nodes; no worker may poll it."""
HTTP_KIND = "http"
"""What stands for the topic where an endpoint is told what kind of work it has got."""


class View(Protocol):
    """What the decider may read of a process. Plain look-ups: the same answer for the whole step."""

    process_id: str

    def scope(self, n: int) -> Scope:
        """Raises: KeyError when there is none."""
        ...

    def output(self, visit: int) -> Any: ...

    def input(self, visit: int) -> Any: ...

    def data(self, name: str) -> Any:
        """`input`, `metadata` or `entity`."""
        ...

    def values(self) -> Mapping[str, Any]: ...

    def element_outputs(self, scope: int) -> list[Any]:
        """Outputs of a for_each's ended elements, in their order; None for the others."""
        ...


class Run:
    """One step in the making. Used once."""

    __slots__ = (
        "_data",
        "_given",
        "_outputs",
        "_rows",
        "at",
        "born",
        "changed",
        "commands",
        "dirty",
        "dropped",
        "element_outputs",
        "fresh",
        "last",
        "moves",
        "process",
        "queue",
        "started",
        "starting",
        "version",
        "view",
        "withdrew",
    )

    def __init__(self, version: Version, process: Process, view: View, at: int) -> None:
        self.version = version
        self.process = copy(process)
        self.process.seq += 1
        self.process.at = at
        self.view = view
        self.at = at
        self.changed: dict[int, Scope] = {}
        self.born: set[int] = set()
        """Scopes opened in this step; the store has no row of them yet. The elements of a for_each are not among them."""
        self.dropped: set[int] = set()
        self.commands: list[do.Command] = []
        self.queue: deque[tuple[int, str]] = deque()
        """Tokens on their way: scope and the node each is about to run."""
        self.dirty: dict[int, None] = {}
        """Scopes that changed since they were last examined: a join may be complete, no token may be left."""
        self.starting: dict[int, None] = {}
        """for_each scopes that may start elements in this step."""
        self.fresh: dict[int, Scope] = {}
        """Elements made in this step and not started, as many as it may start; the store has no row of them yet."""
        self.started = 0
        """Elements started in this step."""
        self.moves = 0
        """Nodes run in this step."""
        self.last: dict[int, tuple[int, Active]] = {}
        """By scope: the visit whose token left last."""
        self.element_outputs: dict[int, dict[int, Any]] = {}
        """By for_each scope: outputs of elements that ended in this step, by index."""
        self.withdrew = False
        """Work was taken back; some of it may have been given out in this very step."""
        self._given: dict[int, Scope] = {}
        """Scopes as the view gave them."""
        self._rows: dict[int, dict[str, Any]] = {}
        self._outputs: dict[int, Any] = {}
        self._data: dict[str, Any] = {}

    # -- scopes ------------------------------------------------------------------------------------------------------

    def peek(self, n: int) -> Scope:
        """The scope as it stands now, for reading. Raises: KeyError when there is none."""
        scope = self.changed.get(n)
        if scope is not None:
            return scope
        if n in self.dropped:
            raise KeyError(n)
        scope = self._given.get(n)
        if scope is None:
            scope = self._given[n] = self.view.scope(n)
        return scope

    def edit(self, n: int) -> Scope:
        """The scope as it stands now, to be changed: its `active` and `done` in place, its other members by new values."""
        scope = self.changed.get(n)
        if scope is None:
            scope = copy(self.peek(n))
            scope.active = scope.active.copy()
            scope.done = scope.done.copy()
            self.changed[n] = scope
        self.dirty[n] = None
        return scope

    def add_scope(self, scope: Scope) -> None:
        self.changed[scope.n] = scope
        self.dirty[scope.n] = None
        if scope.index is None:
            self.born.add(scope.n)

    def is_born(self, scope: Scope) -> bool:
        """The scope came to be in this step, with its for_each if it is an element of one."""
        return (scope.n if scope.index is None else scope.parent) in self.born

    def forget(self, n: int) -> None:
        """The scope is gone."""
        self.changed.pop(n, None)
        self.dirty.pop(n, None)
        self.starting.pop(n, None)
        self.dropped.add(n)

    def chain(self, n: int) -> Iterator[Scope]:
        """The scope and its ancestors, innermost first."""
        scope = self.peek(n)
        yield scope
        while scope.parent is not None:
            scope = self.peek(scope.parent)
            yield scope

    def graph(self, scope: Scope) -> Graph:
        return self.scope_node(scope).graph if scope.node else self.version.root

    def scope_node(self, scope: Scope) -> ScopeNode:
        """The node that opened a scope other than the root."""
        node = self.version.places[scope.node].nodes[scope.node]
        assert isinstance(node, ScopeNode)
        return node

    def node(self, code: str) -> AnyNode:
        return self.version.places[code].nodes[code]

    # -- visits ------------------------------------------------------------------------------------------------------

    def enqueue(self, scope_n: int, code: str) -> None:
        """A token is about to run a node."""
        self.queue.append((scope_n, code))

    def new_number(self) -> int:
        n = self.process.next_n
        self.process.next_n = n + 1
        return n

    def open_visit(self, scope_n: int, node: AnyNode) -> int:
        """A token comes to a node."""
        n = self.new_number()
        self.edit(scope_n).active[n] = Active(node.code)
        self._rows[n] = {
            "n": n,
            "scope": scope_n,
            "node": node.code,
            "kind": node.kind,
            "state": VisitState.OPEN,
            "started_at": self.at,
        }
        return n

    def record(self, n: int, **columns: Any) -> None:
        """Columns of the visit's row change."""
        row = self._rows.get(n)
        if row is None:
            columns["n"] = n
            self._rows[n] = columns
        else:
            row.update(columns)

    def visit_commands(self) -> list[do.Command]:
        """Rows to write, one command a visit."""
        return [do.OpenVisit(**row) if "started_at" in row else do.ChangeVisit(**row) for row in self._rows.values()]

    # -- data --------------------------------------------------------------------------------------------------------

    def output(self, visit: int) -> Any:
        if visit not in self._outputs:
            self._outputs[visit] = self.view.output(visit)
        return self._outputs[visit]

    def set_output(self, visit: int, output: Any) -> None:
        self._outputs[visit] = output

    def data(self, name: str) -> Any:
        return self._data[name] if name in self._data else self.view.data(name)

    def set_data(self, name: str, value: Any) -> None:
        self._data[name] = value
        self.commands.append(do.SetData(name, value))

    # -- the end -----------------------------------------------------------------------------------------------------

    def end_process(self, status: Status, output: Any = None, code: str | None = None, message: str = "") -> None:
        """The process is over in this state; what is open must have been withdrawn by the caller."""
        process = self.process
        process.status = status
        process.incidents = process.retrying = process.running = 0
        if output is not None:
            self.set_data("output", output)
        root = self.peek(ROOT)
        self.changed = {ROOT: Scope(n=ROOT, done=root.done, vars=root.vars)}
        self.queue.clear()
        self.dirty.clear()
        self.starting.clear()
        self.commands.append(do.EndProcess(status.value, output, code, message))
        self.commands.append(do.Publish(f"process.{status.value.lower()}", {}))

    def final_commands(self) -> list[do.Command]:
        """The commands without what came and went in this very step: nobody shall see it."""
        commands = self.commands
        if self.born and self.dropped:
            commands = self._without_passing_scopes(commands)
        return _without_passing_work(commands, self.dropped) if self.withdrew else commands

    def _without_passing_scopes(self, commands: list[do.Command]) -> list[do.Command]:
        passed = {n for n in self.dropped if n in self.born}
        for command in commands:
            if isinstance(command, do.CreateElements) and command.scope in passed:
                passed.update(range(command.first, command.first + len(command.values)))
        return [
            command
            for command in commands
            if not (isinstance(command, do.DropScope) and command.n in passed)
            and not (isinstance(command, do.CreateElements) and command.scope in passed)
        ]


def _without_passing_work(commands: list[do.Command], dropped: set[int]) -> list[do.Command]:
    """Without jobs and children that are withdrawn further on."""
    found: list[do.Command] = []
    closed: set[int] = set()
    everything = False
    for command in reversed(commands):
        if isinstance(command, do.CloseJob | do.CancelChild):
            closed.add(command.visit)
        elif isinstance(command, do.Withdraw):
            everything = True
        elif isinstance(command, do.OpenJob | do.StartChild) and (
            everything or command.visit in closed or command.scope in dropped
        ):
            continue
        found.append(command)
    found.reverse()
    return found
