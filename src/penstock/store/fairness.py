"""Turns at the writer: who waits is served tenant by tenant, and in order of arrival within a tenant.

Deficit round robin by count: the tenant whose turn it is gives as many units as its weight, then the next one that waits. So a
tenant with ten thousand waiting units delays another's single one by a group, and where one alone waits it is a queue.
Knows nothing of threads but in `Waiting`, which says who may still come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Generic, NamedTuple, Protocol, TypeVar


class Turn(NamedTuple):
    """On whose account something is done: a tenant's number, and its weight."""

    tag: int
    weight: int


ENGINE = Turn(0, 1)
"""The platform's own loops: one account of their own."""

turn: ContextVar[Turn] = ContextVar("turn", default=ENGINE)
"""Whose turn what is submitted from here uses up: set when a request's caller is known."""


class Waits(Protocol):
    @property
    def turn(self) -> Turn: ...


W = TypeVar("W", bound=Waits)


class Turns(Generic[W]):
    """Who waits. Not for several threads."""

    def __init__(self) -> None:
        self._queues: dict[int, deque[W]] = {}
        """Of those tags alone that wait."""
        self._ring: deque[int] = deque()
        """The same tags; the first one's turn it is."""
        self._left = 0
        """What the first may still give in this turn; 0: it has not begun."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[W]:
        """All, in no order that means anything."""
        for queue in self._queues.values():
            yield from queue

    def append(self, item: W) -> None:
        tag = item.turn.tag
        queue = self._queues.get(tag)
        if queue is None:
            queue = self._queues[tag] = deque()
            self._ring.append(tag)
        queue.append(item)
        self._size += 1

    def take(self, most: int) -> list[W]:
        """The next to be served, `most` at most."""
        ring, queues = self._ring, self._queues
        taken: list[W] = []
        while most and ring:
            tag = ring[0]
            queue = queues[tag]
            alone = len(ring) == 1
            if not self._left:
                self._left = max(1, queue[0].turn.weight)
            count = min(len(queue), most, most if alone else self._left)
            taken += [queue.popleft() for _ in range(count)]
            most -= count
            self._left = 0 if alone else self._left - count
            if not queue:
                del queues[tag]
                ring.popleft()
                self._left = 0
            elif not self._left:
                ring.rotate(-1)
        self._size -= len(taken)
        return taken

    def put_back(self, items: Iterable[W]) -> None:
        """Some of what was taken last, in its order, as if it had not been taken; whose turn was cut short has the next."""
        back = list(items)
        for item in reversed(back):
            tag = item.turn.tag
            queue = self._queues.get(tag)
            if queue is None:
                queue = self._queues[tag] = deque()
                self._ring.append(tag)
            queue.appendleft(item)
        self._size += len(back)
        if back and self._ring[0] != back[0].turn.tag:
            self._ring.remove(back[0].turn.tag)
            self._ring.appendleft(back[0].turn.tag)
            self._left = 0

    def clear(self) -> list[W]:
        """Take all."""
        found = list(self)
        self._queues.clear()
        self._ring.clear()
        self._left = self._size = 0
        return found


class Waiting:
    """How many wait, by tag, for a limit that one tenant cannot use up for the others.

    `come` is called by who holds a lock, `gone` by one thread alone; no lock is shared.
    """

    def __init__(self) -> None:
        self._come: dict[int, int] = {}
        self._gone: dict[int, int] = {}

    def may(self, tag: int, waiting: int, limit: int) -> bool:
        """Whether one more may wait. When the limit is reached, those still may who have less than an even part of it."""
        if waiting < limit:
            return True
        others = sum(1 for other in self._come if other != tag and self._count(other))
        return others > 0 and self._count(tag) < limit // (others + 1)

    def _count(self, tag: int) -> int:
        return self._come.get(tag, 0) - self._gone.get(tag, 0)

    def come(self, tag: int) -> None:
        self._come[tag] = self._come.get(tag, 0) + 1

    def gone(self, items: Iterable[Waits], *, back: bool = False) -> None:
        """They are being served; `back`: and were not, after all."""
        gone, one = self._gone, -1 if back else 1
        for item in items:
            tag = item.turn.tag
            gone[tag] = gone.get(tag, 0) + one
