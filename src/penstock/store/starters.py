"""Which definition a message starts: the latest version that has a start node of its name."""

from __future__ import annotations

from sqlalchemy import bindparam, select

from penstock.store import definitions, tables
from penstock.store.rows import Tx

_d, _v = tables.definitions.c, tables.versions.c
_LATEST = (
    select(_d.did, _v.vid)
    .join(tables.versions, (_v.did == _d.did) & (_v.number == _d.latest))
    .where(_d.tid == bindparam("tid"))
    .order_by(_d.did)
)


def of_message(tx: Tx, tid: int, name: str) -> tuple[int, int, str] | None:
    """(definition, version, start node) for a message's name; the oldest definition's where several have it."""
    for did, vid in tx.select(_LATEST, {"tid": tid}):
        node = definitions.version(tx, vid)[1].messages.get(name)
        if node is not None:
            return did, vid, node
    return None
