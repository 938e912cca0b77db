"""A pool of daemon threads for plain handlers.

Not `concurrent.futures`: its threads are joined when the interpreter ends, so that one handler that hangs would keep
a worker alive that was told to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_Task = Callable[[], None]


class Threads:
    """Grows to the number of calls at once, which its owner bounds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._idle = 0
        self._size = 0

    async def call(self, function: Callable[[], T]) -> T:
        """Runs a function in a thread. Cancelled, it leaves the thread to itself."""
        ended: asyncio.Future[tuple[T, None] | tuple[None, BaseException]] = self._loop.create_future()
        context = contextvars.copy_context()

        def task() -> None:
            result: tuple[T, None] | tuple[None, BaseException]
            try:
                result = (context.run(function), None)
            except BaseException as error:  # noqa: BLE001 - handed on, whatever it is
                result = (None, error)
            self._tell(ended, result)

        if self._idle == 0:
            self._grow()
        self._idle -= 1
        self._tasks.put(task)
        value, error = await ended
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # no error: it is the function's

    def close(self) -> None:
        for _ in range(self._size):
            self._tasks.put(None)

    def _grow(self) -> None:
        self._size += 1
        self._idle += 1
        threading.Thread(target=self._work, name=f"penstock-job-{self._size}", daemon=True).start()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()

    def _tell(
        self,
        ended: asyncio.Future[tuple[T, None] | tuple[None, BaseException]],
        result: tuple[T, None] | tuple[None, BaseException],
    ) -> None:
        def arrive() -> None:
            self._idle += 1
            if not ended.done():
                ended.set_result(result)

        with contextlib.suppress(RuntimeError):  # closed: the worker went away without this thread
            self._loop.call_soon_threadsafe(arrive)
