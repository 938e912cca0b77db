"""What every operation gets: the store, the engine, and what is remembered between calls.

A process's public id never changes its number and a version never changes its content: both may be remembered for as long as
there is room. Which version is the latest is remembered too where a unit will look again (`Outdated`). Everything else is read.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

import msgspec

from penstock.core import codec
from penstock.core.decider import Step
from penstock.core.events import AnyEvent, ErrorThrown, JobCompleted, JobFailed, Started
from penstock.errors import Conflict, NotFound, PenstockError, Stale, Unavailable
from penstock.identity.keys import Keys
from penstock.identity.model import Actor
from penstock.operations.channels import Streams
from penstock.operations.quotas import Limits
from penstock.outbound import Response
from penstock.store import Store, Wants, claims, idempotency, item_lists, jobs, lookups
from penstock.store.held import Held
from penstock.store.items import Seen
from penstock.store.rows import Tx

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

MOST_REMEMBERED = 50_000
MOST_VERSIONS = 500
PART = "\x1f"


class Engine(Protocol):
    """The engine port: it takes the open transaction."""

    def start(self, held: Held, event: Started) -> Held: ...
    def accept(self, tx: Tx, pid: int, event: AnyEvent) -> Held: ...
    def commit(self, held: Held, event: AnyEvent, step: Step) -> Held: ...
    def answer(
        self, tx: Tx, row: jobs.Row, event: JobCompleted | JobFailed | ErrorThrown, trace: str | None = None
    ) -> Held: ...
    def wake_later(self, tx: Tx, pid: int, tid: int) -> None: ...
    async def poll(
        self, store: Store, queues: list[str], most: int, wait: float, lease_ms: int, worker: str
    ) -> list[Any]: ...
    def match_later(self, tx: Tx, tid: int, name: str, key: str) -> None: ...
    def place_of(self, token: str) -> tuple[int, int] | None: ...
    def reserve(self, queues: list[str], most: int, lease_ms: int, worker: str) -> Any: ...
    async def collect(self, store: Store, reserved: Any) -> list[Any]: ...


class Outdated(Exception):
    """What was remembered of a definition is not so any more: forget it, and begin again."""


class Calls(Protocol):
    """Calls that leave on a tenant's behalf."""

    async def probe(self, tid: int, connection: str, method: str, path: str) -> Response: ...


class ItemPlace(NamedTuple):
    """Where an item is, which never changes, and which form it had when it was last looked at: a migration may give it
    another.
    """

    pid: int
    n: int
    vid: int
    task: str


class Remembered(dict[K, V]):
    """What is kept while there is room: what came first goes first."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        if len(self) > self._most:
            del self[next(iter(self))]


class Context:
    """Built once by wiring; shared by all doors."""

    def __init__(self, store: Store, engine: Engine, keys: Keys | None = None, calls: Calls | None = None) -> None:
        self.store = store
        self.engine = engine
        self.keys = keys
        """Encrypt secrets; None: the installation has no key and stores none."""
        self.calls = calls
        self.streams = Streams(store)
        self.limits = Limits(store)
        self._sole_writer = store.dialect == "sqlite"
        self._deployments = 0
        self._versions: Remembered[tuple[int, str, lookups.Which], lookups.VersionRow] = Remembered(MOST_VERSIONS)
        self._pids: Remembered[tuple[int, str], int] = Remembered(MOST_REMEMBERED)
        self._identities: Remembered[int, claims.Identity] = Remembered(MOST_REMEMBERED)
        self._items: Remembered[tuple[int, str], ItemPlace] = Remembered(MOST_REMEMBERED)
        self._by_vid: Remembered[tuple[int, int], lookups.VersionRow] = Remembered(MOST_VERSIONS)

    def require_keys(self) -> Keys:
        """Raises: Conflict where the installation has none."""
        if self.keys is None:
            raise Conflict(
                "this installation stores no secrets: it has no key. Set secret_key (PENSTOCK_SECRET_KEY_FILE)"
            )
        return self.keys

    async def pid(self, tid: int, id: str) -> int:
        """The number of a process. Raises: NotFound for an id that is not this tenant's."""
        try:
            canonical = str(UUID(id))
        except ValueError:
            raise NotFound("process", id) from None
        known = self._pids.get((tid, canonical))
        if known is not None:
            return known
        found = await self.store.async_read(lambda reader: lookups.pid(reader, tid, canonical), single=True)
        if found is None:
            raise NotFound("process", id)
        self.remember(tid, canonical, found)
        return found

    async def identity(self, pid: int) -> claims.Identity | None:
        """What never changes of a process; None when there is none (any more)."""
        known = self._identities.get(pid)
        if known is not None:
            return known
        found = await self.store.async_read(lambda reader: claims.identity(reader, pid), single=True)
        if found is not None:
            self._identities[pid] = found
        return found

    def remember(self, tid: int, id: str, pid: int) -> None:
        self._pids[(tid, id)] = pid

    def forget(self, tid: int, id: str) -> None:
        """The process is gone."""
        self._pids.pop((tid, id.lower()), None)

    async def item_place(self, tid: int, id: str) -> ItemPlace:
        """Where an item is. Raises: NotFound for an id that is not this tenant's."""
        known = self._items.get((tid, id))
        return known if known is not None else self.remember_item(tid, id, await self.item(tid, id))

    async def item(self, tid: int, id: str) -> Seen:
        """An item as it is now. Raises: NotFound for an id that is not this tenant's."""
        try:
            canonical = str(UUID(id))
        except ValueError:
            raise NotFound("item", id) from None
        found = await self.store.async_read(lambda reader: item_lists.item(reader, tid, canonical), single=True)
        if found is None:
            raise NotFound("item", id)
        return found

    def remember_item(self, tid: int, id: str, seen: Seen) -> ItemPlace:
        place = self._items[(tid, id)] = ItemPlace(seen.item.pid, seen.item.n, seen.vid, seen.item.task)
        return place

    async def version_by_vid(self, tid: int, vid: int) -> lookups.VersionRow:
        """What never changes of a version: its document and digest; not its state, nor which is the latest."""
        known = self._by_vid.get((tid, vid))
        if known is None:
            found = await self.store.async_read(lambda reader: lookups.version_by_vid(reader, tid, vid), single=True)
            assert found is not None, "versions are never removed"
            known = self._by_vid[(tid, vid)] = found
        return known

    async def version(
        self, tid: int, code: str, number: int | None, *, looked_at_again: bool = False, current: bool = False
    ) -> lookups.VersionRow | None:
        """A version of a definition; without a number the latest, or the one that new processes start with.

        `looked_at_again`: the caller's unit compares it with what the database says then, and raises `Outdated`; so it may
        be one that is remembered, though another node has deployed or granted since.
        """
        which: lookups.Which = number if number is not None else lookups.CURRENT if current else lookups.LATEST
        known = self._versions.get((tid, code, which)) if looked_at_again or self._sole_writer else None
        if known is not None:
            return known
        deployments = self._deployments
        found = await self.store.async_read(lambda reader: lookups.version(reader, tid, code, which), single=True)
        if found is not None and self._deployments == deployments:
            self._versions[(tid, code, which)] = found
        return found

    def doubt(self, tid: int, code: str) -> bool:
        """Forget what is remembered of a definition if another node may have changed it; False where there is nothing."""
        if self._sole_writer or not any(key[:2] == (tid, code) for key in self._versions):
            return False
        self.deployed(tid, code)
        return True

    def deployed(self, tid: int, code: str) -> None:
        """A version was made or moved, or permissions were: what is remembered of the definition is not so any more."""
        self._deployments += 1
        for key in [key for key in self._versions if key[:2] == (tid, code)]:
            del self._versions[key]

    async def once(
        self,
        actor: Actor,
        key: str | None,
        request: Any,
        unit: Callable[[Tx], T],
        kind: type[T],
        pids: tuple[int, ...] = (),
        wants: Wants = (),
    ) -> tuple[T, bool]:
        """Run a unit; under an idempotency key run it at most once and answer what it answered first.

        The flag tells whether it is such an earlier answer. Raises: Conflict when the key was used for another request.
        """
        if key is None:
            return await self.store.submit_async(unit, pids, wants), False
        kept = KeptAnswer(actor, key, request, kind)

        def keyed(tx: Tx) -> tuple[T, bool]:
            known = kept.recall(tx)
            if known is not None:
                return known[0], True
            answer = unit(tx)
            kept.keep(tx, answer)
            return answer, False

        return await self.store.submit_async(keyed, pids, (*wants, kept.row))


async def tried(key: str | None, check: Awaitable[T]) -> T | PenstockError:
    """What a check before a unit has found, or why it refused, for the unit to raise (`found_or_refused`).

    The first call may have changed what the check asks. With a key, then, its repeat must come as far as the unit, where
    its answer is kept. Raises: what `check` does, without a key; Unavailable.
    """
    try:
        return await check
    except Unavailable:
        raise
    except PenstockError as refusal:
        if key is None:
            raise
        return refusal


def found_or_refused(found: T | PenstockError) -> T:
    """For the unit. Raises: the refusal."""
    if isinstance(found, PenstockError):
        raise found
    return found


class KeptAnswer(Generic[T]):
    """The answer to one request under the caller's idempotency key."""

    def __init__(self, actor: Actor, key: str, request: Any, kind: type[T]) -> None:
        self._tid = actor.tenant.tid
        self._name = f"{actor.principal}/{key}"
        self._digest = hashlib.sha256(msgspec.json.encode(request, order="deterministic")).hexdigest()
        self.row = idempotency.row(self._tid, self._name)
        """What `recall` reads."""
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
