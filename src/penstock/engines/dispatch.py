"""Who waits for jobs: polls, by queue. A job born while a poll waits is leased to it in its own commit.

Offers are made inside units, on the writer's thread; deliveries after their commit; waiting is done by asyncio. One lock guards
what the two sides share, and one call wakes a loop for all the deliveries of a commit.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import deque
from typing import Any

import msgspec

from penstock.identity.tokens import hash_secret
from penstock.store.jobs import Lease


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


class Grant(msgspec.Struct, frozen=True):
    """A lease with the secret that goes with it."""

    lease: Lease
    token: str


def new_grant(pid: int, n: int, until: int, worker: str) -> Grant:
    """A fresh lease for a job. The token tells where its job is; its secret part is 256 random bits."""
    token = f"pj_{pid:x}.{n:x}.{secrets.token_urlsafe(32)}"
    return Grant(Lease(secrets.token_hex(8), until, worker, hash_secret(token)), token)


def execution_id(visit: int, attempt: int) -> int:
    """A number for one attempt of one visit, unique in its process; fits 32 bits for two million visits."""
    return visit * 1000 + min(attempt, 999)


def place_of(token: str) -> tuple[int, int] | None:
    """(pid, visit) a job's token speaks of; None when it is no job's token."""
    parts = token.removeprefix("pj_").split(".")
    if not token.startswith("pj_") or len(parts) != 3:
        return None
    try:
        return int(parts[0], 16), int(parts[1], 16)
    except ValueError:
        return None


class Waiter:
    """One poll. Used by one task; `most` jobs at the most."""

    __slots__ = ("closed", "future", "lease_ms", "loop", "most", "queues", "reserved", "taken", "worker")

    def __init__(self, queues: list[str], most: int, lease_ms: int, worker: str) -> None:
        self.queues = queues
        self.most = most
        self.lease_ms = lease_ms
        self.worker = worker
        self.reserved = 0
        self.taken: list[Taken] = []
        self.closed = False
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()


class Dispatcher:
    """The polls of this node."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[Waiter]] = {}
        self._empty: set[str] = set()
        self._woken: list[Waiter] = []

    # -- on the writer's thread --------------------------------------------------------------------------------

    def maybe_ready(self, queue: str) -> bool:
        """False when this node knows that nobody left a job in the queue."""
        return queue not in self._empty

    def mark(self, queue: str, *, ready: bool) -> None:
        if ready:
            self._empty.discard(queue)
        else:
            self._empty.add(queue)

    def register(self, waiter: Waiter, *, first: bool = False) -> None:
        with self._lock:
            for queue in waiter.queues:
                waiting = self._waiting.setdefault(queue, deque())
                waiting.appendleft(waiter) if first else waiting.append(waiter)

    def offer(self, queue: str) -> Waiter | None:
        """A waiter with room for one more job of the queue; its place is reserved."""
        waiting = self._waiting.get(queue)
        if not waiting:
            return None
        with self._lock:
            while waiting:
                waiter = waiting[0]
                if waiter.closed or waiter.reserved >= waiter.most:
                    waiting.popleft()
                    continue
                waiter.reserved += 1
                return waiter
        return None

    def deliver(self, waiter: Waiter, taken: Taken) -> bool:
        """After the commit. False when the waiter has gone: the job is to be given back."""
        with self._lock:
            if waiter.closed:
                return False
            waiter.taken.append(taken)
            first = not self._woken
            self._woken.append(waiter)
        if first:
            try:
                waiter.loop.call_soon_threadsafe(self._wake)
            except RuntimeError:  # the loop is closed: the server is going down, the lease will run out
                self._woken.clear()
        return True

    def take_back(self, waiter: Waiter) -> None:
        """A reservation whose unit did not commit."""
        with self._lock:
            waiter.reserved = max(0, waiter.reserved - 1)

    # -- on the loop -------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        with self._lock:
            woken, self._woken = self._woken, []
        for waiter in woken:
            if not waiter.future.done():
                waiter.future.set_result(None)

    def close(self, waiter: Waiter) -> list[Taken]:
        """The poll ends: what it has got. Deliveries after this are refused."""
        with self._lock:
            waiter.closed = True
            for queue in waiter.queues:
                waiting = self._waiting.get(queue)
                if waiting is not None:
                    try:
                        waiting.remove(waiter)
                    except ValueError:
                        pass
                    if not waiting:
                        del self._waiting[queue]
            return waiter.taken

    def abandon(self, waiter: Waiter) -> list[Taken]:
        """The poll is over in any way. Answers what it was given and nobody took: the caller left in the midst."""
        if waiter.closed:
            return []
        return self.close(waiter)

    def waiting(self, queue: str) -> int:
        """How many polls wait on a queue."""
        return len(self._waiting.get(queue, ()))

    def queues(self) -> list[str]:
        """Queues somebody waits on."""
        return list(self._waiting)
