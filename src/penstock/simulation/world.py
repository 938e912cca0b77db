"""The world of one case: a clock that jumps to the next thing that happens, and what happens then, in one defined order.

At one moment first everything comes to rest that is on its way by itself; then answers are given, then timers fire, then what is
sent arrives, then commands are given; among equals the older process and the lower visit are first. So a case is the same
story each time it is told, whatever the order of its file or of the tests.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from penstock.core import commands as do
from penstock.core import decider
from penstock.core import events as ev
from penstock.core.decider import Rejected
from penstock.core.definition import AnyNode
from penstock.core.state import ENDED, TERMINATION, Status
from penstock.simulation.answering import Chooser, Given, Unfit
from penstock.simulation.case import Send
from penstock.simulation.catalogue import Known
from penstock.simulation.process import Effects, Simulated

MOST_STEPS = 50_000
"""Of all processes of a case; more is a loop without end."""
MOST_DEEP = 50
"""Calls within calls."""
_SPACE = UUID("6f0c7f0e-1d2b-5c7e-9a57-0d0f5a1e7e57")
_LARGEST = 2**63 - 1

ANSWER, TIMER, SEND, COMMAND = range(4)


class Endless(Exception):
    """The case took more steps than any sound one."""


class _Entry(NamedTuple):
    """Something that will happen, in the order it does."""

    at: int
    rank: int
    process: int
    visit: int
    number: int
    act: Callable[[], None]


class _Kept(NamedTuple):
    """A message that waits for a taker."""

    sent: int
    name: str
    key: str
    payload: Any
    id: str
    expires_at: int


class World:
    def __init__(self, definitions: Mapping[str, Known], chooser: Chooser, now: int) -> None:
        self.definitions = definitions
        self.chooser = chooser
        self.began = self.now = now
        self.processes: list[Simulated] = []
        self.unfit: list[Unfit] = []
        """Answers that could not be given."""
        self.taken: set[int] = set()
        """Numbers of what was sent and found a taker."""
        self._agenda: list[_Entry] = []
        self._count = 0
        self._steps = 0
        self._inbox: deque[Callable[[], None]] = deque()
        """What is on its way by itself, in its order."""
        self._messages: list[_Kept] = []
        self._delivered: dict[tuple[str, str], _Kept] = {}
        self._ids: set[tuple[str, str]] = set()
        self._called: dict[tuple[int, int], Simulated] = {}

    # -- time ----------------------------------------------------------------------------------------------------------

    def plan(self, at: int, rank: int, act: Callable[[], None], process: int = 0, visit: int = 0) -> None:
        self._count += 1
        heapq.heappush(self._agenda, _Entry(max(at, self.now), rank, process, visit, self._count, act))

    def run(self, until: int | None = None) -> None:
        """Until nothing is left to happen, or to a moment. Raises: Endless."""
        self._drain()
        while self._agenda:
            if until is not None and self._agenda[0].at > until:
                break
            entry = heapq.heappop(self._agenda)
            self.now = entry.at
            entry.act()
            self._drain()
        if until is not None and any(each.process.status not in ENDED for each in self.processes):
            self.now = max(self.now, until)

    def _drain(self) -> None:
        while self._inbox:
            self._inbox.popleft()()

    def _post(self, process: Simulated, event: ev.AnyEvent) -> None:
        def act() -> None:
            refused = self.apply(process, event)
            if refused is not None and isinstance(event, ev.MessageArrived) and not event.signal:
                self._give_back(event)

        self._inbox.append(act)

    # -- processes -----------------------------------------------------------------------------------------------------

    def start(self, code: str, parent: tuple[Simulated, int, int] | None = None, **data: Any) -> Simulated:
        """Raises: Invalid when the definition cannot be started this way."""
        known = self.definitions[code]
        number = len(self.processes) + 1
        depth = 0 if parent is None else parent[0].depth + 1
        process = Simulated(number, str(uuid5(_SPACE, f"{code}/{number}")), known.version, parent, depth)
        event = ev.Started(at=self.now, called=parent is not None, **data)
        step = decider.start(known.version, process, event)
        self.processes.append(process)
        self._carry_out(process, process.take(step))
        return process

    def apply(self, process: Simulated, event: ev.AnyEvent) -> Rejected | None:
        """Raises: Endless."""
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise Endless
        step = decider.step(process.version, process.process, process, event)
        if isinstance(step, Rejected):
            return step
        self._carry_out(process, process.take(step))
        return None

    def _carry_out(self, process: Simulated, effects: Effects) -> None:
        trail = self.definitions[process.version.code].trail
        trail.left.update(effects.left)
        for job in effects.jobs:
            self._ask_worker(process, job)
        for item in effects.items:
            self._ask_person(process, item)
        for child in effects.children:
            self._call(process, child)
        for visit in effects.cancelled:
            self._cancel_child(process, visit)
        for timer in effects.timers:
            self._start_timer(process, timer)
        for event in effects.inbox:
            self._post(process, event)
        for subscription in effects.subscribed:
            if not subscription.signal:
                self._match(subscription.name, subscription.key)
        if effects.ended is not None and process.parent is not None:
            self._tell_parent(process, effects.ended)

    # -- answers -------------------------------------------------------------------------------------------------------

    def _choose(self, process: Simulated, node: AnyNode, visit: int, attempt: int, input: Any) -> Given | None:
        given = None
        try:
            given = self.chooser.choose(process.number, process.version, node, visit, attempt, input)
        except Unfit as unfit:
            self.unfit.append(unfit)
            process.promised.add(visit)  # its trouble has been told
        if given is not None:
            process.promised.add(visit)
        return given

    def _ask_worker(self, process: Simulated, job: do.OpenJob) -> None:
        given = self._choose(process, process.node(job.node), job.visit, job.attempt, job.input)
        if given is None:
            return

        def answer() -> None:
            if process.jobs.get(job.visit) is job:
                self._answer_job(process, job, given)

        self.plan(given.after.after(self.now), ANSWER, answer, process.number, job.visit)

    def _answer_job(self, process: Simulated, job: do.OpenJob, given: Given) -> None:
        of: dict[str, Any] = {"at": self.now, "scope": job.scope, "visit": job.visit, "attempt": job.attempt}
        if given.failure is not None:
            self.apply(process, ev.JobFailed(failure=given.failure, delay=given.delay, **of))
        elif given.code is not None:
            self.apply(process, ev.ErrorThrown(code=given.code, message=given.message, data=given.output, **of))
        elif self._put_values(process, given):
            self.apply(process, ev.JobCompleted(output=given.output, **of))

    def _put_values(self, process: Simulated, given: Given) -> bool:
        """Counters first, then values, as `POST /jobs/complete` has it; False when one of them is no counter."""
        fresh = dict(process.keys)
        for key in given.increments:
            value = fresh.get(key, 0)
            if type(value) is not int or value >= _LARGEST:
                pointer = f"{given.answer.pointer}/increments"
                self.unfit.append(Unfit(pointer, f"the value {key!r} is no counter: {value!r}"))
                return False
            fresh[key] = value + 1
        process.keys = {**fresh, **given.values}
        return True

    def _ask_person(self, process: Simulated, item: do.OpenItem) -> None:
        given = self._choose(process, process.node(item.node), item.visit, 1, item.data)
        if given is None:
            return

        def answer() -> None:
            if process.items.get(item.visit) is item:
                event = ev.ItemCompleted(at=self.now, scope=item.scope, visit=item.visit, output=given.output)
                self.apply(process, event)

        self.plan(given.after.after(self.now), ANSWER, answer, process.number, item.visit)

    # -- children ------------------------------------------------------------------------------------------------------

    def _call(self, process: Simulated, child: do.StartChild) -> None:
        given = self._choose(process, process.node(process.visits[child.visit].node), child.visit, 1, child.input)
        if given is not None:

            def answer() -> None:
                if process.children.get(child.visit) is child:
                    self._child_ended(process, child.scope, child.visit, _end_of(given))

            self.plan(given.after.after(self.now), ANSWER, answer, process.number, child.visit)
        elif child.definition in self.definitions:
            self._inbox.append(lambda: self._start_child(process, child))

    def _start_child(self, process: Simulated, child: do.StartChild) -> None:
        if process.depth >= MOST_DEEP:
            ended = do.EndProcess("UNKNOWN", message=f"calls more than {MOST_DEEP} deep")
            self._child_ended(process, child.scope, child.visit, ended)
            return
        parent = (process, child.scope, child.visit)
        self._called[process.number, child.visit] = self.start(child.definition, parent, input=child.input)

    def has_child(self, process: Simulated, visit: int) -> bool:
        return (process.number, visit) in self._called

    def _cancel_child(self, process: Simulated, visit: int) -> None:
        def cancel() -> None:
            child = self._called.get((process.number, visit))
            if child is not None:
                self.apply(child, ev.CancelRequested(at=self.now, reason="its caller went on"))

        self._inbox.append(cancel)

    def _tell_parent(self, process: Simulated, ended: do.EndProcess) -> None:
        assert process.parent is not None
        self._child_ended(*process.parent, ended)

    def _child_ended(self, process: Simulated, scope: int, visit: int, ended: do.EndProcess) -> None:
        event = ev.ChildEnded(
            at=self.now,
            scope=scope,
            visit=visit,
            status=ended.status,
            output=ended.output,
            code=ended.code,
            message=ended.message,
        )
        self._post(process, event)

    # -- timers --------------------------------------------------------------------------------------------------------

    def _start_timer(self, process: Simulated, timer: do.StartTimer) -> None:
        def fire() -> None:
            running = process.timers.get(timer.visit, {})
            if running.get(timer.purpose) is not timer or process.process.status in ENDED:
                return
            del running[timer.purpose]
            if timer.purpose == TERMINATION:
                self.apply(process, ev.TerminationTimedOut(at=self.now))
                return
            of: dict[str, Any] = {"scope": timer.scope, "visit": timer.visit, "purpose": timer.purpose}
            self.apply(process, ev.TimerFired(at=self.now, attempt=timer.attempt, **of))

        self.plan(timer.due_at, TIMER, fire, process.number, timer.visit)

    # -- messages and signals ------------------------------------------------------------------------------------------

    def send(self, number: int, sent: Send) -> None:
        """Something arrives from outside; `number` is what it is called in `taken`."""
        if sent.signal:
            self._broadcast(number, sent)
            return
        id = sent.id or f"sent {number}"
        if (sent.name, id) in self._ids:
            return
        self._ids.add((sent.name, id))
        kept = _Kept(number, sent.name, sent.key, sent.payload, id, sent.ttl.after(self.now))
        if self._waiters(sent.name, sent.key) or not self._started_by(kept):
            self._messages.append(kept)
            self._match(sent.name, sent.key)

    def _started_by(self, kept: _Kept) -> bool:
        """A message nobody waits for starts the definition that has a start for it."""
        for code, known in self.definitions.items():
            node = known.version.messages.get(kept.name)
            if node is not None:
                self.taken.add(kept.sent)
                self.start(code, input=kept.payload, start=node, payload=kept.payload)
                return True
        return False

    def _waiters(self, name: str, key: str) -> list[tuple[Simulated, do.Subscribe]]:
        return [(process, waiter) for process, waiter in self._listeners(name, signal=False) if waiter.key == key]

    def _listeners(self, name: str, *, signal: bool) -> list[tuple[Simulated, do.Subscribe]]:
        found = []
        for process in self.processes:
            for visit in sorted(process.subscriptions):
                waiting = process.subscriptions[visit]
                found += [(process, waiting[purpose]) for purpose in sorted(waiting)]
        return [(process, each) for process, each in found if each.name == name and each.signal is signal]

    def _match(self, name: str, key: str) -> None:
        """Pair the oldest message with the first waiter, as long as there are both."""
        while True:
            kept = next((m for m in self._messages if (m.name, m.key) == (name, key) and m.expires_at > self.now), None)
            waiters = self._waiters(name, key) if kept is not None else []
            if kept is None or not waiters:
                return
            self._messages.remove(kept)
            self.taken.add(kept.sent)
            self._delivered[kept.name, kept.id] = kept
            process, waiter = waiters[0]
            del process.subscriptions[waiter.visit][waiter.purpose]
            self._deliver(process, waiter, kept.payload, kept.id)

    def _give_back(self, event: ev.MessageArrived) -> None:
        """The receiver had gone on: the message waits for another."""
        kept = self._delivered[event.name, event.message_id]
        self.taken.discard(kept.sent)
        self._messages.insert(0, kept)
        self._match(kept.name, kept.key)

    def _broadcast(self, number: int, sent: Send) -> None:
        for process, waiter in self._listeners(sent.name, signal=True):
            self.taken.add(number)
            self._deliver(process, waiter, sent.payload, "")

    def _deliver(self, process: Simulated, waiter: do.Subscribe, payload: Any, id: str) -> None:
        event = ev.MessageArrived(
            at=self.now,
            scope=waiter.scope,
            visit=waiter.visit,
            purpose=waiter.purpose,
            name=waiter.name,
            payload=payload,
            message_id=id,
            signal=waiter.signal,
        )
        self._post(process, event)


def _end_of(given: Given) -> do.EndProcess:
    """How a called process ends that an answer stands for."""
    if given.failure is not None:
        return do.EndProcess(Status.TERMINATED, message=f"{given.failure.type}: {given.failure.message}".rstrip(": "))
    if given.code is not None:
        return do.EndProcess(Status.TERMINATED, given.output, given.code, given.message)
    return do.EndProcess(Status.COMPLETED, given.output)
