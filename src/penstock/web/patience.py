"""How long a request's body is waited for: many waits, all as long, and one timer.

A timer each costs a good part of a small request. What began first is due first, so one timer serves them all in that order.
"""

from __future__ import annotations

import asyncio
from typing import Any


class Wait:
    """One task that waits."""

    __slots__ = ("late", "task", "until")

    def __init__(self, task: asyncio.Task[Any] | None, until: float) -> None:
        self.task = task
        self.until = until
        self.late = False
        """It was cancelled, because its time was up."""

    def over(self) -> bool:
        """Asked by who was cancelled: whether for this, and for nothing else."""
        return self.late and self.task is not None and self.task.uncancel() == 0


class Patience:
    """The waits of one event loop at a time."""

    def __init__(self) -> None:
        self._waits: dict[Wait, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self, seconds: float) -> Wait:
        """From here on the present task has so long; then it is cancelled, unless `end` was said."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._timer = loop, None
            self._waits.clear()
        wait = Wait(asyncio.current_task(loop), loop.time() + seconds)
        self._waits[wait] = None
        if self._timer is None:
            self._timer = loop.call_at(wait.until, self._ring, loop)
        return wait

    def end(self, wait: Wait) -> None:
        self._waits.pop(wait, None)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for wait in list(self._waits):
            if wait.until > loop.time():
                self._timer = loop.call_at(wait.until, self._ring, loop)
                return
            del self._waits[wait]
            wait.late = True
            if wait.task is not None:
                wait.task.cancel()
