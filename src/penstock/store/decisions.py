"""What was decided about a version, by whom and with what comment: kept, and never changed."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, select

from penstock.core.approval import Decision
from penstock.store import tables
from penstock.store.reader import Read
from penstock.store.rows import DECISIONS, Tx


class Decided(NamedTuple):
    """`state` is the version's after it."""

    n: int
    at: int
    actor: str
    action: str
    state: str
    comment: str


_c = tables.decisions.c
_OF = (
    select(_c.n, _c.at, _c.actor, _c.action, _c.state, _c.comment)
    .where(_c.vid == bindparam("vid"), _c.n > bindparam("after"))
    .order_by(_c.n)
    .limit(bindparam("most"))
)
_LAST = select(_c.n).where(_c.vid == bindparam("vid")).order_by(_c.n.desc()).limit(1)
_SUBMITTED = (
    select(_c.actor)
    .where(_c.vid == bindparam("vid"), _c.action == Decision.SUBMIT.value)
    .order_by(_c.n.desc())
    .limit(1)
)


def of_version(read: Read, vid: int, after: int, most: int) -> list[Decided]:
    """In the order they were made."""
    return [Decided(*row) for row in read.rows(_OF, {"vid": vid, "after": after, "most": most})]


def submitter(tx: Tx, vid: int) -> str | None:
    """Who submitted a version last."""
    rows = tx.select(_SUBMITTED, {"vid": vid}, of=[DECISIONS])
    return rows[0][0] if rows else None


def add(tx: Tx, tid: int, vid: int, actor: str, action: str, state: str, comment: str) -> None:
    rows = tx.select(_LAST, {"vid": vid}, of=[DECISIONS])
    n = rows[0][0] + 1 if rows else 1
    tx.put(DECISIONS, (vid, n, tid, tx.now, actor, action, state, comment))
