"""The embedded engine: steps inline, in the same commit as what caused them.

`accept` applies an event to a process inside the caller's unit. What must happen after the commit (deliver jobs, wake timers,
apply the inbox) is told to `Loops` by callbacks; nothing of it is lost in a crash, for it all stands in rows.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID, uuid5

from penstock.core import codec, decider
from penstock.core import commands as do
from penstock.core import events as ev
from penstock.core.state import ENDED, Status
from penstock.engines.dispatch import Dispatcher, Grant, Taken, Waiter, new_grant, place_of
from penstock.engines.following import Posted, end_later, of_unit, parent_of, step_span
from penstock.errors import Invalid, LeaseLost, NotFound, PenstockError, Unavailable, WrongState
from penstock.store import Store, definitions, inbox, jobs, messages, outbox, processes, search, timers
from penstock.store.carrying import Effects
from penstock.store.held import Held
from penstock.store.rows import Tx
from penstock.telemetry.activity import CURRENT, PROCESS, acting
from penstock.telemetry.figures import EngineFigures

log = logging.getLogger(__name__)

MOST_DEEP = 50
"""Calls within calls: a definition that calls itself without end stops here, with an incident."""

MOST_CLAIMED = 500
"""Jobs that polls may ask for together in one unit; one poll may ask for as many alone."""

MOST_SERVED = 64
"""Jobs handed out in one unit to polls that wait."""


class Signals:
    """What the engine tells its loops after a commit. `Loops` sets the functions; a test may leave them."""

    def __init__(self) -> None:
        self.timer: Callable[[int], None] = _unheard
        self.match: Callable[[int, str, str], None] = _unheard
        self.serve: Callable[[str], None] = _unheard
        """Jobs of a queue were passed over: look again in a moment."""
        self.give_back: Callable[[int, int, str], None] = _unheard


def _unheard(*_: object) -> None:
    """Nobody runs the loops."""


class Claims:
    """Polls that look for jobs in one unit. Made and joined on their loop; closed on the writer's thread."""

    def __init__(self, waiter: Waiter, *, register: bool) -> None:
        self.done: asyncio.Future[None]
        self._polls = [(waiter, register)]
        self._room = waiter.room
        self._lock = threading.Lock()
        self._closed = False

    @property
    def alone(self) -> bool:
        return len(self._polls) == 1

    def join(self, waiter: Waiter, *, register: bool) -> bool:
        """False when the unit has begun, or is full, or is another loop's."""
        with self._lock:
            first = self._polls[0][0]
            if self._closed or first.loop is not waiter.loop or self._room + waiter.room > MOST_CLAIMED:
                return False
            self._polls.append((waiter, register))
            self._room += waiter.room
            return True

    def unit(self, engine: EmbeddedEngine) -> Callable[[Tx], None]:
        def unit(tx: Tx) -> None:
            with self._lock:
                self._closed = True
            engine.claim(tx, self._polls)

        return unit


class EmbeddedEngine:
    """Implements the engine port of `operations.context`."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher()
        self.signals = Signals()
        self.figures = EngineFigures()
        self._claims: Claims | None = None
        self.posted = Posted()

    # -- the port ----------------------------------------------------------------------------------------------

    def start(self, held: Held, event: ev.Started) -> Held:
        """The first step of a process that `processes.create` made."""
        began = time.perf_counter_ns()
        step = decider.start(held.version, held, event)
        self.figures.step_ns += time.perf_counter_ns() - began
        return self._commit(held, event, step, began)

    def accept(self, tx: Tx, pid: int, event: ev.AnyEvent) -> Held:
        """Apply an event.

        Raises: NotFound, WrongState, Invalid (a node or visit that is not there).
        """
        held = processes.load(tx, pid)
        if held is not None and not held.process.seq:
            self.apply_inbox(tx, pid)  # a called process whose start still waits there
            held = processes.load(tx, pid)
        if held is None:
            raise NotFound("process", pid)
        answer = self.apply(held, event)
        if isinstance(answer, decider.Rejected):
            raise (Invalid if answer.code == "unknown" else WrongState)(answer.message)
        return answer

    def apply(self, held: Held, event: ev.AnyEvent, parent: str | None = None) -> Held | decider.Rejected:
        """Apply an event to a process that is loaded; a rejection is an answer here.

        `parent`: a traceparent the step's span goes below, in place of its unit's.
        """
        began = time.perf_counter_ns()
        step = decider.step(held.version, held.process, held, event)
        self.figures.step_ns += time.perf_counter_ns() - began
        if isinstance(step, decider.Rejected):
            return step
        return self._commit(held, event, step, began, parent)

    def commit(self, held: Held, event: ev.AnyEvent, step: decider.Step) -> Held:
        """Commit a step that was worked out elsewhere (a migration)."""
        return self._commit(held, event, step, time.perf_counter_ns())

    def answer(
        self, tx: Tx, row: jobs.Row, event: ev.JobCompleted | ev.JobFailed | ev.ErrorThrown, trace: str | None = None
    ) -> Held:
        """Apply a worker's answer for a job it holds. `trace` is the worker's own span (a traceparent).

        The step goes on in the job's trace, whatever trace the request is part of, but for one that says it is part of one.

        Raises: LeaseLost when the process has gone on without it.
        """
        held = processes.load(tx, row.pid)
        answer = None if held is None else self.apply(held, event, parent_of(row, trace))
        if answer is None or isinstance(answer, decider.Rejected):
            raise LeaseLost("the process has gone on: the answer is not applied")
        return answer

    # -- carrying out ------------------------------------------------------------------------------------------

    def _commit(
        self, held: Held, event: ev.AnyEvent, step: decider.Step, began: int, parent: str | None = None
    ) -> Held:
        """`began`: when the decider did, by `perf_counter_ns`."""
        tx = held.tx
        self.figures.steps += 1
        PROCESS.set(held.process_id)
        span = step_span(held, event, step, began, parent)
        grants: list[tuple[do.OpenJob, Waiter, Grant]] = []

        def offer(command: do.OpenJob) -> jobs.Lease | None:
            waiter = self.dispatcher.offer(jobs.queue_of(held.tid, command.topic), tx.locked)
            if waiter is None:
                return None
            grant = new_grant(held.pid, command.visit, tx.now + waiter.lease_ms, waiter.worker)
            grants.append((command, waiter, grant))
            return grant.lease

        moved, effects = processes.commit_step(held, event, step, offer)
        for command, waiter, grant in grants:
            taken = self.taken(moved, command, grant, tx.now)
            self._deliver_later(tx, waiter, taken)
        self._after(moved, effects)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("step %d: %s, %s", moved.process.seq, type(event).__name__, moved.process.status)
        if span is not None:
            end_later(tx, span)
        return moved

    def _deliver_later(self, tx: Tx, waiter: Waiter, taken: Taken, *, reserved: bool = True) -> None:
        def deliver() -> None:
            if not self.dispatcher.deliver(waiter, taken, reserved=reserved):
                self.signals.give_back(taken.pid, taken.visit, taken.lease)

        tx.after_commit(deliver)

    def taken(self, held: Held, command: do.OpenJob, grant: Grant, now: int, trace: str | None = None) -> Taken:
        return Taken(
            pid=held.pid,
            process_id=held.process_id,
            visit=command.visit,
            definition=held.version.code,
            version=held.number,
            node=command.node,
            topic=command.topic,
            attempt=command.attempt,
            execution_id=jobs.execution_id(command.visit, command.attempt),
            token=grant.token,
            lease=grant.lease.lease,
            leased_until=grant.lease.until,
            input=command.input,
            timeout_at=None if command.timeout is None else now + command.timeout,
            created_at=now,
            trace=held.tx.trace if trace is None else trace,
        )

    def _after(self, held: Held, effects: Effects) -> None:
        tx, signals = held.tx, self.signals
        for child in effects.children:
            if isinstance(child, do.StartChild):
                self._start_child(held, child)
            else:
                self._cancel_child(held, child)
        if effects.ended is not None and held.parent is not None:
            self._tell_parent(held, effects.ended)
        if effects.old_data:
            search.update(held, effects.old_data)
        for published in effects.published:
            outbox.publish(tx, held.tid, held.pid, published.kind, {"process": held.process_id, **published.data})
        for queue in sorted(effects.ready):
            self.ready(tx, queue)
        if effects.wake:
            self.wake_later(tx, held.pid, held.tid)
        if effects.due_at is not None:
            due_at = effects.due_at
            tx.after_commit(lambda: signals.timer(due_at))
        for name, key in effects.to_match:
            self.match_later(tx, held.tid, name, key)

    def ready(self, tx: Tx, queue: str) -> None:
        """A job was left for whoever polls the queue next, here or on another node."""
        tx.notify(f"queue:{queue}")

    def wake_later(self, tx: Tx, pid: int, tid: int) -> None:
        """There is something in the inbox of a process."""
        self.posted.note(tx, pid)
        tx.notify(f"inbox:{pid}:{tid}")

    # -- children ----------------------------------------------------------------------------------------------

    def _start_child(self, held: Held, command: do.StartChild) -> None:
        tx = held.tx
        current = definitions.current(tx, held.tid, command.definition)
        message = "" if current is None else self._cannot_call(held, current, command)
        if current is None or message:
            message = message or f"no definition {command.definition!r}"
            gone = ev.ChildEnded(at=tx.now, scope=command.scope, visit=command.visit, status="UNKNOWN", message=message)
            inbox.post(tx, held.pid, gone)
            self.wake_later(tx, held.pid, held.tid)
            return
        child = processes.create(
            tx,
            tid=held.tid,
            id=str(uuid5(UUID(held.process_id), f"{held.tid}/child/{command.visit}/{held.process.seq}")),
            did=current.did,
            vid=current.vid,
            created_by=held.created_by,
            parent=(held.pid, command.scope, command.visit),
            depth=held.depth + 1,
        )
        processes.put_row(child, child.process)
        inbox.post(tx, child.pid, ev.Started(at=tx.now, input=command.input, called=True))
        self.wake_later(tx, child.pid, held.tid)

    def _cannot_call(self, held: Held, current: definitions.Latest, command: do.StartChild) -> str:
        """Why a call cannot be made; "" when it can."""
        if held.depth >= MOST_DEEP:
            return f"calls more than {MOST_DEEP} deep"
        if current.state != definitions.ACTIVE:
            return f"version {current.number} of definition {command.definition!r} is {current.state}"
        _, version = definitions.version(held.tx, current.vid)
        problems = definitions.unfit(version, "input", command.input)
        if problems:
            where = problems[0].pointer
            return f"the input does not fit definition {command.definition!r}: {where}: {problems[0].message}"
        return ""

    def _cancel_child(self, held: Held, command: do.CancelChild) -> None:
        for pid in processes.children(held.tx, held.pid, command.visit):
            inbox.post(held.tx, pid, ev.CancelRequested(at=held.tx.now, reason="its caller went on"))
            self.wake_later(held.tx, pid, held.tid)

    def _tell_parent(self, held: Held, ended: do.EndProcess) -> None:
        assert held.parent is not None
        pid, scope, visit = held.parent
        event = ev.ChildEnded(
            at=held.tx.now,
            scope=scope,
            visit=visit,
            status=ended.status,
            output=ended.output,
            code=ended.code,
            message=ended.message,
        )
        inbox.post(held.tx, pid, event)
        self.wake_later(held.tx, pid, held.tid)

    # -- what loops submit -------------------------------------------------------------------------------------

    def apply_inbox(self, tx: Tx, pid: int, most: int = 16, trying: Callable[[int], None] | None = None) -> bool:
        """Apply what waits in the inbox of a process, in order. True when there is more.

        `trying` is told the number of each event before it is applied.
        """
        entries = inbox.pending(tx, pid, most)
        for entry in entries:
            if trying is not None:
                trying(entry.iid)
            # first, for an event that ends the process takes back what lies in its inbox, and this one it has got
            inbox.done(tx, entry.iid)
            held = processes.load(tx, pid)
            if held is not None:
                self._apply_entry(held, entry.event)
        return len(entries) == most

    def _apply_entry(self, held: Held, event: ev.AnyEvent) -> None:
        if isinstance(event, ev.Started):
            if held.process.seq == 0:
                self.start(held, event)
            return
        if isinstance(event, ev.CancelRequested) and held.process.seq == 0:
            self.start(held, ev.Started(at=event.at, called=True))
            held = processes.load(held.tx, held.pid) or held
        answer = self.apply(held, event)
        if isinstance(answer, decider.Rejected) and isinstance(event, ev.MessageArrived) and not event.signal:
            key = messages.give_back(held.tx, held.tid, event.name, event.message_id)
            if key is not None:
                self.match_later(held.tx, held.tid, event.name, key)

    def fire_timer(self, tx: Tx, pid: int, n: int, purpose: str) -> None:
        """A timer is due: its row goes, its event is applied."""
        row = timers.get(tx, pid, n, purpose)
        if row is None or row.due_at > tx.now:
            return
        timers.stop(tx, pid, n, purpose)
        held = processes.load(tx, pid)
        if held is None or held.process.status in ENDED:
            return
        event: ev.AnyEvent = ev.TimerFired(at=tx.now, scope=row.scope, visit=n, purpose=purpose, attempt=row.attempt)
        if purpose == decider.TERMINATE_TIMER:
            event = ev.TerminationTimedOut(at=tx.now)
        self.apply(held, event)

    def expire_lease(self, tx: Tx, pid: int, n: int) -> None:
        """A lease ran out: the job is offered again, or has failed when that happened too often."""
        row = jobs.get(tx, pid, n)
        if row is None or row.leased_until is None or row.leased_until > tx.now:
            return
        self.figures.leases_expired += row.state != "AWAITING"
        failure: ev.Failure | None = None
        if row.state == "AWAITING":
            failure = ev.Failure("Timeout", "the endpoint answered 202 and then nothing in time")
        elif row.deliveries >= jobs.MOST_DELIVERIES:
            message = f"{row.deliveries} workers took the job and none answered"
            failure = ev.Failure("LeaseExpired", message, permanent=True)
        self._offer_again(tx, row, failure)

    def return_job(self, tx: Tx, pid: int, n: int, lease: str) -> None:
        """A lease nobody took delivery of."""
        row = jobs.get(tx, pid, n)
        if row is not None and row.lease == lease:
            self._offer_again(tx, row, None, delivered=False)

    def _offer_again(self, tx: Tx, row: jobs.Row, failure: ev.Failure | None, *, delivered: bool = True) -> None:
        """Nobody has the job in hand any more."""
        held = processes.load(tx, row.pid)
        status = None if held is None else held.process.status
        of: dict[str, Any] = {"at": tx.now, "scope": row.scope, "visit": row.n, "attempt": row.attempt}
        if held is None or status in ENDED:
            jobs.close(tx, row.pid, row.n)
        elif status is Status.TERMINATING or failure is not None:
            event = ev.JobFailed(failure=failure, **of) if failure and status is not Status.TERMINATING else None
            answer = self.apply(held, event or ev.JobReturned(**of))
            if isinstance(answer, decider.Rejected):
                log.error("process %s: nobody waits for the job of visit %s: %s", row.pid, row.n, answer.message)
                jobs.close(tx, row.pid, row.n)
        else:
            jobs.give_back(tx, row, held=status is Status.SUSPENDED, delivered=delivered)
            if status is not Status.SUSPENDED:
                self.ready(tx, row.queue)

    def match(self, tx: Tx, tid: int, name: str, key: str) -> bool:
        """Pair one message with one waiter. True when there may be another pair."""
        pid = messages.match(tx, tid, name, key)
        if pid is None:
            return False
        self.wake_later(tx, pid, tid)
        return True

    def match_later(self, tx: Tx, tid: int, name: str, key: str) -> None:
        """A message was kept: pair it with a waiter after the commit."""
        activity = of_unit(tx)

        def match() -> None:
            with acting(activity):
                self.signals.match(tid, name, key)

        tx.after_commit(match)

    # -- polls -------------------------------------------------------------------------------------------------

    async def poll(
        self, store: Store, queues: list[str], most: int, wait: float, lease_ms: int, worker: str
    ) -> list[Taken]:
        """Take jobs of these queues; where there are none, wait up to `wait` seconds for the first to be born."""
        waiter = Waiter(queues, most, lease_ms, worker)
        try:
            await self._take(store, waiter, register=wait > 0)
            if wait > 0 and not waiter.taken and not self.dispatcher.draining:
                await self._wait(waiter, wait)
            return await self._settled(store, waiter)
        finally:
            self._give_back(waiter)

    async def _wait(self, waiter: Waiter, seconds: float) -> None:
        began = time.perf_counter()
        self.figures.polls_waiting += 1
        try:
            await asyncio.wait((waiter.future,), timeout=seconds)
        finally:
            self.figures.polls_waiting -= 1
            activity = CURRENT.get()
            if activity is not None:
                activity.waited += time.perf_counter() - began

    async def _take(self, store: Store, waiter: Waiter, *, register: bool) -> None:
        """Have what lies ready delivered; where nothing does, register the poll in the same unit.

        Polls that come while a unit waits for its turn look together in that one: a look into a queue writes out what the
        group has buffered, and costs a statement or two, however many jobs it finds.
        """
        claims = self._claims
        if claims is None or not claims.join(waiter, register=register):
            claims = Claims(waiter, register=register)
            claims.done = store.submit_async(claims.unit(self))
            self._claims = claims  # only now: what could not be submitted nobody may join
        try:
            await asyncio.shield(claims.done)
        except PenstockError as error:
            if isinstance(error, Unavailable) or claims.alone:
                raise
            # a job that cannot be handed out must not harm the polls of other queues
            await store.submit_async(Claims(waiter, register=register).unit(self))

    async def _settled(self, store: Store, waiter: Waiter) -> list[Taken]:
        """Close a poll once what is reserved for it has been committed, or has come to nothing."""
        if not self.dispatcher.end(waiter):
            # no group that was at work then is at work when this is answered
            await store.submit_async(lambda tx: self.dispatcher.settle(tx.locked))
        return self.dispatcher.close(waiter)

    def _give_back(self, waiter: Waiter) -> None:
        """Whatever became of a poll: nothing that was given to it is left."""
        for taken in self.dispatcher.abandon(waiter):
            self.signals.give_back(taken.pid, taken.visit, taken.lease)

    def place_of(self, token: str) -> tuple[int, int] | None:
        """(pid, visit) a job's token speaks of; whether it is good, the job's row knows."""
        return place_of(token)

    def reserve(self, queues: list[str], most: int, lease_ms: int, worker: str) -> Waiter:
        """Be first in the queues for what the caller's next units bring about."""
        waiter = Waiter(queues, most, lease_ms, worker)
        self.dispatcher.register(waiter, first=True)
        return waiter

    async def collect(self, store: Store, reserved: Waiter) -> list[Taken]:
        """What a reservation has got, filled up with what lies ready."""
        try:
            if not self.dispatcher.end(reserved):
                await store.submit_async(lambda tx: self.dispatcher.settle(tx.locked))
            if reserved.room > 0 and any(self.dispatcher.maybe_ready(queue) for queue in reserved.queues):
                await self._take(store, reserved, register=False)
            return self.dispatcher.close(reserved)
        finally:
            self._give_back(reserved)

    def claim(self, tx: Tx, polls: list[tuple[Waiter, bool]]) -> None:
        """Lease what lies ready to these polls, oldest first within each queue; register those that get nothing and wait."""
        wanted: Counter[str] = Counter()
        for waiter, _ in polls:
            self.dispatcher.unregister(waiter)  # the unit may run again
            wanted.update(dict.fromkeys(waiter.queues, waiter.room))
        found: dict[str, deque[jobs.Ready]] = {}
        for waiter, register in polls:
            if waiter.closed:
                continue
            got = 0
            for queue in waiter.queues:
                if queue not in found:
                    known = self.dispatcher.maybe_ready(queue)
                    found[queue] = deque(self._ready(tx, queue, wanted[queue]) if known else ())
                got += self._hand_out(tx, waiter, found[queue], waiter.room - got)
            if register and not got:
                self.dispatcher.register(waiter)
        for queue, rest in found.items():
            if rest:
                tx.after_commit(partial(self.dispatcher.mark_ready, queue))

    def _hand_out(self, tx: Tx, waiter: Waiter, found: deque[jobs.Ready], most: int) -> int:
        """Lease so many of the jobs found to a poll; answers how many."""
        got = 0
        while found and got < most:
            taken = self._claim_row(tx, found.popleft(), waiter.lease_ms, waiter.worker)
            if taken is not None:
                self._deliver_later(tx, waiter, taken, reserved=False)
                got += 1
        return got

    def _ready(self, tx: Tx, queue: str, most: int) -> list[jobs.Ready]:
        """What lies ready; remembers whether there was more."""
        called = self.dispatcher.called(queue)
        rows = jobs.ready(tx, queue, most)
        if len(rows) < most:
            if len(rows) < jobs.left(tx, queue, most):
                tx.after_commit(lambda: self.signals.serve(queue))
            else:
                tx.after_commit(lambda: self.dispatcher.found_empty(queue, called))
        return rows

    def _claim_row(self, tx: Tx, ready: jobs.Ready, lease_ms: int, worker: str) -> Taken | None:
        row, text = ready
        held = processes.load(tx, row.pid)
        if held is None:
            jobs.close(tx, row.pid, row.n)
            return None
        grant = new_grant(row.pid, row.n, tx.now + lease_ms, worker)
        jobs.take(tx, row, grant.lease, held.vid)
        rendered: Any = None if text is None else codec.decode_json(text)
        command = do.OpenJob(row.n, row.scope, row.node, jobs.topic_of(row.queue), row.attempt, rendered, row.timeout)
        return self.taken(held, command, grant, row.available_at, row.trace)

    def serve(self, tx: Tx, queue: str) -> None:
        """Give what lies ready in a queue to the polls that wait for it."""
        waiters: list[Waiter] = []
        while len(waiters) < MOST_SERVED:
            waiter = self.dispatcher.offer(queue, tx.locked)
            if waiter is None:
                break
            waiters.append(waiter)
        rows = self._ready(tx, queue, len(waiters)) if waiters else []
        for waiter in waiters[len(rows) :]:
            self.dispatcher.take_back(waiter)
        for waiter, row in zip(waiters, rows, strict=False):
            taken = self._claim_row(tx, row, waiter.lease_ms, waiter.worker)
            if taken is None:
                self.dispatcher.take_back(waiter)
            else:
                self._deliver_later(tx, waiter, taken)
        if len(rows) == MOST_SERVED:
            tx.after_commit(lambda: self.signals.serve(queue))
