"""The writer: one thread that runs units in groups, and commits each group once.

Theory of operation
  A unit is a synchronous function of a `Tx`, submitted from any thread. The thread takes up to `GROUP_UNITS` of them,
  tenant by tenant (`fairness`) and in the order of arrival within a tenant, opens a transaction (on PostgreSQL with
  the locks on all their processes), runs them for at most `GROUP_SECONDS`, flushes their
  buffers and commits. Then, and only then, their futures get their results.
  - A unit that raises drops its buffer; nobody else notices.
  - If anything fails that the group shares (a flush, the COMMIT, a statement inside a unit, a unit that had written
    before it raised) the transaction is rolled back and the units run again, each in a transaction of its own.
  - Units whose process another node holds go back to the front of their tenant and wait; later ones of the same process
    with them.
  - If the connection is lost, a new one is made. Whether a commit in flight was carried out is asked first.
  - If the database cannot be had at all, everyone who waits is told `Unavailable`.
Nothing here knows SQL or which database it is; `database.Connection` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from penstock.errors import Defect, PenstockError, Unavailable
from penstock.store.database import Connection
from penstock.store.fairness import Room, Turns
from penstock.store.group import Answer, Failed, Group, Kept, Unit, Wants, ours, wanted
from penstock.store.rows import Tx
from penstock.telemetry.activity import CURRENT, PROCESS

log = logging.getLogger(__name__)

T = TypeVar("T")

GROUP_UNITS = 64
GROUP_SECONDS = 0.010
GATHER_UNITS = 6
"""From this size of the last group on, the next waits a little for its units to arrive."""
GATHER_STEPS = 2
GATHER_SECONDS = 0.001
QUEUE_LIMIT = 20_000
CACHE_OBJECTS = 20_000
HELD_SECONDS = 10.0
"""How long a unit waits for a process that another node holds."""
RECONNECT_SECONDS = 5.0
"""How long a lost database is waited for, before everyone who waits is told; later groups try once each."""
DOUBT_SECONDS = 30.0
"""How long to ask for the fate of a commit whose answer was lost, before saying that it is not known."""
TRIES = 3
"""How often a unit is tried when the connection breaks under it or two nodes meet."""


class _Outage(Exception):
    """The database cannot be had; `error` is what everyone is told."""

    def __init__(self, error: PenstockError) -> None:
        super().__init__(str(error))
        self.error = error


class Writer:
    """One thread, one connection, everything that changes the database."""

    def __init__(
        self,
        connection: Connection,
        node: str,
        *,
        heard: Callable[[list[str]], object] | None = None,
        queue_limit: int = QUEUE_LIMIT,
        cache_objects: int = CACHE_OBJECTS,
    ) -> None:
        """`heard` gets the payloads of this node's own notices after each commit. Takes an open connection."""
        self.connection = connection
        self._kept = Kept(connection, node, cache_objects)
        self.stats = self._kept.stats
        self._heard = heard
        self._limit = queue_limit
        self._arrivals: queue.SimpleQueue[Unit | None] = queue.SimpleQueue()
        self._normal: Turns[Unit] = Turns()
        self._low: Turns[Unit] = Turns()
        self._room = Room(self._normal, self._low)
        self._door = threading.Lock()
        self._closed = False
        self._draining = False
        self._backoff = 0.0
        self._last = 0
        """Units in the last group."""
        self._broken = 0
        """Groups in a row that found the connection lost before they began."""
        self._down = False
        self._thread = threading.Thread(target=self._run, name="penstock-writer", daemon=True)
        self._thread.start()

    # --- from any thread ---

    def submit(
        self, unit: Callable[[Tx], T], keys: Iterable[int] = (), wants: Wants = (), *, low: bool = False
    ) -> Future[T]:
        """Have the unit run in its turn.

        `keys`: pids of the processes it touches, `definition_key`s of definitions; `wants`: rows it will get.

        Raises: Unavailable when closed or when too many wait.
        """
        future: Future[T] = Future()
        self._put(Unit(unit, tuple(keys), future, None, wants, low=low))
        return future

    def submit_async(
        self, unit: Callable[[Tx], T], keys: Iterable[int] = (), wants: Wants = (), *, low: bool = False
    ) -> asyncio.Future[T]:
        """The same from a coroutine."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._put(Unit(unit, tuple(keys), future, loop, wants, low=low))
        return future

    @property
    def waiting(self) -> int:
        """How many units wait; an estimate."""
        return self._arrivals.qsize() + self._normal.size + self._low.size

    def _put(self, unit: Unit) -> None:
        with self._door:  # so that nothing arrives behind the mark that closes
            if self._closed:
                raise Unavailable("the store is closed")
            room, tag = self._room, unit.turn[0]
            if self.waiting >= self._limit and not room.may(tag, self._limit):
                raise Unavailable("too many writes are waiting", retry_after=1)
            room.come[tag] = room.come.get(tag, 0) + 1
            self._arrivals.put(unit)

    def close(self) -> None:
        """Take nothing more, finish what waits, stop."""
        with self._door:
            first, self._closed = not self._closed, True
            if first:
                self._arrivals.put(None)
        self._thread.join()

    # --- the thread ---

    def _run(self) -> None:
        while True:
            units = self._take()
            if units is None:
                return
            try:
                if units:
                    self._group(units)
            except BaseException as exc:
                # a bug here must not end the thread; who was in the group must hear of it
                log.exception("the writer failed")
                with contextlib.suppress(Exception):
                    self.connection.rollback()
                self._answer([(unit, None, Defect(f"the writer failed: {exc!r}")) for unit in units])

    def _take(self) -> list[Unit] | None:
        """The next group in order; waits for the first. None: closed and nothing left."""
        self._receive()
        if self._last >= GATHER_UNITS and not self._draining:
            self._gather()
        normal, low = self._normal, self._low
        if not normal.size and not low.size and self._draining:
            return None
        units = normal.take(GROUP_UNITS)
        # Under load one low unit a group: bulk work goes on, and holds nobody up for longer than one chunk.
        units += low.take(1 if units else GROUP_UNITS)
        self._last = len(units)
        return units

    def _gather(self) -> None:
        """Under load, let those whom the last group answered come back with their next unit.

        A group costs a busy event loop several changes of thread, whatever its size; without this the writer is back
        too early and its groups are a quarter of what they could be (docs/decisions/0001-writer-thread.md).
        """
        for _ in range(GATHER_STEPS):
            if self.waiting >= self._last * 3 // 4:
                break
            time.sleep(GATHER_SECONDS)
        self._receive()

    def _receive(self) -> None:
        """Sort what has arrived into lanes; wait if there is nothing to do, or a little if all is held elsewhere."""
        with contextlib.suppress(queue.Empty):
            if self._backoff and not self._draining:
                self._sort(self._arrivals.get(timeout=self._backoff))
            elif self._backoff:
                time.sleep(self._backoff)
            elif not self._normal.size and not self._low.size and not self._draining:
                self._sort(self._arrivals.get())
            while not self._arrivals.empty():
                self._sort(self._arrivals.get_nowait())

    def _sort(self, unit: Unit | None) -> None:
        if unit is None:
            self._draining = True
        elif unit.low:
            self._low.append(unit)
        else:
            self._normal.append(unit)

    def _group(self, units: list[Unit]) -> None:
        """One group; if what it shares fails, its units one by one."""
        try:
            ran, error = self._attempt(units)
            if error is not None:
                self._one_by_one(ran, error)
        except _Outage as outage:
            self._broken = 0
            waiting = [*self._normal.clear(), *self._low.clear()]
            self._answer([(unit, None, outage.error) for unit in (*units, *waiting)])
        back = [unit for unit in units if not unit.answered]
        if back:
            self._normal.put_back(unit for unit in back if not unit.low)
            self._low.put_back(unit for unit in back if unit.low)

    def _one_by_one(self, units: list[Unit], error: PenstockError) -> None:
        """Each in a transaction of its own, until one must wait for another node: those behind it stay behind it."""
        self.stats.failed_groups += 1
        if len(units) > 1:
            log.info("a group of %d failed and runs again one by one: %s", len(units), error)
        for unit in units:
            for left in reversed(range(TRIES)):
                ran, failure = self._attempt([unit])
                if failure is None:
                    break
                if not left or not (failure.details.get("again") or failure.details.get("lost")):
                    self._answer([(unit, None, failure) for unit in ran])
                    break
            if not unit.answered:
                return

    def _attempt(self, units: list[Unit]) -> tuple[list[Unit], PenstockError | None]:
        """One transaction with those of `units` that may run. Returns what ran and, if it failed, why.

        Raises: _Outage.
        """
        connection = self.connection
        group: Group | None = None
        ran: list[Unit] = []
        try:
            pids = sorted({key for unit in units for key in unit.keys}) if connection.shared else []
            begun = connection.begin(pids, wanted(units))
            group = Group(self._kept, begun)
            self._run_units(group, self._ready(units, begun.held), ran)
            group.commit()
        except Exception as exc:  # noqa: BLE001 - the driver's, ours and a unit's alike
            error = exc.error if isinstance(exc, Failed) else ours(exc, connection)
            if group is None:
                if not isinstance(error, Unavailable) and not connection.lost:
                    # it is the keys of one of them: alone it fails alone
                    self._roll_back()
                    return units, error
                self._not_begun(error)
                return [], None
            if not self._carried_out(error, ran):
                self._kept.ids.settled(committed=False)
                if len(ran) == 1 and group.answers and group.answers[0][2] is not None:
                    self._answer(group.answers)  # alone, and it raised after it had written
                    return ran, None
                return ran, error
        self._finish(group)
        return ran, None

    def _ready(self, units: list[Unit], held: frozenset[int]) -> list[Unit]:
        """Who may run: nobody whose process another node holds, nor anyone behind them in its queue."""
        if not held:
            self._backoff = 0.0
            return units
        blocked = set(held)
        ready: list[Unit] = []
        now = time.monotonic()
        for unit in units:
            if blocked.isdisjoint(unit.keys):
                ready.append(unit)
                continue
            unit.held_since = unit.held_since or now
            if now - unit.held_since > HELD_SECONDS:
                self._answer([(unit, None, Unavailable("another node holds the process", retry_after=1))])
                continue
            blocked.update(unit.keys)
            self.stats.deferred += 1
        self._backoff = 0.0 if ready else min(max(self._backoff * 2, 0.001), 0.016)
        return ready

    def _run_units(self, group: Group, units: list[Unit], ran: list[Unit]) -> None:
        """Raises: Failed."""
        started = time.perf_counter()
        try:
            for unit in units:
                late = time.perf_counter() - started > GROUP_SECONDS
                # the one low unit of a group of normal ones is its last, and runs in any case or it never would
                if late and ran and (not unit.low or ran[0].low):
                    continue
                if unit.begins():
                    ran.append(unit)
                    group.run(unit)
        finally:
            CURRENT.set(None)
            PROCESS.set("")
            self.stats.unit_ns += int((time.perf_counter() - started) * 1e9)

    # --- when it fails ---

    def _not_begun(self, error: PenstockError) -> None:
        """No transaction could be opened, nothing ran. Returns if it is worth trying again.

        Raises: _Outage.
        """
        self._broken += 1
        if self.connection.lost:
            self._recover(in_doubt=False)
            if self._broken < TRIES:
                return
        else:
            self._roll_back()
        raise _Outage(error)

    def _carried_out(self, error: PenstockError, ran: list[Unit]) -> bool:
        """A transaction failed: end it. True when the database had carried it out and only the answer was lost.

        Raises: _Outage.
        """
        if not self.connection.lost:
            self._roll_back()
        if not self.connection.lost:
            return False
        error.details["lost"] = True
        in_doubt = self.connection.in_doubt
        try:
            return self._recover(in_doubt=in_doubt)
        except _Outage as outage:
            if in_doubt:
                unknown = Unavailable(f"{outage.error.message}; it is not known whether this was written", unknown=True)
                self._answer([(unit, None, unknown) for unit in ran])
            raise

    def _roll_back(self) -> None:
        try:
            self.connection.rollback()
        except Exception as exc:
            if not self.connection.lost:
                raise _Outage(ours(exc, self.connection)) from exc

    def _recover(self, *, in_doubt: bool) -> bool:
        """Connect again; true when the transaction in doubt was carried out.

        Raises: _Outage.
        """
        until = time.monotonic() + (DOUBT_SECONDS if in_doubt else 0.0 if self._down else RECONNECT_SECONDS)
        pause = 0.02
        while True:
            try:
                carried_out = self.connection.reconnect()
            except Exception as exc:
                error = ours(exc, self.connection)
                if time.monotonic() > until:
                    if not self._down:
                        log.error("the database cannot be reached: %s", error)  # noqa: TRY400 - once, in one line
                    self._down = True
                    raise _Outage(Unavailable(error.message, retry_after=1)) from exc
                time.sleep(pause)
                pause = min(pause * 2, 1.0)
            else:
                log.warning("connected to the database again")
                self.stats.reconnects += 1
                self._down = False
                return carried_out

    # --- when it is done ---

    def _finish(self, group: Group) -> None:
        self._broken = 0
        stats = self.stats
        stats.groups += 1
        stats.sizes.observe(len(group.answers))
        stats.statements = self.connection.statements
        self._kept.ids.settled(committed=True)
        self._kept.cache.update(group.objects)
        for callback in group.callbacks:
            try:
                callback()
            except Exception:
                log.exception("a callback after the commit failed")
        if group.notices and self._heard is not None:
            try:
                self._heard(list(dict.fromkeys(group.notices)))
            except Exception:
                log.exception("a listener failed")
        self._answer(group.answers)

    def _answer(self, answers: Sequence[Answer]) -> None:
        """Give results to those who wait; one wake-up for each event loop."""
        loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any, BaseException | None]]] = {}
        for unit, result, error in answers:
            if unit.answered:
                continue
            unit.answered = True
            unit.done(error)
            self.stats.units += 1
            self.stats.low_units += unit.low
            if unit.loop is not None:
                loops.setdefault(unit.loop, []).append((unit.future, result, error))
            elif unit.begins():
                if error is None:
                    unit.future.set_result(result)
                else:
                    unit.future.set_exception(error)
        for loop, results in loops.items():
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(_deliver, results)


def _deliver(results: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
    for future, result, error in results:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
            future.exception()  # who is cancelled in this very moment will not ask, and that is no fault
