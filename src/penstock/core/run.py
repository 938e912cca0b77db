"""The working set of one step: token moves, joins, scopes' ends, incidents.

`decider` says which event does what; here is how tokens move. A `Run` copies each scope when it first changes it, so what
the step was given stays as it was. Visits opened and ended within the step become one command.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

from penstock.core import commands as do
from penstock.core.definition import (
    AnyNode,
    Boundary,
    Call,
    Driver,
    End,
    EndKind,
    Flow,
    Gateway,
    GatewayKind,
    Graph,
    Http,
    Item,
    Job,
    Join,
    Message,
    Robot,
    ScopeNode,
    SetNode,
    Start,
    Timer,
    Trigger,
    Version,
)
from penstock.core.durations import Duration, parse_time
from penstock.core.events import Failure
from penstock.core.expression import Expression, ExpressionFailed, Template
from penstock.core.state import FAILED_PHASES, ROOT, Active, Each, Phase, Process, Scope, Status, VisitState

MAX_MOVES = 1_000
"""Activations in one step before an incident stops it."""

CHUNK = 64
"""Elements of a for_each started in one step; an `ElementsDue` goes on with the next."""

WORK = (Job, Http, Robot)
"""Nodes whose work is a job."""

HTTP_TOPIC = "http:"
"""Topic of the engine's own runner of http nodes; no worker may poll it."""


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
        """Outputs of a for_each's ended elements, in their order."""
        ...


class Run:
    """One step in the making. Used once."""

    def __init__(self, version: Version, process: Process, view: View, at: int) -> None:
        self.version = version
        self.process = msgspec.structs.replace(process, seq=process.seq + 1, at=at)
        self.view = view
        self.at = at
        self.changed: dict[int, Scope] = {}
        self.dropped: set[int] = set()
        self.commands: list[do.Command] = []
        self._visits: dict[int, dict[str, Any]] = {}
        self._opened: set[int] = set()
        self._queue: deque[tuple[int, str]] = deque()
        self._touched: dict[int, None] = {}
        self._last: dict[int, int] = {}
        self._moves = 0
        self._outputs: dict[int, Any] = {}
        self._data: dict[str, Any] = {}
        self._element_outputs: dict[int, dict[int, Any]] = {}

    # -- scopes ------------------------------------------------------------------------------------------------

    def peek(self, n: int) -> Scope:
        """The scope as it stands now, for reading."""
        return self.changed.get(n) or self.view.scope(n)

    def edit(self, n: int) -> Scope:
        """The scope as it stands now, to be changed."""
        scope = self.changed.get(n)
        if scope is None:
            old = self.view.scope(n)
            scope = msgspec.structs.replace(
                old,
                vars=dict(old.vars),
                active=dict(old.active),
                waiting={join: dict(flows) for join, flows in old.waiting.items()},
                done=dict(old.done),
                each=None if old.each is None else msgspec.structs.replace(old.each),
            )
            self.changed[n] = scope
        self._touched[n] = None
        return scope

    def graph(self, scope: Scope) -> Graph:
        if not scope.node:
            return self.version.root
        node = self.version.places[scope.node].nodes[scope.node]
        assert isinstance(node, ScopeNode)
        return node.graph

    def node(self, code: str) -> AnyNode:
        return self.version.places[code].nodes[code]

    def chain(self, n: int) -> Iterable[Scope]:
        """The scope and its ancestors, innermost first."""
        scope = self.peek(n)
        while True:
            yield scope
            if scope.parent is None:
                return
            scope = self.peek(scope.parent)

    def new_number(self) -> int:
        n = self.process.next_n
        self.process.next_n = n + 1
        return n

    # -- visits' rows ------------------------------------------------------------------------------------------

    def _record(self, n: int, **columns: Any) -> None:
        row = self._visits.get(n)
        if row is None:
            self._visits[n] = columns
        else:
            row.update(columns)

    def visit_commands(self) -> list[do.Command]:
        """Rows to write, one command a visit."""
        found: list[do.Command] = []
        for n, row in self._visits.items():
            if n in self._opened:
                row.pop("attempt", None)
                found.append(do.OpenVisit(n=n, **row))
            else:
                found.append(do.ChangeVisit(n=n, **row))
        return found

    # -- expressions -------------------------------------------------------------------------------------------

    def names(self, scope_n: int, expression: Expression | Template) -> dict[str, Any]:
        """What the expression reads, and nothing else."""
        found: dict[str, Any] = {}
        for root in expression.roots:
            if root in ("input", "metadata", "entity"):
                found[root] = self.data(root)
            elif root == "vars":
                merged: dict[str, Any] = {}
                for scope in reversed(list(self.chain(scope_n))):
                    merged.update(scope.vars)
                found[root] = merged
            elif root == "nodes":
                found[root] = dict(self._outputs_of(scope_n, expression.outputs))
            elif root == "values":
                found[root] = dict(self.view.values())
            elif root == "loop":
                found[root] = self._loop(scope_n)
            else:
                self._bare_name(scope_n, root, found)
        return found

    def _outputs_of(self, scope_n: int, codes: Iterable[str]) -> Iterable[tuple[str, Any]]:
        for code in sorted(codes):
            for scope in self.chain(scope_n):
                if code in scope.done:
                    yield code, self.output(scope.done[code])
                    break

    def _bare_name(self, scope_n: int, name: str, found: dict[str, Any]) -> None:
        for scope in self.chain(scope_n):
            if name in scope.done:
                found[name] = self.output(scope.done[name])
                return
            if name in scope.vars:
                found[name] = scope.vars[name]
                return

    def _loop(self, scope_n: int) -> dict[str, Any]:
        for scope in self.chain(scope_n):
            if scope.index is not None and scope.parent is not None:
                each = self.peek(scope.parent).each
                return {"index": scope.index, "count": each.total if each else 0}
        return {}

    def output(self, visit: int) -> Any:
        return self._outputs[visit] if visit in self._outputs else self.view.output(visit)

    def data(self, name: str) -> Any:
        return self._data[name] if name in self._data else self.view.data(name)

    def set_data(self, name: str, value: Any) -> None:
        self._data[name] = value
        self.commands.append(do.SetData(name, value))

    def render(self, scope_n: int, template: Template | None) -> Any:
        return None if template is None else template.render(self.names(scope_n, template))

    def due(self, scope_n: int, trigger: Trigger | Timer) -> int:
        """When a timer is due, in ms. Raises: ExpressionFailed."""
        if trigger.after is not None:
            text = self.render(scope_n, trigger.after)
            try:
                return Duration.parse(text).after(self.at)
            except (ValueError, TypeError, OverflowError) as error:
                raise ExpressionFailed(f"timer: not an ISO 8601 duration: {str(text)[:80]!r}") from error
        text = self.render(scope_n, trigger.until)
        try:
            return parse_time(text)
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise ExpressionFailed(f"timer: not an RFC 3339 time: {str(text)[:80]!r}") from error

    # -- entering nodes ----------------------------------------------------------------------------------------

    def send(self, scope_n: int, flow: Flow) -> None:
        """A token leaves along a flow: it waits at a join, or is queued to run its target."""
        scope = self.edit(scope_n)
        graph = self.graph(scope)
        target = graph.nodes[flow.target]
        if target.join is Join.ANY or len(graph.incoming[flow.target]) == 1:
            self._queue.append((scope_n, flow.target))
            return
        flows = scope.waiting.setdefault(flow.target, {})
        flows[flow.index] = flows.get(flow.index, 0) + 1
        if target.join is Join.ALL and len(flows) == len(graph.incoming[flow.target]):
            self.fire(scope_n, flow.target)

    def enqueue(self, scope_n: int, code: str) -> None:
        """A new token for a node, from no flow."""
        self._queue.append((scope_n, code))

    def take_waiting(self, scope_n: int, code: str) -> None:
        """Take one token of each of a join's flows that has one."""
        scope = self.edit(scope_n)
        flows = scope.waiting[code]
        for index in list(flows):
            flows[index] -= 1
            if not flows[index]:
                del flows[index]
        if not flows:
            del scope.waiting[code]

    def fire(self, scope_n: int, code: str) -> None:
        """A join is complete: its tokens become one visit."""
        self.take_waiting(scope_n, code)
        scope = self.edit(scope_n)
        for n, active in scope.active.items():
            if active.phase is Phase.STUCK and active.node == code:
                self.drop_stuck(scope_n, n)
                break
        self._queue.append((scope_n, code))

    def drop_stuck(self, scope_n: int, n: int) -> None:
        """A stuck join's incident is over; its tokens stay where they are."""
        self._count_incident(scope_n, -1)
        del self.edit(scope_n).active[n]
        self._record(n, state=VisitState.SUPERSEDED, ended_at=self.at)

    def activate(self, scope_n: int, code: str) -> None:
        """A token runs the node: a new visit."""
        node = self.graph(self.peek(scope_n)).nodes[code]
        n = self.new_number()
        self.edit(scope_n).active[n] = Active(node=code)
        self._opened.add(n)
        self._record(
            n, scope=scope_n, node=code, kind=node.kind, state=VisitState.OPEN, started_at=self.at, ended_at=None
        )
        self._moves += 1
        if self._moves > MAX_MOVES:
            failure = Failure("TooManyMoves", f"more than {MAX_MOVES} moves in one step: a loop without a wait?")
            self.incident(scope_n, n, Phase.ENTER_FAILED, failure)
            return
        self.begin(scope_n, n, node)

    def begin(self, scope_n: int, n: int, node: AnyNode) -> None:
        """Start the work of a visit; an expression that fails makes an incident of it."""
        try:
            self._begin(scope_n, n, node)
        except ExpressionFailed as error:
            self.incident(scope_n, n, Phase.ENTER_FAILED, Failure("ExpressionFailed", str(error)))

    def _begin(self, scope_n: int, n: int, node: AnyNode) -> None:
        match node:
            case Start() | Boundary():
                self.complete(scope_n, n, None)
            case End():
                self._end_node(scope_n, n, node)
            case SetNode():
                self._assign(scope_n, n, node)
            case Gateway(gateway=GatewayKind.EVENT):
                self._await_first(scope_n, n, node)
            case Gateway():
                self.complete(scope_n, n, None)
            case Job() | Robot():
                rendered = self.render(scope_n, node.input)
                self.open_job(scope_n, n, node, rendered, self.arms(scope_n, n, node))
            case Http():
                self.open_job(scope_n, n, node, self.render(scope_n, node.request), self.arms(scope_n, n, node))
            case Item():
                rendered = self.render(scope_n, node.input)
                self.open_item(scope_n, n, node, rendered, self.arms(scope_n, n, node))
            case Timer():
                due_at = self.due(scope_n, node)
                arms = self.arms(scope_n, n, node)
                self._arm(scope_n, n, [do.StartTimer(n, scope_n, "node", due_at), *arms])
            case Message():
                arms = self.arms(scope_n, n, node)
                self._arm(scope_n, n, [self._subscription(scope_n, n, "node", node.trigger), *arms])
            case Call():
                rendered = self.render(scope_n, node.input)
                self._arm(scope_n, n, self.arms(scope_n, n, node))
                self._record(n, input=rendered)
                self.commands.append(do.StartChild(n, scope_n, node.definition, rendered))
            case ScopeNode():
                self._open_scope(scope_n, n, node)

    def _arm(self, scope_n: int, n: int, arms: list[do.Command]) -> None:
        if arms:
            self.change(scope_n, n, armed=True)
            self.commands.extend(arms)

    def change(self, scope_n: int, n: int, **members: Any) -> Active:
        """Replace members of an active visit."""
        scope = self.edit(scope_n)
        active = scope.active[n] = msgspec.structs.replace(scope.active[n], **members)
        return active

    def arms(self, scope_n: int, n: int, node: AnyNode) -> list[do.Command]:
        """Timers and subscriptions of the node's boundaries. Raises: ExpressionFailed."""
        found: list[do.Command] = []
        for boundary in self.graph(self.peek(scope_n)).boundaries.get(node.code, ()):
            if boundary.trigger.error is None:
                found.append(self.arming(scope_n, n, boundary.code, boundary.trigger))
        return found

    def arming(self, scope_n: int, n: int, purpose: str, trigger: Trigger) -> do.Command:
        """The timer or subscription for a trigger. Raises: ExpressionFailed."""
        if trigger.after is not None or trigger.until is not None:
            return do.StartTimer(n, scope_n, purpose, self.due(scope_n, trigger))
        return self._subscription(scope_n, n, purpose, trigger)

    def _subscription(self, scope_n: int, n: int, purpose: str, trigger: Trigger) -> do.Subscribe:
        if trigger.signal is not None:
            return do.Subscribe(n, scope_n, purpose, trigger.signal, "", signal=True)
        key = self.render(scope_n, trigger.key)
        if isinstance(key, bool) or not isinstance(key, str | int | float | None):
            raise ExpressionFailed(f"message key: text or number expected, not {type(key).__name__}")
        return do.Subscribe(n, scope_n, purpose, trigger.message or "", "" if key is None else str(key))

    def open_job(
        self, scope_n: int, n: int, node: Job | Http | Robot, rendered: Any, arms: Iterable[do.Command] = ()
    ) -> None:
        """Offer the visit's work; its attempt is the active visit's."""
        self._arm(scope_n, n, list(arms))
        active = self.change(scope_n, n, phase=Phase.RUN)
        self._record(n, input=rendered)
        self.offer_job(scope_n, n, active, node, rendered)

    def offer_job(self, scope_n: int, n: int, active: Active, node: Job | Http | Robot, rendered: Any) -> None:
        topic = node.topic if isinstance(node, Job) else HTTP_TOPIC if isinstance(node, Http) else f"robot:{node.robot}"
        timeout = node.retry.timeout
        self.commands.append(do.OpenJob(n, scope_n, node.code, topic, active.attempt, rendered, timeout))
        if timeout is not None:
            self.change(scope_n, n, armed=True)
            self.commands.append(do.StartTimer(n, scope_n, "timeout", self.at + timeout, active.attempt))

    def open_item(self, scope_n: int, n: int, node: Item, data: Any, arms: Iterable[do.Command] = ()) -> None:
        self._arm(scope_n, n, list(arms))
        self.change(scope_n, n, phase=Phase.RUN)
        task = self.version.tasks[node.task]
        due_at = None if task.due is None else task.due.after(self.at)
        self._record(n, input=data)
        self.commands.append(
            do.OpenItem(n, scope_n, node.code, node.task, data, task.candidates, due_at, task.priority)
        )

    def _assign(self, scope_n: int, n: int, node: SetNode) -> None:
        rendered = {name: self.render(scope_n, getattr(node, name)) for name in ("vars", "metadata", "entity")}
        if rendered["vars"] is not None:
            self.edit(scope_n).vars.update(rendered["vars"])
        for name in ("metadata", "entity"):
            if rendered[name] is not None:
                self.set_data(name, {**(self.data(name) or {}), **rendered[name]})
        self.complete(scope_n, n, None)

    def _await_first(self, scope_n: int, n: int, node: Gateway) -> None:
        graph = self.graph(self.peek(scope_n))
        arms: list[do.Command] = []
        for flow in graph.outgoing[node.code]:
            target = graph.nodes[flow.target]
            trigger = Trigger(after=target.after, until=target.until) if isinstance(target, Timer) else None
            if isinstance(target, Message):
                trigger = target.trigger
            assert trigger is not None, "checked at deployment"
            arms.append(self.arming(scope_n, n, target.code, trigger))
        self._arm(scope_n, n, arms)

    def _end_node(self, scope_n: int, n: int, node: End) -> None:
        if node.end is EndKind.ERROR:
            self.throw(scope_n, n, node.error or "", "", None)
            return
        if node.end is EndKind.TERMINATE:
            scope = self.edit(scope_n)
            for other in [m for m in scope.active if m != n]:
                self.withdraw(scope_n, other, VisitState.CANCELLED)
            scope.waiting.clear()
            self._queue = deque(entry for entry in self._queue if entry[0] != scope_n)
        self.complete(scope_n, n, None)

    # -- scopes and elements -----------------------------------------------------------------------------------

    def _open_scope(self, scope_n: int, n: int, node: ScopeNode) -> None:
        values = None
        if node.for_each is not None:
            values = self.render(scope_n, node.for_each)
            if not isinstance(values, list):
                raise ExpressionFailed(f"for_each: a list expected, not {type(values).__name__}")
        self._arm(scope_n, n, self.arms(scope_n, n, node))
        self.change(scope_n, n, phase=Phase.RUN)
        if values is None:
            self._new_scope(Scope(n=n, parent=scope_n, node=node.code))
            for start in node.graph.starts:
                self._queue.append((n, start))
            return
        first = self.process.next_n
        self.process.next_n += len(values)
        self._record(n, input={"count": len(values)})
        if not values:
            self.complete(scope_n, n, [] if node.output is not None else None)
            return
        self.commands.append(do.CreateElements(n, node.code, first, node.as_name, values))
        self._new_scope(Scope(n=n, parent=scope_n, node=node.code, each=Each(total=len(values), first=first)))
        self.start_elements(n, values)

    def _new_scope(self, scope: Scope) -> None:
        self.changed[scope.n] = scope
        self._touched[scope.n] = None

    def start_elements(self, each_n: int, values: list[Any] | None = None) -> None:
        """Start as many elements as the limit and one step's chunk allow; the rest by `ElementsDue`."""
        scope = self.edit(each_n)
        each = scope.each
        assert each is not None
        node = self.node(scope.node)
        assert isinstance(node, ScopeNode)
        room = each.total - each.next
        if node.limit is not None:
            room = min(room, node.limit - (each.next - each.done))
        for _ in range(min(room, CHUNK)):
            index = each.next
            each.next += 1
            n = each.first + index
            if values is not None:
                self._new_scope(
                    Scope(n=n, parent=each_n, node=scope.node, index=index, vars={node.as_name: values[index]})
                )
            else:
                self.edit(n)
            for start in node.graph.starts:
                self._queue.append((n, start))
        if room > CHUNK:
            self.commands.append(do.ContinueElements(each_n))

    def _scope_ended(self, n: int) -> None:
        """No token is left in the scope: its output is taken, and what waits for it goes on."""
        scope = self.peek(n)
        node = None if n == ROOT else self.node(scope.node)
        template = self.version.output if node is None else node.output if isinstance(node, ScopeNode) else None
        try:
            output = self.render(n, template)
        except ExpressionFailed as error:
            self._blame_last(n, error)
            return
        if node is None:
            self.end_process(Status.COMPLETED, output)
            return
        assert scope.parent is not None
        self._forget(n)
        if scope.index is None:
            self.commands.append(do.DropScope(n))
            self.complete(scope.parent, n, output)
            return
        assert isinstance(node, ScopeNode)
        collected = template is not None and node.code in self.version.read_outputs
        if collected:
            self._element_outputs.setdefault(scope.parent, {})[scope.index] = output
        self.commands.append(do.DropScope(n, None, output if collected else msgspec.UNSET))
        self._element_ended(scope.parent, collected)

    def _element_ended(self, each_n: int, collected: bool) -> None:
        scope = self.edit(each_n)
        each = scope.each
        assert each is not None
        assert scope.parent is not None
        each.done += 1
        if each.done < each.total:
            if each.next < each.total:
                node = self.node(scope.node)
                if isinstance(node, ScopeNode) and node.limit is not None:
                    self.start_elements(each_n)
            return
        output = None
        if collected:
            output = self.view.element_outputs(each_n)
            output += [None] * (each.total - len(output))
            for index, value in self._element_outputs.get(each_n, {}).items():
                output[index] = value
        self._forget(each_n)
        self.commands.append(do.DropScope(each_n, collected=collected))
        self.complete(scope.parent, each_n, output)

    def _forget(self, n: int) -> None:
        self.changed.pop(n, None)
        self._touched.pop(n, None)
        self.dropped.add(n)

    def _blame_last(self, n: int, error: ExpressionFailed) -> None:
        """A scope's output failed: the visit that took the last token keeps it, with an incident."""
        last = self._last[n]
        code = self._visits[last].get("node") or next(c for c, v in self.peek(n).done.items() if v == last)
        self.edit(n).active[last] = Active(node=code)
        self.incident(n, last, Phase.LEAVE_FAILED, Failure("ExpressionFailed", f"output: {error}"))

    # -- leaving nodes -----------------------------------------------------------------------------------------

    def complete(self, scope_n: int, n: int, output: Any, state: VisitState = VisitState.COMPLETED) -> None:
        """The visit's work is done: keep its output, withdraw what it had armed, let its token go on."""
        scope = self.edit(scope_n)
        active = scope.active[n]
        self._settle_visit(scope_n, n, active)
        scope.active[n] = Active(node=active.node, attempt=active.attempt, tries=active.tries)
        scope.done[active.node] = n
        self._outputs[n] = output
        self._record(n, state=state, ended_at=self.at)
        if output is not None:
            self._record(n, output=output)
        self.leave(scope_n, n)

    def _settle_visit(self, scope_n: int, n: int, active: Active) -> None:
        """Its timers, subscriptions, incident and place in a round of retries are over."""
        if active.armed:
            self.commands.append(do.StopTimer(n))
            self.commands.append(do.Unsubscribe(n))
        if active.phase in FAILED_PHASES:
            self._count_incident(scope_n, -1)
            self._record(n, failure=None)
        if active.retrying:
            self._count_retrying(scope_n, -1)

    def leave(self, scope_n: int, n: int) -> None:
        """The token leaves by the flows that are taken; none true and no default is an incident."""
        scope = self.edit(scope_n)
        code = scope.active[n].node
        try:
            flows = self.taken(scope_n, self.graph(scope).nodes[code])
        except ExpressionFailed as error:
            self.incident(scope_n, n, Phase.LEAVE_FAILED, Failure("ExpressionFailed", str(error)))
            return
        if flows is None:
            message = "no outgoing flow's condition is true and there is no default"
            self.incident(scope_n, n, Phase.LEAVE_FAILED, Failure("NoFlowTaken", message))
            return
        del scope.active[n]
        self._last[scope_n] = n
        for flow in flows:
            self.send(scope_n, flow)

    def taken(self, scope_n: int, node: AnyNode) -> list[Flow] | None:
        """The flows a token takes when it leaves; None when there is no way on. Raises: ExpressionFailed."""
        outgoing = self.graph(self.peek(scope_n)).outgoing.get(node.code, ())
        if isinstance(node, Gateway) and node.gateway is GatewayKind.PARALLEL:
            return list(outgoing)
        exclusive = isinstance(node, Gateway) and node.gateway is GatewayKind.EXCLUSIVE
        found: list[Flow] = []
        default: Flow | None = None
        for flow in outgoing:
            if flow.default:
                default = flow
            elif flow.condition is None or self._true(scope_n, flow):
                found.append(flow)
                if exclusive:
                    break
        if not found and default is not None:
            return [default]
        return found if found or not outgoing else None

    def _true(self, scope_n: int, flow: Flow) -> bool:
        assert flow.condition is not None
        answer = flow.condition.evaluate(self.names(scope_n, flow.condition))
        if not isinstance(answer, bool):
            raise ExpressionFailed(f"flow {flow.id}: {flow.condition.source!r} gave {type(answer).__name__}, not a bool")
        return answer

    # -- withdrawing, throwing ---------------------------------------------------------------------------------

    def withdraw(self, scope_n: int, n: int, state: VisitState) -> None:
        """End a visit from outside: its work is taken back, its token is gone."""
        scope = self.edit(scope_n)
        active = scope.active[n]
        self._settle_visit(scope_n, n, active)
        self.withdraw_work(scope_n, n, active)
        del scope.active[n]
        self._record(n, state=state, ended_at=self.at)
        self._last[scope_n] = n

    def withdraw_work(self, scope_n: int, n: int, active: Active) -> None:
        """Take back the job, item, child or scope that is out for a visit."""
        if active.phase is not Phase.RUN:
            return
        match self.node(active.node):
            case Job() | Http() | Robot():
                self.commands.append(do.CloseJob(n))
            case Item():
                self.commands.append(do.CloseItem(n, completed=False))
            case Call():
                self.commands.append(do.CancelChild(n))
            case ScopeNode() if n not in self.dropped:
                self._drop_below(scope_n, n)

    def _drop_below(self, scope_n: int, n: int) -> None:
        inner = self.peek(n)
        self._count_incident(scope_n, -inner.incidents)
        self._count_retrying(scope_n, -inner.retrying)
        below = [m for m in self.changed if m != scope_n and any(s.n == n for s in self.chain(m))]
        self._queue = deque(entry for entry in self._queue if entry[0] not in below)
        for m in below:
            self._forget(m)
        self._forget(n)
        self.commands.append(do.DropScope(n, VisitState.CANCELLED))

    def throw(self, scope_n: int, n: int, code: str, message: str, data: Any) -> None:
        """A business error at a visit: the nearest boundary outwards takes it, else the caller, else it is an incident."""
        at_scope, at_visit = scope_n, n
        while True:
            scope = self.peek(at_scope)
            boundary = self._catcher(scope, scope.active[at_visit].node, code)
            if boundary is not None:
                if at_visit != n:
                    self._end_thrown(scope_n, n)
                self.withdraw(at_scope, at_visit, VisitState.THROWN)
                self.pass_through(at_scope, boundary.code, {"code": code, "message": message, "data": data})
                return
            if scope.parent is None:
                break
            outer = self.peek(scope.parent)
            if scope.index is not None:
                assert outer.parent is not None
                at_scope, at_visit = outer.parent, outer.n
            else:
                at_scope, at_visit = scope.parent, scope.n
        if self.process.called:
            self._end_thrown(scope_n, n)
            self.commands.append(do.Withdraw(VisitState.CANCELLED))
            self.end_process(Status.TERMINATED, data, code, message)
            return
        self.incident(scope_n, n, Phase.RUN_FAILED, Failure(code, message or f"error {code!r} was not caught", True))

    def _end_thrown(self, scope_n: int, n: int) -> None:
        self.withdraw(scope_n, n, VisitState.THROWN)

    def _catcher(self, scope: Scope, node: str, code: str) -> Boundary | None:
        boundaries = self.graph(scope).boundaries.get(node, ())
        for wanted in (code, "*"):
            for boundary in boundaries:
                if boundary.trigger.error == wanted:
                    return boundary
        return None

    def pass_through(self, scope_n: int, code: str, output: Any) -> None:
        """A visit that ends as it begins, with this output: a boundary, or what an event gateway waited for."""
        n = self.new_number()
        self.edit(scope_n).active[n] = Active(node=code)
        self._opened.add(n)
        kind = self.node(code).kind
        self._record(n, scope=scope_n, node=code, kind=kind, state=VisitState.OPEN, started_at=self.at, ended_at=None)
        self.complete(scope_n, n, output)

    # -- incidents ---------------------------------------------------------------------------------------------

    def incident(self, scope_n: int, n: int, phase: Phase, failure: Failure) -> None:
        """The visit cannot go on by itself; its token stays with it until a command."""
        active = self.peek(scope_n).active[n]
        if active.retrying:
            self._count_retrying(scope_n, -1)
        self.change(scope_n, n, phase=phase, retrying=False)
        self._count_incident(scope_n, 1)
        self._record(n, state=VisitState.FAILED, failure=failure, ended_at=None)
        self.commands.append(
            do.Publish("incident.opened", {"visit": n, "node": active.node, "failure": msgspec.to_builtins(failure)})
        )

    def resolve(self, scope_n: int, n: int, *, retrying: bool) -> Active:
        """An incident is taken up again, in place, with a new attempt."""
        active = self.peek(scope_n).active[n]
        self._count_incident(scope_n, -1)
        if retrying:
            self._count_retrying(scope_n, 1)
        self._record(n, state=VisitState.OPEN, failure=None, attempt=active.attempt + 1)
        return self.change(
            scope_n, n, phase=Phase.RUN, attempt=active.attempt + 1, tries=1, retrying=retrying
        )

    def leave_again(self, scope_n: int, n: int) -> None:
        """After an incident on the way out: the work stands, only the flows are judged anew."""
        active = self.peek(scope_n).active[n]
        if active.retrying:
            self._count_retrying(scope_n, -1)
        self.change(scope_n, n, retrying=False)
        self._record(n, state=VisitState.COMPLETED, ended_at=self.at)
        self.leave(scope_n, n)

    def begin_again(self, scope_n: int, n: int, node: AnyNode) -> None:
        """After an incident before the work, or work that cannot be repeated in part: begin the visit anew."""
        if self.peek(scope_n).active[n].armed:
            self.commands.append(do.StopTimer(n))
            self.commands.append(do.Unsubscribe(n))
            self.change(scope_n, n, armed=False)
        self.begin(scope_n, n, node)

    def record(self, n: int, **columns: Any) -> None:
        self._record(n, **columns)

    def _count_incident(self, scope_n: int, by: int) -> None:
        if not by:
            return
        self.process.incidents += by
        for scope in list(self.chain(scope_n)):
            changed = self.edit(scope.n)
            before = changed.incidents
            changed.incidents += by
            if scope.index is not None and scope.parent is not None and (before > 0) != (changed.incidents > 0):
                each = self.edit(scope.parent).each
                assert each is not None
                each.failed += 1 if changed.incidents > 0 else -1

    def _count_retrying(self, scope_n: int, by: int) -> None:
        if not by:
            return
        self.process.retrying += by
        for scope in list(self.chain(scope_n)):
            self.edit(scope.n).retrying += by

    # -- settling ----------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Move every token as far as it goes, judge joins after every move, close the scopes that are empty."""
        while self.process.status not in (Status.COMPLETED, Status.TERMINATED, Status.CANCELLED):
            if self._queue:
                scope_n, code = self._queue.popleft()
                self.activate(scope_n, code)
                self._judge(scope_n)
                continue
            if not self._judge_all() and not self._close_one():
                break

    def _judge_all(self) -> bool:
        return any([self._judge(n) for n in list(self._touched)])

    def _judge(self, scope_n: int) -> bool:
        """Fire the first inclusive join of the scope that is due. BPMN 2.0, 13.4.3."""
        if scope_n in self.dropped or scope_n not in self._touched:
            return False
        scope = self.peek(scope_n)
        if not scope.waiting or scope.each is not None:
            return False
        graph = self.graph(scope)
        for code in list(scope.waiting):
            if graph.nodes[code].join is Join.INCLUSIVE and self._due(scope, graph, code):
                self.fire(scope_n, code)
                return True
        return False

    def _due(self, scope: Scope, graph: Graph, code: str) -> bool:
        here = scope.waiting[code].keys()
        missing = {flow.index for flow in graph.incoming[code]} - here
        if not missing:
            return True
        reach = graph.arrivals[code]
        places = [active.node for active in scope.active.values() if active.phase is not Phase.STUCK]
        places += [other for other in scope.waiting if other != code]
        places += [target for n, target in self._queue if n == scope.n]
        for place in places:
            reached = reach.get(place)
            if reached and not missing.isdisjoint(reached) and here.isdisjoint(reached):
                return False
        return True

    def _close_one(self) -> bool:
        for n in list(self._touched):
            scope = self.peek(n)
            if scope.each is not None or (n == ROOT and self.version.driver is not Driver.GRAPH):
                continue
            if any(active.phase is not Phase.STUCK for active in scope.active.values()):
                continue
            if not scope.waiting and not scope.active:
                self._touched.pop(n)
                self._scope_ended(n)
                return True
            self._report_stuck(n, scope)
        return False

    def _report_stuck(self, n: int, scope: Scope) -> None:
        reported = {active.node for active in scope.active.values()}
        for code in list(scope.waiting):
            if code in reported:
                continue
            graph = self.graph(scope)
            lacking = [f.id for f in graph.incoming[code] if f.index not in scope.waiting[code]]
            visit = self.new_number()
            self.edit(n).active[visit] = Active(node=code)
            self._opened.add(visit)
            kind = graph.nodes[code].kind
            self._record(visit, scope=n, node=code, kind=kind, state=VisitState.OPEN, started_at=self.at, ended_at=None)
            message = f"the join waits for {', '.join(lacking)}, which no token can reach any more"
            self.incident(n, visit, Phase.STUCK, Failure("JoinStuck", message))

    def end_process(self, status: Status, output: Any = None, code: str | None = None, message: str = "") -> None:
        """The process is over in this state; what is open must have been withdrawn by the caller."""
        self.process.status = status
        self.process.incidents = self.process.retrying = self.process.running = 0
        if output is not None:
            self.set_data("output", output)
        root = Scope(n=ROOT, done=dict(self.peek(ROOT).done), vars=self.peek(ROOT).vars)
        self.changed = {ROOT: root}
        self._queue.clear()
        self._touched.clear()
        self.commands.append(do.EndProcess(status.value, output, code, message))
        self.commands.append(do.Publish(f"process.{status.value.lower()}", {}))
