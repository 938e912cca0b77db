"""The audit's list: a tenant's history and journal, newest first, by filters.

Who acts and what happens has no index of its own: one more in history would cost every step. So a page looks at `SCAN` rows at most
in feed order, and says where the next page goes on, also when it has found few or none. A process and a subject are found by key;
a time is first looked up among the seals.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, func, select

from penstock.store import tables
from penstock.store.feed import ENTRIES, JOURNAL_ENTRIES, NEVER, Entry
from penstock.store.reader import Read

SCAN = 20_000
"""Rows of each table a page looks at."""
SLACK = 60_000
"""Milliseconds the time of a row may be off the time of its seal: clocks of servers, long commits."""


class Wanted(NamedTuple):
    """Filters; times are milliseconds, `until` not included."""

    actor: str | None = None
    type: str | None = None
    pid: int | None = None
    process: str | None = None
    """Its public id, with the pid: the journal may speak of it."""
    kind: str | None = None
    subject: str | None = None
    since: int | None = None
    until: int | None = None


_h, _j, _s = tables.history.c, tables.journal.c, tables.seals.c
_SEAL_AFTER = (
    select(_s.to_feed).where(_s.tid == bindparam("tid"), _s.at >= bindparam("at")).order_by(_s.tid, _s.at).limit(1)
)
_SEAL_BEFORE = (
    select(_s.to_feed)
    .where(_s.tid == bindparam("tid"), _s.at < bindparam("at"))
    .order_by(_s.tid.desc(), _s.at.desc())
    .limit(1)
)


def page(read: Read, tid: int, wanted: Wanted, before: int | None, most: int) -> tuple[list[Entry], int | None]:
    """Rows below a feed number, newest first, and below which the next page goes on; None at the end."""
    low, high = _bounds(read, tid, wanted, NEVER if before is None else before)
    found: list[Entry] = []
    floor = 0
    parts = []
    if wanted.kind is None and wanted.subject is None:
        parts.append((ENTRIES, _h, None if wanted.pid is None else [_h.pid == wanted.pid], (_h.pid, _h.seq)))
    parts.append((JOURNAL_ENTRIES, _j, _journal_key(tid, wanted), (_j.tid, _j.feed)))
    for entries, columns, key, by_key in parts:
        conditions = [columns.feed < high, columns.feed > low, columns.feed.is_not(None)]
        order = by_key
        if key is not None:
            conditions += key
        else:
            conditions.append(columns.tid == tid)
            order = (columns.tid, columns.feed)
            last = _floor(read, columns, conditions)
            floor = max(floor, last)
            conditions.append(columns.feed >= last)
        conditions += _filters(columns, wanted)
        rows = read.rows(entries.where(*conditions).order_by(*(each.desc() for each in order)).limit(most + 1))
        found += [Entry(*row) for row in rows]
    found = sorted((entry for entry in found if entry.feed >= floor), key=lambda entry: -entry.feed)
    if len(found) > most:
        return found[:most], found[most - 1].feed
    return found, floor or None


def _floor(read: Read, columns: Any, conditions: list[Any]) -> int:
    """The lowest number of the rows that are looked at; 0 where there are no more below them."""
    looked_at: Select[Any] = select(columns.feed).where(*conditions)
    looked_at = looked_at.order_by(columns.tid.desc(), columns.feed.desc()).limit(SCAN)
    numbers = looked_at.subquery()
    count, lowest = read.rows(select(func.count(), func.min(numbers.c.feed)).select_from(numbers))[0]
    return int(lowest) if count == SCAN else 0


def _journal_key(tid: int, wanted: Wanted) -> list[Any] | None:
    kind, subject = (wanted.kind, wanted.subject) if wanted.process is None else ("process", wanted.process)
    if kind is None or subject is None:
        return None
    return [_j.tid == tid, _j.kind == kind, _j.subject == subject]


def _filters(columns: Any, wanted: Wanted) -> list[Any]:
    found = []
    if wanted.actor is not None:
        found.append(columns.actor == wanted.actor)
    if wanted.type is not None:
        found.append(columns.type == wanted.type)
    if wanted.since is not None:
        found.append(columns.at >= wanted.since)
    if wanted.until is not None:
        found.append(columns.at < wanted.until)
    if columns is _j:
        if wanted.kind is not None:
            found.append(_j.kind == wanted.kind)
        if wanted.subject is not None:
            found.append(_j.subject == wanted.subject)
    return found


def _bounds(read: Read, tid: int, wanted: Wanted, high: int) -> tuple[int, int]:
    """Between which feed numbers rows of the wanted time can stand."""
    low = 0
    if wanted.until is not None:
        row = read.row(_SEAL_AFTER, {"tid": tid, "at": wanted.until + SLACK})
        high = high if row is None else min(high, row[0] + 1)
    if wanted.since is not None:
        row = read.row(_SEAL_BEFORE, {"tid": tid, "at": wanted.since - SLACK})
        low = 0 if row is None else int(row[0])
    return low, high
