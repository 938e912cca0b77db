"""Seals: each binds a run of a tenant's rows, in feed order, to the seal before it. What a digest is made of, `audit` knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import bindparam, exists, func, select

from penstock.core import codec
from penstock.store import people, tables
from penstock.store.feed import JOURNAL_ENTRIES, Entry
from penstock.store.reader import Read
from penstock.store.rows import SEALS, Tx

RETENTION, ERASED = "retention", "processes.erased"
"""Kind and type of the journal's row that says which feed numbers went: what is missing and not said so was tampered with."""
LOCK = 7_236_002
"""Advisory lock of the node that seals."""


class Seal(NamedTuple):
    """`rows` is how many; `leaves` the packed list of the rows' numbers and digests; what the rows say is not in it."""

    number: int
    from_feed: int
    to_feed: int
    rows: int
    at: int
    previous: str
    leaves: str
    digest: str
    signature: str | None = None


class Last(NamedTuple):
    """Where the sealing of a tenant stands; numbers are 0 and the digest is empty before the first seal."""

    tid: int
    tenant: str
    """Public id."""
    number: int
    to_feed: int
    digest: str


_s, _t, _h, _j = tables.seals.c, tables.tenants.c, tables.history.c, tables.journal.c
_newest = tables.seals.alias("newest")
_NUMBER = select(func.max(_newest.c.number)).where(_newest.c.tid == _t.tid).scalar_subquery()
_LASTS = (
    select(
        _t.tid, _t.id, func.coalesce(_s.number, 0), func.coalesce(_s.to_feed, 0), func.coalesce(_s.digest, "")
    )
    .select_from(tables.tenants)
    .outerjoin(tables.seals, (_s.tid == _t.tid) & (_s.number == _NUMBER))
)  # fmt: skip
_sealed = func.coalesce(_s.to_feed, 0)
_LAST_SIGNED = (
    select(_s.number)
    .select_from(tables.tenants.join(tables.seals, (_s.tid == _t.tid) & (_s.number == _NUMBER)))
    .where(_s.signature.is_not(None))
    .limit(1)
)
_WAITING = _LASTS.where(
    exists().where(_h.tid == _t.tid, _h.feed > _sealed, _h.feed.is_not(None))
    | exists().where(_j.tid == _t.tid, _j.feed > _sealed, _j.feed.is_not(None))
).order_by(_t.tid)
_AFTER = (
    select(*(column for column in _s if column.name != "tid"))
    .where(_s.tid == bindparam("tid"), _s.number > bindparam("after"))
    .order_by(_s.number)
    .limit(bindparam("most"))
)
_BETWEEN = (
    select(*(column for column in _s if column.name != "tid"))
    .where(_s.tid == bindparam("tid"), _s.to_feed > bindparam("low"), _s.to_feed <= bindparam("high"))
    .order_by(_s.tid, _s.to_feed)
    .limit(bindparam("most"))
)
_ERASURES = JOURNAL_ENTRIES.where(
    _j.tid == bindparam("tid"), _j.kind == RETENTION, _j.subject == "", _j.feed > bindparam("above"), _j.type == ERASED
).order_by(_j.tid, _j.kind, _j.subject, _j.feed)
_SEALED = select(func.max(_s.to_feed)).where(_s.tid == bindparam("tid"))
_LEAD = select(func.pg_try_advisory_xact_lock(LOCK))


def waiting(read: Read) -> list[Last]:
    """The tenants that have rows above their last seal."""
    return [Last(*row) for row in read.rows(_WAITING)]


def add(tx: Tx, tid: int, seal: Seal) -> bool:
    """Append a seal. False when another node was quicker: the chain has moved on."""
    if not tx.sole_writer and not tx.select(_LEAD, {}, of=[])[0][0]:
        return False
    before = tx.get(SEALS, (tid, seal.number - 1))
    if tx.get(SEALS, (tid, seal.number)) is not None or (before[8] if before else "") != seal.previous:
        return False
    tx.put(SEALS, (tid, *seal))
    return True


def were_signed(read: Read) -> bool:
    """Whether a seal was ever signed here: noted with the first by this version, else each tenant's last seal tells."""
    noted = read.row("SELECT 1 FROM meta WHERE key = 'seals_signed'") is not None
    return noted or read.row(_LAST_SIGNED) is not None


def note_signed(tx: Tx) -> None:
    """That seals are signed here, so that a start without the key can tell. No look at all seals could: they are large."""
    people.first_meta(tx, "seals_signed", "yes")


def after(read: Read, tid: int, number: int, most: int) -> list[Seal]:
    """Seals in order, from the one after `number`."""
    return [Seal(*row) for row in read.rows(_AFTER, {"tid": tid, "after": number, "most": most})]


def between(read: Read, tid: int, low: int, high: int, most: int) -> list[Seal]:
    """Seals that end above `low` and not above `high`, in order."""
    return [Seal(*row) for row in read.rows(_BETWEEN, {"tid": tid, "low": low, "high": high, "most": most})]


def erasures(read: Read, tid: int, above: int) -> list[str]:
    """Ranges of rows that retention has removed, as the journal says it above a feed number: some may be from below it."""
    return [erased(Entry(*row)) for row in read.rows(_ERASURES, {"tid": tid, "above": above})]


def sealed(tx: Tx, tid: int) -> int:
    """Up to which feed number a tenant's rows are sealed."""
    return int(tx.select(_SEALED, {"tid": tid}, of=[SEALS])[0][0] or 0)


def erased(row: Entry) -> str:
    """The ranges in a row of the journal that tells of an erasure; "" where there are none to read."""
    try:
        return str(codec.decode_json(row.data)["feeds"])
    except (ValueError, KeyError, TypeError):
        return ""


def ranges(feeds: list[int]) -> str:
    """Numbers, rising, as `3,5-9`."""
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in _runs(feeds))


def parse_ranges(text: str) -> Iterator[tuple[int, int]]:
    """(first, last) of each run. Raises: ValueError."""
    for run in text.split(",") if text else ():
        low, _, high = run.partition("-")
        yield int(low), int(high or low)


def _runs(feeds: list[int]) -> Iterator[tuple[int, int]]:
    start = last = None
    for feed in feeds:
        if last is not None and feed == last + 1:
            last = feed
            continue
        if start is not None and last is not None:
            yield start, last
        start = last = feed
    if start is not None and last is not None:
        yield start, last
