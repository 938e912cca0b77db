"""Reads for lists and pages: never through the writer, each in one snapshot, by reader connections with a time limit.

Lists go by keyset: `after` is the position of the last row seen, and a page is one range of an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import (
    Select,
    bindparam,
    func,
    literal_column,
    select,
)

from penstock.core import codec
from penstock.core.definition import Version
from penstock.core.requests import VisitFilter
from penstock.store import definitions, tables
from penstock.store.reader import Read

_p, _d, _v = tables.processes.c, tables.definitions.c, tables.versions.c
_h, _vi = tables.history.c, tables.visits.c
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
    active: int | None
    """Number of the version that new processes start with; None when none has ever been active."""
    granted: str
    rev: int
    """Of the permissions."""

    @property
    def compiled(self) -> Version:
        return definitions.compiled(self.digest, self.document)

    @property
    def permissions(self) -> dict[str, list[str]]:
        """Of the definition, as they are now, whatever the version's document says."""
        permissions: dict[str, list[str]] = codec.decode_json(self.granted)
        return permissions


_VERSION_COLUMNS = (
    *(_d.did, _d.id, _d.code, _d.latest, _d.created_at, _v.vid, _v.id, _v.number, _v.document, _v.digest),
    *(_v.state, _v.created_at, _v.created_by, _d.active, _d.permissions, _d.rev),
)
_VERSION = select(*_VERSION_COLUMNS).join(tables.versions, _v.did == _d.did).where(_d.tid == bindparam("tid"))
_BY_CODE = _VERSION.where(_d.code == bindparam("code"))
_LATEST = _BY_CODE.where(_v.number == _d.latest)
_CURRENT = _BY_CODE.where(_v.number == func.coalesce(_d.active, _d.latest))
_NUMBERED = _BY_CODE.where(_v.number == bindparam("number"))
_BY_VID = _VERSION.where(_v.vid == bindparam("vid"))


LATEST: Final = "latest"
CURRENT: Final = "current"
Which = int | Literal["latest", "current"]
"""A version: by its number, the newest, or the one that new processes start with (the newest where none was ever active)."""


def version(reader: Read, tid: int, code: str, which: Which = LATEST) -> VersionRow | None:
    """A version of a definition."""
    statement, params = _NUMBERED, {"number": which}
    if which == LATEST:
        statement, params = _LATEST, {}
    elif which == CURRENT:
        statement, params = _CURRENT, {}
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


# -- executions ------------------------------------------------------------------------------------------------------

_OF_DEFINITION = _VERSION.where(_d.id == bindparam("id"))
_LATEST_OF = _OF_DEFINITION.where(_v.number == _d.latest)
_CURRENT_OF = _OF_DEFINITION.where(_v.number == func.coalesce(_d.active, _d.latest))
_BY_PROCESS_ID = _PROCESS.where(_p.id == bindparam("id"))
_ib = tables.inbox.c


class Place(NamedTuple):
    """An open visit of a node, or one with an incident: then there is a failure."""

    n: int
    node: str
    kind: str
    state: str
    failure: str | None


def version_by_definition_id(reader: Read, tid: int, id: str, *, current: bool = False) -> VersionRow | None:
    """The latest version of the definition with this public id, or the one that new processes start with."""
    rows = reader.rows(_CURRENT_OF if current else _LATEST_OF, {"tid": tid, "id": id})
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
