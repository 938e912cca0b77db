"""What must hold between steps: counts, states, what is out and what waits, checked against the scopes themselves."""

from __future__ import annotations

from collections import Counter

from penstock.core import codec
from penstock.core import events as ev
from penstock.core.definition import (
    Call,
    Driver,
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
    Timer,
    Version,
)
from penstock.core.state import (
    ENDED,
    FAILED_PHASES,
    OWN,
    RETRY,
    ROOT,
    TIMEOUT,
    Active,
    Phase,
    Scope,
    Status,
    VisitState,
)
from support.memory import OPEN_STATES, Memory

WORKED = (Job, Http, Robot)


class Checked(Memory):
    """Tables that know what must hold among them."""

    version: Version
    irregular: set[int]
    """Scopes in which tokens were put or taken away by hand."""

    def check(self) -> None:
        process = self.process
        if process.status in ENDED:
            self._check_ended()
            return
        if process.status is Status.TERMINATING:
            return
        scopes = {n: codec.decode_scope(text) for n, text in self.scopes.items()}
        self._check_counts(scopes)
        self._check_status()
        self._check_each(scopes)
        self._check_open(scopes)
        self._check_waits(scopes)
        self._check_tokens(scopes)

    def _check_ended(self) -> None:
        assert list(self.scopes) == [ROOT], "scopes are left"
        root = self.peek()
        assert not root.active
        assert not root.waiting
        loose = (self.jobs, self.items, self.timers, self.subscriptions, self.children, self.kept, self.kept_outputs)
        assert not any(loose), loose
        assert not [n for n, row in self.visits.items() if row["state"] in OPEN_STATES]
        assert self.ended is not None
        assert self.ended.status == self.process.status
        assert (self.process.incidents, self.process.retrying, self.process.running) == (0, 0, 0)

    def _check_status(self) -> None:
        process = self.process
        if process.status is Status.SUSPENDED:
            assert self.held
            return
        assert not self.held
        expected = Status.FAILED if process.incidents else Status.RETRYING if process.retrying else Status.RUNNING
        assert process.status is expected

    def _check_counts(self, scopes: dict[int, Scope]) -> None:
        incidents: Counter[int] = Counter()
        retrying: Counter[int] = Counter()
        for scope in scopes.values():
            failed = sum(active.phase in FAILED_PHASES for active in scope.active.values())
            again = sum(active.retrying for active in scope.active.values())
            n: int | None = scope.n
            while n is not None:
                incidents[n] += failed
                retrying[n] += again
                n = scopes[n].parent
        for n, scope in scopes.items():
            assert scope.incidents == incidents[n], f"incidents of scope {n}"
            assert scope.retrying == retrying[n], f"retrying of scope {n}"
        assert self.process.incidents == incidents[ROOT]
        assert self.process.retrying == retrying[ROOT]

    def _check_each(self, scopes: dict[int, Scope]) -> None:
        due = Counter(
            event.scope
            for event in map(codec.decode_event, [*self.inbox, *self.kept])
            if isinstance(event, ev.ElementsDue)
        )
        for n, scope in scopes.items():
            each = scope.each
            if each is None:
                continue
            present = {m: below for m, below in scopes.items() if below.parent == n}
            assert not scope.active
            assert not scope.waiting
            assert each.total > 0
            assert len(present) == each.total - each.done
            assert all(below.n == each.first + below.index for below in present.values())
            assert each.failed == sum(below.incidents > 0 for below in present.values())
            started = [below for below in present.values() if below.index < each.next]
            assert len(started) == each.next - each.done
            assert not [below for below in present.values() if below.index >= each.next and below.active]
            assert all(below.active or below.waiting for below in started)
            limit = self._scope_node(scope).limit
            assert limit is None or len(started) <= limit or n in self.irregular
            assert due[n] == each.due
            assert started or each.due, f"for_each {n} waits for nothing"

    def _scope_node(self, scope: Scope) -> ScopeNode:
        node = self.version.places[scope.node].nodes[scope.node]
        assert isinstance(node, ScopeNode)
        return node

    def graph(self, scope: Scope) -> Graph:
        return self._scope_node(scope).graph if scope.node else self.version.root

    def _check_open(self, scopes: dict[int, Scope]) -> None:
        """What is out fits the visits that are active, each to each."""
        answered = {
            (event.visit, getattr(event, "attempt", None))
            for event in map(codec.decode_event, [*self.inbox, *self.kept])
            if isinstance(event, ev.JobCompleted | ev.JobFailed | ev.ErrorThrown | ev.ItemCompleted | ev.ItemCancelled)
        }
        jobs, items, children, arms, opened = set(), set(), set(), set(), set()
        for scope in scopes.values():
            graph = self.graph(scope)
            for n, active in scope.active.items():
                node = graph.nodes[active.node]
                row = self.visits[n]
                failed = active.phase in FAILED_PHASES
                assert row["state"] is (VisitState.FAILED if failed else VisitState.OPEN), (n, active, row)
                assert (row["scope"], row["node"], row["attempt"]) == (scope.n, active.node, active.attempt)
                assert (row.get("failure") is not None) or not failed
                opened.add(n)
                arms |= self._expected_arms(graph, n, active)
                if active.phase is not Phase.RUN:
                    assert active.phase is not Phase.STUCK or active.node in scope.waiting
                    continue
                if isinstance(node, WORKED):
                    if (n, active.attempt) not in answered:
                        jobs.add(n)
                        assert self.jobs[n].attempt == active.attempt
                elif isinstance(node, Item):
                    items.add(n)
                elif isinstance(node, Call):
                    children.add(n)
                elif isinstance(node, ScopeNode):
                    assert scopes[n].parent == scope.n
                else:
                    assert isinstance(node, Timer | Message | Gateway)
        assert set(self.jobs) == jobs
        assert {n for n in items if (n, None) not in answered} <= set(self.items) <= items
        assert set(self.children) | {n for n, _, a in self.active() if self._child_due(n)} == children
        assert set(self.timers) | set(self.subscriptions) == arms - self.fired
        assert opened == {n for n, row in self.visits.items() if row["state"] in OPEN_STATES}
        for n, scope in scopes.items():
            if scope.parent is not None and scope.index is None:
                assert scopes[scope.parent].active[n].phase is Phase.RUN

    def _child_due(self, n: int) -> bool:
        return any(
            isinstance(event, ev.ChildEnded) and event.visit == n
            for event in map(codec.decode_event, [*self.inbox, *self.kept])
        )

    def _expected_arms(self, graph: Graph, n: int, active: Active) -> set[tuple[int, str]]:
        node = graph.nodes[active.node]
        found: set[str] = set()
        if active.armed:
            found |= {b.code for b in graph.boundaries.get(active.node, ()) if b.trigger.error is None}
        if active.phase is Phase.BACKOFF:
            found.add(RETRY)
        elif active.phase is Phase.RUN:
            if isinstance(node, Timer | Message):
                found.add(OWN)
            elif isinstance(node, Gateway) and node.gateway is GatewayKind.EVENT:
                found |= {flow.target for flow in graph.outgoing[node.code]}
            elif isinstance(node, WORKED) and self._attempt_timed(n, node):
                found.add(TIMEOUT)
        return {(n, purpose) for purpose in found}

    def _attempt_timed(self, n: int, node: Job | Http | Robot) -> bool:
        """An attempt's time runs from its offer; kept answers do not stop it."""
        return node.retry.timeout is not None and ((n, TIMEOUT) in self.timers or (n, TIMEOUT) not in self.fired)

    def _check_waits(self, scopes: dict[int, Scope]) -> None:
        """A process that has not ended waits for something that has a name."""
        if self.version.driver is not Driver.GRAPH:
            return
        named = (self.jobs, self.items, self.timers, self.subscriptions, self.children, self.kept, self.inbox)
        assert any(named) or self.process.incidents, "the process waits for nothing"
        for n, scope in scopes.items():
            if scope.each is None and (scope.index is None or self._started(scopes, scope)):
                assert scope.active, f"scope {n} waits for nothing"

    def _started(self, scopes: dict[int, Scope], scope: Scope) -> bool:
        assert scope.parent is not None
        each = scopes[scope.parent].each
        assert each is not None
        assert scope.index is not None
        return scope.index < each.next

    def _check_tokens(self, scopes: dict[int, Scope]) -> None:
        """No token is lost, none doubled. Overridden where the flows that are taken are known."""
        for scope in scopes.values():
            graph = self.graph(scope)
            for code, flows in scope.waiting.items():
                node = graph.nodes[code]
                incoming = {flow.index for flow in graph.incoming[code]}
                assert flows
                assert flows.keys() <= incoming
                assert all(count > 0 for count in flows.values())
                assert node.join is not Join.ANY
                assert len(flows) < len(incoming), f"the join {code} is complete and has not fired"
