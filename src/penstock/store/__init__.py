"""The store room: all SQL. `Store` is the database with its one writer and its readers; `rows` names the tables.

store = Store.open("sqlite:///var/penstock.db")
pid = await store.submit_async(lambda tx: start(tx, request), keys=(pid,))
rows = await store.async_read(lambda read: read.rows(select(...)))
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Self, TypeVar

from penstock.errors import Unavailable
from penstock.store.database import Address, Connection, FileLock, ReadConnection
from penstock.store.group import Stats, Wants
from penstock.store.reader import Read, Reader
from penstock.store.rows import Rows, Tx
from penstock.store.writer import Writer

__all__ = ["Read", "Rows", "Stats", "Store", "Tx", "Unit", "Wants", "open_reader"]

T = TypeVar("T")
Unit = Callable[[Tx], T]
"""Short, nothing outside the database, safe to run again; everything else goes to `tx.after_commit`."""


class Store:
    """One database. Make it with `open`, end it with `close`."""

    def __init__(self, address: Address, connection: Connection, node: str, lock: FileLock | None) -> None:
        self.dialect = address.dialect
        """"sqlite" or "postgresql"."""
        self.node = node
        self.writer = Writer(connection, node, heard=self._tell)
        self.reader = Reader(lambda: _reader(address))
        self.stats = self.writer.stats
        self._address = address
        self._connection = connection
        self._lock = lock
        self._listeners: list[Callable[[list[str]], object]] = []
        self._remote: contextlib.AbstractContextManager[object] | None = None
        self._closed = False

    @classmethod
    def open(cls, url: str, node: str | None = None) -> Store:
        """Open `sqlite:///PATH` or `postgresql://…`; an empty database gets its tables.

        `node` names this program among others on the same PostgreSQL; two must not share a name.

        Raises: Invalid (address), Unavailable (in use, cannot be reached), Conflict (another format).
        """
        address = Address.parse(url)
        node = node or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        lock = FileLock(address.path) if address.dialect == "sqlite" else None
        connection = _writer(address, node)
        try:
            connection.open()
        except BaseException as exc:
            with contextlib.suppress(Exception):
                connection.close()
            if lock is not None:
                lock.release()
            error = connection.error(exc)
            if error is None:
                raise
            raise error from exc
        return cls(address, connection, node, lock)

    # --- writing ---

    def submit(
        self, unit: Callable[[Tx], T], keys: Iterable[int] = (), wants: Wants = (), *, low: bool = False
    ) -> Future[T]:
        """Have a unit run in its turn; the future has its result when it is on disk. Raises: Unavailable.

        `keys`: pids of the processes it touches. `wants`: rows it will get by key; saying so saves a statement each.
        """
        return self.writer.submit(unit, keys, wants, low=low)

    def submit_async(
        self, unit: Callable[[Tx], T], keys: Iterable[int] = (), wants: Wants = (), *, low: bool = False
    ) -> asyncio.Future[T]:
        """The same from a coroutine."""
        return self.writer.submit_async(unit, keys, wants, low=low)

    # --- reading ---

    def read(self, fn: Callable[[Read], T], *, limit: float | None = None) -> T:
        """Run `fn` on one snapshot, in this thread. Raises: Unavailable."""
        return self.reader.read(fn, limit=limit)

    async def async_read(self, fn: Callable[[Read], T], *, limit: float | None = None, single: bool = False) -> T:
        """Run `fn` on one snapshot, in a thread of the store. Raises: Unavailable."""
        return await self.reader.async_read(fn, limit=limit, single=single)

    def wal_bytes(self) -> int | None:
        """Size of SQLite's write-ahead log; None on PostgreSQL."""
        if self.dialect != "sqlite":
            return None
        with contextlib.suppress(OSError):
            return Path(self._address.path + "-wal").stat().st_size
        return 0

    # --- notices ---

    def listen(self, callback: Callable[[list[str]], object]) -> None:
        """Have `callback` called, on some thread of the store, with the payloads of `tx.notify` of every node.

        `["*"]` stands for anything: after the connection that hears other nodes was lost, and every few seconds of
        silence on PostgreSQL.
        """
        if self._closed:
            raise Unavailable("the store is closed")
        self._listeners.append(callback)
        if self.dialect == "postgresql" and self._remote is None:
            from penstock.store.listener import Listener  # noqa: PLC0415
            from penstock.store.postgres import PostgresWriter  # noqa: PLC0415

            writer = self._connection
            assert isinstance(writer, PostgresWriter)
            self._remote = contextlib.closing(Listener(self._address, self._tell, lambda: writer.backend))

    def _tell(self, payloads: list[str]) -> None:
        for callback in self._listeners:
            callback(payloads)

    # --- the end ---

    def close(self) -> None:
        """Finish what was submitted and the reads that run, then close. Later calls raise Unavailable."""
        if self._closed:
            return
        self._closed = True
        self.writer.close()
        if self._remote is not None:
            self._remote.__exit__(None, None, None)
        self.reader.close()
        self._connection.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_reader(url: str) -> Reader:
    """A reader alone, beside a server that may run. Raises: Invalid (address), Unavailable when there is no such file."""
    address = Address.parse(url)
    if address.dialect == "sqlite" and not Path(address.path).exists():
        raise Unavailable(f"there is no database at {address.path}")
    return Reader(lambda: _reader(address), connections=1)


# A driver is imported when a database of its kind is opened, and the other never.


def _writer(address: Address, node: str) -> Connection:
    if address.dialect == "sqlite":
        from penstock.store.sqlite import SQLiteWriter  # noqa: PLC0415

        return SQLiteWriter(address)
    from penstock.store.postgres import PostgresWriter  # noqa: PLC0415

    return PostgresWriter(address, node)


def _reader(address: Address) -> ReadConnection:
    if address.dialect == "sqlite":
        from penstock.store.sqlite import SQLiteReader  # noqa: PLC0415

        return SQLiteReader(address)
    from penstock.store.postgres import PostgresReader  # noqa: PLC0415

    return PostgresReader(address)
