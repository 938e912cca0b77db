"""What the engine does by itself: due timers, expired leases, the inbox, messages and waiters that missed each other.

After a commit the engine's signals start this work at once, with no look at the database. The sweep looks all the same, every
few seconds: it is what finds work after a restart, and on PostgreSQL what another node left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

from penstock.engines.embedded import EmbeddedEngine
from penstock.errors import PenstockError, Unavailable
from penstock.store import Store, feed, inbox, jobs, messages, timers
from penstock.store.fairness import ENGINE, Turn, in_turn, of_tenant
from penstock.store.rows import Tx
from penstock.telemetry.activity import Activity, acting
from penstock.telemetry.tracing import Tracer

log = logging.getLogger(__name__)

TICK = 0.5
"""Seconds between looks at leases, and the longest sleep for a timer: a clock that jumps is noticed within it."""

NUMBERING = 0.05
"""Seconds between two rounds of giving feed numbers, while there is something to number."""

SWEEP = 5.0
"""Seconds between sweeps."""

MOST = 200
"""Timers, leases or processes taken up in one look."""

BATCH = 16
"""Events of one inbox applied in one unit."""

NAMES = 1_000
"""Kept messages looked after in one sweep, by name and key."""

LATER = 60_000
"""Milliseconds until something that failed by a bug is tried again."""

SOON = 0.02
"""Seconds until a queue is looked into again whose jobs another node held."""

NEVER = 2**62


class Due(NamedTuple):
    """A timer or a lease that has run out."""

    pid: int
    tid: int | None
    unit: Callable[[Tx], None]
    later: Callable[[Tx], None]
    """Puts it off."""
    name: str
    trace: str | None = None
    """`traceparent` of the step that set it, where steps are traced."""


class Loops:
    """The engine's own work on one node. `run` until cancelled."""

    def __init__(self, store: Store, engine: EmbeddedEngine) -> None:
        self.tracer: Tracer | None = None
        self._store = store
        self._engine = engine
        self._next_due: int | None = None
        """When the next timer is due by the database's clock; None: look."""
        self._started = NEVER
        """The earliest timer started since the last look began."""
        self._skew = 0.0
        """Milliseconds the database's clock is ahead of ours."""
        self._soon = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._numbered = False
        """The last look gave feed numbers."""
        self._waking: set[int] = set()
        self._serving: set[str] = set()
        self._lock = threading.Lock()
        self._names: tuple[int, str, str] = (0, "", "")
        """Up to where kept messages have been looked after."""
        signals = engine.signals
        signals.timer = self._timer_started
        signals.match = self.match
        signals.serve = self._serve_soon
        signals.give_back = self._give_back
        store.listen(self.heard)

    async def run(self) -> None:
        """Work until cancelled."""
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forever(self._fire_due, self._until_due))
            tasks.create_task(self._forever(self._expire_leases, partial(asyncio.sleep, TICK)))
            tasks.create_task(self._forever(self._sweep, partial(asyncio.sleep, SWEEP)))
            if self._store.dialect != "sqlite":
                tasks.create_task(self._forever(self._number, self._until_number))

    async def _forever(self, work: Callable[[], Awaitable[None]], pause: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Unavailable as error:
                log.warning("the engine waits for the database: %s", error.message)
                await asyncio.sleep(TICK)
            except Exception:
                log.exception("the engine's loop met an error and goes on")
                await asyncio.sleep(TICK)
            await pause()

    async def _unit(self, unit: Callable[[Tx], Any], keys: tuple[int, ...] = (), *, low: bool = False) -> Any:
        return await self._store.submit_async(unit, keys, low=low)

    async def _all(self, due: list[Due]) -> bool:
        """Do what is due, each in a unit of its own. True when all went well.

        What fails by a bug is put off; what the database had no time for comes again by itself.
        """
        units = [asyncio.ensure_future(self._due(each)) for each in due]
        results = await asyncio.gather(*units, return_exceptions=True)
        for each, error in zip(due, results, strict=True):
            if error is None or isinstance(error, Unavailable):
                continue
            log.error("process %s: what is due cannot be done", each.pid, exc_info=error)
            with contextlib.suppress(PenstockError), in_turn(_of(each.tid)):
                await self._unit(each.later, (each.pid,))
        return not any(results)

    async def _due(self, due: Due) -> None:
        with in_turn(_of(due.tid)):
            await self._traced(due)

    async def _traced(self, due: Due) -> None:
        if self.tracer is None:
            await self._unit(due.unit, (due.pid,))
            return
        # nobody's request: a trace of its own, linked to the one in which it was set
        span = self.tracer.root(due.name, link=due.trace)
        try:
            with acting(Activity(span=span)):
                await self._unit(due.unit, (due.pid,))
        finally:
            span.end()

    # -- timers and leases ---------------------------------------------------------------------------------------------

    def _timer_started(self, due_at: int) -> None:
        """On the writer's thread."""
        with self._lock:
            self._started = min(self._started, due_at)
            earlier = self._next_due is not None and due_at < self._next_due
            if earlier:
                self._next_due = due_at
        if earlier:
            self._poke()

    def look_for_timers(self) -> None:
        """Look now, and once more if a look is on its way: it may have been too early."""
        with self._lock:
            self._started = 0
            self._next_due = None
        self._poke()

    def _poke(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server is going down
                self._loop.call_soon_threadsafe(self._soon.set)

    def _left(self) -> float:
        """Seconds until the next timer is due."""
        due = self._next_due
        return 0.0 if due is None else (due - self._skew) / 1000 - time.time()

    async def _until_due(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(
                self._soon.wait(), TICK if self._next_due is None else min(TICK, max(0.0, self._left()))
            )
        self._soon.clear()

    async def _fire_due(self) -> None:
        if self._left() > 0:
            return
        while True:
            with self._lock:
                self._started = NEVER
            before = time.time() * 1000
            now, due, next_due = await self._unit(_look)
            self._compare(before, now)
            well = await self._all(
                [
                    Due(row.pid, tid, partial(self._fire, row), partial(_postpone_timer, row), "timer", row.trace)
                    for row, tid in due
                ]
            )
            if well and len(due) < MOST:
                with self._lock:
                    self._next_due = min(next_due, self._started)
                return
            if not well:
                self._next_due = None
                return

    async def _expire_leases(self) -> None:
        while True:
            before = time.time() * 1000
            now, expired = await self._unit(lambda tx: (tx.now, jobs.expired(tx, MOST)), low=True)
            self._compare(before, now)  # a look at the database's clock every tick, for the timers
            well = await self._all(
                [
                    Due(pid, tid, partial(self._expire, pid, n), partial(_postpone_lease, pid, n), "lease")
                    for pid, n, tid in expired
                ]
            )
            if not well or len(expired) < MOST:
                return

    def _compare(self, before: float, now: int) -> None:
        """The database's clock said `now`, and ours `before` when it was asked."""
        # between the two bounds; none when both clocks agree within the time the look took
        self._skew = min(max(0.0, now - time.time() * 1000), now - before)

    def _fire(self, row: timers.Row, tx: Tx) -> None:
        self._engine.fire_timer(tx, row.pid, row.n, row.purpose)

    def _expire(self, pid: int, n: int, tx: Tx) -> None:
        self._engine.expire_lease(tx, pid, n)

    def _give_back(self, pid: int, n: int, lease: str) -> None:
        self._submit(lambda tx: self._engine.return_job(tx, pid, n, lease), pid, "a lease given back")

    def serve(self, queue: str) -> None:
        """A job lies ready: give it to a poll that waits, if one does."""
        if self._engine.dispatcher.waiting(queue):
            with in_turn(_of(int(queue.partition("/")[0]))):
                self._submit(lambda tx: self._engine.serve(tx, queue), None, "a poll")

    def _serve_soon(self, queue: str) -> None:
        """On the writer's thread."""
        with self._lock:
            known = queue in self._serving
            self._serving.add(queue)
        if not known and self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._loop.call_later, SOON, self._serve_now, queue)

    def _serve_now(self, queue: str) -> None:
        with self._lock:
            self._serving.discard(queue)
        self.serve(queue)

    # -- inbox and messages --------------------------------------------------------------------------------------------

    def wake(self, pid: int, tid: int | None = None, most: int = BATCH) -> None:
        """Apply what waits in the inbox of a process, in its tenant's turn where that is known."""
        with self._lock:
            if pid in self._waking:
                return
            self._waking.add(pid)

        tried: list[int] = []

        def unit(tx: Tx) -> bool:
            with self._lock:
                self._waking.discard(pid)
            return self._engine.apply_inbox(tx, pid, most, tried.append)

        def done(future: Future[bool]) -> None:
            with self._lock:
                self._waking.discard(pid)
            error = future.exception()
            if error is None:
                if future.result():
                    self.wake(pid, tid, most)
            elif isinstance(error, Unavailable):
                return  # the sweep comes again
            elif most > 1:
                self.wake(pid, tid, 1)  # to find which of them it is
            else:
                log.error("process %s: an event in its inbox cannot be applied and is set aside", pid, exc_info=error)
                # the one that was tried, for another node may have set it aside already
                iid = tried[-1] if tried else 0
                again: Callable[[Any], None] = lambda _: self.wake(pid, tid)  # noqa: E731
                with in_turn(_of(tid)):
                    self._submit(lambda tx: inbox.set_aside(tx, iid), pid, "a poisonous event", again)

        with acting(self._engine.posted.take(pid)), in_turn(_of(tid)):
            self._submit(unit, pid, "the inbox", done)

    def match(self, tid: int, name: str, key: str) -> None:
        """Pair kept messages with waiters under a name and key."""

        def done(future: Future[bool]) -> None:
            if future.exception() is None and future.result():
                self.match(tid, name, key)

        with in_turn(_of(tid)):
            self._submit(lambda tx: self._engine.match(tx, tid, name, key), None, "a message", done)

    async def _sweep(self) -> None:
        after, full = 0, True
        while full:
            found = await self._unit(partial(_pids, after), low=True)
            for pid, tid in found:
                self.wake(pid, tid)
            full = len(found) == MOST
            after = found[-1][0] if found else 0
        for tid, name, key in await self._unit(self._kept_names, low=True):
            self.match(tid, name, key)
        self._look_again()

    def _kept_names(self, tx: Tx) -> list[tuple[int, str, str]]:
        """Names of messages that are kept though somebody waits; a part of all at a time."""
        names = messages.kept_names(tx, self._names, NAMES)
        after = names[-1] if len(names) == NAMES else (0, "", "")
        tx.after_commit(lambda: setattr(self, "_names", after))
        return [each for each in names if messages.waits(tx, *each)]

    async def _number(self) -> None:
        """Give what was committed its feed numbers, where no other node is at it. PostgreSQL alone."""
        self._numbered = False
        while True:
            found = await self._unit(lambda tx: feed.number(tx, NAMES), low=True)
            self._numbered = self._numbered or found > 0
            if found < NAMES:
                return

    async def _until_number(self) -> None:
        """Who has just numbered is soon back: event streams wait for it."""
        await asyncio.sleep(NUMBERING if self._numbered else TICK / 2)

    def heard(self, payloads: list[str]) -> None:
        """This node or another left work: `inbox:PID:TID`, `queue:NAME`, or `*` for whatever there may be."""
        for payload in payloads:
            kind, _, rest = payload.partition(":")
            if kind == "inbox":
                pid, _, tid = rest.partition(":")
                self.wake(int(pid), int(tid))
            elif kind == "queue":
                self._engine.dispatcher.mark_ready(rest)
                self.serve(rest)
            elif kind == "*":
                self._look_again()

    def _look_again(self) -> None:
        for queue in self._engine.dispatcher.queues():
            self._engine.dispatcher.mark_ready(queue)
            self.serve(queue)
        self.look_for_timers()

    # -- submitting ----------------------------------------------------------------------------------------------------

    def _submit(
        self,
        unit: Callable[[Tx], Any],
        pid: int | None,
        what: str,
        done: Callable[[Future[Any]], None] | None = None,
    ) -> None:
        def report(future: Future[Any]) -> None:
            error = future.exception()
            if error is not None and not isinstance(error, Unavailable):
                log.error("%s could not be taken up: %s", what, error, exc_info=error)

        try:
            future = self._store.submit(unit, () if pid is None else (pid,))
        except PenstockError:  # closed, or too much at once: the sweep comes again
            with self._lock:
                if pid is not None:
                    self._waking.discard(pid)
            return
        future.add_done_callback(done or report)


def _of(tid: int | None) -> Turn:
    """Whose turn work for one process takes; the queue of http jobs is everybody's (0), and so is what is not known."""
    return of_tenant(tid) if tid else ENGINE


def _look(tx: Tx) -> tuple[int, list[tuple[timers.Row, int | None]], int]:
    """The time, what is due, and when the next is."""
    due = timers.due(tx, MOST)
    return tx.now, due, timers.next_due_after(tx, tx.now) or NEVER


def _pids(after: int, tx: Tx) -> list[tuple[int, int | None]]:
    return inbox.pids(tx, after, MOST)


def _postpone_timer(row: timers.Row, tx: Tx) -> None:
    timers.postpone(tx, row, tx.now + LATER)


def _postpone_lease(pid: int, n: int, tx: Tx) -> None:
    jobs.postpone(tx, pid, n, tx.now + LATER)
