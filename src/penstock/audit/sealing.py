"""The sealer: every second, what has got its feed number since is read, digested and bound to the chain of its tenant.

All of it happens after the commit: readers read, and one row a seal is written in the low lane. On PostgreSQL every node looks,
and one seals: who sealed last goes on, another steps in when nothing was sealed for `PATIENCE` seconds though there was something
to seal. Two that seal at once do no harm, for a seal names the one before it and only one can follow.
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial

from penstock.audit.digests import make_seal
from penstock.audit.signing import Sign
from penstock.errors import PenstockError
from penstock.store import Read, Store, feed, seals
from penstock.store.seals import Last, Seal

log = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between looks."""
PATIENCE = 3.0
"""Seconds a node lets others seal."""
MOST = 500
"""Rows of a seal: what a reader digests in one go, and about 22 KB of leaves."""
LIMIT = 30.0
"""Seconds a read may take."""


class Sealer:
    """Seals on one node. `run` until cancelled."""

    def __init__(self, store: Store, sign: Sign | None = None) -> None:
        self._store = store
        self._sign = sign
        self._noted = False
        """That seals are signed here stands in the database."""
        self._alone = store.dialect == "sqlite"
        self._mine = self._alone
        """This node sealed last, as far as it knows."""
        self._waiting: dict[int, tuple[int, float]] = {}
        """By tenant that waited at the last look: its last seal's number, and since when it waits."""
        self._numbers: dict[int, int] = {}
        """By tenant: number of the last seal that was seen or made."""

    async def run(self) -> None:
        while True:
            try:
                await self.turn()
            except PenstockError as error:
                log.warning("sealing waits for the database: %s", error.message)
            except Exception:
                log.exception("sealing met an error and goes on")
            await asyncio.sleep(EVERY)

    @property
    def lag(self) -> float:
        """Seconds the oldest row has waited for its seal, as far as this node has seen; 0 when none did at its last look."""
        return max((time.monotonic() - since for _, since in self._waiting.values()), default=0.0)

    async def turn(self) -> int:
        """Seal what waits, if it is this node's turn; answers how many seals it made."""
        found = await self._store.async_read(seals.waiting, limit=LIMIT)
        made = 0
        for last in self._ours(found):
            made += await self._seal(last)
        return made

    def _ours(self, found: list[Last]) -> list[Last]:
        """What this node is to seal now: everything when it sealed last, else what others have left for too long."""
        now = time.monotonic()
        waiting: dict[int, tuple[int, float]] = {}
        for last in found:
            number, since = self._waiting.get(last.tid, (-1, now))
            waiting[last.tid] = (last.number, since if number == last.number else now)
            if self._numbers.get(last.tid, last.number) != last.number:
                self._mine = self._alone  # another node seals
            self._numbers[last.tid] = last.number
        self._waiting = waiting
        return [last for last in found if self._mine or now - waiting[last.tid][1] >= PATIENCE]

    async def _seal(self, last: Last) -> int:
        """Everything of one tenant; answers how many seals that took."""
        made = 0
        while True:
            seal, more = await self._store.async_read(partial(_next, last=last), limit=LIMIT)
            if seal is None:
                return made
            if self._sign is not None:
                seal = seal._replace(signature=self._sign(seal.digest))
                if not self._noted:
                    await self._store.submit_async(seals.note_signed, low=True)
                    self._noted = True
            added = await self._store.submit_async(partial(seals.add, tid=last.tid, seal=seal), low=True)
            self._mine = added or self._alone
            if not added:
                return made
            self._numbers[last.tid] = seal.number
            made += 1
            if not more:
                return made
            last = last._replace(number=seal.number, to_feed=seal.to_feed, digest=seal.digest)


def _next(read: Read, last: Last) -> tuple[Seal | None, bool]:
    rows = feed.after(read, last.tid, last.to_feed, MOST)
    if not rows:
        return None, False
    return make_seal(last.tenant, last.number + 1, last.digest, rows, read.now()), len(rows) == MOST
