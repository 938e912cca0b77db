"""What others publish, fetched once for all who want it at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from penstock.errors import PenstockError, Unavailable
from penstock.identity.oidc import Untrusted

FAILED_KEPT = 5.0
"""Seconds for which a failure is everybody's answer: who hangs is not asked by each in turn."""
MOST_WAITING = 100
"""Who wait for one answer at the same time."""

V = TypeVar("V")


class Fetched(Generic[V]):
    """One thing that is published, as it was fetched last. On one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.value: V | None = None
        self.looked_again = float("-inf")
        """When it was fetched before its time, for somebody who missed something in it."""
        self._clock = clock
        self._at = self._failed_at = float("-inf")
        self._failure: PenstockError | Untrusted | None = None
        self._task: asyncio.Task[PenstockError | Untrusted | None] | None = None
        self._waiting = 0

    @property
    def fetching(self) -> bool:
        return self._task is not None

    async def get(self, seconds: float, fetch: Callable[[], Awaitable[V]]) -> V:
        """Not older than this. Raises: what `fetch` raises, or has just raised; Unavailable where too many wait."""
        if self.value is not None and self._clock() - self._at <= seconds:
            return self.value
        return await self.anew(fetch)

    async def anew(self, fetch: Callable[[], Awaitable[V]]) -> V:
        """Fetched now, or by whoever is fetching it. Raises as `get` does."""
        if self._failure is not None and self._clock() - self._failed_at <= FAILED_KEPT:
            raise self._failure.with_traceback(None)
        if self._waiting >= MOST_WAITING:
            raise Unavailable("too many wait for the provider", retry_after=5)
        if self._task is None:
            self._task = asyncio.create_task(self._run(fetch))
        self._waiting += 1
        try:
            # who leaves takes the answer from nobody else
            failure = await asyncio.shield(self._task)
        finally:
            self._waiting -= 1
        if failure is not None:
            raise failure.with_traceback(None)
        assert self.value is not None, "it was fetched"
        return self.value

    async def _run(self, fetch: Callable[[], Awaitable[V]]) -> PenstockError | Untrusted | None:
        try:
            self.value = await fetch()
            self._at, self._failure = self._clock(), None
        except (PenstockError, Untrusted) as failure:
            self._failed_at, self._failure = self._clock(), failure
        finally:
            self._task = None
        return self._failure
