"""Reads outside the writer: a few connections, one snapshot a read, a time limit.

A reader sees all that was acknowledged before it began. Lists, searches and every GET come here and never enter the
writer. `read` works in the caller's thread, `async_read` in the store's own few threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from penstock.errors import Defect, Unavailable
from penstock.store.database import ReadConnection
from penstock.store.rows import Row, Statement

log = logging.getLogger(__name__)

T = TypeVar("T")

CONNECTIONS = 4
LIMIT_SECONDS = 10.0


class Read:
    """One snapshot, valid while the function given to `read` runs."""

    __slots__ = ("_connection", "_left", "_limit", "_until")

    def __init__(self, connection: ReadConnection, limit: float, *, single: bool = False) -> None:
        self._connection = connection
        self._left = 1 if single else None
        """Statements it may still ask; None: as many as it likes."""
        self._limit = limit
        self._until = time.monotonic() + limit

    def rows(self, statement: Statement, params: Any = ()) -> list[Row]:
        """Raises: Unavailable when the read takes longer than its limit."""
        return self._ask(lambda: self._connection.rows(statement, params))

    def now(self) -> int:
        """The database's clock in milliseconds, by which leases, timers and tokens go."""
        return self._ask(self._connection.now)

    @property
    def shared(self) -> bool:
        """Whether several nodes write to the database (PostgreSQL)."""
        return self._connection.shared

    def row(self, statement: Statement, params: Any = ()) -> Row | None:
        """The first row, or None."""
        found = self.rows(statement, params)
        return found[0] if found else None

    def _ask(self, question: Callable[[], T]) -> T:
        if time.monotonic() > self._until:
            raise self._late()
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise Defect("a second statement of a read that was to be one: it would see another snapshot")
        try:
            return question()
        except Exception as exc:
            error = self._connection.error(exc)
            if error is None:
                raise
            if time.monotonic() >= self._until - 0.01 and isinstance(error, Unavailable):
                error = self._late()
            raise error from exc

    def _late(self) -> Unavailable:
        return Unavailable(f"the read took longer than {self._limit:g} s", late=True)


class Reader:
    """A pool of connections for reading."""

    def __init__(
        self, connect: Callable[[], ReadConnection], *, connections: int = CONNECTIONS, limit: float = LIMIT_SECONDS
    ) -> None:
        self.limit = limit
        self._free: queue.LifoQueue[ReadConnection] = queue.LifoQueue()
        for _ in range(connections):
            self._free.put(connect())
        self._connections = connections
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="penstock-read")
        self._door = threading.Lock()
        self._closed = False

    def read(self, fn: Callable[[Read], T], *, limit: float | None = None, single: bool = False) -> T:
        """Run `fn` on one snapshot, in this thread. `single`: it asks one statement alone, and costs no transaction.

        Raises: Unavailable when it takes longer than `limit` seconds, or no connection is free for as long.
        """
        seconds = self.limit if limit is None else limit
        connection = self._take(seconds)
        try:
            return self._snapshot(connection, fn, seconds, single=single)
        finally:
            self._free.put(connection)

    async def async_read(self, fn: Callable[[Read], T], *, limit: float | None = None, single: bool = False) -> T:
        """The same in one of the store's threads. `single`: it asks one statement, which is its own snapshot."""
        if self._closed:
            raise Unavailable("the store is closed")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: self.read(fn, limit=limit, single=single))

    def _take(self, seconds: float) -> ReadConnection:
        if self._closed:
            raise Unavailable("the store is closed")
        try:
            return self._free.get(timeout=seconds)
        except queue.Empty:
            raise Unavailable(f"no connection for reading was free within {seconds:g} s", retry_after=1) from None

    @staticmethod
    def _snapshot(connection: ReadConnection, fn: Callable[[Read], T], seconds: float, *, single: bool) -> T:
        try:
            connection.begin(seconds, single=single)
        except Exception as exc:
            error = connection.error(exc)
            if error is None:
                raise
            raise error from exc
        try:
            return fn(Read(connection, seconds, single=single))
        finally:
            try:
                connection.end()
            except Exception as exc:  # noqa: BLE001 - what was read is good
                log.warning("a read did not end well: %s", exc)

    @property
    def busy(self) -> int:
        """Connections in use; an estimate."""
        return self._connections - self._free.qsize()

    def close(self) -> None:
        """Wait for the reads that run, then close."""
        with self._door:
            if self._closed:
                return
            self._closed = True
        self._threads.shutdown(wait=True)
        for _ in range(self._connections):
            with contextlib.suppress(queue.Empty):
                self._free.get(timeout=self.limit + 1).close()
