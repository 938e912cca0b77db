"""Which definition a message starts: the one whose active version has a start node of its name."""

from __future__ import annotations

from sqlalchemy import bindparam, select

from penstock.store import definitions, tables
from penstock.store.rows import DEFINITIONS, VERSIONS, Tx

Starter = tuple[int, int, str]
"""Definition, version, start node."""

_d, _v = tables.definitions.c, tables.versions.c
# Only documents that may have such a node are compiled: they are JSON as `codec.encode_json` writes it.
_CURRENT = (
    select(_d.did, _v.vid)
    .join(tables.versions, (_v.did == _d.did) & (_v.number == _d.active))
    .where(_d.tid == bindparam("tid"), _v.state == definitions.ACTIVE)
    .where(_v.document.contains('"kind":"start"'), _v.document.contains('"message":'))
    .order_by(_d.did)
)


def of_message(tx: Tx, tid: int, name: str) -> Starter | None:
    """What a message's name starts; the oldest definition's where several have it."""
    known = tx.recalled("starters", tid)
    if not isinstance(known, dict):
        known = _all(tx, tid)
        tx.recall_later("starters", tid, known)
    found: Starter | None = known.get(name)
    return found


def _all(tx: Tx, tid: int) -> dict[str, Starter]:
    found: dict[str, Starter] = {}
    for did, vid in tx.select(_CURRENT, {"tid": tid}, of=[DEFINITIONS, VERSIONS]):
        for message, node in definitions.version(tx, vid)[1].messages.items():
            found.setdefault(message, (did, vid, node))
    return found
