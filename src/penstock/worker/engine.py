"""The loops of a running worker: poll for jobs, run them, keep their leases, hand in their answers.

A slot is a job that runs or a job that was asked for: the long poll and the polls that answers carry both keep the
slots they ask for until they return, so the bound on concurrency holds whoever brings the jobs.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from penstock.client import (
    NO_RETRY,
    AsyncClient,
    ClientError,
    Failure,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    Retry,
    Unauthenticated,
    models,
)
from penstock.worker.job import AsyncJob, FromThread, Held, Job
from penstock.worker.outbox import MAX_BATCH, Outbox, Ties
from penstock.worker.outcomes import Failed, Outcome, PermanentFailure, RetryLater, Throw, Thrown, completed, ended_by
from penstock.worker.threads import Threads
from penstock.worker.tracing import ended_badly, tracing

log = logging.getLogger("penstock.worker")

Handler = Callable[..., Any]

_HOPELESS = (Unauthenticated, Forbidden, Invalid, NotFound, MethodNotAllowed)
"""Answers to a poll that waiting will not change."""


@dataclass(frozen=True, slots=True)
class Options:
    name: str
    concurrency: int
    lease: float
    poll_batch: int
    wait: float
    grace: float
    backoff: Retry


class Engine:
    """One run of a worker, on one loop."""

    def __init__(self, client: AsyncClient, handlers: Mapping[str, Handler], options: Options) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = client
        # The loops have their own patience, and say in the log what they wait for.
        self._calls = client.using(retry=NO_RETRY)
        self._handlers = handlers
        self._options = options
        self._held: dict[tuple[str, str | int], Held] = {}
        self._running: dict[asyncio.Task[None], Held] = {}
        self._asked = 0
        self._changed = asyncio.Event()
        self._stopping = False
        self._threads = Threads(self._loop)
        self._from_thread = FromThread(client, self._loop)
        self._outbox = Outbox(self._calls, options.backoff, Ties(self._polling, self._take, self._forget))

    async def run(self, stop: asyncio.Event, hurry: asyncio.Event) -> None:
        """Until `stop` is set; `hurry` ends the grace. Raises what makes working impossible."""
        loops = [asyncio.ensure_future(each) for each in (self._poll(), self._beat(), self._outbox.run())]
        stopped = asyncio.ensure_future(stop.wait())
        try:
            ended, _ = await asyncio.wait([*loops, stopped], return_when=asyncio.FIRST_COMPLETED)
            self._stopping = True
            loops[0].cancel()
            await self._finish(hurry)
        finally:
            rest = [*loops, stopped, *self._running]
            for task in rest:
                task.cancel()
            await asyncio.wait(rest, timeout=1.0)  # a handler may refuse to be cancelled
            self._threads.close()
        for task in ended - {stopped}:
            task.result()

    # ------------------------------------------------------------------------------------------------ getting jobs

    @property
    def _free(self) -> int:
        return self._options.concurrency - len(self._running) - self._asked

    @contextmanager
    def _keeping(self, count: int) -> Iterator[None]:
        self._asked += count
        try:
            yield
        finally:
            self._asked -= count
            self._changed.set()

    @contextmanager
    def _polling(self) -> Iterator[models.Poll | None]:
        count = 0 if self._stopping else max(0, min(self._free, self._options.poll_batch))
        with self._keeping(count):
            options = self._options
            topics = sorted(self._handlers)
            yield models.Poll(topics, count, options.lease, options.name) if count else None

    async def _poll(self) -> None:
        """Asks for jobs whenever slots are free that no answer on its way asks for."""
        troubles = quick = 0
        while True:
            await self._room()
            began = self._loop.time()
            try:
                brought = await self._poll_once()
            except _HOPELESS:
                raise
            except ClientError as error:
                troubles += 1
                pause = self._options.backoff.pause_after(error, troubles)
                log.warning("cannot get jobs: %s; trying again in %.1f s", error, pause)
                await asyncio.sleep(pause)
                continue
            if troubles:
                log.info("the server answers again")
            troubles = 0
            # A server that does not hold polls must not be asked in a tight loop.
            quick = quick + 1 if not brought and self._loop.time() - began < min(1.0, self._options.wait / 2) else 0
            if quick:
                await asyncio.sleep(min(2.0, 0.05 * 2 ** min(quick, 6)))

    async def _poll_once(self) -> int:
        options = self._options
        count = min(self._free, options.poll_batch)
        with self._keeping(count):
            answer = await self._calls.jobs.poll(
                self._handlers, max=count, wait=options.wait, lease=options.lease, worker=options.name
            )
            self._take(answer.jobs)
        return len(answer.jobs)

    async def _room(self) -> None:
        while self._free <= 0 or self._outbox.waiting:
            self._changed.clear()
            await self._changed.wait()

    # ------------------------------------------------------------------------------------------------ running them

    def _take(self, jobs: Sequence[models.Job]) -> None:
        for job in jobs:
            held = Held(job, self._options.lease, self._loop)
            self._held[held.key] = held
            task = self._loop.create_task(self._work(held), name=f"job {job.id}")
            self._running[task] = held

    async def _work(self, held: Held) -> None:
        with tracing(held) as span:
            outcome = await self._outcome(held)
            match outcome:
                case Failed():
                    ended_badly(span, outcome.failure.type)
                case Thrown():
                    ended_badly(span, outcome.code)
        # The slot is free before the answer leaves, so that the answer's call can ask for the next job.
        self._running = {task: each for task, each in self._running.items() if each is not held}
        self._changed.set()
        if held.lost:
            self._forget(held)
        else:
            self._outbox.put(held, outcome)

    async def _outcome(self, held: Held) -> Outcome:
        handler = self._handlers.get(held.job.topic)
        if handler is None:  # the server gave what was not asked for
            return Failed(Failure("UnknownTopic", f"this worker has no handler for {held.job.topic!r}"))
        try:
            job: Job | AsyncJob
            if is_coroutine_function(handler):
                job = AsyncJob(held, self._client, self._client, self._outbox.tell)
                output = await handler(job)
            else:
                job = Job(held, self._client, self._from_thread, self._outbox.tell)
                output = await self._threads.call(functools.partial(handler, job))
            return completed(output, job.collected, job.increments)
        except asyncio.CancelledError:
            what = "the worker was stopped" if self._stopping else "the handler was cancelled"
            return Failed(Failure("WorkerStopped" if self._stopping else "Cancelled", what))
        except (Throw, RetryLater, PermanentFailure) as error:
            log.info("%s: %s: %s", held, type(error).__name__, error)
            return ended_by(error)
        except (Exception, SystemExit) as error:
            log.warning("%s failed", held, exc_info=error)
            return ended_by(error)

    def _forget(self, held: Held) -> None:
        self._held.pop(held.key, None)

    # ------------------------------------------------------------------------------------------------- their leases

    async def _beat(self) -> None:
        """Extends every lease at a third of it, so that two beats may fail."""
        interval = self._options.lease / 3
        pause = interval
        while True:
            await asyncio.sleep(pause)
            held = list(self._held.values())
            try:
                for start in range(0, len(held), MAX_BATCH):
                    await self._extend(held[start : start + MAX_BATCH])
                pause = interval
            except ClientError as error:
                pause = interval / 4
                log.warning("cannot extend %d leases: %s; trying again in %.1f s", len(held), error, pause)

    async def _extend(self, jobs: Sequence[Held]) -> None:
        entries = [models.ExtendEntry(id=each.job.id, lease=each.job.lease, seconds=each.seconds) for each in jobs]
        answer = await self._calls.jobs.extend(entries)
        results = {result.id: result for result in answer.results}
        working = {held.key for held in self._running.values()}
        for held in jobs:
            result = results.get(held.job.id)
            # One that has ended meanwhile: the answer to its own call says how it stands.
            if result is None or held.key not in working:
                continue
            if result.error is not None and result.error.code in ("lease_lost", "not_found"):
                log.warning("%s is no longer ours; what it returns will be dropped", held)
                held.lost = True
                held.cancel()
            elif result.cancel and not held.cancelled.is_set():
                log.info("%s is to stop", held)
                held.cancel()

    # ------------------------------------------------------------------------------------------------------ the end

    async def _finish(self, hurry: asyncio.Event) -> None:
        """Lets what runs end within the grace, fails the rest, and hands in the answers."""
        until = self._loop.time() + self._options.grace
        while True:
            if self._running:
                log.info("stopping: %d jobs have %.0f s to end", len(self._running), self._options.grace)
                await self._wait_for_running(until, hurry)
            if self._running:
                await self._give_back()
            try:
                await asyncio.wait_for(self._outbox.drained(), min(10.0, self._options.lease))
            except TimeoutError:
                log.warning("stopping: answers could not be handed in; their leases will run out")
                return
            if not self._running:  # an answer on its way at the stop may have brought new ones
                return

    async def _give_back(self) -> None:
        log.warning("stopping: %d jobs have not ended and are given back as failed", len(self._running))
        running = dict(self._running)
        for task, held in running.items():
            held.cancel()  # a thread can only be told
            task.cancel()
        await asyncio.wait(running, timeout=5.0)

    async def _wait_for_running(self, until: float, hurry: asyncio.Event) -> None:
        hurried = asyncio.ensure_future(hurry.wait())
        try:
            while self._running and not hurried.done() and (left := until - self._loop.time()) > 0:
                waited = [*self._running, hurried]
                await asyncio.wait(waited, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurried.cancel()


def is_coroutine_function(handler: Handler) -> bool:
    """Also of an object whose `__call__` is one."""
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)
