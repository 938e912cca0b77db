"""Events as streams tell them: one stream's filters, what it may see, and what waits for it. Who reads them, `channels` knows."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol

import msgspec
from msgspec import structs

from penstock.core import codec
from penstock.identity.model import Actor, grantees_of
from penstock.identity.policy import Action, Target, may, sees_everything
from penstock.operations.views import Event
from penstock.store.feed import Entry

log = logging.getLogger(__name__)

WAITING = 1_000
"""Events that may wait for a stream."""
WAITING_BYTES = 256 << 10
BATCH_BYTES = 64 << 10
"""About what a stream hands out in one go."""
STALLED = 30.0
"""Seconds after which a client that takes nothing of what waits is cut off."""


def event(entry: Entry) -> Event:
    """A row as it is told to the world."""
    return Event(
        feed=entry.feed,
        at=entry.at,
        actor=entry.actor,
        type=entry.type,
        process=entry.process,
        definition=entry.definition,
        seq=entry.seq,
        scope=entry.scope,
        visit=entry.visit,
        kind=entry.kind,
        subject=entry.subject,
        data=codec.event_data(entry.data) if entry.of_process else codec.decode_json(entry.data),
    )


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A stream's filters."""

    process: str | None = None
    pid: int | None = None
    definition: str | None = None
    types: frozenset[str] = frozenset()
    """Empty: all."""
    mine: bool = False
    """Of processes alone the caller is involved in, and of items that are, or were, for the caller: as candidate or owner."""


class Told:
    """An event as all streams of a node share it."""

    __slots__ = ("action", "event", "feed", "frame", "involved", "named", "size", "target")

    def __init__(
        self, event: Event, size: int, target: Target, involved: frozenset[str], named: frozenset[str]
    ) -> None:
        self.event = event
        self.size = size
        self.target = target
        self.action = Action.AUDIT_READ if event.process is None else Action.PROCESS_READ
        self.feed = event.feed
        self.involved = involved
        """Who has, may get or had an item of the process; nobody when no stream had to know."""
        self.named = named
        """Whom the item it happened to is, or was, for; nobody when no stream had to know."""
        self.frame: bytes | None = None
        """How the door writes it, made once."""


class Mark(msgspec.Struct, frozen=True):
    """Up to this number the stream has told all it will tell."""

    feed: int


Batch = list[Told | Mark]


class Source(Protocol):
    """Where a stream's events come from: its tenant's channel."""

    def join(self, stream: Stream) -> bool: ...
    def part(self, stream: Stream) -> None: ...
    async def catch_up(self, stream: Stream) -> Batch: ...
    def leave(self, stream: Stream) -> None: ...


class Stream:
    """One caller's view of a channel. Iterate over `batches`, then `leave`."""

    def __init__(self, channel: Source, actor: Actor, wanted: Wanted, position: int) -> None:
        self.actor = actor
        self.wanted = wanted
        self.asks = asks_who_is_involved(actor, wanted)
        self.position = position
        """Up to which number everything has been told, or waits to be."""
        self.anew = position
        """Above this number the channel has read with the permissions that held when the stream was opened, or later."""
        self.abort: Callable[[], object] = lambda: None
        """Breaks the connection: for a client that takes nothing any more."""
        self.ended = False
        self.bucket = 0
        self._channel = channel
        self._queue: deque[Told | Mark] = deque()
        self._size = 0
        self._wake: asyncio.Future[None] | None = None
        self._left = False
        self._behind = True
        """Not where the channel is, or more came than may wait: what comes next is read by the stream for itself."""
        self._handed = position
        """Up to which number everything has been handed out."""
        self._handed_at: float | None = None
        """Since when a batch that was handed out has not been taken."""

    # -- from the channel --------------------------------------------------------------------------------------------

    def offer(self, told: Told) -> None:
        if self.ended or self._behind or told.event.feed <= self.position:
            return
        self.position = told.event.feed
        if not self.wants(told):
            return
        self._size += told.size
        if self._queue and (len(self._queue) >= WAITING or self._size > WAITING_BYTES):
            self._fall_behind()
        else:
            self._queue.append(told)
        self._notify()

    def _fall_behind(self) -> None:
        """Too much waits: let it go, and read it again when the client has taken what it has."""
        self._behind = True
        self._queue.clear()
        self._size = 0
        self.position = self._handed

    def beat(self, position: int) -> None:
        """A sign of life, and how far the stream has come. Cuts off who takes nothing any more, of live and of old events alike."""
        if self._handed_at is not None and time.monotonic() - self._handed_at > STALLED:
            log.info("an event stream of %s is cut off: it does not take what waits for it", self.actor.principal)
            self.end()
            self.abort()
        elif not (self._queue or self._behind or self.ended):
            self.position = max(self.position, position)
            self._queue.append(Mark(self.position))
            self._notify()

    def end(self) -> None:
        self.ended = True
        self._notify()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def wants(self, told: Told) -> bool:
        event, wanted = told.event, self.wanted
        if wanted.types and event.type not in wanted.types:
            return False
        if wanted.definition is not None and wanted.definition not in (event.definition, about(event, "definition")):
            return False
        if wanted.process is not None and wanted.process not in (event.process, about(event, "process")):
            return False
        grantees = grantees_of(self.actor, starter=told.target.starter) if told.involved or told.named else frozenset()
        involved = not told.involved.isdisjoint(grantees)
        if not (
            may(self.actor, told.action, told.target)
            or (involved and may(self.actor, told.action, structs.replace(told.target, involved=True)))
        ):
            return False
        return involved or not wanted.mine or not told.named.isdisjoint(grantees)

    # -- to the caller -----------------------------------------------------------------------------------------------

    async def batches(self) -> AsyncIterator[Batch]:
        """Events and marks in order, until the stream has ended. Raises: Unavailable while it catches up."""
        batch: Batch | None = [Mark(self.position)]
        while batch is not None:
            self._handed_at = time.monotonic()
            yield batch
            self._handed_at = None
            batch = await self._next()

    async def _next(self) -> Batch | None:
        while True:
            if self._queue and not self._left:
                return self._taken()
            if self.ended:
                return None
            if self._behind:
                self._channel.part(self)
                if not self._channel.join(self):
                    batch = await self._channel.catch_up(self)
                    self._handed = self.position
                    return batch
                continue
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
            self._wake = None

    def joined(self, missed: Iterable[Told]) -> None:
        """From here on the channel offers what comes; this much it has told already."""
        self._behind = False
        for told in missed:
            self.offer(told)

    def _taken(self) -> Batch:
        taken: Batch = []
        size = 0
        while self._queue and size < BATCH_BYTES:
            each = self._queue.popleft()
            self._handed = each.feed
            if isinstance(each, Told):
                size += each.size
                self._size -= each.size
            taken.append(each)
        return taken

    def breaks_by(self, abort: Callable[[], object]) -> None:
        """What breaks the connection of this stream's client."""
        self.abort = abort

    def goes_on_as(self, actor: Actor) -> None:
        """The caller as it is now. One who comes to see less, or more, than the channel reads for comes back by number."""
        if asks_who_is_involved(actor, self.wanted) != self.asks:
            self.end()
        self.actor = actor

    def leave(self) -> None:
        """Nobody reads any more."""
        self.end()
        if not self._left:
            self._left = True
            self._channel.leave(self)


def asks_who_is_involved(actor: Actor, wanted: Wanted) -> bool:
    """Whether it matters to such a stream who has to do with a process."""
    return wanted.mine or not sees_everything(actor)


def about(event: Event, kind: str) -> str | None:
    """What a row of the journal is about, if that is of a kind."""
    return event.subject if event.kind == kind else None
