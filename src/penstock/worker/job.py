"""What a handler gets: the job, its process's values, and ways to speak while it runs.

`Job` is for plain functions, whose calls block their thread; `AsyncJob` for coroutine functions. `Held` is what the
worker itself knows of a job it has the lease of.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, Literal, TypeVar

import msgspec

from penstock.client import Async, AsyncClient, Request, Sync, Values, models
from penstock.client.errors import error_from
from penstock.client.request import M, Namespace, Sender
from penstock.worker.outcomes import PermanentFailure

T = TypeVar("T")

Level = Literal["debug", "info", "warning", "error"]

log = logging.getLogger("penstock.worker.job")


class Held:
    """A job this worker has, from its poll until its answer is taken."""

    def __init__(self, job: models.Job, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        self.job = job
        self.seconds = seconds
        """How long each extension of the lease is."""
        self.lost = False
        self.traceparent: str | None = None
        """Of the span it is done in, where the worker traces."""
        self.cancelled = threading.Event()
        self.waiters: set[asyncio.Future[None]] = set()
        self.loop = loop

    @property
    def key(self) -> tuple[str, str | int]:
        return self.job.id, self.job.lease

    def __str__(self) -> str:
        return f"job {self.job.id} ({self.job.topic}, process {self.job.process}, attempt {self.job.attempt})"

    def cancel(self) -> None:
        """Tells the handler to stop. On the loop's thread."""
        self.cancelled.set()
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)


class _Job(Namespace[M]):
    """What both kinds share."""

    def __init__(
        self, held: Held, client: AsyncClient, sender: Sender, tell: Callable[[Held, Level, str], None]
    ) -> None:
        super().__init__(sender)
        self._held = held
        self._client = client
        self._tell = tell
        self.id = held.job.id
        """Stable over redeliveries: an idempotency key for what the handler does elsewhere."""
        self.topic = held.job.topic
        self.input = held.job.input
        self.process = held.job.process
        self.definition = held.job.definition
        self.version = held.job.version
        self.node = held.job.node
        self.visit = held.job.visit
        self.attempt = held.job.attempt
        self.execution_id = held.job.execution_id
        self.token = held.job.token
        """Lets somebody else answer this job in our place."""
        self.timeout_at = held.job.timeout_at
        self.values: Values[M] = Values(sender, f"/processes/{held.job.process}/values")
        """The process's values, read and changed at once; `set_value` and `increment` wait for the completion."""
        self.collected: dict[str, Any] = {}
        self.increments: list[str] = []

    @property
    def cancelled(self) -> bool:
        """Whether the server wants this job to stop, or it is no longer ours."""
        return self._held.cancelled.is_set()

    def input_as(self, kind: type[T]) -> T:
        """The input as a typed value. One that does not fit fails the job for good: a retry has the same input."""
        try:
            return msgspec.convert(self.input, kind)
        except msgspec.ValidationError as error:
            raise PermanentFailure(f"the input is not what the worker takes: {error}", type="BadInput") from error

    def set_value(self, key: str, value: Any) -> None:
        """Sets a value of the process in the commit of this job's completion; nothing happens if it fails."""
        self.collected[key] = value

    def increment(self, key: str) -> None:
        """Adds one to a counter of the process in the commit of this job's completion."""
        self.increments.append(key)

    def log(self, message: str, level: Level = "info") -> None:
        """A line in the process's record of this job. Never blocks; sent with the next batch."""
        log.log(getattr(logging, level.upper()), "%s: %s", self._held, message)
        self._held.loop.call_soon_threadsafe(self._tell, self._held, level, message)

    async def _extend(self, seconds: float) -> datetime | None:
        held = self._held
        entry = models.ExtendEntry(id=held.job.id, lease=held.job.lease, seconds=seconds)
        answer = await self._client.jobs.extend([entry])
        result = answer.results[0]
        if result.error is not None:
            raise error_from(result.error, where="POST /api/v1/jobs/extend")
        held.seconds = max(held.seconds, seconds)
        if result.cancel:
            held.cancel()
        return result.leased_until


class Job(_Job[Sync]):
    """Given to plain functions, which run in a thread."""

    def extend(self, seconds: float) -> datetime | None:
        """A longer lease, for work during which this process may be away. Raises `LeaseLost`."""
        return asyncio.run_coroutine_threadsafe(self._extend(seconds), self._held.loop).result()

    def wait_cancelled(self, timeout: float | None = None) -> bool:
        """Sleeps, until the server wants this job to stop (True) or the time is over (False)."""
        return self._held.cancelled.wait(timeout)


class AsyncJob(_Job[Async]):
    """Given to coroutine functions."""

    async def extend(self, seconds: float) -> datetime | None:
        """A longer lease, for work during which this process may be away. Raises `LeaseLost`."""
        return await self._extend(seconds)

    async def wait_cancelled(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - as in Job
        """Waits, until the server wants this job to stop (True) or the time is over (False)."""
        if self.cancelled:
            return True
        waiter: asyncio.Future[None] = self._held.loop.create_future()
        self._held.waiters.add(waiter)
        try:
            await asyncio.wait({waiter}, timeout=timeout)
        finally:
            self._held.waiters.discard(waiter)
        return self.cancelled


class FromThread:
    """Sends through the asyncio client from a handler's thread."""

    asynchronous: ClassVar[bool] = False

    def __init__(self, client: AsyncClient, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def send(self, request: Request[T], /) -> T:
        return asyncio.run_coroutine_threadsafe(self._client.send(request), self._loop).result()
