"""Turns at the writer: who waits is served tenant by tenant, and in order of arrival within a tenant.

Deficit round robin by count: the tenant whose turn it is gives as many units as its weight, then the next one that waits. So a
tenant with ten thousand waiting units delays another's single one by a group, and where one alone waits it is a queue.

What the platform does of itself for one process (a due timer, a lease that ran out, its inbox, a schedule's start) takes the turn of
the process's tenant: its flood delays nobody else, and a lease that ran out is not seen to before the answers that came earlier.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, Protocol, TypeVar

Turn = tuple[int, int]
"""On whose account something is done: a tag (a tenant's number), and its weight; 0 is the weight the tag had last."""

ENGINE: Turn = (0, 1)
"""What the platform's loops do for all tenants: one account, whose weight is that of the heaviest who waits."""
STRANGERS: Turn = (-1, 1)
"""Of all who are not known yet: log-ins that have failed, and those that are on their way through a provider."""

turn: ContextVar[Turn] = ContextVar("turn", default=ENGINE)
"""Whose turn what is submitted from here uses up: set when a request's caller is known."""


def of_tenant(tid: int) -> Turn:
    """A tenant's, where its quotas are not at hand."""
    return tid, 0


@contextmanager
def in_turn(of: Turn) -> Iterator[None]:
    """What is submitted within uses up this turn, whatever the caller's."""
    before = turn.set(of)
    try:
        yield
    finally:
        turn.reset(before)


class Waits(Protocol):
    @property
    def turn(self) -> Turn: ...


W = TypeVar("W", bound=Waits)


class Turns(Generic[W]):
    """Who waits. Not for several threads, but for the numbers: `size` and `served` may be looked at from others."""

    def __init__(self) -> None:
        self.size = 0
        self.served: dict[int, int] = {}
        """How many have been taken since the beginning, by tag."""
        self._queues: dict[int, deque[W]] = {}
        """Of every tag that has ever waited."""
        self._ring: deque[int] = deque()
        """The tags that wait; the first one's turn it is."""
        self._left = 0
        """What the first may still give in this turn; 0: it has not begun."""
        self._weights: dict[int, int] = {}
        """Of tags that had to compete, as last seen."""

    def append(self, item: W) -> None:
        tag = item.turn[0]
        queue = self._queues.get(tag)
        if not queue:
            queue = self._enter(tag)
        queue.append(item)
        self.size += 1

    def take(self, most: int) -> list[W]:
        """The next to be served, `most` at most."""
        ring = self._ring
        if not ring:
            return []
        if len(ring) > 1:
            return self._in_turn(most)
        # one alone, as nearly always: a queue
        tag = ring[0]
        queue = self._queues[tag]
        if len(queue) <= most:
            taken = list(queue)
            queue.clear()
            ring.clear()
        else:
            taken = [queue.popleft() for _ in range(most)]
        self._left = 0
        self._serve(tag, len(taken))
        return taken

    def _in_turn(self, most: int) -> list[W]:
        ring, queues = self._ring, self._queues
        taken: list[W] = []
        while most and ring:
            tag = ring[0]
            queue = queues[tag]
            left = self._left or self._weight(tag)
            count = min(len(queue), most, left)
            taken += [queue.popleft() for _ in range(count)]
            self._serve(tag, count)
            most -= count
            self._left = left - count if queue else 0
            if not queue:
                ring.popleft()
            elif not self._left:
                ring.rotate(-1)
        return taken

    def _weight(self, tag: int) -> int:
        if tag == ENGINE[0]:
            return max(self._own_weight(each) for each in self._ring)
        return self._own_weight(tag)

    def _own_weight(self, tag: int) -> int:
        weight = self._queues[tag][0].turn[1]
        if weight:
            self._weights[tag] = weight
        return max(1, weight or self._weights.get(tag, 1))

    def put_back(self, items: Iterable[W]) -> None:
        """Some of what was taken last, in its order, as if it had not been taken; whose turn was cut short has the next."""
        back = list(items)
        for item in reversed(back):
            tag = item.turn[0]
            (self._queues[tag] or self._enter(tag)).appendleft(item)
            self._serve(tag, -1)
        if back and self._ring[0] != back[0].turn[0]:
            self._ring.remove(back[0].turn[0])
            self._ring.appendleft(back[0].turn[0])
            self._left = 0

    def clear(self) -> list[W]:
        """Take all, in no order that means anything."""
        found: list[W] = []
        for tag in self._ring:
            queue = self._queues[tag]
            self._serve(tag, len(queue))
            found += queue
            queue.clear()
        self._ring.clear()
        self._left = 0
        return found

    def _enter(self, tag: int) -> deque[W]:
        self._ring.append(tag)
        return self._queues.setdefault(tag, deque())

    def _serve(self, tag: int, count: int) -> None:
        self.size -= count
        self.served[tag] = self.served.get(tag, 0) + count


class Room:
    """Who may come to wait when many do: one tenant cannot use up the limit for the others. For who holds a lock."""

    def __init__(self, *lanes: Turns[Any]) -> None:
        self.come: dict[int, int] = {}
        """How many have come since the beginning, by tag."""
        self._lanes = lanes

    def may(self, tag: int, limit: int) -> bool:
        """When the limit is reached, those still may come who have less than an even part of it."""
        others = sum(1 for other in self.come if other != tag and self._waiting(other))
        return others > 0 and self._waiting(tag) < limit // (others + 1)

    def _waiting(self, tag: int) -> int:
        return self.come.get(tag, 0) - sum(lane.served.get(tag, 0) for lane in self._lanes)
