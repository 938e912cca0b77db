"""Objects of a tenant that have a name and a revision: one table each, read by name, changed under a lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Table, bindparam, select, tuple_

from penstock.store import tables
from penstock.store.reader import Read
from penstock.store.rows import Rows, Tx
from penstock.store.sealed import Kind, Sealed


class NamedRow(Protocol):
    """What every such row has; it is a tuple in the order of its columns."""

    @property
    def tid(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def revision(self) -> int: ...
    @property
    def created_at(self) -> int: ...
    @property
    def created_by(self) -> str: ...


R = TypeVar("R", bound=NamedRow)


class Named(Generic[R]):
    """One table. `kind` makes a row of its columns."""

    def __init__(self, table: Table, rows: Rows, kind: Callable[..., R]) -> None:
        self._rows = rows
        self._kind = kind
        c, every = table.c, select(*table.columns)
        self._one = every.where(c.tid == bindparam("tid"), c.name == bindparam("name"))
        self._lock = self._one.with_for_update()
        after = every.where(c.tid == bindparam("tid"), c.name > bindparam("after"))
        self._page = after.order_by(c.name).limit(bindparam("most"))

    def get(self, read: Read, tid: int, name: str) -> R | None:
        row = read.row(self._one, {"tid": tid, "name": name})
        return None if row is None else self._kind(*row)

    def listed(self, read: Read, tid: int, after: str, most: int) -> list[R]:
        """By name."""
        return [self._kind(*row) for row in read.rows(self._page, {"tid": tid, "after": after, "most": most})]

    def lock(self, tx: Tx, tid: int, name: str) -> R | None:
        """The row, held until the commit."""
        rows = tx.select(self._lock, {"tid": tid, "name": name}, of=[self._rows])
        return self._kind(*rows[0]) if rows else None

    def put(self, tx: Tx, row: R) -> None:
        tx.put(self._rows, tuple(row))  # type: ignore[arg-type]  # a row is a tuple

    def remove(self, tx: Tx, row: R) -> None:
        tx.delete(self._rows, (row.tid, row.name))


def sealed(word: str, named: Named[Any], table: Table, column: str, bound_to: Callable[[str, str], str]) -> Kind:
    """What such a table keeps encrypted, in `column` with the id of its key in `key`. `bound_to`: of tenant and name."""
    c, t = table.c, tables.tenants.c
    every = select(c.tid, t.id, c.name, c.key, c[column]).join(tables.tenants, t.tid == c.tid)
    wanted = every.where(c[column].is_not(None)).order_by(c.tid, c.name)

    def chunk(read: Read, after: tuple[Any, ...], most: int) -> list[Sealed]:
        rows = read.rows(wanted.where(tuple_(c.tid, c.name) > after).limit(most), {})
        return [Sealed((tid, name), bound_to(tenant, name), key, value) for tid, tenant, name, key, value in rows]

    def rewrite(tx: Tx, before: Sealed, key: str, value: str) -> bool:
        row = named.lock(tx, *before.place)
        if row is None or getattr(row, column) != before.value:
            return False
        named.put(tx, row._replace(**{"key": key, column: value}))
        return True

    return Kind(word, (0, ""), chunk, rewrite)
