"""How often logging in has failed, by what it was counted for. Whom or where that is, is kept as a hash."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import BindParameter, bindparam, select

from penstock.store import tables
from penstock.store.reader import Read
from penstock.store.rows import LOGIN_FAILURES, Tx


class Row(NamedTuple):
    """A row of `login_failures`, in the order of its columns. `failures` 0: this has succeeded at `last_at`."""

    subject: str
    failures: int
    last_at: int
    blocked_until: int


_f = tables.login_failures.c
_subjects: BindParameter[Sequence[str]] = bindparam("subjects", expanding=True)
_SEVERAL = select(*tables.login_failures.columns).where(_f.subject.in_(_subjects))
_HELD = _SEVERAL.order_by(_f.subject).with_for_update()
_OLD = select(_f.subject).where(_f.last_at < bindparam("before")).limit(bindparam("most"))


def several(read: Read, subjects: Sequence[str]) -> tuple[dict[str, Row], int]:
    """Those that are there, and the time."""
    return {row[0]: Row(*row) for row in read.rows(_SEVERAL, {"subjects": list(subjects)})}, read.now()


def held(tx: Tx, subjects: Sequence[str]) -> dict[str, Row]:
    """Those that are there, held until the commit: of two nodes that count at the same time the later counts on."""
    rows = tx.select(_HELD, {"subjects": sorted(subjects)}, of=[LOGIN_FAILURES])
    return {row[0]: Row(*row) for row in rows}


def keep(tx: Tx, row: Row) -> None:
    tx.put(LOGIN_FAILURES, row)


def drop(tx: Tx, subject: str) -> None:
    tx.delete(LOGIN_FAILURES, (subject,))


def forget(tx: Tx, before: int, most: int) -> int:
    """Drop what has not changed since a time; answers how many."""
    rows = tx.select(_OLD, {"before": before, "most": most}, of=[LOGIN_FAILURES])
    for (subject,) in rows:
        tx.delete(LOGIN_FAILURES, (subject,))
    return len(rows)
