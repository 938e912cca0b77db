"""A small interpreter of the decider's commands, in memory: what the store and the engine do, without either.

It carries commands out the way the engine does (visits' rows, then commands, then scopes), sends every scope and event through
the codec, keeps every event for a replay, and after each step checks what must always hold (`check`).
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import msgspec

from penstock.core import codec, decider, migration
from penstock.core import commands as do
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
from penstock.core.loading import load, read_document
from penstock.core.state import (
    ENDED,
    FAILED_PHASES,
    OWN,
    RETRY,
    ROOT,
    TERMINATION,
    TIMEOUT,
    Active,
    Phase,
    Process,
    Scope,
    Status,
    VisitState,
)

WORKED = (Job, Http, Robot)
OPEN_STATES = (VisitState.OPEN, VisitState.FAILED)
LEFT_STATES = (VisitState.COMPLETED, VisitState.SKIPPED, VisitState.SUPERSEDED)


def compiled(definition: Any) -> Version:
    """A version from a document's text or value; `penstock` and `code` may be left out."""
    if isinstance(definition, Version):
        return definition
    if isinstance(definition, str):
        definition, problems = read_document(definition, "yaml")
        assert not problems, problems
    version, problems = load({"penstock": 1, "code": "test", **definition})
    assert version is not None, problems
    return version


class Refused(AssertionError):
    """An event the test meant to be accepted was rejected."""


class Harness:
    """One process. It is the decider's view, too."""

    def __init__(self, definition: Any, *, process_id: str = "p", auto: bool = True, checked: bool = True) -> None:
        self.version = compiled(definition)
        self.process_id = process_id
        self.auto = auto
        """Apply the inbox after each step."""
        self.checked = checked
        self.now = 1_000_000
        self.process = Process()
        self.scopes: dict[int, str] = {}
        self.parents: dict[int, int | None] = {}
        self.kept_outputs: dict[int, tuple[int, Any]] = {}
        """Ended element -> its for_each and its output."""
        self.visits: dict[int, dict[str, Any]] = {}
        self.jobs: dict[int, do.OpenJob] = {}
        self.items: dict[int, do.OpenItem] = {}
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
        self.record: list[tuple[str, str, Any]] = []
        """What was accepted, as text, with the commands that came of it; migrations with their version."""
        self.last: decider.Step | None = None
        self.irregular: set[int] = set()
        """Scopes in which tokens were put or taken away by hand."""
        self.by_hand: set[tuple[int, str]] = set()
        """Scope and node where an incident was skipped: of a stuck join, whose tokens went on by hand."""
        self.lookups: Counter[str] = Counter()
        self._seen: dict[int, Scope] = {}

    # -- the view ------------------------------------------------------------------------------------------------------

    def scope(self, n: int) -> Scope:
        self.lookups["scope"] += 1
        if n not in self._seen:
            self._seen[n] = codec.decode_scope(self.scopes[n])
        return self._seen[n]

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

    # -- steps ---------------------------------------------------------------------------------------------------------

    def start(self, input: Any = None, **members: Any) -> Harness:
        event = _through(ev.Started(at=self.now, input=input, **members))
        step = decider.start(self.version, self, event)
        assert step.process.seq == 1
        self._take(event, step)
        return self

    def apply(self, event: ev.AnyEvent) -> decider.Step | decider.Rejected:
        """Apply any event; a rejection is the answer, and must have changed nothing."""
        event = _through(event)
        if not self.checked:
            return self._apply(event)
        before = self._snapshot()
        text = codec.encode(event)
        old = copy.copy(self.process)
        answer = self._apply(event, before)
        assert codec.encode(event) == text, "the event was changed"
        if isinstance(answer, decider.Rejected):
            assert self._snapshot() == before, "a rejected event changed something"
        else:
            assert answer.process.seq == old.seq + 1
            assert answer.process.next_n >= old.next_n
            assert answer.process.at >= old.at
        return answer

    def _apply(self, event: ev.AnyEvent, before: Any = None) -> decider.Step | decider.Rejected:
        process = self.process
        self._seen = {}
        answer = decider.step(self.version, process, self, event)
        if before is not None:
            assert self._snapshot() == before, "what the step was given was changed"
        if isinstance(answer, decider.Step):
            self._take(event, answer)
        return answer

    def _snapshot(self) -> Any:
        seen = {n: codec.encode(scope) for n, scope in self._seen.items() if n in self.scopes}
        assert all(self.scopes[n] == text for n, text in seen.items()), "a scope was changed in place"
        rows = (self.visits, self.data_, self.values_, self.kept_outputs, self.process)
        return msgspec.json.encode(rows), tuple(self.scopes.items()), tuple(self.inbox), tuple(self.kept)

    def _take(self, event: ev.AnyEvent, step: decider.Step, version: Version | None = None) -> None:
        self.last = step
        self._seen = {}
        self.process = copy.copy(step.process)
        self._note_irregular(event)
        commands = [_plain(command) for command in (*step.visits, *step.commands)]
        self.record.append((codec.encode(event), "" if version is None else "moved", commands if version is None else version))
        for command in step.visits:
            self._visit(command)
        for command in step.commands:
            self._carry_out(command)
        for n, scope in step.scopes.items():
            self._put_scope(scope)
            assert scope.n == n
        if self.checked:
            self.check()
        if self.auto:
            self.drain()

    def drain(self) -> None:
        """Apply what waits in the inbox."""
        while self.inbox and self.auto:
            event = codec.decode_event(self.inbox.pop(0))
            self.apply(event)

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
        match command:
            case do.OpenJob():
                assert not self.checked or command.visit not in self.jobs, "two jobs of one visit"
                self.jobs[command.visit] = command
            case do.CloseJob():
                self.jobs.pop(command.visit, None)
            case do.OpenItem():
                assert not self.checked or command.visit not in self.items, "two items of one visit"
                self.items[command.visit] = command
            case do.ClaimItem():
                self.owners[command.visit] = command.owner
            case do.CloseItem():
                self.items.pop(command.visit, None)
            case do.StartTimer():
                assert not self.checked or (command.visit, command.purpose) not in self.timers, "a timer started twice"
                self.fired.discard((command.visit, command.purpose))
                self.timers[command.visit, command.purpose] = command
            case do.StopTimer():
                self.timers.pop((command.visit, command.purpose), None)
            case do.Subscribe():
                assert not self.checked or (command.visit, command.purpose) not in self.subscriptions, "subscribed twice"
                self.fired.discard((command.visit, command.purpose))
                self.subscriptions[command.visit, command.purpose] = command
            case do.Unsubscribe():
                self.subscriptions.pop((command.visit, command.purpose), None)
            case do.StartChild():
                assert not self.checked or command.visit not in self.children, "two children of one visit"
                self.children[command.visit] = command
            case do.CancelChild():
                self.children.pop(command.visit, None)
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
            case do.RenameVisit():
                self.visits[command.n]["node"] = command.node
                self.fired = {(n, p) for n, p in self.fired if n != command.n or p.startswith("@")}
            case _:
                self._carry_out_many(command)

    def _carry_out_many(self, command: do.Command) -> None:
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
                    if row["scope"] == command.scope and row["node"] in command.nodes and n < command.before:
                        if row["state"] not in OPEN_STATES:
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
                raise AssertionError(f"no way to carry out {command}")

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
        found = {top}
        for n in sorted(self.parents):
            if self.parents[n] in found:
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

    # -- what a test does ----------------------------------------------------------------------------------------------

    def _do(self, event: ev.AnyEvent) -> Harness:
        answer = self.apply(event)
        if isinstance(answer, decider.Rejected):
            raise Refused(answer)
        return self

    def find(self, place: int | str) -> tuple[int, int]:
        """Scope and number of the oldest active visit at a node, or of a visit by its number."""
        for n, scope, active in self.active():
            if place in (n, active.node):
                return scope, n
        raise Refused(f"no active visit at {place!r}: {[(n, a.node, a.phase) for n, _, a in self.active()]}")

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

    def complete(self, place: int | str, output: Any = None) -> Harness:
        scope, n = self.find(place)
        node = self.version.places[self.peek(scope).active[n].node].nodes[self.peek(scope).active[n].node]
        if isinstance(node, Item):
            return self._do(ev.ItemCompleted(at=self.now, scope=scope, visit=n, output=output))
        return self._do(
            ev.JobCompleted(at=self.now, scope=scope, visit=n, attempt=self._attempt(scope, n), output=output)
        )

    def _attempt(self, scope: int, n: int) -> int:
        return self.peek(scope).active[n].attempt

    def fail(
        self, place: int | str, type: str = "Broken", *, permanent: bool = False, delay: int | None = None
    ) -> Harness:
        scope, n = self.find(place)
        failure = ev.Failure(type, "it broke", permanent)
        attempt = self._attempt(scope, n)
        return self._do(
            ev.JobFailed(at=self.now, scope=scope, visit=n, attempt=attempt, failure=failure, delay=delay)
        )

    def throw(self, place: int | str, code: str, message: str = "", data: Any = None) -> Harness:
        scope, n = self.find(place)
        attempt = self._attempt(scope, n)
        return self._do(
            ev.ErrorThrown(at=self.now, scope=scope, visit=n, attempt=attempt, code=code, message=message, data=data)
        )

    def fire(self, place: int | str, purpose: str = OWN) -> Harness:
        """The timer is due: time goes on to that moment."""
        _, n = self.find(place)
        timer = self.timers.pop((n, purpose))
        self.fired.add((n, purpose))
        self.now = max(self.now, timer.due_at)
        return self._do(
            ev.TimerFired(at=self.now, scope=timer.scope, visit=n, purpose=purpose, attempt=timer.attempt)
        )

    def wait(self, milliseconds: int) -> Harness:
        """Time goes on; what is due on the way fires, earliest first."""
        until = self.now + milliseconds
        while True:
            due = sorted((t.due_at, t.visit, t.purpose) for t in self.timers.values() if t.due_at <= until)
            if not due:
                self.now = until
                return self
            at, n, purpose = due[0]
            self.now = max(self.now, at)
            if purpose == TERMINATION:
                del self.timers[n, purpose]
                self._do(ev.TerminationTimedOut(at=self.now))
            else:
                self.fire(n, purpose)

    def message(self, name: str, payload: Any = None, key: str = "") -> Harness:
        """To the first that waits for it; its subscription is used up."""
        for (n, purpose), waiter in sorted(self.subscriptions.items()):
            if (waiter.name, waiter.key, waiter.signal) == (name, key, False):
                del self.subscriptions[n, purpose]
                self.fired.add((n, purpose))
                return self._do(
                    ev.MessageArrived(
                        at=self.now, scope=waiter.scope, visit=n, purpose=purpose, name=name, payload=payload
                    )
                )
        raise Refused(f"nobody waits for {name!r} {key!r}: {sorted(self.subscriptions)}")

    def signal(self, name: str, payload: Any = None) -> Harness:
        """To everyone who waits for it."""
        for (n, purpose), waiter in sorted(self.subscriptions.items()):
            if (waiter.name, waiter.signal) == (name, True) and (n, purpose) in self.subscriptions:
                self._do(
                    ev.MessageArrived(
                        at=self.now,
                        scope=waiter.scope,
                        visit=n,
                        purpose=purpose,
                        name=name,
                        payload=payload,
                        signal=True,
                    )
                )
        return self

    def child_ended(self, place: int | str, status: str = "COMPLETED", **members: Any) -> Harness:
        scope, n = self.find(place)
        self.children.pop(n, None)
        return self._do(ev.ChildEnded(at=self.now, scope=scope, visit=n, status=status, **members))

    def claim(self, place: int | str, owner: str = "user:a@example.com") -> Harness:
        scope, n = self.find(place)
        return self._do(ev.ItemClaimed(at=self.now, scope=scope, visit=n, owner=owner))

    def suspend(self) -> Harness:
        return self._do(ev.SuspendRequested(at=self.now))

    def resume(self) -> Harness:
        return self._do(ev.ResumeRequested(at=self.now))

    def retry(self) -> Harness:
        """A round of retries, as the operation does it."""
        self._do(ev.RetryRequested(at=self.now))
        for n in sorted(n for n, row in self.visits.items() if row["state"] is VisitState.FAILED):
            self.apply(ev.VisitRetried(at=self.now, scope=self.visits[n]["scope"], visit=n))
        return self

    def debug(self, place: int | str, **given: Any) -> Harness:
        scope, n = self.find(place)
        flags = {f"has_{name}": True for name in given}
        return self._do(ev.DebugRequested(at=self.now, scope=scope, visit=n, **flags, **given))

    def skip(self, place: int | str, output: Any = None) -> Harness:
        scope, n = self.find(place)
        return self._do(ev.SkipRequested(at=self.now, scope=scope, visit=n, output=output))

    def restart(self, node: str, scope: int = ROOT) -> Harness:
        return self._do(ev.RestartRequested(at=self.now, scope=scope, node=node))

    def cancel(self) -> Harness:
        return self._do(ev.CancelRequested(at=self.now))

    def terminate(self, running: int | None = None) -> Harness:
        if running is None:
            running = 0 if self.held else len(self.jobs)
        return self._do(ev.TerminateRequested(at=self.now, running=running))

    def plan(self, definition: Any, mapping: dict[str, str] | None = None) -> migration.Plan:
        """A dry run; must change nothing."""
        new = compiled(definition)
        before = self._snapshot()
        scopes = [codec.decode_scope(text) for text in self.scopes.values()]
        self._seen = {}
        event = ev.Migrated(at=self.now, version=2, mapping=mapping or {})
        plan = migration.plan(self.version, new, self.process, self, scopes, event)
        assert self._snapshot() == before
        assert [codec.encode(scope) for scope in scopes] == list(self.scopes.values())
        return plan

    def migrate(self, definition: Any, mapping: dict[str, str] | None = None) -> Harness:
        new = compiled(definition)
        plan = self.plan(new, mapping)
        if plan.problems:
            raise Refused(plan.problems)
        assert plan.process.seq == self.process.seq + 1
        self.version = new
        self.by_hand = {(n, (mapping or {}).get(node, node)) for n, node in self.by_hand}
        for row in self.visits.values():
            place = row.get("place", row["node"])
            row["place"] = (mapping or {}).get(place, place)
        if mapping is None or len(set(mapping)) < len(new.places):
            self.irregular |= set(self.scopes)
        event = ev.Migrated(at=self.now, version=2, mapping=mapping or {})
        self._take(event, decider.Step(plan.process, plan.scopes, plan.visits, plan.commands), new)
        return self

    # -- what must always hold -----------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        return self.process.status

    def _note_irregular(self, event: ev.AnyEvent) -> None:
        if isinstance(event, ev.RestartRequested):
            self.irregular.add(event.scope)
        if isinstance(event, ev.SkipRequested) and self.visits[event.visit]["state"] is VisitState.FAILED:
            self.by_hand.add((event.scope, self.visits[event.visit]["node"]))

    def check(self) -> None:
        """Everything that must hold between steps."""
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
            assert 0 < each.total
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
            if isinstance(event, ev.JobCompleted | ev.JobFailed | ev.ErrorThrown | ev.ItemCompleted)
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


def _through(event: Any) -> Any:
    """As the store would give it back."""
    again = codec.decode_event(codec.encode(event))
    assert again == event
    return again


def _plain(command: do.Command) -> Any:
    return msgspec.json.encode(command)


def replay(harness: Harness, definition: Any) -> Harness:
    """The same events again, from the start."""
    again = Harness(definition, process_id=harness.process_id, auto=False, checked=False)
    again.values_ = harness.values_
    for text, kind, outcome in harness.record:
        event = codec.decode_event(text)
        if kind == "moved":
            again.now = event.at
            again.migrate(outcome, event.mapping)
        elif isinstance(event, ev.Started):
            again._take(event, decider.start(again.version, again, event))
        else:
            assert isinstance(again.apply(event), decider.Step), event
        if kind != "moved":
            assert again.record[-1][2] == outcome, f"another outcome of {text}"
    return again
