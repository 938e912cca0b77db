"""What every operation gets: the store, the engine, and what is remembered between calls.

A process's public id never changes its number and a version never changes its content: both may be remembered for as long as
there is room. Everything else is read.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

import msgspec

from penstock.core import codec
from penstock.core.decider import Step
from penstock.core.events import AnyEvent, ErrorThrown, JobCompleted, JobFailed, Started
from penstock.errors import Conflict, NotFound, Stale
from penstock.identity.model import Actor
from penstock.store import Store, idempotency, jobs, lookups
from penstock.store.held import Held
from penstock.store.rows import Tx

T = TypeVar("T")

MOST_REMEMBERED = 50_000
MOST_VERSIONS = 500
PART = "\x1f"


class Engine(Protocol):
    """The engine port: it takes the open transaction."""

    def start(self, held: Held, event: Started) -> Held: ...
    def accept(self, tx: Tx, pid: int, event: AnyEvent) -> Held: ...
    def commit(self, held: Held, event: AnyEvent, step: Step) -> Held: ...
    def answer(self, tx: Tx, row: jobs.Row, event: JobCompleted | JobFailed | ErrorThrown) -> Held: ...
    def wake_later(self, tx: Tx, pid: int) -> None: ...
    async def poll(
        self, store: Store, queues: list[str], most: int, wait: float, lease_ms: int, worker: str
    ) -> list[Any]: ...
    def match_later(self, tx: Tx, tid: int, name: str, key: str) -> None: ...
    def place_of(self, token: str) -> tuple[int, int] | None: ...
    def reserve(self, queues: list[str], most: int, lease_ms: int, worker: str) -> Any: ...
    async def collect(self, store: Store, reserved: Any) -> list[Any]: ...


class Context:
    """Built once by wiring; shared by all doors."""

    def __init__(self, store: Store, engine: Engine) -> None:
        self.store = store
        self.engine = engine
        self._sole_writer = store.dialect == "sqlite"
        self._deployments = 0
        self._versions: OrderedDict[tuple[int, str, lookups.Which], lookups.VersionRow] = OrderedDict()
        self._pids: OrderedDict[tuple[int, str], int] = OrderedDict()

    async def pid(self, tid: int, id: str) -> int:
        """The number of a process. Raises: NotFound for an id that is not this tenant's."""
        try:
            canonical = str(UUID(id))
        except ValueError:
            raise NotFound("process", id) from None
        known = self._pids.get((tid, canonical))
        if known is not None:
            return known
        found = await self.store.async_read(lambda reader: lookups.pid(reader, tid, canonical))
        if found is None:
            raise NotFound("process", id)
        self.remember(tid, canonical, found)
        return found

    def remember(self, tid: int, id: str, pid: int) -> None:
        self._pids[(tid, id)] = pid
        if len(self._pids) > MOST_REMEMBERED:
            self._pids.popitem(last=False)

    def forget(self, tid: int, id: str) -> None:
        """The process is gone."""
        self._pids.pop((tid, id.lower()), None)

    async def version(
        self, tid: int, code: str, number: int | None, *, current: bool = False
    ) -> lookups.VersionRow | None:
        """A version of a definition; without a number the latest, or the one that new processes start with.

        Remembered where this node alone deploys.
        """
        which: lookups.Which = number if number is not None else lookups.CURRENT if current else lookups.LATEST
        known = self._versions.get((tid, code, which))
        if known is not None:
            return known
        deployments = self._deployments
        found = await self.store.async_read(lambda reader: lookups.version(reader, tid, code, which))
        if found is not None and self._deployments == deployments and self._sole_writer:
            self._versions[(tid, code, which)] = found
            if len(self._versions) > MOST_VERSIONS:
                self._versions.popitem(last=False)
        return found

    def deployed(self, tid: int, code: str) -> None:
        """A version was made or moved, or permissions were: what is remembered of the definition is not so any more."""
        self._deployments += 1
        self._versions = OrderedDict((key, row) for key, row in self._versions.items() if key[:2] != (tid, code))

    async def once(
        self,
        actor: Actor,
        key: str | None,
        request: Any,
        unit: Callable[[Tx], T],
        kind: type[T],
        pids: tuple[int, ...] = (),
    ) -> tuple[T, bool]:
        """Run a unit; under an idempotency key run it at most once and answer what it answered first.

        The flag tells whether it is such an earlier answer. Raises: Conflict when the key was used for another request.
        """
        if key is None:
            return await self.store.submit_async(unit, pids), False
        kept = KeptAnswer(actor, key, request, kind)

        def keyed(tx: Tx) -> tuple[T, bool]:
            known = kept.recall(tx)
            if known is not None:
                return known[0], True
            answer = unit(tx)
            kept.keep(tx, answer)
            return answer, False

        return await self.store.submit_async(keyed, pids)


class KeptAnswer(Generic[T]):
    """The answer to one request under the caller's idempotency key."""

    def __init__(self, actor: Actor, key: str, request: Any, kind: type[T]) -> None:
        self._tid = actor.tenant.tid
        self._name = f"{actor.principal}/{key}"
        self._digest = hashlib.sha256(msgspec.json.encode(request, order="deterministic")).hexdigest()
        self._key = key.partition(PART)[0]
        self._kind = kind

    def recall(self, tx: Tx) -> tuple[T] | None:
        """What was answered first, None when nothing was. Raises: Conflict when it was for another request."""
        try:
            kept = idempotency.recall(tx, self._tid, self._name, self._digest)
        except Conflict:
            message = f"the Idempotency-Key {self._key!r} was used for another request before: make a new one"
            raise Conflict(message) from None
        return None if kept is None else (msgspec.json.decode(kept.answer, type=self._kind),)

    def keep(self, tx: Tx, answer: T) -> None:
        idempotency.keep(tx, self._tid, self._name, self._digest, 200, codec.encode_json(answer))


def require_revision(expected: frozenset[int] | None, revision: int, what: str) -> None:
    """What the caller has read is what is there; None: whatever is. Raises: Stale."""
    if expected is not None and revision not in expected:
        raise Stale(f"{what} has changed since: read it again", revision=revision)


def part_of(key: str | None, part: object) -> str | None:
    """The key for one part of a request that is done in several units; no caller can send it."""
    return None if key is None else f"{key}{PART}{part}"


def new_uuid() -> str:
    """A UUID of version 7: made from the time, so that what is made together lies together in an index."""
    ms = time.time_ns() // 1_000_000
    random = secrets.randbits(74)
    value = (ms & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | (random >> 62) << 64 | 0x2 << 62 | random & ((1 << 62) - 1)
    return str(UUID(int=value))


def own(held: Held | None, actor: Actor, id: str) -> Held:
    """The process, if it is the caller's tenant's. Raises: NotFound."""
    if held is None or held.tid != actor.tenant.tid:
        raise NotFound("process", id)
    return held
