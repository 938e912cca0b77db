"""Reads for lists and pages: never through the writer, each in one snapshot, by reader connections with a time limit.

Lists go by keyset: `after` is the position of the last row seen, and a page is one range of an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Executable,
    Select,
    bindparam,
    exists,
    literal,
    literal_column,
    select,
    tuple_,
    union_all,
)

from penstock.core import codec
from penstock.core.definition import Version
from penstock.core.requests import ItemFilter, VisitFilter
from penstock.store import definitions, tables
from penstock.store.reader import Read

_p, _d, _v = tables.processes.c, tables.definitions.c, tables.versions.c
_h, _vi, _i, _g = tables.history.c, tables.visits.c, tables.items.c, tables.item_grants.c
_PID = select(_p.pid).where(_p.tid == bindparam("tid"), _p.id == bindparam("id"))


def pid(reader: Read, tid: int, id: str) -> int | None:
    rows = reader.rows(_PID, {"tid": tid, "id": id})
    return rows[0][0] if rows else None


# -- definitions -----------------------------------------------------------------------------------------------------


class VersionRow(NamedTuple):
    did: int
    definition_id: str
    code: str
    latest: int
    definition_created_at: int
    vid: int
    id: str
    number: int
    document: str
    digest: str
    state: str
    created_at: int
    created_by: str

    @property
    def compiled(self) -> Version:
        return definitions.compiled(self.digest, self.document)


_VERSION_COLUMNS = (
    *(_d.did, _d.id, _d.code, _d.latest, _d.created_at, _v.vid, _v.id, _v.number, _v.document, _v.digest),
    *(_v.state, _v.created_at, _v.created_by),
)
_VERSION = select(*_VERSION_COLUMNS).join(tables.versions, _v.did == _d.did).where(_d.tid == bindparam("tid"))
_BY_CODE = _VERSION.where(_d.code == bindparam("code"))
_LATEST = _BY_CODE.where(_v.number == _d.latest)
_NUMBERED = _BY_CODE.where(_v.number == bindparam("number"))
_BY_VID = _VERSION.where(_v.vid == bindparam("vid"))


def version(reader: Read, tid: int, code: str, number: int | None = None) -> VersionRow | None:
    """A version of a definition; the latest when no number is given."""
    statement, params = (_LATEST, {}) if number is None else (_NUMBERED, {"number": number})
    rows = reader.rows(statement, {"tid": tid, "code": code, **params})
    return VersionRow(*rows[0]) if rows else None


def version_by_vid(reader: Read, tid: int, vid: int) -> VersionRow | None:
    rows = reader.rows(_BY_VID, {"tid": tid, "vid": vid})
    return VersionRow(*rows[0]) if rows else None


def latest_versions(reader: Read, tid: int, after: int, most: int) -> list[VersionRow]:
    """The latest version of each definition, oldest definition first."""
    statement = _VERSION.where(_v.number == _d.latest, _d.did > after).order_by(_d.did).limit(most)
    return [VersionRow(*row) for row in reader.rows(statement, {"tid": tid})]


def versions(reader: Read, tid: int, code: str, before: int, most: int) -> list[VersionRow]:
    """The versions of a definition, newest first."""
    statement = _BY_CODE.where(_v.number < before).order_by(_v.number.desc()).limit(most)
    return [VersionRow(*row) for row in reader.rows(statement, {"tid": tid, "code": code})]


# -- processes -------------------------------------------------------------------------------------------------------


class ProcessRow(NamedTuple):
    pid: int
    id: str
    did: int
    vid: int
    status: str
    seq: int
    at: int
    incidents: int
    retries: int
    created_at: int
    created_by: str
    ended_at: int | None
    code: str
    number: int
    parent_id: str | None
    parent_visit: int | None


_parents = tables.processes.alias("parents")
_PROCESSES: Select[Any] = (
    select(
        *(_p.pid, _p.id, _p.did, _p.vid, _p.status, _p.seq, _p.at, _p.incidents, _p.retries, _p.created_at),
        *(_p.created_by, _p.ended_at, _d.code, _v.number, _parents.c.id, _p.parent_visit),
    )
    .select_from(tables.processes)
    .join(tables.definitions, _d.did == _p.did)
    .join(tables.versions, _v.vid == _p.vid)
    .outerjoin(_parents, _parents.c.pid == _p.parent_pid)
)
_PROCESS = _PROCESSES.where(_p.tid == bindparam("tid"))
_BY_PID = _PROCESS.where(_p.pid == bindparam("of_pid"))
_DATA = select(tables.data.c.name, tables.data.c.value).where(tables.data.c.pid == bindparam("of_pid"))


def process(reader: Read, tid: int, of_pid: int) -> tuple[ProcessRow, dict[str, Any]] | None:
    """A process with its data."""
    rows = reader.rows(_BY_PID, {"tid": tid, "of_pid": of_pid})
    if not rows:
        return None
    data = {name: codec.decode_json(value) for name, value in reader.rows(_DATA, {"of_pid": of_pid})}
    return ProcessRow(*rows[0]), data


def processes(reader: Read, pids: Sequence[int]) -> list[ProcessRow]:
    """The processes of these numbers, in their order, as far as they are there."""
    if not pids:
        return []
    rows = {row[0]: ProcessRow(*row) for row in reader.rows(_PROCESSES.where(_p.pid.in_(pids)), {})}
    return [rows[pid] for pid in pids if pid in rows]


_HISTORY = (
    select(_h.seq, _h.feed, _h.at, _h.actor, _h.type, _h.scope, _h.visit, _h.data)
    .where(_h.pid == bindparam("of_pid"), _h.seq > bindparam("after"))
    .order_by(_h.seq)
    .limit(bindparam("most"))
)
_VISITS = (
    select(*tables.visits.columns)
    .where(_vi.pid == bindparam("of_pid"), _vi.n > bindparam("after"))
    .order_by(_vi.n)
    .limit(bindparam("most"))
)
_OPEN_AT = select(_vi.scope, _vi.n).where(
    _vi.pid == bindparam("of_pid"), _vi.node == bindparam("node"), _vi.state.in_(("OPEN", "FAILED"))
)
_VISIT = select(_vi.scope, _vi.n).where(_vi.pid == bindparam("of_pid"), _vi.n == bindparam("n"))
# the state is written out, or the partial index could not be used
_FAILED = (
    select(_vi.scope, _vi.n)
    .where(_vi.pid == bindparam("of_pid"), _vi.state == literal_column("'FAILED'"))
    .order_by(_vi.n)
)


def history(reader: Read, of_pid: int, after: int, most: int) -> list[tuple[Any, ...]]:
    return reader.rows(_HISTORY, {"of_pid": of_pid, "after": after, "most": most})


def visits(reader: Read, of_pid: int, after: int, most: int, wanted: VisitFilter) -> list[tuple[Any, ...]]:
    """Visits in the order they began; one process's alone are looked through."""
    statement = _VISITS
    for column, values in ((_vi.state, wanted.states), (_vi.node, wanted.nodes), (_vi.kind, wanted.kinds)):
        if values:
            statement = statement.where(column.in_(values))
    return reader.rows(statement, {"of_pid": of_pid, "after": after, "most": most})


HISTORY = _HISTORY
VISITS_AT = _OPEN_AT
VISIT = _VISIT
FAILED_VISITS = _FAILED

_pv, _dv = tables.process_values.c, tables.definition_values.c
_PROCESS_VALUES = (
    select(_pv.key, _pv.value)
    .where(_pv.pid == bindparam("owner"), _pv.key > bindparam("after"))
    .order_by(_pv.key)
    .limit(bindparam("most"))
)
_DEFINITION_VALUES = (
    select(_dv.key, _dv.value)
    .where(_dv.did == bindparam("owner"), _dv.key > bindparam("after"))
    .order_by(_dv.key)
    .limit(bindparam("most"))
)


_PROCESS_VALUE = select(_pv.value).where(_pv.pid == bindparam("owner"), _pv.key == bindparam("key"))
_DEFINITION_VALUE = select(_dv.value).where(_dv.did == bindparam("owner"), _dv.key == bindparam("key"))


def value(reader: Read, owner: int, key: str, *, of_process: bool) -> tuple[Any] | None:
    """One value, in a tuple; None when there is none."""
    row = reader.row(_PROCESS_VALUE if of_process else _DEFINITION_VALUE, {"owner": owner, "key": key})
    return None if row is None else (codec.decode_json(row[0]),)


def values(reader: Read, owner: int, after: str, most: int, *, of_process: bool) -> list[tuple[str, Any]]:
    statement = _PROCESS_VALUES if of_process else _DEFINITION_VALUES
    rows = reader.rows(statement, {"owner": owner, "after": after, "most": most})
    return [(key, codec.decode_json(value)) for key, value in rows]


# -- items -----------------------------------------------------------------------------------------------------------


class ItemRow(NamedTuple):
    pid: int
    n: int
    id: str
    process_id: str
    vid: int
    code: str
    node: str
    task: str
    state: str
    owner: str | None
    candidates: str
    data: str
    output: str | None
    priority: int
    due_at: int | None
    created_at: int
    ended_at: int | None
    ended_by: str | None
    created_by: str


_ITEMS = (
    select(
        *(_i.pid, _i.n, _i.id, _p.id, _p.vid, _d.code, _i.node, _i.task, _i.state, _i.owner, _i.candidates),
        *(_i.data, _i.output, _i.priority, _i.due_at, _i.created_at, _i.ended_at, _i.ended_by, _p.created_by),
    )
    .select_from(tables.items)
    .join(tables.processes, _p.pid == _i.pid)
    .join(tables.definitions, _d.did == _p.did)
)
_ITEM = _ITEMS.where(_i.tid == bindparam("tid"))
_ITEM_BY_ID = _ITEM.where(_i.id == bindparam("id"))


def item(reader: Read, tid: int, id: str) -> ItemRow | None:
    rows = reader.rows(_ITEM_BY_ID, {"tid": tid, "id": id})
    return ItemRow(*rows[0]) if rows else None


OPEN_STATES = ("READY", "CLAIMED")
ITEM_STATES = (*OPEN_STATES, "COMPLETED", "CANCELLED")


def items(reader: Read, tid: int, wanted: ItemFilter, after: Sequence[int] | None, most: int) -> list[ItemRow]:
    """Items, newest first. What somebody has to do is what is granted to them; what they have done is what they owned."""
    keys = [tuple(key) for key in reader.rows(_item_keys(tid, wanted, after, most), {})]
    if not keys:
        return []
    rows = {row[:2]: ItemRow(*row) for row in reader.rows(_ITEMS.where(tuple_(_i.pid, _i.n).in_(keys)), {})}
    return [rows[key] for key in keys]


def _item_keys(tid: int, wanted: ItemFilter, after: Sequence[int] | None, most: int) -> Executable:
    """A page's keys, from the ends of a few ranges of an index: what is granted to each, what is in each state."""
    states = wanted.states or ITEM_STATES
    conditions: list[ColumnElement[bool]] = []
    if wanted.of_pid is not None:
        conditions.append(_i.pid == wanted.of_pid)
    if wanted.task is not None:
        conditions.append(_i.task == wanted.task)
    if wanted.definition is not None:
        did = select(_d.did).where(_d.tid == tid, _d.code == wanted.definition).correlate(None)
        conditions.append(exists().where(_p.pid == _i.pid, _p.did == did.scalar_subquery()))
    if after is not None:
        conditions.append(tuple_(_i.pid, _i.n) < tuple_(*map(literal, after)))
    pages: list[Select[tuple[int, int]]] = []
    if wanted.grantees:
        open_ones = [state for state in states if state in OPEN_STATES]
        granted = select(_i.pid, _i.n).join(tables.item_grants, (_g.pid == _i.pid) & (_g.n == _i.n)).distinct()
        granted = granted.where(_g.tid == tid, _i.state.in_(open_ones), *conditions)
        pages += [granted.where(_g.grantee == grantee) for grantee in wanted.grantees if open_ones]
        conditions.append(_i.owner == wanted.owner)
        states = tuple(state for state in states if state not in OPEN_STATES)
    pages += [select(_i.pid, _i.n).where(_i.tid == tid, _i.state == state, *conditions) for state in states]
    ends = [page.order_by(_i.pid.desc(), _i.n.desc()).limit(most).subquery() for page in pages]
    every = union_all(*(select(end.c.pid, end.c.n) for end in ends)).subquery()
    return select(every.c.pid, every.c.n).distinct().order_by(every.c.pid.desc(), every.c.n.desc()).limit(most)


# -- executions ------------------------------------------------------------------------------------------------------

_BY_DEFINITION_ID = _VERSION.where(_d.id == bindparam("id"), _v.number == _d.latest)
_BY_PROCESS_ID = _PROCESS.where(_p.id == bindparam("id"))
_ib = tables.inbox.c


class Place(NamedTuple):
    """An open visit of a node, or one with an incident: then there is a failure."""

    n: int
    node: str
    kind: str
    state: str
    failure: str | None


def version_by_definition_id(reader: Read, tid: int, id: str) -> VersionRow | None:
    """The latest version of the definition with this public id."""
    rows = reader.rows(_BY_DEFINITION_ID, {"tid": tid, "id": id})
    return VersionRow(*rows[0]) if rows else None


def process_by_id(reader: Read, tid: int, id: str) -> ProcessRow | None:
    rows = reader.rows(_BY_PROCESS_ID, {"tid": tid, "id": id})
    return ProcessRow(*rows[0]) if rows else None


PLACES = (
    select(_vi.n, _vi.node, _vi.kind, _vi.state, _vi.failure)
    .where(_vi.pid == bindparam("of_pid"), _vi.state.in_(("OPEN", "FAILED")))
    .order_by(_vi.n)
)
"""Where a process stands, the longest waiting first. For a unit as well as for a reader."""
ARRIVING = select(_ib.iid).where(_ib.pid == bindparam("of_pid")).limit(1)
"""Whether events of a process wait to be applied."""


def places(reader: Read, of_pid: int) -> tuple[list[Place], bool]:
    """Where a process stands, and whether events wait that may move it on."""
    found = [Place(*row) for row in reader.rows(PLACES, {"of_pid": of_pid})]
    return found, bool(reader.rows(ARRIVING, {"of_pid": of_pid}))
