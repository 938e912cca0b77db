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
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from penstock.engines.embedded import EmbeddedEngine
from penstock.errors import PenstockError, Unavailable
from penstock.store import Store, feed, inbox, jobs, messages, timers
from penstock.store.rows import Tx

log = logging.getLogger(__name__)

TICK = 0.5
"""Seconds between looks at leases, and the longest sleep for a timer: a clock that jumps is noticed within it."""

SWEEP = 5.0
"""Seconds between sweeps."""

MOST = 200
"""Timers, leases or processes taken up in one look."""


class Loops:
    """The engine's own work on one node. `run` until cancelled."""

    def __init__(self, store: Store, engine: EmbeddedEngine) -> None:
        self._store = store
        self._engine = engine
        self._next_due: int | None = None
        self._soon = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waking: set[int] = set()
        self._lock = threading.Lock()
        signals = engine.signals
        signals.timer = self._timer_started
        signals.match = self.match
        signals.give_back = self._give_back
        store.listen(self.heard)

    async def run(self) -> None:
        """Work until cancelled."""
        self._loop = asyncio.get_running_loop()
        swept = 0.0
        while True:
            try:
                if time.monotonic() - swept >= SWEEP:
                    await self._sweep()
                    swept = time.monotonic()
                await self._fire_due()
                await self._expire_leases()
            except Unavailable as error:
                log.warning("the engine waits for the database: %s", error.message)
            except PenstockError:
                log.exception("the engine's loop met an error and goes on")
            self._soon.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._soon.wait(), self._pause())

    def _pause(self) -> float:
        if self._next_due is None:
            return TICK
        return min(TICK, max(0.0, self._next_due / 1000 - time.time()))

    async def _unit(self, unit: Callable[[Tx], Any], keys: tuple[int, ...] = (), *, low: bool = False) -> Any:
        return await self._store.submit_async(unit, keys, low=low)

    # -- timers and leases -------------------------------------------------------------------------------------

    def _timer_started(self, due_at: int) -> None:
        """On the writer's thread."""
        if self._next_due is None or due_at < self._next_due:
            self._next_due = due_at
            self._poke()

    def _poke(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server is going down
                self._loop.call_soon_threadsafe(self._soon.set)

    async def _fire_due(self) -> None:
        if self._next_due is not None and self._next_due / 1000 > time.time() + 0.001:
            return
        due, next_due = await self._unit(lambda tx: (timers.due(tx, MOST), timers.next_due(tx)))
        self._next_due = next_due
        for row in due:
            self._submit(partial(self._fire, row), row.pid, "a timer")
        if due:
            # what was due is being fired; look again for what comes after it
            self._next_due = None if len(due) == MOST else await self._unit(_after_now)

    async def _expire_leases(self) -> None:
        for pid, n in await self._unit(lambda tx: jobs.expired(tx, MOST), low=True):
            self._submit(partial(self._expire, pid, n), pid, "a lease")

    def _fire(self, row: timers.Row, tx: Tx) -> None:
        self._engine.fire_timer(tx, row.pid, row.n, row.purpose)

    def _expire(self, pid: int, n: int, tx: Tx) -> None:
        self._engine.expire_lease(tx, pid, n)

    def _give_back(self, pid: int, n: int, lease: str) -> None:
        self._submit(lambda tx: self._engine.return_job(tx, pid, n, lease), pid, "a lease given back")

    def serve(self, queue: str) -> None:
        """A job lies ready: give it to a poll that waits, if one does."""
        if self._engine.dispatcher.waiting(queue):
            self._submit(lambda tx: self._engine.serve(tx, queue), None, "a poll")

    # -- inbox and messages ------------------------------------------------------------------------------------

    def wake(self, pid: int) -> None:
        """Apply what waits in the inbox of a process."""
        with self._lock:
            if pid in self._waking:
                return
            self._waking.add(pid)

        def unit(tx: Tx) -> bool:
            with self._lock:
                self._waking.discard(pid)
            return self._engine.apply_inbox(tx, pid)

        def done(future: Future[bool]) -> None:
            with self._lock:
                self._waking.discard(pid)
            if future.exception() is None and future.result():
                self.wake(pid)
            elif isinstance(future.exception(), Unavailable):
                return  # the sweep comes again
            elif future.exception() is not None:
                log.error("process %s: its inbox cannot be applied", pid, exc_info=future.exception())
                self._submit(lambda tx: inbox.set_aside(tx, pid), pid, "a poisonous event")

        self._submit(unit, pid, "the inbox", done)

    def match(self, tid: int, name: str, key: str) -> None:
        """Pair kept messages with waiters under a name and key."""

        def done(future: Future[bool]) -> None:
            if future.exception() is None and future.result():
                self.match(tid, name, key)

        self._submit(lambda tx: self._engine.match(tx, tid, name, key), None, "a message", done)

    async def _sweep(self) -> None:
        for pid in await self._unit(lambda tx: inbox.pids(tx, MOST), low=True):
            self.wake(pid)
        for tid, name, key in await self._unit(lambda tx: messages.pairs(tx, MOST), low=True):
            self.match(tid, name, key)
        await self._unit(lambda tx: feed.number(tx, 1000), low=True)
        if self._store.dialect != "sqlite":
            self._look_again()

    def heard(self, payloads: list[str]) -> None:
        """This node or another left work: `inbox:PID`, `queue:NAME`, or `*` for whatever there may be."""
        for payload in payloads:
            kind, _, rest = payload.partition(":")
            if kind == "inbox":
                self.wake(int(rest))
            elif kind == "queue":
                self._engine.dispatcher.mark(rest, ready=True)
                self.serve(rest)
            elif kind == "*":
                self._look_again()

    def _look_again(self) -> None:
        for queue in self._engine.dispatcher.queues():
            self._engine.dispatcher.mark(queue, ready=True)
            self.serve(queue)
        self._next_due = None
        self._poke()

    # -- submitting --------------------------------------------------------------------------------------------

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


def _after_now(tx: Tx) -> int | None:
    return timers.next_due_after(tx, tx.now)
