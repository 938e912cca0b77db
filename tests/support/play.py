"""Random play of a process, and the accounts of its tokens."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from random import Random
from typing import Any

from penstock.core import codec, decider
from penstock.core import events as ev
from penstock.core.definition import Boundary, Flow, Gateway, GatewayKind, Graph, Join
from penstock.core.state import ENDED, FAILED_PHASES, Phase, Scope, Status, VisitState
from support.graphs import renamed
from support.harness import Harness, Refused


class Accounts(Harness):
    """Knows which flows are taken (conditions read the flags of the input alone), so it can count tokens independently:
    every visit that leaves puts one on each flow it takes, and each is consumed once or waits.
    """

    def _check_tokens(self, scopes: dict[int, Scope]) -> None:
        super()._check_tokens(scopes)
        for n, scope in scopes.items():
            if scope.each is None and n not in self.irregular and (scope.index is None or self._started(scopes, scope)):
                self._check_scope(n, scope, self.graph(scope))

    def _check_scope(self, n: int, scope: Scope, graph: Graph) -> None:
        rows = [(v, row) for v, row in self.visits.items() if row["scope"] == n]
        ended = [place(row) for _, row in rows if place(row) in graph.nodes and graph.nodes[place(row)].kind == "end"]
        if any(graph.nodes[code].end == "terminate" for code in ended):
            return
        left: Counter[str] = Counter()
        run: Counter[str] = Counter()
        by_hand = {node for m, node in self.by_hand if m == n}
        for v, row in rows:
            active = scope.active.get(v)
            stuck = (active is not None and active.phase is Phase.STUCK) or row["state"] is VisitState.SUPERSEDED
            if not stuck:
                run[place(row)] += 1
            if row["state"] in (VisitState.COMPLETED, VisitState.SKIPPED):
                left[place(row)] += 1
        arrived = self._arrived(n, graph, left)
        for code, node in graph.nodes.items():
            begun = graph.starts.count(code) if self._begun_plainly() else 0
            flows = graph.incoming[code]
            waiting = scope.waiting.get(code, {})
            if isinstance(node, Boundary):
                continue
            if node.join is Join.ANY or len(flows) <= 1:
                assert run[code] == begun + sum(arrived[flow.index] for flow in flows), code
                continue
            used = {flow.index: arrived[flow.index] - waiting.get(flow.index, 0) for flow in flows}
            fired = run[code] - begun
            if node.join is Join.ALL and code not in by_hand:
                assert all(count == fired for count in used.values()), (code, used, fired)
            assert all(0 <= count <= fired for count in used.values()), (code, used, fired)
            assert sum(used.values()) >= fired

    def _begun_plainly(self) -> bool:
        return True

    def _arrived(self, n: int, graph: Graph, left: Counter[str]) -> Counter[int]:
        """Tokens by flow. Those of event gateways go by the events' own visits."""
        arrived: Counter[int] = Counter()
        for code, count in left.items():
            node = graph.nodes[code]
            if not isinstance(node, Gateway) or node.gateway is not GatewayKind.EVENT:
                arrived.update({flow.index: count for flow in taken_by_hand(graph, code)})
                continue
            targets = {flow.target: flow.index for flow in graph.outgoing[code]}
            came = Counter(
                targets[place(row)] for row in self.visits.values() if row["scope"] == n and place(row) in targets
            )
            assert came.total() == count, (code, came, count)
            arrived.update(came)
        return arrived


def taken_by_hand(graph: Graph, code: str) -> list[Flow]:
    """The flows that are taken, by the definition's words and the flags alone."""
    node = graph.nodes[code]
    outgoing = graph.outgoing[code]
    kind = node.gateway if isinstance(node, Gateway) else None
    holds = {None: True, "input.yes": True, "!input.no": True, "input.no": False}
    true = [f for f in outgoing if not f.default and holds[f.condition.source if f.condition else None]]
    if kind is GatewayKind.PARALLEL:
        return list(outgoing)
    if kind is GatewayKind.EXCLUSIVE:
        true = true[:1]
    return true or [f for f in outgoing if f.default]


def place(row: dict[str, Any]) -> str:
    """The node a visit stands or stood at, by the code it has now."""
    return str(row.get("place", row["node"]))


ITEM_EVENTS: list[tuple[type[ev.VisitEvent], dict[str, Any]]] = [
    (ev.ItemUnclaimed, {}),
    (ev.ItemAssigned, {"to": "group:b"}),
    (ev.ItemDelegated, {"to": "user:b@example.com"}),
    (ev.ItemChanged, {"priority": 5}),
]


class Player:
    """Does random things to a process: mostly what the world would do, now and then what people do."""

    def __init__(self, harness: Harness, random: Random, definition: dict[str, Any]) -> None:
        self.h = harness
        self.random = random
        self.definition = definition
        self.ending = 0.25
        """How often what ends the process is done when it comes up."""
        """What the process runs; a migration takes it to one with other codes."""

    def turn(self) -> None:
        """One thing that happens, or is refused."""
        roll = self.random.random()
        if self.h.status in ENDED:
            self.stale()
        elif roll < 0.72:
            self.world()
        elif roll < 0.92:
            self.people()
        else:
            self.stale()

    def pick(self, choices: Any) -> Any:
        choices = list(choices)
        return self.random.choice(choices) if choices else None

    def world(self) -> None:
        h = self.h
        done = [self.answer_job, self.answer_item, self.fire, self.message, self.child, self.inbox]
        open_ends = [h.jobs, h.items, h.timers, h.subscriptions, h.children, h.inbox]
        verb = self.pick([verb for verb, ends in zip(done, open_ends, strict=True) if ends])
        if h.status is Status.TERMINATING:
            self.while_terminating()
        elif verb is not None:
            verb()

    def answer_job(self) -> None:
        h, n = self.h, self.pick(self.h.jobs)
        roll = self.random.random()
        if roll < 0.6:
            h.complete(n, {"yes": True})
        elif roll < 0.8:
            h.fail(n, permanent=self.random.random() < 0.5)
        else:
            h.throw(n, self.pick(["X", "Y"]))

    def answer_item(self) -> None:
        n = self.pick(self.h.items)
        if self.random.random() < 0.3:
            self.h.claim(n)
            event, members = self.pick(ITEM_EVENTS)
            self.h.on_item(n, event, **members)
        if self.random.random() < 0.1:
            self.h.on_item(n, ev.ItemCancelled)
        else:
            self.h.complete(n, {"ok": 1})

    def fire(self) -> None:
        n, purpose = self.pick(self.h.timers)
        self.h.fire(n, purpose)

    def message(self) -> None:
        waiter = self.h.subscriptions[self.pick(self.h.subscriptions)]
        if waiter.signal:
            self.h.signal(waiter.name)
        else:
            self.h.message(waiter.name, {"p": 1}, waiter.key)

    def child(self) -> None:
        n = self.pick(self.h.children)
        status, code = self.pick([("COMPLETED", None), ("COMPLETED", None), ("TERMINATED", "X"), ("CANCELLED", None)])
        self.h.child_ended(n, status, code=code)

    def inbox(self) -> None:
        self.h.apply(codec.decode_event(self.h.inbox.pop(0)))

    def while_terminating(self) -> None:
        h = self.h
        n = self.pick(h.jobs)
        if n is None or self.random.random() < 0.2:
            h.wait(60_000)
        elif self.random.random() < 0.5:
            h.complete(n)
        else:
            scope, n = h.find(n)
            h.apply(ev.JobReturned(at=h.now, scope=scope, visit=n, attempt=h.jobs[n].attempt))

    def people(self) -> None:
        verbs = [self.suspend, self.retry, self.retry, self.debug, self.skip, self.skip]
        verbs += [self.restart, self.migrate, self.rare, self.document, self.h.open_thread]
        with suppress(Refused):
            self.pick(verbs)()

    def suspend(self) -> None:
        (self.h.resume if self.h.status is Status.SUSPENDED else self.h.suspend)()

    def retry(self) -> None:
        self.h.retry()

    def debug(self) -> None:
        n = self.visit()
        if n is not None:
            self.h.debug(n, **self.pick([{"input": 1}, {"output": {"yes": True}}]))

    def skip(self) -> None:
        n = self.visit()
        if n is not None:
            targets = self.h.graph(self.h.peek(self.h.find(n)[0])).outgoing[self.h.row(n)["node"]]
            self.h.skip(n, self.pick([None, *(flow.target for flow in targets)]))

    def visit(self) -> int | None:
        found = self.h.active()
        failed = [n for n, _, active in found if active.phase in FAILED_PHASES]
        return self.pick(failed if failed and self.random.random() < 0.8 else [n for n, _, _ in found])

    def document(self) -> None:
        kind = self.pick([ev.DocumentLinked, ev.DocumentUnlinked])
        self.h.apply(kind(at=self.h.now, document="d", name="a.txt"))

    def restart(self) -> None:
        scope = self.h.peek(self.pick(self.h.scopes))
        if scope.each is None and self.random.random() < 0.4:
            self.h.restart(self.pick(self.h.graph(scope).nodes), scope.n)

    def migrate(self) -> None:
        definition, mapping = renamed(self.definition, self.pick("xyz"))
        if len(max(mapping, key=len)) < 60:
            self.h.migrate(definition, mapping)
            self.definition = definition

    def rare(self) -> None:
        if self.random.random() < self.ending:
            self.pick([self.h.cancel, self.h.terminate, self.h.terminate])()

    def stale(self) -> None:
        """An answer to something that may be long gone, or never was."""
        h = self.h
        n = self.random.randint(0, h.process.next_n)
        at = {"at": h.now, "scope": h.visits.get(n, {"scope": 0})["scope"], "visit": n}
        before = {key: set(getattr(h, key)) for key in ("jobs", "items", "timers", "subscriptions", "children")}
        events: list[ev.AnyEvent] = []
        if n not in before["jobs"]:
            events += [
                ev.JobCompleted(attempt=1, **at),
                ev.JobFailed(attempt=2, failure=ev.Failure("F", ""), **at),
                ev.ErrorThrown(attempt=1, code="X", **at),
                ev.JobReturned(attempt=1, **at),
            ]
        if n not in before["items"]:
            events += [ev.ItemCompleted(**at), ev.ItemCancelled(**at), ev.ItemClaimed(owner="a", **at)]
            events += [ev.ItemUnclaimed(**at), ev.ItemAssigned(to="a", **at), ev.ItemDelegated(to="a", **at)]
            events += [ev.ItemChanged(**at)]
        for purpose in ("@own", "@retry", "@timeout", "nowhere", *h.version.places):
            if (n, purpose) not in before["timers"] and (n, purpose) not in h.fired:
                events.append(ev.TimerFired(purpose=purpose, attempt=self.random.choice([1, 2]), **at))
            if (n, purpose) not in before["subscriptions"] and (n, purpose) not in h.fired:
                events.append(ev.MessageArrived(purpose=purpose, name="M", **at))
        if n not in before["children"]:
            events.append(ev.ChildEnded(status="COMPLETED", **at))
        events += [ev.ElementsDue(at=h.now, scope=n)] if not self._due(n) else []
        events += [ev.Started(at=h.now), ev.Migrated(at=h.now, version=2, mapping={})]
        event = self.pick(events)
        if self._kept(n) or (h.status is Status.TERMINATING and n in before["jobs"]):
            return
        assert isinstance(h.apply(event), decider.Rejected), event

    def _due(self, n: int) -> bool:
        return any(
            isinstance(event, ev.ElementsDue) and event.scope == n
            for event in map(codec.decode_event, [*self.h.inbox, *self.h.kept])
        )

    def _kept(self, n: int) -> bool:
        """While an answer is kept its visit still waits; a second answer is the store's to fence off."""
        return any(getattr(codec.decode_event(text), "visit", None) == n for text in [*self.h.inbox, *self.h.kept])
