"""What was found out of who calls is believed for a moment: until it is ended, until the tenant's people change, or two seconds at most.

Nothing else stands between a credential and the database, so what is taken away here is gone at once, on every node that hears
of it. Asking what is remembered costs about a microsecond.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Generic, TypeVar

from penstock.store import Store, people

T = TypeVar("T")
SECONDS = 2.0
"""How long something is believed without a look, where nobody has said that the tenant's people have changed."""
MOST = 10_000
"""Credentials remembered, of each sort."""


class Changes:
    """Of people, as far as this node has heard: counted, so that no clock matters. One for the whole server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listening = False
        self._count = 0
        self.everywhere = 0
        """The last change that may have been anybody's."""
        self.of: dict[int, int] = {}
        """The last change of each tenant."""
        self.ended: dict[str, int] = {}
        """When a token or session, by its hash, was ended. Bounded: where it is full, everything is looked up again."""

    def asked(self) -> int:
        """To be taken before a look: what is found is of now, and may change from here on."""
        if not self._listening:
            self._listening = True
            self._store.listen(self._heard)
        return self._count

    def _heard(self, payloads: list[str]) -> None:
        """This node or another has changed people (`who:TID`) or ended one token or session (`token:HASH`, `session:HASH`), or
        notices may have been missed (`*`).
        """
        for payload in payloads:
            kind, _, rest = payload.partition(":")
            if kind == people.CHANGED:
                self._count += 1
                self.of[int(rest)] = self._count
            elif kind in people.ENDED:
                self._count += 1
                self._end(rest)
            elif kind == "*":
                self._count += 1
                self.everywhere = self._count

    def _end(self, hashed: str) -> None:
        if len(self.ended) >= MOST:
            self.everywhere = self._count
            self.ended.clear()
        self.ended[hashed] = self._count


class Believed(Generic[T]):
    """One sort of credential, by a key that is no secret."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._known: OrderedDict[str, tuple[float, int, int, T]] = OrderedDict()

    def get(self, key: str) -> T | None:
        """What is still so."""
        known = self._known.get(key)
        if known is None:
            return None
        until, asked, tid, found = known
        changes = self._changes
        if until <= time.monotonic() or asked < changes.everywhere or asked < changes.of.get(tid, 0):
            return None
        if asked < changes.ended.get(key, 0):
            return None
        return found

    def last(self, key: str) -> T | None:
        """What was so once, not long ago, and may be so no more."""
        known = self._known.get(key)
        return None if known is None else known[3]

    def keep(self, key: str, tid: int, found: T, asked: int, left_ms: float = float("inf")) -> None:
        """`asked`: what `Changes.asked` said before the look; `left_ms`: until it ends by itself."""
        self._known[key] = (time.monotonic() + min(SECONDS, left_ms / 1000), asked, tid, found)
        if len(self._known) > MOST:
            self._known.popitem(last=False)

    def drop(self, key: str) -> None:
        self._known.pop(key, None)
