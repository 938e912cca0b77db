"""Which processes of definitions that name viewers somebody sees all the same: those they started, and those they have, or
have had, an item of. `listing` makes pages of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, ColumnElement, Select, Table, bindparam, func, select, union

from penstock.core import codec
from penstock.core.requests import Viewer
from penstock.store import grants, tables
from penstock.store.reader import Read
from penstock.store.rows import ITEM_GRANTS, ITEMS, Tx

_p, _i, _g, _d = tables.processes.c, tables.items.c, tables.item_grants.c, tables.definitions.c

MOST_RANGES = 64
"""Definitions that a page looks into one by one; above that it goes along all processes and leaves out the hidden ones."""


class Sight(NamedTuple):
    """What a list may show of definitions."""

    hidden: tuple[int, ...] = ()
    seen: tuple[int, ...] | None = None
    """The others, where they are few."""
    nothing: bool = False
    """All that is asked for is hidden."""


_OF_TENANT = select(_d.did).where(_d.tid == bindparam("tid")).order_by(_d.did).limit(bindparam("most"))
_BY_CODE = select(_d.did).where(_d.tid == bindparam("tid"), _d.code == bindparam("code"))


def sight(read: Read, tid: int, viewer: Viewer, code: str | None) -> Sight:
    """What of the tenant's definitions they see, or of the one of this code."""
    hidden = tuple(sorted(grants.hidden(read, tid, viewer.grantees)))
    if not hidden:
        return Sight()
    if code is not None:
        found = read.row(_BY_CODE, {"tid": tid, "code": code})
        asked = tuple(did for did in hidden if found is not None and did == found[0])
        return Sight(asked, nothing=bool(asked))
    dids = [did for (did,) in read.rows(_OF_TENANT, {"tid": tid, "most": len(hidden) + MOST_RANGES + 1})]
    seen = tuple(did for did in dids if did not in hidden)
    few = len(seen) <= MOST_RANGES
    return Sight(hidden, seen if few else None, nothing=few and not seen)


_ITS_OWNER = select(_i.n).where(_i.pid == bindparam("of_pid"), _i.owner == bindparam("principal")).limit(1)
_ITS_GRANT = (
    select(_g.n)
    .where(
        _g.tid == bindparam("tid"),
        _g.grantee.in_(bindparam("grantees", expanding=True)),
        _g.pid == bindparam("of_pid"),
    )
    .limit(1)
)


def involved(read: Read | Tx, tid: int, pid: int, viewer: Viewer) -> bool:
    """Whether an open item of the process is, or may become, theirs, or one was."""
    if _ask(read, _ITS_OWNER, {"of_pid": pid, "principal": viewer.principal}):
        return True
    return bool(_ask(read, _ITS_GRANT, {"tid": tid, "grantees": list(viewer.grantees), "of_pid": pid}))


def _each_once(of: Table, column: ColumnElement[str]) -> Select[tuple[int, str]]:
    """Who stands in a column of a process's rows: from one name to the next along the index, however many rows have it."""
    pids: BindParameter[Sequence[int]] = bindparam("pids", expanding=True)
    inner = of.alias()
    name = inner.c[str(column.key)]

    def first(pid: ColumnElement[int], *above: ColumnElement[bool]) -> Any:
        return select(func.min(name)).where(inner.c.pid == pid, name.is_not(None), *above).scalar_subquery()

    found = select(_p.pid, first(_p.pid).label("name")).where(_p.pid.in_(pids)).cte("each_name", recursive=True)
    following = select(found.c.pid, first(found.c.pid, name > found.c.name)).where(found.c.name.is_not(None))
    found = found.union_all(following)
    return select(found.c.pid, found.c.name).where(found.c.name.is_not(None))


_OWNERS = _each_once(tables.items, _i.owner)
_GRANTEES = _each_once(tables.item_grants, _g.grantee)


def all_involved(read: Read, pids: Sequence[int]) -> dict[int, frozenset[str]]:
    """By process: every grantee who is `involved`."""
    found: dict[int, set[str]] = {pid: set() for pid in pids}
    for statement in (_OWNERS, _GRANTEES):
        for pid, name in read.rows(statement, {"pids": pids}) if pids else ():
            found[pid].add(name)
    return {pid: frozenset(names) for pid, names in found.items()}


def _ask(read: Read | Tx, statement: Select[tuple[int]], params: dict[str, Any]) -> list[tuple[Any, ...]]:
    return (
        read.select(statement, params, of=[ITEMS, ITEM_GRANTS])
        if isinstance(read, Tx)
        else read.rows(statement, params)
    )


_PROCESS = (
    select(_p.created_by, _d.permissions)
    .join(tables.definitions, _d.did == _p.did)
    .where(_p.tid == bindparam("tid"), _p.pid == bindparam("of_pid"))
)


def of_process(read: Read, tid: int, pid: int, viewer: Viewer) -> tuple[str, grants.Permissions, bool] | None:
    """Who started it, the permissions of its definition, and whether the viewer has to do with it, where that matters."""
    row = read.row(_PROCESS, {"tid": tid, "of_pid": pid})
    if row is None:
        return None
    permissions: grants.Permissions = codec.decode_json(row[1])
    return row[0], permissions, bool(permissions.get("viewer")) and involved(read, tid, pid, viewer)


def concerned(tid: int, viewer: Viewer) -> Select[tuple[int]]:
    """Processes of which an open item is, or may become, theirs, or an item was."""
    owned = select(_i.pid).where(_i.tid == tid, _i.owner == viewer.principal)
    granted = select(_g.pid).where(_g.tid == tid, _g.grantee.in_(viewer.grantees))
    return union(owned, granted).subquery().select()
