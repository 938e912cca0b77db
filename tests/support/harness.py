"""A process to play with: start it, answer what is out, do what people do; every step is checked.

Every scope and event goes through the codec, every event is kept for a replay, what a step was given is compared with what it was
before, and `Checked.check` looks at the whole after each step.
"""

from __future__ import annotations

import copy
from typing import Any

import msgspec

from penstock.core import codec, decider, migration
from penstock.core import events as ev
from penstock.core.definition import Item, Version
from penstock.core.loading import load, read_document
from penstock.core.state import OWN, ROOT, TERMINATION, Status, VisitState
from support.invariants import Checked


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


class Harness(Checked):
    """One process and its world."""

    def __init__(self, definition: Any, *, process_id: str = "p", auto: bool = True, checked: bool = True) -> None:
        super().__init__(process_id, checked=checked)
        self.version = compiled(definition)
        self.auto = auto
        """Apply the inbox after each step."""
        self.record: list[tuple[str, str, Any]] = []
        """What was accepted, as text, with the commands that came of it; migrations with their version."""
        self.last: decider.Step | None = None
        self.irregular = set()
        self.by_hand: set[tuple[int, str]] = set()
        """Scope and node where an incident was skipped: of a stuck join, whose tokens went on by hand."""

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
        self.seen = {}
        answer = decider.step(self.version, process, self, event)
        if before is not None:
            assert self._snapshot() == before, "what the step was given was changed"
        if isinstance(answer, decider.Step):
            self._take(event, answer)
        return answer

    def _snapshot(self) -> Any:
        seen = {n: codec.encode(scope) for n, scope in self.seen.items() if n in self.scopes}
        assert all(self.scopes[n] == text for n, text in seen.items()), "a scope was changed in place"
        rows = (self.visits, self.data_, self.values_, self.kept_outputs, self.process)
        return msgspec.json.encode(rows), tuple(self.scopes.items()), tuple(self.inbox), tuple(self.kept)

    def _take(self, event: ev.AnyEvent, step: decider.Step, version: Version | None = None) -> None:
        self.last = step
        self.seen = {}
        self.process = copy.copy(step.process)
        self._note_irregular(event)
        commands = [msgspec.json.encode(command) for command in (*step.visits, *step.commands)]
        kind, outcome = ("", commands) if version is None else ("moved", version)
        self.record.append((codec.encode(event), kind, outcome))
        self.carry_out(step)
        if self.checked:
            self.check()
        if self.auto:
            self.drain()

    def happen(self, event: ev.AnyEvent) -> decider.Step | decider.Rejected:
        """Apply an event as the world would send it: a timer's row is gone when it fires, a message uses up its subscription,
        a child is over when it has ended.
        """
        match event:
            case ev.TimerFired():
                if self.timers.pop((event.visit, event.purpose), None):
                    self.fired.add((event.visit, event.purpose))
            case ev.MessageArrived(signal=False):
                if self.subscriptions.pop((event.visit, event.purpose), None):
                    self.fired.add((event.visit, event.purpose))
            case ev.ChildEnded():
                self.children.pop(event.visit, None)
            case ev.ElementsDue():
                self.inbox = [
                    text for text in self.inbox if getattr(codec.decode_event(text), "scope", -1) != event.scope
                ]
            case _:
                pass
        return self.apply(event)

    def drain(self) -> None:
        """Apply what waits in the inbox."""
        while self.inbox and self.auto:
            event = codec.decode_event(self.inbox.pop(0))
            self.apply(event)

    @property
    def status(self) -> Status:
        return self.process.status

    def _note_irregular(self, event: ev.AnyEvent) -> None:
        if isinstance(event, ev.RestartRequested):
            self.irregular.add(event.scope)
        if isinstance(event, ev.SkipRequested) and self.visits[event.visit]["state"] is VisitState.FAILED:
            self.by_hand.add((event.scope, self.visits[event.visit]["node"]))

    # -- what a test does ----------------------------------------------------------------------------------------------

    def _do(self, event: ev.AnyEvent) -> Harness:
        answer = self.apply(event)
        if isinstance(answer, decider.Rejected):
            raise Refused(answer)
        return self

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
        return self._do(ev.JobFailed(at=self.now, scope=scope, visit=n, attempt=attempt, failure=failure, delay=delay))

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
        return self._do(ev.TimerFired(at=self.now, scope=timer.scope, visit=n, purpose=purpose, attempt=timer.attempt))

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

    def on_item(self, place: int | str, event: type[ev.VisitEvent], **members: Any) -> Harness:
        """Unclaim, assign, delegate, change or cancel it."""
        scope, n = self.find(place)
        return self._do(event(at=self.now, scope=scope, visit=n, **members))

    def open_thread(self, name: str = "About it") -> Harness:
        return self._do(ev.ThreadOpened(at=self.now, name=name))

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
        self.seen = {}
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


def _through(event: Any) -> Any:
    """As the store would give it back."""
    again = codec.decode_event(codec.encode(event))
    assert again == event
    return again


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
