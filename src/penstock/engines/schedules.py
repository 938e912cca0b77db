"""Starts what schedules say, at their times: each due time exactly once, whatever dies and however many nodes there are.

A look asks which schedules are due by the database's clock. Their due times are worked out here (time zones change with the
machine's table), then each is one unit: the row is held, must still wait for this very time, and the start and the move to the next
time are one commit. The process's id is made of tenant, schedule and due time, so a second start would be the same process.

A time is missed when nobody looked for `GRACE` after it: the server was down, or the database away. `catch_up` decides what
becomes of missed times. A start that fails is noted on the schedule, and the next times come as if nothing had been.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from functools import partial
from itertools import pairwise, takewhile
from typing import NamedTuple
from uuid import UUID, uuid5

from penstock.core.recurrence import SHORTEST, due_span, spread
from penstock.engines.embedded import EmbeddedEngine
from penstock.errors import PenstockError, Unavailable
from penstock.store import Store, journal, schedules
from penstock.store.fairness import in_turn, of_tenant
from penstock.store.rows import Tx
from penstock.store.schedules import ACTIVE, OVER, Row
from penstock.telemetry.activity import Activity, acting
from penstock.telemetry.tracing import Tracer

log = logging.getLogger(__name__)

NOTICE = "schedules"
"""What is told to every node when a schedule was changed."""
LOOK = 5.0
"""Seconds between looks at most: a database's clock that jumps is noticed within it."""
GRACE = 60_000
"""Milliseconds a time may be late and is not yet missed."""
AGAIN = 0.01
"""Seconds until the next look when something was due: its next time may be due already, or another node is at it."""
MOST = 100
"""Schedules taken up in one look."""
ACTOR = "system"
LONGEST_ERROR = 1_000


class Plan(NamedTuple):
    """What is to be done for a schedule that is due."""

    start: list[int]
    """Due times, in order."""
    next: int | None
    """The time after the last that is due."""


def plan_of(row: Row, now: int) -> Plan:
    """Decides by the schedule's catch-up rule. Pure but for the table of time zones."""
    assert row.due_at is not None
    catches = row.catch_up_limit if row.catch_up == "all" else 1
    most = catches + (GRACE + row.jitter) // SHORTEST + 1
    span = due_span(row.rule, row.due_at, now, most)
    ready = list(takewhile(lambda due: _fires(row, due) <= now, span.due))
    following = span.due[len(ready)] if len(ready) < len(span.due) else span.next
    missed = [due for due in ready if _fires(row, due) < now - GRACE]
    on_time = [due for due in ready if _fires(row, due) >= now - GRACE]
    kept: list[int] = []
    if row.catch_up == "all":
        kept = missed[-row.catch_up_limit :]
    elif row.catch_up == "last" and not on_time:
        kept = missed[-1:]
    return Plan(sorted([*kept, *on_time]), following)


def process_id(tenant: str, row: Row, due: int) -> str:
    """The id of the process of one due time."""
    return str(uuid5(UUID(tenant), f"{row.tid}/schedule/{row.sid}/{row.id}/{due}"))


class Scheduler:
    """Runs schedules on one node until cancelled."""

    def __init__(self, store: Store, engine: EmbeddedEngine) -> None:
        self.tracer: Tracer | None = None
        self._store = store
        self._engine = engine
        self._soon = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        store.listen(self.heard)

    def heard(self, payloads: list[str]) -> None:
        """On some thread of the store: somebody changed a schedule."""
        if self._loop is not None and (NOTICE in payloads or "*" in payloads):
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server is going down
                self._loop.call_soon_threadsafe(self._soon.set)

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        while True:
            pause = 1.0
            try:
                pause = await self.look()
            except Unavailable as error:
                log.warning("schedules wait for the database: %s", error.message)
            except Exception:
                log.exception("the schedules' loop met an error and goes on")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._soon.wait(), pause)

    async def look(self) -> float:
        """Start what is due; answers the seconds until the next look."""
        while True:
            self._soon.clear()
            began = time.monotonic()
            now, rows, following = await self._store.async_read(partial(schedules.due, most=MOST))
            await asyncio.gather(*(self._in_turn(row, now) for row in rows))
            if len(rows) < MOST:
                break
        if rows:
            return AGAIN
        if following is None:
            return LOOK
        return min(LOOK, max(0.0, (following - now) / 1000 - (time.monotonic() - began)) + 0.001)

    async def _in_turn(self, row: Row, now: int) -> None:
        with in_turn(of_tenant(row.tid)):
            await self._fire(row, now)

    async def _fire(self, row: Row, now: int) -> None:
        """All that is due of one schedule, in order."""
        try:
            plan = await asyncio.to_thread(plan_of, row, now)
            tenant = await self._store.async_read(lambda read: schedules.tenant_id(read, row.tid))
        except Unavailable:
            raise
        except Exception as error:
            log.exception("schedule %s cannot be worked out and is paused", row.id)
            reason = f"{type(error).__name__}: {error}"
            await self._store.submit_async(lambda tx: _stop(tx, row, reason))
            return
        first = plan.start[0] if plan.start else plan.next
        if first != row.due_at:
            await self._store.submit_async(lambda tx: _pass_over(tx, row, first))
        for due, following in pairwise([*plan.start, plan.next]):
            assert due is not None
            if not await self._start(row, due, following, process_id(tenant, row, due)):
                return

    async def _start(self, row: Row, due: int, following: int | None, id: str) -> bool:
        """One due time. False when the schedule is not as it was, or another node is at it."""
        try:
            if self.tracer is None:
                return await self._store.submit_async(lambda tx: self._unit(tx, row, due, following, id))
            return await self._traced(self.tracer, row, due, following, id)
        except Unavailable:
            raise
        except Exception as error:
            message = error.message if isinstance(error, PenstockError) else "an internal error, which the log has"
            log.warning(
                "schedule %s: its start failed: %s", row.id, error, exc_info=not isinstance(error, PenstockError)
            )
            return await self._store.submit_async(lambda tx: _failed(tx, row, due, following, message))

    async def _traced(self, tracer: Tracer, row: Row, due: int, following: int | None, id: str) -> bool:
        """A due time is the first of a trace: whoever made the schedule is long gone."""
        span = tracer.root("schedule", {"penstock.schedule": row.id, "penstock.process": id})
        try:
            with acting(Activity(span=span)):
                return await self._store.submit_async(lambda tx: self._unit(tx, row, due, following, id))
        finally:
            span.end()

    def _unit(self, tx: Tx, planned: Row, due: int, following: int | None, id: str) -> bool:
        row = _still(tx, planned, due)
        if row is None or (row.fires_at or 0) > tx.now:
            return False
        if row.overlap == "skip" and schedules.running(tx, row):
            schedules.put(tx, _moved(row, following)._replace(last_due=due, skipped=row.skipped + 1))
            return True
        started, pid = schedules.begin(tx, row, id, starter=row.created_by, actor=ACTOR, start=self._engine.start)
        done = _moved(row, following)._replace(last_due=due, last_process=started, last_pid=pid, last_error=None)
        schedules.put(tx, done._replace(failures=0))
        return True


def _fires(row: Row, due: int) -> int:
    return due + spread(row.key, due, row.jitter)


def _still(tx: Tx, planned: Row, due: int | None) -> Row | None:
    """The row as it is now, if it is as it was planned for and waits for this time."""
    row = schedules.take(tx, planned.sid)
    if row is None or row.state != ACTIVE or row.due_at != due or row.revision != planned.revision:
        return None
    return row


def _moved(row: Row, following: int | None) -> Row:
    state = OVER if following is None else row.state
    return row.waiting_for(following)._replace(state=state)


def _pass_over(tx: Tx, planned: Row, following: int | None) -> None:
    """Missed times that are not made up for."""
    row = _still(tx, planned, planned.due_at)
    if row is None:
        return
    data = {"from": row.due_at, "to": following}
    journal.record(tx, row.tid, ACTOR, "schedule.missed", "schedule", row.id, data)
    schedules.put(tx, _moved(row, following))


def _failed(tx: Tx, planned: Row, due: int, following: int | None, message: str) -> bool:
    """A start that failed; the first of several in a row is told in the journal."""
    row = _still(tx, planned, due)
    if row is None:
        return False
    error = message[:LONGEST_ERROR]
    if row.failures == 0:
        journal.record(tx, row.tid, ACTOR, "schedule.failed", "schedule", row.id, {"due": due, "error": error})
    schedules.put(tx, _moved(row, following)._replace(last_due=due, last_error=error, failures=row.failures + 1))
    return True


def _stop(tx: Tx, planned: Row, message: str) -> None:
    """A schedule whose times cannot be worked out (its zone is gone from the table): it waits for somebody to look at it."""
    row = _still(tx, planned, planned.due_at)
    if row is None:
        return
    error = f"its times cannot be worked out: {message}"[:LONGEST_ERROR]
    journal.record(tx, row.tid, ACTOR, "schedule.paused", "schedule", row.id, {"error": error})
    paused = row._replace(state=schedules.PAUSED, due_at=None, fires_at=None, last_error=error)
    schedules.put(tx, paused._replace(failures=row.failures + 1, revision=row.revision + 1))
