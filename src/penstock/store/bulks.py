"""Bulk operations: one row each, and a row for each process they have dealt with.

A process's row is written in the commit that deals with it: whoever carries the operation on after a crash finds what is
done. A chunk's rows are *fresh* until the chunk is closed: then the cursor moves behind it, they are counted into the
operation's row, and those of success go, unless it is a dry run, whose rows are its report.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, func, literal_column, or_, select, update

from penstock.core import codec
from penstock.store import tables
from penstock.store.reader import Read
from penstock.store.rows import BULK_RESULTS, BULKS, Tx

RUNNING, FINISHED, CANCELLED, FAILED = "RUNNING", "DONE", "CANCELLED", "FAILED"
"""States of an operation."""

DONE, REFUSED, SKIPPED = "DONE", "FAILED", "SKIPPED"
"""Outcomes for one process."""


NEVER = 2**62


class Row(NamedTuple):
    bid: int
    tid: int
    id: str
    command: str
    request: str
    dry_run: int
    state: str
    total: int | None
    done: int
    failed: int
    skipped: int
    created_by: str
    created_at: int
    ended_at: int | None
    cursor: str
    message: str | None
    node: str | None
    leased_until: int | None

    def counted(self, fresh: dict[str, int]) -> Row:
        """With what has been dealt with since the last chunk was closed."""
        return self._replace(
            done=self.done + fresh.get(DONE, 0),
            failed=self.failed + fresh.get(REFUSED, 0),
            skipped=self.skipped + fresh.get(SKIPPED, 0),
        )


class Result(NamedTuple):
    n: int
    process_id: str
    outcome: str
    at: int
    data: str


_b, _r = tables.bulks.c, tables.bulk_results.c
_ROW = select(*tables.bulks.columns)
_BY_ID = _ROW.where(_b.tid == bindparam("tid"), _b.id == bindparam("id"))
_BEFORE = _ROW.where(_b.tid == bindparam("tid"), _b.bid < bindparam("before")).order_by(_b.bid.desc())
# the state and the flag are written out, or the partial indexes could not be used
_RUNNING = (
    select(_b.bid)
    .where(
        _b.state == literal_column(f"'{RUNNING}'"),
        or_(_b.leased_until.is_(None), _b.leased_until < bindparam("now"), _b.node == bindparam("by_node")),
    )
    .order_by(func.coalesce(_b.leased_until, _b.created_at), _b.bid)
)
_TAKE = (
    update(tables.bulks)
    .where(
        _b.bid == bindparam("of_bid"),
        _b.state == RUNNING,
        or_(_b.leased_until.is_(None), _b.leased_until < bindparam("now"), _b.node == bindparam("by_node")),
    )
    .values(node=bindparam("by_node"), leased_until=bindparam("until"))
)
_FRESH_ROWS = (_r.bid == bindparam("of_bid"), _r.counted == literal_column("0"))
_FRESH = select(_r.outcome, func.count()).where(*_FRESH_ROWS).group_by(_r.outcome)
_CLOSE = update(tables.bulk_results).where(*_FRESH_ROWS).values(counted=1)
_DROP = delete(tables.bulk_results).where(*_FRESH_ROWS, _r.outcome == DONE)
_RESULTS = (
    select(_r.n, _r.process_id, _r.outcome, _r.at, _r.data)
    .where(_r.bid == bindparam("of_bid"), _r.n > bindparam("after"))
    .order_by(_r.n)
    .limit(bindparam("most"))
)
_RESULTS_OF = _RESULTS.where(_r.outcome == bindparam("outcome"))
_OLD = (
    select(_b.bid)
    .where(_b.state != RUNNING, _b.ended_at < bindparam("before"))
    .order_by(_b.bid)
    .limit(bindparam("most"))
)
_OLD_RESULTS = select(_r.bid, _r.n).where(_r.bid == bindparam("of_bid")).limit(bindparam("most"))


def add(tx: Tx, tid: int, id: str, command: str, request: Any, *, dry_run: bool, total: int | None, by: str) -> Row:
    bid = tx.next_id(BULKS)
    row = Row(
        *(bid, tid, id, command, codec.encode_json(request), int(dry_run), RUNNING, total, 0, 0, 0, by, tx.now),
        *(None, "null", None, None, None),
    )
    tx.put(BULKS, tuple(row))
    return row


def get(tx: Tx, bid: int) -> Row | None:
    row = tx.get(BULKS, (bid,))
    return None if row is None else Row(*row)


def find(reader: Read, tid: int, id: str) -> Row | None:
    """An operation, counted to the last process."""
    row = reader.row(_BY_ID, {"tid": tid, "id": id})
    return None if row is None else _current(reader, Row(*row))


def listed(reader: Read, tid: int, by: str | None, before: int, most: int) -> list[Row]:
    """The tenant's operations, newest first; those of one principal where it is named."""
    statement = _BEFORE if by is None else _BEFORE.where(_b.created_by == by)
    rows = reader.rows(statement.limit(most), {"tid": tid, "before": before})
    return [_current(reader, Row(*row)) for row in rows]


def _current(reader: Read, row: Row) -> Row:
    fresh = reader.rows(_FRESH, {"of_bid": row.bid})
    return row.counted(dict(fresh))


def results(reader: Read, bid: int, outcome: str | None, after: int, most: int) -> list[Result]:
    """What came of processes, in the order they were dealt with."""
    given = {"of_bid": bid, "after": after, "most": most}
    if outcome is None:
        return [Result(*row) for row in reader.rows(_RESULTS, given)]
    return [Result(*row) for row in reader.rows(_RESULTS_OF, {**given, "outcome": outcome})]


# -- carrying out ------------------------------------------------------------------------------------------------------


def take(tx: Tx, lease: int) -> Row | None:
    """An operation that runs and that no other node carries, for this node to carry for `lease` milliseconds.

    The one that waits longest comes first, since it began or was left: one that fails again and again stops no other.
    """
    given = {"now": NEVER if tx.sole_writer else tx.now, "by_node": tx.node}
    for (bid,) in tx.select(_RUNNING, given, of=[BULKS]):
        if tx.execute(_TAKE, {**given, "of_bid": bid, "until": tx.now + lease}):
            return get(tx, bid)
    return None


def carried(tx: Tx, bid: int) -> Row | None:
    """The operation, if it still runs and this node carries it."""
    row = get(tx, bid)
    return row if row is not None and row.state == RUNNING and row.node == tx.node else None


def outcome(tx: Tx, bid: int, n: int) -> str | None:
    """What came of a process; None when it has not been dealt with."""
    row = tx.get(BULK_RESULTS, (bid, n))
    return None if row is None else str(row[3])


def put(tx: Tx, bid: int, n: int, process_id: str, outcome: str, data: Any) -> None:
    tx.put(BULK_RESULTS, (bid, n, process_id, outcome, tx.now, codec.encode_json(data), 0))


def close_chunk(tx: Tx, row: Row, cursor: Any, lease: int) -> None:
    """The chunk has been dealt with: the next one begins behind it."""
    fresh: dict[str, int] = dict(tx.select(_FRESH, {"of_bid": row.bid}, of=[BULK_RESULTS]))
    now = row.counted(fresh)
    if not row.dry_run:
        tx.execute(_DROP, {"of_bid": row.bid})
    tx.execute(_CLOSE, {"of_bid": row.bid})
    counts = {"done": now.done, "failed": now.failed, "skipped": now.skipped}
    tx.patch(BULKS, (row.bid,), {**counts, "cursor": codec.encode_json(cursor), "leased_until": tx.now + lease})


def end(tx: Tx, bid: int, state: str, message: str | None = None) -> None:
    tx.patch(BULKS, (bid,), {"state": state, "ended_at": tx.now, "message": message, "leased_until": None})


def expect(tx: Tx, bid: int, total: int) -> None:
    """How many processes there are to deal with."""
    tx.patch(BULKS, (bid,), {"total": total})


def forget(tx: Tx, before: int, most: int) -> int:
    """Drop operations that ended before a time, with their reports; answers how many rows went."""
    gone = 0
    for (bid,) in tx.select(_OLD, {"before": before, "most": most}):
        rows: Sequence[Any] = tx.select(_OLD_RESULTS, {"of_bid": bid, "most": most - gone}) if gone < most else ()
        for key in rows:
            tx.delete(BULK_RESULTS, tuple(key))
        gone += len(rows)
        if gone >= most:
            break
        tx.delete(BULKS, (bid,))
        gone += 1
    return gone
