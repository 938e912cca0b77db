"""Feed numbers: the order in which committed history and journal are told to the world. Event streams, cursors and the audit
seal use them.

On SQLite the one writer numbers rows as it writes them. On PostgreSQL commits of several nodes interleave, so one node, the leader
of the moment, numbers what is committed and has no number yet. What it has numbered is never looked behind again: a row that
is committed later gets a higher number, and a number that was removed with its row is not given again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, func, null, select

from penstock.store import tables
from penstock.store.reader import Read
from penstock.store.rows import HISTORY, META, Tx

LOCK = 7_236_001
"""Advisory lock of the numbering leader."""

LAST = "feed"
"""Under which `meta` has the last number given."""

NOTICE = "feed:"
"""What listeners hear, with the tenant's number, when rows of it have got their numbers."""

_LEAD = select(func.pg_try_advisory_xact_lock(LOCK))
# One statement, so that both updates see what `unfed` saw. PostgreSQL alone runs it.
_NUMBER = """
WITH unfed AS (
  SELECT 0 AS place, pid AS a, seq AS b, tid, at FROM history WHERE feed IS NULL
  UNION ALL SELECT 1, jid, 0, tid, at FROM journal WHERE feed IS NULL
  ORDER BY at, place, a, b LIMIT ?
), numbered AS (
  SELECT place, a, b, tid, ? + row_number() OVER (ORDER BY at, place, a, b) AS feed FROM unfed
), of_history AS (
  UPDATE history SET feed = n.feed FROM numbered AS n WHERE n.place = 0 AND history.pid = n.a AND history.seq = n.b
), of_journal AS (
  UPDATE journal SET feed = n.feed FROM numbered AS n WHERE n.place = 1 AND journal.jid = n.a
)
SELECT tid, count(*) FROM numbered GROUP BY tid
"""


def place(tx: Tx, tid: int) -> int | None:
    """The feed number of a row that is being written, where its writer knows it; else `number` gives it after the commit."""
    if not tx.sole_writer:
        return None
    tx.notify(f"{NOTICE}{tid}")
    return tx.next_id(HISTORY)


def number(tx: Tx, most: int) -> int:
    """Number up to `most` rows; answers how many. Nothing to do on SQLite."""
    if tx.sole_writer or not tx.select(_LEAD, {}, of=[])[0][0]:
        return 0
    row = tx.get(META, (LAST,))
    last = 0 if row is None else int(row[1])
    found = tx.returning(_NUMBER, (most, last))
    count: int = sum(numbered for _, numbered in found)
    if count:
        tx.put(META, (LAST, str(last + count)))
        for tid, _ in found:
            tx.notify(f"{NOTICE}{tid}")
    return count


# -- reading ---------------------------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """A row of history or of the journal, in feed order."""

    feed: int
    at: int
    actor: str
    type: str
    data: str
    """As it is stored: of history with the format number before the JSON."""
    process: str | None = None
    """Public id; of history alone, and None there when its process is not in the database."""
    pid: int | None = None
    seq: int | None = None
    scope: int | None = None
    visit: int | None = None
    definition: str | None = None
    vid: int | None = None
    starter: str | None = None
    """Who started the process."""
    jid: int | None = None
    kind: str | None = None
    subject: str | None = None

    @property
    def of_process(self) -> bool:
        """Whether it is history's; else the journal's."""
        return self.pid is not None


_h, _j = tables.history.c, tables.journal.c
_p, _d = tables.processes.c, tables.definitions.c
_COLUMNS = (
    *(_h.feed, _h.at, _h.actor, _h.type, _h.data, _p.id, _h.pid, _h.seq, _h.scope, _h.visit, _d.code, _p.vid),
    _p.created_by,
)
ENTRIES: Select[Any] = (
    select(*_COLUMNS)
    .select_from(tables.history)
    .outerjoin(tables.processes, _p.pid == _h.pid)
    .outerjoin(tables.definitions, _d.did == _p.did)
)
"""Of history, as `entry` reads them."""
JOURNAL_ENTRIES: Select[Any] = select(
    _j.feed, _j.at, _j.actor, _j.type, _j.data, *(null() for _ in range(8)), _j.jid, _j.kind, _j.subject
)
_within = (_h.feed > bindparam("after"), _h.feed <= bindparam("upto"))
_HISTORY = (
    ENTRIES.where(_h.tid == bindparam("tid"), *_within, _h.feed.is_not(None))
    .order_by(_h.tid, _h.feed)
    .limit(bindparam("most"))
)
_JOURNAL = (
    JOURNAL_ENTRIES.where(
        _j.tid == bindparam("tid"), _j.feed > bindparam("after"), _j.feed <= bindparam("upto"), _j.feed.is_not(None)
    )
    .order_by(_j.tid, _j.feed)
    .limit(bindparam("most"))
)
# by the process's own key: a look at the tenant's whole feed would read what is everybody's
_OF_PROCESS = ENTRIES.where(_h.pid == bindparam("of_pid"), *_within).order_by(_h.pid, _h.seq).limit(bindparam("most"))
_ABOUT_PROCESS = (
    JOURNAL_ENTRIES.where(
        *(_j.tid == bindparam("tid"), _j.kind == "process", _j.subject == bindparam("subject")),
        *(_j.feed > bindparam("after"), _j.feed <= bindparam("upto")),
    )
    .order_by(_j.tid, _j.kind, _j.subject, _j.feed)
    .limit(bindparam("most"))
)
_HEADS = [
    select(column).where(of == bindparam("tid"), column.is_not(None)).order_by(of.desc(), column.desc()).limit(1)
    for of, column in (
        (_h.tid, _h.feed),
        (_j.tid, _j.feed),
        (tables.seals.c.tid, tables.seals.c.to_feed),
    )
]
NEVER = 2**62
"""Above every number."""


def after(read: Read, tid: int, start: int, most: int, upto: int = NEVER) -> list[Entry]:
    """A tenant's rows above `start`, up to `upto`, in order."""
    params = {"tid": tid, "after": start, "upto": upto, "most": most}
    return _merged((*read.rows(_HISTORY, params), *read.rows(_JOURNAL, params)))[:most]


def strays(read: Read, tid: int) -> list[str]:
    """Rows without a number on SQLite, where every row has one: the platform did not write them. At most 100 of each table."""
    if read.shared:
        return []
    found = read.rows("SELECT type, pid, seq FROM history WHERE tid = ? AND feed IS NULL LIMIT 100", (tid,))
    texts = [f"{type}, step {seq} of process number {pid}, has no feed number" for type, pid, seq in found]
    found = read.rows("SELECT type, jid FROM journal WHERE tid = ? AND feed IS NULL LIMIT 100", (tid,))
    return [*texts, *(f"{type}, row {jid} of the journal, has no feed number" for type, jid in found)]


def of_process(read: Read, tid: int, pid: int, process: str, start: int, most: int, upto: int = NEVER) -> list[Entry]:
    """What is told of a process (its number, its public id) above `start`, up to `upto`, in order."""
    params = {"after": start, "upto": upto, "most": most}
    found = read.rows(_OF_PROCESS, {"of_pid": pid, **params})
    found += read.rows(_ABOUT_PROCESS, {"tid": tid, "subject": process, **params})
    return _merged(found)[:most]


def head(read: Read, tid: int) -> int:
    """The highest number a tenant's rows have got, those that retention has removed since among them; 0 before the first."""
    found = [read.row(statement, {"tid": tid}) for statement in _HEADS]
    return max((row[0] for row in found if row is not None), default=0)


def _merged(rows: Iterable[tuple[Any, ...]]) -> list[Entry]:
    return [Entry(*row) for row in sorted(rows, key=lambda row: row[0])]
