"""Keys that sign access tokens: their public half for all to see, their private half encrypted, and gone with their retirement."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, select, update

from penstock.store import journal, people, tables
from penstock.store.reader import Read
from penstock.store.rows import SIGNING_KEYS, Tx
from penstock.store.sealed import Kind, Sealed

CHANGED = "signing"
"""The notice that there is another key."""
_PLACE = "signing keys"


class Row(NamedTuple):
    """A row of `signing_keys`, in the order of its columns. `key` is the id of the key that `private` is encrypted with."""

    kid: str
    algorithm: str
    public: str
    """A JSON Web Key."""
    key: str | None
    private: str | None
    """None: retired."""
    created_at: int
    retired_at: int | None


_k = tables.signing_keys.c
_EVERY = select(*tables.signing_keys.columns).order_by(_k.created_at, _k.kid)
_SIGNING = _EVERY.where(_k.retired_at.is_(None))
_HOLD = select(tables.meta.c.key).where(tables.meta.c.key == _PLACE).with_for_update()
_TENANTS = select(tables.tenants.c.tid).order_by(tables.tenants.c.tid)
_RETIRE = (
    update(tables.signing_keys)
    .where(_k.retired_at.is_(None))
    .values(retired_at=bindparam("at"), key=None, private=None)
)
_FORGET = delete(tables.signing_keys).where(_k.retired_at < bindparam("before"))
_REWRITE = (
    update(tables.signing_keys)
    .where(_k.kid == bindparam("of_kid"), _k.private == bindparam("before"))
    .values(key=bindparam("new_key"), private=bindparam("new_private"))
)
_CHUNK = select(_k.kid, _k.key, _k.private).where(_k.kid > bindparam("after"), _k.private.is_not(None))


def bound_to(kid: str) -> str:
    """What a private half is encrypted for: it can be read nowhere else."""
    return f"signing-key/{kid}"


def every(read: Read) -> list[Row]:
    """Oldest first: the last that is not retired signs."""
    return [Row(*row) for row in read.rows(_EVERY)]


def replace(tx: Tx, replaced: str | None, new: Row) -> Row:
    """The key that signs from here on: `new`, if `replaced` (None: none) is what signs now, else what another node has made.

    Whoever comes here does it after everybody else who does.
    """
    if not tx.sole_writer:
        people.first_meta(tx, _PLACE, "held by who changes them")
        tx.select(_HOLD, {}, of=[])
        tx.reread()
    found = [Row(*row) for row in tx.select(_SIGNING, {}, of=[SIGNING_KEYS])]
    if found and found[-1].kid != replaced:
        return found[-1]
    tx.execute(_RETIRE, {"at": tx.now})
    row = new._replace(created_at=tx.now)
    tx.put(SIGNING_KEYS, tuple(row))
    tx.notify(CHANGED)
    for (tid,) in tx.select(_TENANTS, {}, of=[]):
        data = {"replaced": replaced, "algorithm": row.algorithm}
        journal.record(tx, tid, journal.SYSTEM, "signing_key.created", "signing_key", row.kid, data)
    return row


def forget(tx: Tx, before: int) -> int:
    """Drop those that retired before a time; answers how many."""
    return tx.execute(_FORGET, {"before": before})


def _chunk(read: Read, after: tuple[Any, ...], most: int) -> list[Sealed]:
    rows = read.rows(_CHUNK.order_by(_k.kid).limit(most), {"after": after[0]})
    return [Sealed((kid,), bound_to(kid), key, private) for kid, key, private in rows]


def _rewrite(tx: Tx, before: Sealed, key: str, value: str) -> bool:
    given = {"of_kid": before.place[0], "before": before.value, "new_key": key, "new_private": value}
    return bool(tx.execute(_REWRITE, given))


SEALED = Kind("signing keys", ("",), _chunk, _rewrite)
