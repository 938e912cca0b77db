"""`Worker`: topics and their handlers, and how to run them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from penstock.client import AsyncClient, Client, Retry, Transport
from penstock.worker.engine import Engine, Handler, Options
from penstock.worker.job import AsyncJob, Job
from penstock.worker.outbox import MAX_BATCH

log = logging.getLogger("penstock.worker")

T = TypeVar("T")
H = TypeVar("H", bound=Callable[[AsyncJob], Coroutine[Any, Any, Any]] | Callable[[Job], Any])

_SPARE_CONNECTIONS = 8
"""For the worker's own calls, beside one for each handler."""


class Worker:
    """Polls topics and runs their handlers.

    Without a client or URL the credentials come from PENSTOCK_* or ./.penstock/credentials.json when it runs, so that
    a module with a worker may be imported anywhere. Times are in seconds.
    """

    def __init__(  # noqa: PLR0913 - all but the first are options with a default
        self,
        client: Client | AsyncClient | str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        *,
        token: str | None = None,
        concurrency: int = 10,
        lease: float = 60.0,
        poll_batch: int = 20,
        wait: float = 30.0,
        grace: float = 30.0,
        name: str | None = None,
        backoff: Retry | None = None,
    ) -> None:
        if concurrency < 1 or poll_batch < 1:
            raise ValueError("concurrency and poll_batch must be at least 1")
        if not 1 <= lease <= 3600 or not 0 <= wait <= 60:
            raise ValueError("lease must be from 1 to 3600 seconds, wait from 0 to 60")
        if isinstance(client, str):
            client = Client(client, client_id, client_secret, token=token)
        self.client = client
        self.options = Options(
            name=(name or f"{socket.gethostname()}:{os.getpid()}")[:200],
            concurrency=concurrency,
            lease=lease,
            poll_batch=min(poll_batch, concurrency, MAX_BATCH),
            wait=wait,
            grace=grace,
            backoff=backoff or Retry(delay=0.2, cap=15.0),
        )
        self._handlers: dict[str, Handler] = {}
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Event, asyncio.Event] | None = None

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(sorted(self._handlers))

    def job(self, topic: str) -> Callable[[H], H]:
        """Makes a function the handler of a topic: a coroutine function, or a plain one, which runs in a thread."""

        def register(handler: H) -> H:
            if topic in self._handlers:
                raise ValueError(f"topic {topic!r} has a handler already")
            self._handlers[topic] = handler
            return handler

        return register

    def configure(self, *, concurrency: int | None = None, client: Client | AsyncClient | None = None) -> None:
        """What the command line overrides."""
        if concurrency is not None:
            if concurrency < 1:
                raise ValueError("concurrency must be at least 1")
            batch = min(self.options.poll_batch, concurrency)
            self.options = replace(self.options, concurrency=concurrency, poll_batch=batch)
        self.client = client or self.client

    def run(self) -> None:
        """Works until SIGTERM or SIGINT; a second one ends the grace. Raises what makes working impossible."""
        asyncio.run(self._serve_until_signal())

    async def serve(self) -> None:
        """Works until `stop`."""
        if not self._handlers:
            raise ValueError("the worker has no handlers: decorate functions with @worker.job(topic)")
        if self._running:
            raise RuntimeError("the worker is running already")
        stop, hurry = asyncio.Event(), asyncio.Event()
        self._running = (asyncio.get_running_loop(), stop, hurry)
        try:
            async with self._connected() as client:
                url, topics = client.credentials.url, ", ".join(self.topics)
                log.info("worker %s: %s at %s, %d at once", self.options.name, topics, url, self.options.concurrency)
                await Engine(client, self._handlers, self.options).run(stop, hurry)
                log.info("worker %s: stopped", self.options.name)
        finally:
            self._running = None

    def stop(self, *, now: bool = False) -> None:
        """No more polls; what runs may end within the grace, or with `now` not even that. From any thread."""
        if self._running:
            loop, stop, hurry = self._running
            loop.call_soon_threadsafe(stop.set)
            if now:
                loop.call_soon_threadsafe(hurry.set)

    async def run_until(self, done: Awaitable[T]) -> T:
        """Works until something has come true, and stops; for tests and scripts."""
        serving = asyncio.ensure_future(self.serve())
        waited = asyncio.ensure_future(done)
        try:
            await asyncio.wait([serving, waited], return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
                raise RuntimeError("the worker stopped before what it was to wait for")
            self.stop()
            await serving
            return waited.result()
        finally:
            waited.cancel()
            serving.cancel()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncClient]:
        if isinstance(self.client, AsyncClient):
            yield self.client
            return
        # A blocking client says where to and as whom; the loop needs connections of its own.
        given = self.client or Client.from_credentials()
        enough = max(given.transport.max_connections, self.options.concurrency + _SPARE_CONNECTIONS)
        transport: Transport = replace(given.transport, max_connections=enough)
        async with AsyncClient(given.credentials, retry=given.retry, transport=transport) as client:
            yield client

    async def _serve_until_signal(self) -> None:
        with self._signals(asyncio.get_running_loop()):
            await self.serve()

    @contextmanager
    def _signals(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        received: list[signal.Signals] = []

        def handle(number: signal.Signals) -> None:
            received.append(number)
            log.info("%s: stopping%s", number.name, "" if len(received) == 1 else " now")
            self.stop(now=len(received) > 1)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, handle, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
