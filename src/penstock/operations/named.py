"""What operations on a tenant's named objects (secrets, connections) have in common: rights, revisions, the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from penstock.errors import NotFound
from penstock.identity.model import Actor
from penstock.identity.policy import Action, Target, require
from penstock.operations.context import Context, require_revision
from penstock.operations.views import Page
from penstock.store import journal, named, people
from penstock.store.named import NamedRow
from penstock.store.rows import Tx

R = TypeVar("R", bound=NamedRow)
V = TypeVar("V")


class Named(Generic[R, V]):
    """One kind of them. `view` is what callers see of a row."""

    def __init__(self, kind: str, store: named.Named[R], view: Callable[[R], V], read: Action, write: Action) -> None:
        self._kind = kind
        self._store = store
        self._view = view
        self._read = read
        self._write = write

    def require_write(self, actor: Actor, name: str) -> None:
        """Raises: NotFound, Forbidden."""
        self._require(actor, self._write, name)

    def _require(self, actor: Actor, action: Action, name: str) -> None:
        require(actor, action, Target(kind=self._kind, id=name, tid=actor.tenant.tid))

    async def get(self, ctx: Context, actor: Actor, name: str) -> V:
        """Raises: NotFound, Forbidden."""
        self._require(actor, self._read, name)
        row = await ctx.store.async_read(lambda read: self._store.get(read, actor.tenant.tid, name), single=True)
        if row is None:
            raise NotFound(self._kind, name)
        return self._view(row)

    async def listed(self, ctx: Context, actor: Actor, after: list[Any] | None, limit: int) -> Page:
        """By name."""
        require(actor, self._read)
        start, tid = after[0] if after else "", actor.tenant.tid
        rows = await ctx.store.async_read(lambda read: self._store.listed(read, tid, start, limit + 1), single=True)
        return Page([self._view(row) for row in rows[:limit]], [rows[limit - 1].name] if len(rows) > limit else None)

    def keep(
        self,
        tx: Tx,
        actor: Actor,
        name: str,
        expected: frozenset[int] | None,
        make: Callable[[int, int, str], R],
        told: Mapping[str, Any],
    ) -> tuple[R, bool]:
        """Put one in its place, in a unit; `make` gets its revision, and when and by whom it was created.

        The flag tells whether the name is new; `told` goes to the journal. Raises: Stale.
        """
        tid, by = actor.tenant.tid, actor.principal
        known = people.held_or_first(tx, tid, lambda: self._store.lock(tx, tid, name))
        found = 0 if known is None else known.revision
        require_revision(expected, found, f"the {self._kind} {name!r}")
        created = (tx.now, by) if known is None else (known.created_at, known.created_by)
        row = make(found + 1, *created)
        self._store.put(tx, row)
        what = "created" if known is None else "updated"
        data = {**told, "revision": row.revision}
        journal.record(tx, tid, by, f"{self._kind}.{what}", self._kind, name, data)
        return row, known is None

    async def delete(
        self, ctx: Context, actor: Actor, name: str, expected: frozenset[int] | None, key: str | None = None
    ) -> None:
        """Raises: NotFound, Forbidden, Stale."""
        self.require_write(actor, name)
        tid, by = actor.tenant.tid, actor.principal

        def unit(tx: Tx) -> bool:
            row = self._store.lock(tx, tid, name)
            if row is None:
                raise NotFound(self._kind, name)
            require_revision(expected, row.revision, f"the {self._kind} {name!r}")
            self._store.remove(tx, row)
            data = {"revision": row.revision}
            journal.record(tx, tid, by, f"{self._kind}.deleted", self._kind, name, data)
            return True

        await ctx.once(actor, key, [f"{self._kind}.delete", name, expected], unit, bool)
