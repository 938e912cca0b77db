"""The embedded engine: steps inline, in the same commit as what caused them.

`accept` applies an event to a process inside the caller's unit. What must happen after the commit (deliver jobs, wake timers,
apply the inbox) is told to `Loops` by callbacks; nothing of it is lost in a crash, for it all stands in rows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid5

from penstock.core import codec, decider
from penstock.core import commands as do
from penstock.core import events as ev
from penstock.core.state import ENDED, Status
from penstock.engines.dispatch import Dispatcher, Grant, Taken, Waiter, execution_id, new_grant, place_of
from penstock.errors import Invalid, LeaseLost, NotFound, WrongState
from penstock.store import Store, definitions, inbox, jobs, messages, outbox, processes, search, timers
from penstock.store.carrying import Effects
from penstock.store.held import Held
from penstock.store.rows import JOBS, VISITS, Tx

log = logging.getLogger(__name__)

MOST_DEEP = 50
"""Calls within calls: a definition that calls itself without end stops here, with an incident."""


class Signals:
    """What the engine tells its loops after a commit. `Loops` sets the functions; a test may leave them."""

    def __init__(self) -> None:
        self.timer: Callable[[int], None] = _unheard
        self.match: Callable[[int, str, str], None] = _unheard
        self.give_back: Callable[[int, int, str], None] = _unheard


def _unheard(*_: object) -> None:
    """Nobody runs the loops."""


class EmbeddedEngine:
    """Implements the engine port of `operations.context`."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher()
        self.signals = Signals()

    # -- the port ----------------------------------------------------------------------------------------------

    def start(self, held: Held, event: ev.Started) -> Held:
        """The first step of a process that `processes.create` made."""
        return self._commit(held, event, decider.start(held.version, held, event))

    def accept(self, tx: Tx, pid: int, event: ev.AnyEvent) -> Held:
        """Apply an event.

        Raises: NotFound, WrongState, Invalid (a node or visit that is not there).
        """
        held = processes.load(tx, pid)
        if held is None:
            raise NotFound("process", pid)
        answer = self.apply(held, event)
        if isinstance(answer, decider.Rejected):
            raise (Invalid if answer.code == "unknown" else WrongState)(answer.message)
        return answer

    def apply(self, held: Held, event: ev.AnyEvent) -> Held | decider.Rejected:
        """Apply an event to a process that is loaded; a rejection is an answer here."""
        step = decider.step(held.version, held.process, held, event)
        if isinstance(step, decider.Rejected):
            return step
        return self._commit(held, event, step)

    def commit(self, held: Held, event: ev.AnyEvent, step: decider.Step) -> Held:
        """Commit a step that was worked out elsewhere (a migration)."""
        return self._commit(held, event, step)

    def answer(self, tx: Tx, row: jobs.Row, event: ev.JobCompleted | ev.JobFailed | ev.ErrorThrown) -> Held:
        """Apply a worker's answer for a job it holds.

        Raises: LeaseLost when the process has gone on without it.
        """
        held = processes.load(tx, row.pid)
        answer = None if held is None else self.apply(held, event)
        if answer is None or isinstance(answer, decider.Rejected):
            raise LeaseLost("the process has gone on: the answer is not applied")
        return answer

    # -- carrying out ------------------------------------------------------------------------------------------

    def _commit(self, held: Held, event: ev.AnyEvent, step: decider.Step) -> Held:
        tx = held.tx
        grants: list[tuple[do.OpenJob, Waiter, Grant]] = []

        def offer(command: do.OpenJob) -> jobs.Lease | None:
            waiter = self.dispatcher.offer(jobs.queue_of(held.tid, command.topic))
            if waiter is None:
                return None
            grant = new_grant(held.pid, command.visit, tx.now + waiter.lease_ms, waiter.worker)
            grants.append((command, waiter, grant))
            return grant.lease

        moved, effects = processes.commit_step(held, event, step, offer)
        for command, waiter, grant in grants:
            taken = self.taken(moved, command, grant, tx.now)
            tx.after_commit(self._delivery(waiter, taken))
        self._after(moved, effects)
        return moved

    def _delivery(self, waiter: Waiter, taken: Taken) -> Callable[[], None]:
        def deliver() -> None:
            if not self.dispatcher.deliver(waiter, taken):
                self.signals.give_back(taken.pid, taken.visit, taken.lease)

        return deliver

    def taken(self, held: Held, command: do.OpenJob, grant: Grant, now: int) -> Taken:
        return Taken(
            pid=held.pid,
            process_id=held.process_id,
            visit=command.visit,
            definition=held.version.code,
            version=held.number,
            node=command.node,
            topic=command.topic,
            attempt=command.attempt,
            execution_id=execution_id(command.visit, command.attempt),
            token=grant.token,
            lease=grant.lease.lease,
            leased_until=grant.lease.until,
            input=command.input,
            timeout_at=None if command.timeout is None else now + command.timeout,
            created_at=now,
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
        if effects.data_changed and held.version.search:
            search.index(held)
        for published in effects.published:
            outbox.publish(tx, held.tid, held.pid, published.kind, {"process": held.process_id, **published.data})
        for queue in sorted(effects.ready):
            self.ready(tx, queue)
        if effects.wake:
            self.wake_later(tx, held.pid)
        if effects.due_at is not None:
            due_at = effects.due_at
            tx.after_commit(lambda: signals.timer(due_at))
        for name, key in effects.subscribed:
            tx.after_commit(lambda name=name, key=key: signals.match(held.tid, name, key))  # type: ignore[misc]

    def ready(self, tx: Tx, queue: str) -> None:
        """A job was left for whoever polls the queue next, here or on another node."""
        tx.notify(f"queue:{queue}")

    def wake_later(self, tx: Tx, pid: int) -> None:
        """There is something in the inbox of a process."""
        tx.notify(f"inbox:{pid}")

    # -- children ----------------------------------------------------------------------------------------------

    def _start_child(self, held: Held, command: do.StartChild) -> None:
        tx = held.tx
        latest = definitions.latest(tx, held.tid, command.definition)
        if latest is None or held.depth >= MOST_DEEP:
            message = f"calls more than {MOST_DEEP} deep" if latest else f"no definition {command.definition!r}"
            gone = ev.ChildEnded(at=tx.now, scope=command.scope, visit=command.visit, status="UNKNOWN", message=message)
            inbox.post(tx, held.pid, gone)
            self.wake_later(tx, held.pid)
            return
        child = processes.create(
            tx,
            tid=held.tid,
            id=str(uuid5(UUID(held.process_id), f"{held.tid}/child/{command.visit}/{held.process.seq}")),
            did=latest.did,
            vid=latest.vid,
            created_by=held.created_by,
            parent=(held.pid, command.scope, command.visit),
            depth=held.depth + 1,
        )
        processes.put_row(child, child.process)
        inbox.post(tx, child.pid, ev.Started(at=tx.now, input=command.input, called=True))
        self.wake_later(tx, child.pid)

    def _cancel_child(self, held: Held, command: do.CancelChild) -> None:
        for pid in processes.children(held.tx, held.pid, command.visit):
            inbox.post(held.tx, pid, ev.CancelRequested(at=held.tx.now, reason="its caller went on"))
            self.wake_later(held.tx, pid)

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
        self.wake_later(held.tx, pid)

    # -- what loops submit -------------------------------------------------------------------------------------

    def apply_inbox(self, tx: Tx, pid: int, most: int = 16) -> bool:
        """Apply what waits in the inbox of a process, in order. True when there is more."""
        entries = inbox.pending(tx, pid, most)
        for entry in entries:
            held = processes.load(tx, pid)
            if held is not None:
                self._apply_entry(held, entry.event)
            inbox.done(tx, entry.iid)
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
            messages.give_back(held.tx, held.tid, event.name, event.message_id)

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
        held = processes.load(tx, pid)
        if held is None:
            jobs.close(tx, pid, n)
            return
        if held.process.status is Status.TERMINATING:
            self.apply(held, ev.JobReturned(at=tx.now, scope=row.scope, visit=n, attempt=row.attempt))
            return
        failure: ev.Failure | None = None
        if row.state == "AWAITING":
            failure = ev.Failure("Timeout", "the endpoint answered 202 and then nothing in time")
        elif row.deliveries >= jobs.MOST_DELIVERIES:
            message = f"{row.deliveries} workers took the job and none answered"
            failure = ev.Failure("LeaseExpired", message, permanent=True)
        if failure is not None:
            self.apply(held, ev.JobFailed(at=tx.now, scope=row.scope, visit=n, attempt=row.attempt, failure=failure))
            return
        suspended = held.process.status is Status.SUSPENDED
        jobs.give_back(tx, row, held=suspended)
        if not suspended:
            self.ready(tx, row.queue)

    def return_job(self, tx: Tx, pid: int, n: int, lease: str) -> None:
        """A lease nobody took delivery of."""
        row = jobs.get(tx, pid, n)
        if row is not None and row.lease == lease:
            held = processes.load(tx, pid)
            jobs.give_back(tx, row, held=held is not None and held.process.status is Status.SUSPENDED)
            self.ready(tx, row.queue)

    def match(self, tx: Tx, tid: int, name: str, key: str) -> bool:
        """Pair one message with one waiter. True when there may be another pair."""
        pid = messages.match(tx, tid, name, key)
        if pid is None:
            return False
        self.wake_later(tx, pid)
        return True

    def match_later(self, tx: Tx, tid: int, name: str, key: str) -> None:
        """A message was kept: pair it with a waiter after the commit."""
        tx.after_commit(lambda: self.signals.match(tid, name, key))

    # -- polls -------------------------------------------------------------------------------------------------

    async def poll(
        self, store: Store, queues: list[str], most: int, wait: float, lease_ms: int, worker: str
    ) -> list[Taken]:
        """Take jobs of these queues; where there are none, wait up to `wait` seconds for the first to be born."""
        waiter = Waiter(queues, most, lease_ms, worker)

        def unit(tx: Tx) -> list[Taken]:
            found = self.claim(tx, queues, most, lease_ms, worker)
            if not found and wait > 0:
                self.dispatcher.register(waiter)
            return found

        try:
            found = await store.submit_async(unit)
            if found or wait <= 0:
                return found
            await asyncio.wait((waiter.future,), timeout=wait)
            return await self._settled(waiter)
        finally:
            for taken in self.dispatcher.abandon(waiter):
                self.signals.give_back(taken.pid, taken.visit, taken.lease)

    async def _settled(self, waiter: Waiter) -> list[Taken]:
        """Close a poll once what is reserved for it has been committed."""
        for _ in range(100):
            if waiter.reserved <= len(waiter.taken):
                break
            await asyncio.sleep(0.002)
        return self.dispatcher.close(waiter)

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
        taken = list(await self._settled(reserved))
        room = reserved.most - len(taken)
        if room > 0 and any(self.dispatcher.maybe_ready(queue) for queue in reserved.queues):
            w = reserved
            taken += await store.submit_async(lambda tx: self.claim(tx, w.queues, room, w.lease_ms, w.worker))
        return taken

    def claim(self, tx: Tx, queues: list[str], most: int, lease_ms: int, worker: str) -> list[Taken]:
        """Lease what lies ready in these queues, oldest first within each."""
        found: list[Taken] = []
        for queue in queues:
            room = most - len(found)
            if room <= 0:
                break
            if not self.dispatcher.maybe_ready(queue):
                continue
            rows = jobs.ready(tx, queue, room)
            if len(rows) < room:
                self.dispatcher.mark(queue, ready=False)
            for row in rows:
                taken = self._claim_row(tx, row, lease_ms, worker)
                if taken is not None:
                    found.append(taken)
        return found

    def _claim_row(self, tx: Tx, row: jobs.Row, lease_ms: int, worker: str) -> Taken | None:
        held = processes.load(tx, row.pid)
        visit = tx.get(VISITS, (row.pid, row.n))
        if held is None or visit is None:
            tx.delete(JOBS, (row.pid, row.n))
            return None
        grant = new_grant(row.pid, row.n, tx.now + lease_ms, worker)
        jobs.take(tx, row, grant.lease)
        rendered: Any = None if visit[7] is None else codec.decode_json(visit[7])
        command = do.OpenJob(row.n, row.scope, row.node, jobs.topic_of(row.queue), row.attempt, rendered, row.timeout)
        return self.taken(held, command, grant, row.available_at)

    def serve(self, tx: Tx, queue: str) -> None:
        """Give what lies ready in a queue to the polls that wait for it."""
        while True:
            waiter = self.dispatcher.offer(queue)
            if waiter is None:
                return
            found = self.claim(tx, [queue], 1, waiter.lease_ms, waiter.worker)
            if not found:
                self.dispatcher.take_back(waiter)
                return
            tx.after_commit(self._delivery(waiter, found[0]))
