"""Access keys: an AK names a principal, its SK signs requests and so must be readable again. Here it is encrypted."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, delete, func, select, update

from penstock.store import people, tables
from penstock.store.reader import Read
from penstock.store.rows import ACCESS_KEYS, Tx
from penstock.store.sealed import Kind, Sealed


class Row(NamedTuple):
    """A row of `access_keys`, in the order of its columns. `key` is the id of the key that `value`, the SK, is encrypted with."""

    ak: str
    tid: int
    principal: str
    name: str
    key: str
    value: str
    created_at: int
    created_by: str
    disabled: int


_k, _t = tables.access_keys.c, tables.tenants.c
_EVERY = select(*tables.access_keys.columns)
_ONE = _EVERY.where(_k.ak == bindparam("ak"))
_OF = _EVERY.where(_k.tid == bindparam("tid"), _k.principal == bindparam("principal"))
_COUNT = select(func.count()).where(_k.tid == bindparam("tid"), _k.principal == bindparam("principal"))
_FORGET = delete(tables.access_keys).where(_k.tid == bindparam("of_tid"), _k.principal == bindparam("of_principal"))
_REWRITE = (
    update(tables.access_keys)
    .where(_k.ak == bindparam("of_ak"), _k.value == bindparam("before"))
    .values(key=bindparam("new_key"), value=bindparam("new_value"))
)
_CHUNK = select(_k.ak, _t.id, _k.key, _k.value).join(tables.tenants, _t.tid == _k.tid).where(_k.ak > bindparam("after"))


def bound_to(tenant: str, ak: str) -> str:
    """What an SK is encrypted for: it can be read nowhere else."""
    return f"{tenant}/access-key/{ak}"


def get(read: Read | Tx, ak: str) -> Row | None:
    """Of any tenant: an AK is unique in the installation."""
    rows = _ask(read, _ONE, {"ak": ak})
    return Row(*rows[0]) if rows else None


def listed(read: Read, tid: int, principal: str, after: str, most: int) -> list[Row]:
    """A principal's, by AK."""
    page = _OF.where(_k.ak > after).order_by(_k.ak).limit(most)
    return [Row(*row) for row in read.rows(page, {"tid": tid, "principal": principal})]


def count(tx: Tx, tid: int, principal: str) -> int:
    return int(_ask(tx, _COUNT, {"tid": tid, "principal": principal})[0][0])


def owner(read: Read, ak: str) -> tuple[Row, people.Principal] | None:
    """An access key and whom it speaks for, as they are now."""
    row = get(read, ak)
    found = None if row is None else people.caller(read, row.tid, row.principal)
    return None if row is None or found is None else (row, found)


def put(tx: Tx, row: Row) -> None:
    tx.put(ACCESS_KEYS, tuple(row))


def change(tx: Tx, row: Row) -> None:
    """Its name, and whether it is disabled: the SK may be encrypted anew beside this."""
    tx.patch(ACCESS_KEYS, (row.ak,), {"name": row.name, "disabled": row.disabled})


def remove(tx: Tx, ak: str) -> None:
    tx.delete(ACCESS_KEYS, (ak,))


def forget(tx: Tx, tid: int, principal: str) -> int:
    """Drop all of a principal that goes; answers how many."""
    return tx.execute(_FORGET, {"of_tid": tid, "of_principal": principal})


def _ask(read: Read | Tx, statement: Select[Any], params: dict[str, Any]) -> list[tuple[Any, ...]]:
    return read.select(statement, params, of=[ACCESS_KEYS]) if isinstance(read, Tx) else read.rows(statement, params)


def _chunk(read: Read, after: tuple[Any, ...], most: int) -> list[Sealed]:
    rows = read.rows(_CHUNK.order_by(_k.ak).limit(most), {"after": after[0]})
    return [Sealed((ak,), bound_to(tenant, ak), key, value) for ak, tenant, key, value in rows]


def _rewrite(tx: Tx, before: Sealed, key: str, value: str) -> bool:
    given = {"of_ak": before.place[0], "before": before.value, "new_key": key, "new_value": value}
    return bool(tx.execute(_REWRITE, given))


SEALED = Kind("access keys", ("",), _chunk, _rewrite)
