"""Event streams: one reader a node follows the feed of each tenant that has streams open, and fans out in memory.

Theory of operation
  A tenant with open streams has a `Channel`: how far its feed has been read, and the last few events. It reads when a notice says
  that rows have got their numbers, never by the clock. A stream that begins further back reads for itself until it has come to
  where the channel is, and joins it between two events: so every event comes once, in order. What was read is one object for all
  streams. A stream for which too much waits reads for itself again; one that takes nothing any more is cut off, and resumes by
  number. Marks tell a client how far its stream has come though there was nothing for it. Nobody gets what was read before the
  stream was opened, but for those from whom nothing is hidden: permissions may have changed since.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Iterable

from penstock.errors import Invalid, LimitExceeded, PenstockError, Problem
from penstock.identity.model import Actor
from penstock.identity.policy import Target, sees_everything
from penstock.operations.events import (
    BATCH_BYTES,
    Batch,
    Mark,
    Stream,
    Told,
    Wanted,
    about,
    asks_who_is_involved,
    event,
)
from penstock.store import Read, Store, feed, grants, items, visibility
from penstock.store.feed import Entry

log = logging.getLogger(__name__)

GATHER = 0.02
"""Seconds between two reads: what is committed meanwhile comes in one."""
AGAIN = 0.5
"""Seconds until a read that failed is tried again."""
ROWS = 100
"""Rows of a read."""
RECENT = 500
"""Events a channel keeps, for those who come back."""
RECENT_BYTES = 4 << 20
BEAT = 15
"""Seconds between a stream's marks."""
MOST = 20_000
"""Streams of a node."""
MOST_OF_TENANT = MOST // 2
MOST_OF_USER = 1_000
"""Of one who is no administrator. Applications, which stand for many, and administrators may have all of the tenant's."""
SLICE = 20_000
"""Events times streams that are gone through before others get their turn."""
LEAVING = 2.0
"""Seconds streams have to end when the server does."""


class Channel:
    """One tenant's feed on this node."""

    def __init__(self, hub: Streams, tid: int) -> None:
        self.position = 0
        self.users = 0
        """Streams, and those about to be."""
        self.by_principal: Counter[str] = Counter()
        """The same, by who opened them."""
        self.mine = 0
        """How many of them want to know whom items are for."""
        self.asking = 0
        """How many of them must know who has to do with a process."""
        self.lock = asyncio.Lock()
        self._hub = hub
        self._tid = tid
        self._wide: set[Stream] = set()
        self._by_process: defaultdict[str, set[Stream]] = defaultdict(set)
        self._recent: deque[Told] = deque()
        self._recent_size = 0
        self._recent_from = 0
        """The number below the first of the recent: everything above it is there."""
        self._ready = False

    async def opened(self) -> None:
        """Where the feed stands when the first stream is opened."""
        async with self.lock:
            if not self._ready:
                self.position = self._recent_from = await self._hub.store.async_read(
                    lambda read: feed.head(read, self._tid)
                )
                self._ready = True

    async def read(self) -> None:
        """Tell what has come since the last time."""
        more = self._ready
        while more:
            async with self.lock:  # one by one: who opens a stream waits for a read, not for the end of a flood
                found = await self._hub.store.async_read(lambda read: feed.after(read, self._tid, self.position, ROWS))
                for slice in self._slices(await self._told(found, mine=self.mine > 0, asking=self.asking > 0)):
                    self._publish(slice)
                    await asyncio.sleep(0)
            more = len(found) == ROWS

    def _slices(self, told: list[Told]) -> Iterable[list[Told]]:
        step = max(1, SLICE // (len(self._wide) + 1))
        return [told[at : at + step] for at in range(0, len(told), step)]

    def _publish(self, told: list[Told]) -> None:
        """Without a pause: nobody joins between an event's being passed by and its being told."""
        for each in told:
            event = each.event
            for stream in self._wide:
                stream.offer(each)
            for stream in self._by_process.get(event.process or about(event, "process") or "", ()):
                stream.offer(each)
            self.position = event.feed
            self._recent.append(each)
            self._recent_size += each.size
            while len(self._recent) > RECENT or self._recent_size > RECENT_BYTES:
                gone = self._recent.popleft()
                self._recent_size -= gone.size
                self._recent_from = gone.event.feed

    # -- streams -----------------------------------------------------------------------------------------------------

    def join(self, stream: Stream) -> bool:
        """Take a stream in from where the channel is; False when it is behind what is kept, or what was read for such as it."""
        if stream.position < self.position:
            missed = [told for told in self._recent if told.feed > stream.position]
            # more than may wait would make it fall behind at once
            too_much = sum(told.size for told in missed) > BATCH_BYTES
            if too_much or stream.position < max(stream.anew, self._recent_from):
                return False
        else:
            missed = []
        self._set(stream).add(stream)
        stream.joined(missed)
        return True

    async def catch_up(self, stream: Stream) -> Batch:
        """The next of what a stream has missed, read for it alone."""
        upto, wanted, tid = self.position, stream.wanted, self._tid

        def read(read: Read) -> list[Entry]:
            if wanted.pid is not None and wanted.process is not None:
                return feed.of_process(read, tid, wanted.pid, wanted.process, stream.position, ROWS, upto)
            return feed.after(read, tid, stream.position, ROWS, upto)

        async with self._hub.catching:
            found = await self._hub.store.async_read(read)
            some = _as_many_as_fit(found)
            told = await self._told(some, mine=wanted.mine, asking=stream.asks)
        stream.position = some[-1].feed if len(some) < len(found) or len(found) == ROWS else upto
        return [*(each for each in told if stream.wants(each)), Mark(stream.position)]

    def part(self, stream: Stream) -> None:
        """The stream reads for itself again, until it joins."""
        self._set(stream).discard(stream)

    def leave(self, stream: Stream) -> None:
        self._set(stream).discard(stream)
        if stream.wanted.process is not None and not self._by_process[stream.wanted.process]:
            del self._by_process[stream.wanted.process]
        self._hub.left(self, stream)

    def _set(self, stream: Stream) -> set[Stream]:
        process = stream.wanted.process
        return self._wide if process is None else self._by_process[process]

    # -- events ------------------------------------------------------------------------------------------------------

    async def _told(self, entries: list[Entry], *, mine: bool, asking: bool) -> list[Told]:
        """Entries with what policy asks about them, and what the filters of those who listen do."""
        vids = sorted({entry.vid for entry in entries if entry.vid is not None})
        if not vids:
            return [self._tell(entry, {}, frozenset(), frozenset()) for entry in entries]

        def read(read: Read) -> list[Told]:
            granted = grants.of_versions(read, self._tid, vids)
            of_processes = [entry for entry in entries if entry.pid is not None and entry.vid is not None]
            # of a definition that names viewers, who has to do with a process sees it all the same
            pids = {
                entry.pid or 0
                for entry in of_processes
                if mine or (asking and granted.get(entry.vid or 0, {}).get("viewer"))
            }
            visits = {(entry.pid or 0, entry.visit or 0) for entry in of_processes if mine}
            involved = visibility.all_involved(read, sorted(pids))
            named = items.named(read, sorted(visits))
            none: frozenset[str] = frozenset()
            return [
                self._tell(
                    entry,
                    granted.get(entry.vid or 0, {}),
                    involved.get(entry.pid or 0, none),
                    named.get((entry.pid or 0, entry.visit or 0), none),
                )
                for entry in entries
            ]

        return await self._hub.store.async_read(read)

    def _tell(
        self, entry: Entry, permissions: grants.Permissions, involved: frozenset[str], named: frozenset[str]
    ) -> Told:
        target = Target(
            kind="process" if entry.of_process else "audit",
            id=entry.process or "",
            tid=self._tid,
            permissions=permissions,
            starter=entry.starter,
        )
        return Told(event(entry), len(entry.data) + 300, target, involved, named)


def _as_many_as_fit(found: list[Entry]) -> list[Entry]:
    """The first, and as many more as make a batch."""
    size = 0
    for at, entry in enumerate(found):
        size += len(entry.data)
        if at and size > BATCH_BYTES:
            return found[:at]
    return found


class Streams:
    """All streams of a node. `run` until cancelled."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.catching = asyncio.Semaphore(2)
        """Who reads for itself: the readers are there for others too."""
        self.open_count = 0
        self._channels: dict[int, Channel] = {}
        self._buckets: list[set[tuple[Channel, Stream]]] = [set() for _ in range(BEAT)]
        self._next_bucket = 0
        self._soon = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._news: set[int] = set()
        """Tenants with rows that may not have been read; 0: any."""
        store.listen(self._heard)

    # -- reading -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._beat())

    def _heard(self, payloads: list[str]) -> None:
        """On some thread of the store."""
        if not self._channels or self._loop is None:
            return
        tids = {int(each[len(feed.NOTICE) :]) for each in payloads if each.startswith(feed.NOTICE)}
        if "*" in payloads:
            tids.add(0)
        if not tids:
            return
        with self._lock:
            known = bool(self._news)
            self._news |= tids
        if not known:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server is going down
                self._loop.call_soon_threadsafe(self._soon.set)

    async def _follow(self) -> None:
        while True:
            await self._soon.wait()
            self._soon.clear()
            with self._lock:
                news, self._news = self._news, set()
            for tid, channel in list(self._channels.items()):
                if tid not in news and 0 not in news:
                    continue
                try:
                    await channel.read()
                except PenstockError as error:
                    log.warning("event streams wait for the database: %s", error.message)
                    self._look_again(tid)
                except Exception:
                    log.exception("event streams met an error and go on")
                    self._look_again(tid)
            await asyncio.sleep(GATHER)

    def _look_again(self, tid: int) -> None:
        assert self._loop is not None
        self._loop.call_later(AGAIN, self._heard, [f"{feed.NOTICE}{tid}"])

    async def _beat(self) -> None:
        """Each stream once in `BEAT` seconds, a part of them every second."""
        at = 0
        while True:
            await asyncio.sleep(1.0)
            at = (at + 1) % BEAT
            for channel, stream in list(self._buckets[at]):
                stream.beat(channel.position)

    # -- streams -----------------------------------------------------------------------------------------------------

    async def open(self, actor: Actor, wanted: Wanted, after: int | None, name: str = "after") -> Stream:
        """A stream of what comes after a feed number; without one, of what comes from now on.

        Raises: Invalid for a number the feed has not come to (`name` is what the caller calls it), LimitExceeded.
        """
        tid = actor.tenant.tid
        self._check_room(actor)
        channel = self._channels.get(tid)
        if channel is None:
            channel = self._channels[tid] = Channel(self, tid)
        asks = asks_who_is_involved(actor, wanted)
        self._count(channel, actor, wanted, 1, asks=asks)
        try:
            await channel.opened()
            if after is not None and after > channel.position:
                await self._check_head(tid, after, name)
            if asks:  # a read on its way may have begun before anybody asked, and with permissions of before
                async with channel.lock:
                    pass
            stream = Stream(channel, actor, wanted, channel.position if after is None else after)
            stream.anew = channel.position if asks else 0
        except BaseException:
            self._count(channel, actor, wanted, -1, asks=asks)
            raise
        self._next_bucket = stream.bucket = (self._next_bucket + 1) % BEAT
        self._buckets[stream.bucket].add((channel, stream))
        return stream

    def _check_room(self, actor: Actor) -> None:
        """Raises: LimitExceeded."""
        channel = self._channels.get(actor.tenant.tid)
        if self._closed or self.open_count >= MOST:
            raise LimitExceeded("too many event streams are open here", retry_after=5)
        if channel is None:
            return
        if channel.users >= MOST_OF_TENANT:
            raise LimitExceeded(f"a tenant may have {MOST_OF_TENANT} event streams open on a node", retry_after=5)
        if not sees_everything(actor) and channel.by_principal[actor.principal] >= MOST_OF_USER:
            raise LimitExceeded(f"a user may have {MOST_OF_USER} event streams open on a node", retry_after=5)

    async def _check_head(self, tid: int, after: int, name: str) -> None:
        """The channel may lag behind what another node has told already."""
        head = await self.store.async_read(lambda read: feed.head(read, tid))
        if after > head:
            message = f"{after} is ahead of the feed, which has come to {head}"
            raise Invalid(f"{name}: {message}", [Problem(name, message, "out_of_range")])

    def left(self, channel: Channel, stream: Stream) -> None:
        self._buckets[stream.bucket].discard((channel, stream))
        self._count(channel, stream.actor, stream.wanted, -1, asks=stream.asks)

    def _count(self, channel: Channel, actor: Actor, wanted: Wanted, step: int, *, asks: bool) -> None:
        tid = actor.tenant.tid
        self.open_count += step
        channel.users += step
        channel.by_principal[actor.principal] += step
        channel.mine += step * wanted.mine
        channel.asking += step * asks
        if not channel.by_principal[actor.principal]:
            del channel.by_principal[actor.principal]
        if not channel.users and self._channels.get(tid) is channel:
            del self._channels[tid]

    def close(self) -> None:
        """End all streams, as the server does before it shuts down; who takes nothing any more is cut off a little later."""
        self._closed = True
        streams = [stream for bucket in self._buckets for _, stream in bucket]
        for stream in streams:
            stream.end()
        if streams and self._loop is not None:
            self._loop.call_later(LEAVING, _cut_off, streams)


def _cut_off(streams: list[Stream]) -> None:
    for stream in streams:
        stream.abort()
