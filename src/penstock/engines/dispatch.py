"""Who waits for jobs: polls, by queue. A job born while a poll waits is leased to it in its own commit.

Offers are made inside units, on the writer's thread; deliveries after their commit; waiting is done by asyncio. One lock guards
what the two sides share, and one call wakes a loop for all the deliveries of a commit.

An offer reserves a place for a job that is not yet on disk. A unit that raises and a group that fails say nothing about it; but
the writer runs one group after the other, so a place that is still reserved when another group makes an offer is free again.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import threading
from base64 import urlsafe_b64encode
from collections import Counter, OrderedDict
from typing import Any

import msgspec

from penstock.identity.tokens import hash_secret
from penstock.store.jobs import Lease

_TOKEN = re.compile(r"pj_([0-9a-f]{1,15})\.([0-9a-f]{1,10})\.[A-Za-z0-9_-]{43}", re.ASCII)
"""Whatever is sent for a token becomes the key of a unit: nothing but what `new_grant` can have made may pass."""


class Taken(msgspec.Struct, frozen=True):
    """A job in a worker's hands. Times in ms; `token` is the job's own, shown this once."""

    pid: int
    process_id: str
    visit: int
    definition: str
    version: int
    node: str
    topic: str
    attempt: int
    execution_id: int
    """A number for this attempt, unique in its process."""
    token: str
    lease: str
    leased_until: int
    input: Any
    timeout_at: int | None
    created_at: int
    trace: str | None = None
    """`traceparent` of the step that opened it, where steps are traced."""


class Grant(msgspec.Struct, frozen=True):
    """A lease with the secret that goes with it."""

    lease: Lease
    token: str


def new_grant(pid: int, n: int, until: int, worker: str) -> Grant:
    """A fresh lease for a job. The token tells where its job is; its secret part is 256 random bits."""
    drawn = secrets.token_bytes(40)  # at once: each draw lets go of the interpreter's lock
    token = f"pj_{pid:x}.{n:x}.{urlsafe_b64encode(drawn[:32]).rstrip(b'=').decode()}"
    return Grant(Lease(drawn[32:].hex(), until, worker, hash_secret(token)), token)


def place_of(token: str) -> tuple[int, int] | None:
    """(pid, visit) a job's token speaks of; None when it is no job's token."""
    found = _TOKEN.fullmatch(token)
    return None if found is None else (int(found[1], 16), int(found[2], 16))


class Waiter:
    """One poll. Used by one task; `most` jobs at the most."""

    __slots__ = ("closed", "ending", "future", "lease_ms", "loop", "most", "queues", "reserved", "taken", "worker")

    def __init__(self, queues: list[str], most: int, lease_ms: int, worker: str) -> None:
        self.queues = queues
        self.most = most
        self.lease_ms = lease_ms
        self.worker = worker
        self.reserved = 0
        """Places for jobs that are not on disk yet."""
        self.taken: list[Taken] = []
        self.ending = False
        """Nothing more is offered to it."""
        self.closed = False
        """Nothing more is delivered to it."""
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()

    @property
    def room(self) -> int:
        return self.most - self.reserved - len(self.taken)


class Dispatcher:
    """The polls of this node."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, OrderedDict[Waiter, None]] = {}
        self._woken: dict[asyncio.AbstractEventLoop, list[Waiter]] = {}
        self._group: object = None
        self._reserved: Counter[Waiter] = Counter()
        """Places reserved by the units of the group that runs."""
        self._empty: dict[str, int] = {}
        """Queues in which nobody left a job, as far as this node knows."""
        self._calls: dict[str, int] = {}
        """The last time a queue was said to have jobs, counted in such calls."""
        self._count = itertools.count(1)
        self.draining = False
        """No poll waits any more."""

    # -- which queues are empty ------------------------------------------------------------------------------------

    def maybe_ready(self, queue: str) -> bool:
        """False when this node knows that nobody left a job in the queue."""
        return queue not in self._empty

    def called(self, queue: str) -> int:
        """To be asked for before one looks into a queue, for `found_empty`."""
        return self._calls.get(queue, 0)

    def mark_ready(self, queue: str) -> None:
        """Somebody left a job in the queue, here or on another node."""
        with self._lock:
            self._calls[queue] = next(self._count)
            self._empty.pop(queue, None)

    def found_empty(self, queue: str, called: int) -> None:
        """After the commit of a unit that found nothing more; not if there was a call since it looked."""
        with self._lock:
            if self._calls.get(queue, 0) == called:
                self._empty[queue] = called

    # -- polls that wait -------------------------------------------------------------------------------------------

    def register(self, waiter: Waiter, *, first: bool = False) -> None:
        with self._lock:
            if not waiter.ending:
                self._register(waiter, first=first)

    def _register(self, waiter: Waiter, *, first: bool) -> None:
        for queue in waiter.queues:
            waiting = self._waiting.setdefault(queue, OrderedDict())
            waiting[waiter] = None
            waiting.move_to_end(waiter, last=not first)

    def unregister(self, waiter: Waiter) -> None:
        with self._lock:
            self._unregister(waiter)

    def _unregister(self, waiter: Waiter) -> None:
        for queue in waiter.queues:
            waiting = self._waiting.get(queue)
            if waiting is not None:
                waiting.pop(waiter, None)
                if not waiting:
                    del self._waiting[queue]

    def waiting(self, queue: str) -> int:
        """How many polls wait on a queue, those among them whose places are all reserved."""
        with self._lock:
            return len(
                self._waiting.get(queue, {}).keys() | {waiter for waiter in self._held() if queue in waiter.queues}
            )

    def queues(self) -> list[str]:
        """Queues somebody waits on."""
        with self._lock:
            return [*{*self._waiting, *(queue for waiter in self._held() for queue in waiter.queues)}]

    def _held(self) -> list[Waiter]:
        return [waiter for waiter, places in self._reserved.items() if places > 0 and not waiter.ending]

    # -- offers, on the writer's thread ----------------------------------------------------------------------------

    def settle(self, group: object) -> None:
        """Another group runs: what the one before reserved and did not deliver is free. `group` tells groups apart."""
        if self._group is not group:
            with self._lock:
                self._group = group
                lost, self._reserved = self._reserved, Counter()
                for waiter, places in lost.items():
                    self._release(waiter, places)

    def offer(self, queue: str, group: object) -> Waiter | None:
        """A waiter with room for one more job of the queue; its place is reserved."""
        self.settle(group)
        if queue not in self._waiting:
            return None
        with self._lock:
            waiting = self._waiting.get(queue)
            if not waiting:
                return None
            waiter = next(iter(waiting))
            waiter.reserved += 1
            self._reserved[waiter] += 1
            if waiter.room <= 0:
                self._unregister(waiter)
            return waiter

    def take_back(self, waiter: Waiter) -> None:
        """There is no job for a place that was reserved."""
        with self._lock:
            self._reserved[waiter] -= 1
            self._release(waiter, 1)

    def _release(self, waiter: Waiter, places: int) -> None:
        waiter.reserved -= places
        if places and not waiter.ending and waiter.room > 0:
            self._register(waiter, first=True)

    # -- deliveries, after the commit ------------------------------------------------------------------------------

    def deliver(self, waiter: Waiter, taken: Taken, *, reserved: bool) -> bool:
        """False when the waiter has gone: the job is to be given back."""
        with self._lock:
            if reserved:
                self._reserved[waiter] -= 1
                waiter.reserved -= 1
            if waiter.closed:
                return False
            waiter.taken.append(taken)
            woken = self._woken.setdefault(waiter.loop, [])
            woken.append(waiter)
            first = len(woken) == 1
        if first:
            try:
                waiter.loop.call_soon_threadsafe(self._wake, waiter.loop)
            except RuntimeError:  # the loop is closed: the server is going down, the lease will run out
                with self._lock:
                    self._woken.pop(waiter.loop, None)
        return True

    # -- on the loop -----------------------------------------------------------------------------------------------

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            woken = self._woken.pop(loop, [])
        for waiter in woken:
            if not waiter.future.done():
                waiter.future.set_result(None)

    def drain(self) -> None:
        """The server goes down: every poll of this loop answers with what it has, and none waits any more."""
        with self._lock:
            self.draining = True
            waiting = {waiter for found in self._waiting.values() for waiter in found} | set(self._held())
        for waiter in waiting:
            if not waiter.future.done():
                waiter.future.set_result(None)

    def end(self, waiter: Waiter) -> bool:
        """Offer nothing more to a poll. True when nothing is on its way to it either."""
        with self._lock:
            waiter.ending = True
            self._unregister(waiter)
            return waiter.reserved <= 0

    def close(self, waiter: Waiter) -> list[Taken]:
        """The poll ends: what it has got. Deliveries after this are refused."""
        with self._lock:
            waiter.ending = waiter.closed = True
            self._unregister(waiter)
            return waiter.taken

    def abandon(self, waiter: Waiter) -> list[Taken]:
        """The poll is over in any way. Answers what it was given and nobody took: the caller left in the midst."""
        return [] if waiter.closed else self.close(waiter)
