"""Reads of items: one, a page of many, counts for an inbox, logs and posts. Never through the writer.

A page is found in three steps of one statement: each *part* walks one range of one index from its end and stops at the
page's length, the parts are merged, and only what is on the page is read whole. What is somebody's to do is walked in
`item_grants`, one part a grantee; everything else in `items`. The statements are text: they are made for each shape of a
question, and making them must cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from penstock.core.requests import ItemFilter
from penstock.store.items import NEVER, OPEN_STATES, STATES, Draft, Line, Post, Role, Row, Seen
from penstock.store.reader import Read
from penstock.store.rows import ITEMS

MOST_COUNTED = 10_000
MOST_PARTS = 100
"""Beyond it one part looks for all of them and sorts: SQLite merges 500 at most."""

_COLUMNS = {"created": "created_at", "due": "due_at", "priority": "priority"}
_KIND_ROLES = {
    "TASK": (Role.CANDIDATE, Role.OWNER, Role.DELEGATOR),
    "MESSAGE": (Role.READER,),
    "THREAD": (Role.PARTICIPANT,),
}
_STATE_ROLES = {"READY": (Role.CANDIDATE, Role.READER, Role.PARTICIPANT), "CLAIMED": (Role.OWNER, Role.DELEGATOR)}
_SEEN = f"p.id, p.vid, p.created_by, {', '.join(f'i.{column}' for column in ITEMS.columns)}"
_ONE = f"SELECT {_SEEN} FROM items i JOIN processes p ON p.pid = i.pid WHERE i.tid = ? AND i.id = ?"


class Clause(NamedTuple):
    """A piece of SQL and the values of its marks."""

    text: str
    values: tuple[Any, ...] = ()


def item(reader: Read, tid: int, id: str) -> Seen | None:
    row = reader.row(_ONE, (tid, id))
    return None if row is None else _seen(row)


def _seen(row: tuple[Any, ...]) -> Seen:
    return Seen(row[0], row[1], row[2], Row(*row[3:]))


def position(row: Row, sort: str) -> list[int]:
    """Where a page that ends with this item ended."""
    return [getattr(row, _COLUMNS[sort]), row.pid, row.n]


def page(reader: Read, tid: int, wanted: ItemFilter, after: Sequence[int] | None, most: int) -> list[Seen]:
    """Items in the order `wanted.sort`. `after` is the `position` of the last one seen."""
    if wanted.sort != "created" and not set(wanted.states) <= set(OPEN_STATES):
        return []
    parts = _parts(reader, tid, wanted, _Order(wanted, after, most))
    if not parts:
        return []
    order = _Order(wanted, None, most)
    merged = parts[0]
    if len(parts) > 1:
        each = " UNION ALL ".join(f"SELECT * FROM ({part.text}) AS part{at}" for at, part in enumerate(parts))
        values = tuple(value for part in parts for value in part.values)
        text = f"SELECT DISTINCT k, pid, n FROM ({each}) AS parts ORDER BY {order.by('')} LIMIT ?"
        merged = Clause(text, (*values, most))
    text = (
        f"SELECT {_SEEN} FROM ({merged.text}) AS page JOIN items i ON i.pid = page.pid AND i.n = page.n "
        f"JOIN processes p ON p.pid = i.pid ORDER BY {order.by('page.')}"
    )
    return [_seen(row) for row in reader.rows(text, merged.values)]


class _Order:
    """How a list is sorted, where its page begins, and how long it is."""

    def __init__(self, wanted: ItemFilter, after: Sequence[int] | None, most: int) -> None:
        self.column = _COLUMNS[wanted.sort]
        self._direction = "DESC" if wanted.descending else "ASC"
        self._beyond = "<" if wanted.descending else ">"
        self._after = after
        self._most = most

    def by(self, table: str) -> str:
        return ", ".join(f"{table}{column} {self._direction}" for column in ("k", "pid", "n"))

    def part(self, source: str, table: str, conditions: Iterable[Clause], *, distinct: bool = False) -> Clause:
        """One range: the keys of the first items of `source` that hold the conditions."""
        held = list(conditions)
        columns = f"{table}.{self.column}, {table}.pid, {table}.n"
        if self._after is not None:
            held.append(Clause(f"({columns}) {self._beyond} (?, ?, ?)", tuple(self._after)))
        where = " AND ".join(clause.text for clause in held)
        keys = f"{table}.{self.column} AS k, {table}.pid AS pid, {table}.n AS n"
        by = ", ".join(f"{column} {self._direction}" for column in columns.split(", "))
        text = f"SELECT {'DISTINCT ' * distinct}{keys} FROM {source} WHERE {where} ORDER BY {by} LIMIT ?"
        return Clause(text, (*(value for clause in held for value in clause.values), self._most))


def _parts(reader: Read, tid: int, wanted: ItemFilter, order: _Order) -> list[Clause]:
    if wanted.of_pid is not None:
        conditions = [Clause("i.pid = ?", (wanted.of_pid,)), *_on_items(reader, tid, wanted)]
        if wanted.grantees:
            conditions.append(_granted_or_owned(wanted))
        if wanted.group is not None:
            conditions.append(_granted((wanted.group,)))
        return [order.part("items i", "i", conditions)]
    if wanted.grantees or wanted.group is not None:
        return _granted_parts(reader, tid, wanted, order)
    return _item_parts(reader, tid, wanted, order)


# -- what is granted ---------------------------------------------------------------------------------------------------


def _granted_parts(reader: Read, tid: int, wanted: ItemFilter, order: _Order) -> list[Clause]:
    """The inbox of some grantees; and what `principal` did, where ended items are wanted."""
    grantees = wanted.grantees
    if wanted.group is not None:
        grantees = (wanted.group,) if not grantees or wanted.group in grantees else ()
    roles = _roles(wanted)
    common = [Clause("g.tid = ?", (tid,)), *_on_grants(reader, wanted)]
    if len(roles) < len(Role):
        common.append(Clause(f"g.role IN ({', '.join(map(str, roles))})"))
    source = "item_grants g"
    looked_up = _looked_up(wanted)
    if looked_up:
        source += " JOIN items i ON i.pid = g.pid AND i.n = g.n"
        common += looked_up
    parts = []
    if roles and len(grantees) <= MOST_PARTS:
        parts = [order.part(source, "g", [Clause("g.grantee = ?", (each,)), *common]) for each in grantees]
    elif roles:
        parts = [order.part(source, "g", [_among("g.grantee", grantees), *common], distinct=True)]
    ended = [state for state in wanted.states or STATES if state not in OPEN_STATES]
    if ended and wanted.grantees and wanted.group is None and wanted.sort == "created" and not _timed(wanted):
        mine = [Clause("i.tid = ?", (tid,)), Clause("i.owner = ?", (wanted.principal,))]
        mine += _on_items(reader, tid, wanted._replace(states=tuple(ended)))
        parts.append(order.part("items i", "i", mine))
    return parts


def _roles(wanted: ItemFilter) -> list[int]:
    """The roles that open items of these kinds and states have."""
    of_kinds = {role for kind in wanted.kinds or _KIND_ROLES for role in _KIND_ROLES[kind]}
    of_states = {role for state in wanted.states or OPEN_STATES for role in _STATE_ROLES.get(state, ())}
    return sorted(int(role) for role in of_kinds & of_states)


def _on_grants(reader: Read, wanted: ItemFilter) -> list[Clause]:
    return [Clause("g.due_at < ?", (_due_before(reader, wanted),))] if _timed(wanted) else []


def _looked_up(wanted: ItemFilter) -> list[Clause]:
    """Conditions that a grant does not know the answer to."""
    return [
        Clause(f"i.{name} = ?", (value,))
        for name, value in (("did", wanted.did), ("task", wanted.task), ("owner", wanted.owner))
        if value is not None
    ]


def _granted(grantees: Sequence[str]) -> Clause:
    among = _among("g.grantee", grantees)
    text = "g.tid = i.tid AND g.created_at = i.created_at AND g.pid = i.pid AND g.n = i.n"
    return Clause(f"EXISTS (SELECT 1 FROM item_grants g WHERE {text} AND {among.text})", among.values)


def _granted_or_owned(wanted: ItemFilter) -> Clause:
    granted = _granted(wanted.grantees)
    text = f"({granted.text} OR (i.ended_at IS NOT NULL AND i.owner = ?))"
    return Clause(text, (*granted.values, wanted.principal))


def _among(column: str, values: Sequence[str]) -> Clause:
    return Clause(f"{column} IN ({', '.join('?' * len(values))})", tuple(values))


# -- all of the tenant -------------------------------------------------------------------------------------------------


def _item_parts(reader: Read, tid: int, wanted: ItemFilter, order: _Order) -> list[Clause]:
    """By the index that narrows most; the other conditions are looked at on the way."""
    of_tenant = Clause("i.tid = ?", (tid,))
    conditions = [of_tenant, *_on_items(reader, tid, wanted)]
    if wanted.sort != "created":
        return [order.part("items i", "i", [*conditions, Clause("i.ended_at IS NULL")])]
    if wanted.owner is not None:
        return [order.part("items i", "i", conditions)]
    if wanted.did is not None or wanted.task is not None:
        places = _places(reader, tid, wanted)
        if len(places) <= MOST_PARTS:
            conditions = [of_tenant, *_on_items(reader, tid, wanted._replace(did=None, task=None))]
            at = [Clause("i.did = ? AND i.task = ?", place) for place in places]
            return [order.part("items i", "i", [*conditions, each]) for each in at]
    conditions = [of_tenant, *_on_items(reader, tid, wanted._replace(states=(), kinds=()))]
    each_state = [
        Clause(f"i.state = '{state}' AND i.kind = '{kind}'")
        for state in wanted.states or STATES
        for kind in wanted.kinds or _KIND_ROLES
    ]
    return [order.part("items i", "i", [*conditions, each]) for each in each_state]


def _on_items(reader: Read, tid: int, wanted: ItemFilter) -> list[Clause]:
    found = [*_looked_up(wanted)]
    if wanted.states:
        found.append(Clause(f"i.state IN ({_words(wanted.states)})"))
    if wanted.kinds:
        found.append(Clause(f"i.kind IN ({_words(wanted.kinds)})"))
    if _timed(wanted):
        found += [Clause("i.due_at < ?", (_due_before(reader, wanted),)), Clause("i.ended_at IS NULL")]
    if wanted.of_pid is not None:
        found.append(Clause("+i.tid = ?", (tid,)))  # the sign keeps SQLite from an index that begins with it
        if wanted.sort != "created":
            found.append(Clause("i.ended_at IS NULL"))
    return found


def _words(names: Sequence[str]) -> str:
    """Names of ours, which a door has let through as one of a few; as text, for partial indexes."""
    assert all(name.isalpha() for name in names)
    return ", ".join(f"'{name}'" for name in names)


def _timed(wanted: ItemFilter) -> bool:
    return wanted.overdue or wanted.due_before is not None


def _due_before(reader: Read, wanted: ItemFilter) -> int:
    given = NEVER if wanted.due_before is None else wanted.due_before
    return min(given, reader.now()) if wanted.overdue else given


_NEXT_TASK = "SELECT task FROM items WHERE tid = ? AND did = ? AND task > ? ORDER BY task LIMIT 1"
_NEXT_DID = "SELECT did FROM items WHERE tid = ? AND did > ? ORDER BY did LIMIT 1"


def _places(reader: Read, tid: int, wanted: ItemFilter) -> list[tuple[int, str]]:
    """(definition, task) of the items that are wanted, by leaps through their index; a few more than make parts."""
    if wanted.did is not None and wanted.task is not None:
        return [(wanted.did, wanted.task)]
    found: list[tuple[int, str]] = []
    if wanted.did is not None:
        found.append((wanted.did, ""))
        while len(found) <= MOST_PARTS and (row := reader.row(_NEXT_TASK, (tid, wanted.did, found[-1][1]))):
            found.append((wanted.did, row[0]))
        return found
    last = -1
    while len(found) <= MOST_PARTS and (row := reader.row(_NEXT_DID, (tid, last))):
        last = row[0]
        found.append((last, wanted.task or ""))
    return found


# -- counts, logs, posts, drafts ---------------------------------------------------------------------------------------


class Counts(NamedTuple):
    """How many open items an inbox holds, each counted once however many ways lead to it."""

    mine: int
    groups: int
    overdue: int
    messages: int
    threads: int
    capped: bool
    """There are more than were counted."""


def counts(reader: Read, tid: int, grantees: Sequence[str]) -> Counts:
    among = _among("grantee", grantees)
    inner = f"SELECT DISTINCT pid, n, role, due_at FROM item_grants WHERE tid = ? AND {among.text} LIMIT ?"
    text = f"SELECT role, count(*), sum(CASE WHEN due_at < ? THEN 1 ELSE 0 END) FROM ({inner}) AS open GROUP BY role"
    rows = reader.rows(text, (reader.now(), tid, *among.values, MOST_COUNTED + 1))
    found = {Role(role): (int(many), int(late)) for role, many, late in rows}
    many = {role: found.get(role, (0, 0))[0] for role in Role}
    return Counts(
        mine=many[Role.OWNER],
        groups=many[Role.CANDIDATE],
        overdue=sum(found.get(role, (0, 0))[1] for role in (Role.OWNER, Role.CANDIDATE)),
        messages=many[Role.READER],
        threads=many[Role.PARTICIPANT],
        capped=sum(many.values()) > MOST_COUNTED,
    )


_LOG = "SELECT line, at, actor, type, data FROM item_log WHERE pid = ? AND n = ? AND line > ? ORDER BY line LIMIT ?"
_POSTS = (
    "SELECT post, author, text, at, edited_at, deleted_at FROM posts "
    "WHERE pid = ? AND n = ? AND post > ? ORDER BY post LIMIT ?"
)
_DRAFT = "SELECT owner, data, rev, saved_at FROM drafts WHERE pid = ? AND n = ? AND owner = ?"


def log(reader: Read, pid: int, n: int, after: int, most: int) -> list[Line]:
    return [Line(*row) for row in reader.rows(_LOG, (pid, n, after, most))]


def posts(reader: Read, pid: int, n: int, after: int, most: int) -> list[Post]:
    return [Post(*row) for row in reader.rows(_POSTS, (pid, n, after, most))]


def draft(reader: Read, pid: int, n: int, owner: str) -> Draft | None:
    row = reader.row(_DRAFT, (pid, n, owner))
    return None if row is None else Draft(*row)
