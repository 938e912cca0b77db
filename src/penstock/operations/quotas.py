"""What a tenant may use, asked at the doors: requests a second, open processes; and whose turn at the writer a request takes.

Theory of operation
  Quotas travel with the actor, so a request costs no look-up; a notice of `people.changed` makes every node look again. A
  job's token has no actor: the quotas of its tenant are remembered here, as long as a token's answer is.
  Requests are counted by each node for itself.
  Open processes are not counted for each start. A node counts them when it has no *allowance* left, and may then start as
  many as there was room for, without a look. Starts in flight are taken off: they may be among the counted or not. So
  starts never exceed the quota on one node. Of several nodes each takes a part of the room, and a small one: together they
  may exceed it by `1 / PARTS` for each further node. What is no start at a door (children, schedules, messages) is counted, and
  never refused.
All of it is for one event loop.
"""

from __future__ import annotations

import asyncio
import math
import time
from types import TracebackType
from typing import Self

from penstock.errors import Defect, LimitExceeded, PenstockError, Unauthenticated
from penstock.identity.model import UNLIMITED, Actor, Quotas, Tenant
from penstock.identity.quotas import Bucket
from penstock.store import Read, Store, installation, people
from penstock.store.fairness import turn

REMEMBERED_SECONDS = 2.0
"""How long a tenant's quotas are believed without a look, where nobody has said that they have changed."""
ALLOWANCE_SECONDS = 5.0
"""How long an allowance is good: what other nodes, schedules and messages have started counts at the latest then."""
PAUSE_SECONDS = 0.05
"""Between two counts; who starts waits for the next."""
FULL_SECONDS = 1.0
"""How long a tenant that was found full is refused without a count."""
PARTS = 20
"""Of a quota: the most that one of several nodes may start without a count is one of these."""


_COUNTING = -1
"""In the place of a quota: nobody may start by a count that is being made, or never was."""


class Place:
    """A start's place among the open processes, held while the start is in flight: `with place: …`, and `used` when a
    process came of it.
    """

    __slots__ = ("_refusal", "_room", "used")

    def __init__(self, room: _Room | None, refusal: LimitExceeded | None = None) -> None:
        self._room = room
        self._refusal = refusal
        self.used = False

    def require(self) -> None:
        """For the unit, where it is about to make the process. Raises: LimitExceeded."""
        if self._refusal is not None:
            raise self._refusal

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._room is None:
            return
        self._room.flying -= 1
        if not self.used and not _in_doubt(error):
            self._room.left += 1


def _in_doubt(error: BaseException | None) -> bool:
    """Whether the process may be there all the same: the next count tells."""
    if isinstance(error, PenstockError):
        return isinstance(error, Defect) or bool(error.details.get("unknown"))
    return error is not None and not isinstance(error, Exception)


class _Room:
    """What a node may start in a tenant."""

    __slots__ = ("counted_at", "flying", "full_until", "left", "lock", "quota")

    def __init__(self) -> None:
        self.quota = _COUNTING
        """What it was counted for."""
        self.left = 0
        """Below 0 there are more processes than may be: starts in flight that fail give back what was never there."""
        self.flying = 0
        """Starts that have their place and no answer yet."""
        self.counted_at = 0.0
        self.full_until = 0.0
        self.lock = asyncio.Lock()

    def known(self, quota: int, now: float) -> bool:
        """Whether the last count still says what may be started under this quota."""
        if self.quota != quota:
            return False
        return self.full_until > now or (self.left > 0 and now - self.counted_at <= ALLOWANCE_SECONDS)


class Limits:
    """One for the whole server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._buckets: dict[int, Bucket] = {}
        self._rooms: dict[int, _Room] = {}
        self._tenants: dict[int, tuple[float, int, Quotas, bool]] = {}
        """Until when it is believed, after how many changes it was asked, the quotas, disabled."""
        self._changes = 0
        self._listening = False

    # -- requests ----------------------------------------------------------------------------------------------------

    def admit(self, actor: Actor) -> None:
        """A request of somebody who is known now. Raises: LimitExceeded."""
        tenant = actor.tenant
        quotas = tenant.quotas
        if quotas is UNLIMITED:  # as nearly always
            turn.set((tenant.tid, 1))
        else:
            self._admit(tenant.tid, quotas)

    def _admit(self, tid: int, quotas: Quotas) -> None:
        turn.set((tid, quotas.writer_share))
        if quotas.requests_per_second is None:
            return
        bucket = self._buckets.get(tid)
        if bucket is None:
            bucket = self._buckets[tid] = Bucket()
        wait = bucket.take(time.monotonic(), quotas)
        if wait:
            message = f"the tenant may make {quotas.requests_per_second:g} requests a second"
            raise LimitExceeded(message, retry_after=max(1, math.ceil(wait)))

    async def admit_job(self, tid: int) -> None:
        """A request with the token of a job of this tenant. Raises: Unauthenticated (it is disabled), LimitExceeded."""
        if not self._listening:
            self._listening = True
            self._store.listen(self._heard)
        now, asked = time.monotonic(), self._changes
        known = self._tenants.get(tid)
        if known is None or known[0] < now or known[1] != asked:
            row = await self._store.async_read(lambda reader: people.settings(reader, tid), single=True)
            known = (now + REMEMBERED_SECONDS, asked, people.quotas_of(row.quotas), bool(row.disabled))
            self._tenants[tid] = known
        if known[3]:
            raise Unauthenticated("the tenant is disabled")
        self._admit(tid, known[2])

    def was_nobody(self, tid: int) -> None:
        """The last request was let in by a token that was none: it is not the tenant's."""
        bucket = self._buckets.get(tid)
        if bucket is not None:
            bucket.give_back()

    def _heard(self, payloads: list[str]) -> None:
        if any(payload == "*" or payload.startswith(f"{people.CHANGED}:") for payload in payloads):
            self._changes += 1

    # -- open processes ----------------------------------------------------------------------------------------------

    async def place(self, tenant: Tenant, *, repeatable: bool) -> Place:
        """A place for one more process. `repeatable`: the call may turn out to repeat an earlier one, which needs no
        place: then what there is to refuse is refused by `Place.require`.

        Raises: LimitExceeded, Unavailable.
        """
        quota = tenant.quotas.open_processes
        if quota is None:
            return _FREE
        room = self._rooms.get(tenant.tid)
        if room is None:
            room = self._rooms[tenant.tid] = _Room()
        while not self._take(room, quota):
            wait = room.full_until - time.monotonic()
            if room.quota == quota and wait > 0:
                message = f"the tenant has as many open processes as it may have: {quota}"
                refusal = LimitExceeded(message, retry_after=max(1, math.ceil(wait)))
                if repeatable:
                    return Place(None, refusal)
                raise refusal
            async with room.lock:
                if not room.known(quota, time.monotonic()):
                    await self._count(room, tenant.tid, quota)
        return Place(room)

    def _take(self, room: _Room, quota: int) -> bool:
        if room.quota != quota or room.left <= 0 or time.monotonic() - room.counted_at > ALLOWANCE_SECONDS:
            return False
        room.left -= 1
        room.flying += 1
        return True

    async def _count(self, room: _Room, tid: int, quota: int) -> None:
        early = room.counted_at + PAUSE_SECONDS - time.monotonic()
        if early > 0:
            await asyncio.sleep(early)
        room.quota = _COUNTING
        flying = room.flying
        room.left = 0  # what is given back from here on was in flight

        def count(reader: Read) -> tuple[int, int]:
            nodes = installation.running_nodes(reader) if reader.shared else 1
            return installation.open_processes(reader, tid, quota + 1), nodes

        found, nodes = await self._store.async_read(count)
        left = quota - found - flying + room.left
        if nodes > 1 and left > 0:
            left = max(1, min(left // nodes, quota // PARTS))
        room.quota, room.left = quota, left
        room.counted_at = time.monotonic()
        room.full_until = 0.0 if left > 0 else room.counted_at + FULL_SECONDS


_FREE = Place(None)
