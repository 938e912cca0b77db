"""What concerns all tenants: the list of them, who operates the installation, how many processes one has open."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, bindparam, func, literal_column, select

from penstock.core.state import ENDED, Status
from penstock.identity.policy import OPERATOR
from penstock.store import tables
from penstock.store.directory import ApplicationRow
from penstock.store.people import Settings
from penstock.store.reader import Read
from penstock.store.rows import APPLICATIONS, TENANTS, USERS, Tx

NODE_SILENCE = 60_000
"""Milliseconds after which a node that has written nothing is not counted as running."""

_t, _u, _a, _p, _n = (
    tables.tenants.c, tables.users.c, tables.applications.c, tables.processes.c, tables.nodes.c,
)  # fmt: skip
_TENANT = select(*tables.tenants.columns).where(_t.code == bindparam("code"))
_PAGE = select(*tables.tenants.columns).where(_t.tid > bindparam("after")).order_by(_t.tid).limit(bindparam("most"))
_ANY = select(_t.tid).limit(1)
_OPERATORS = (
    select(func.count())
    .where(
        _u.tid.in_(select(tables.tenants.c.tid).where(tables.tenants.c.disabled == 0)),
        _u.roles != literal_column("'[]'"),
        _u.disabled == 0,
    )
    .where(_u.roles.contains(f'"{OPERATOR}"'), _u.uid != bindparam("but"))
)
_NAMED = select(*tables.applications.columns).where(_a.tid == bindparam("tid"), _a.name == bindparam("name"))
_OPEN_STATES = [status.value for status in Status if status not in ENDED]
_OPEN = (
    select(func.count()).select_from(
        select(_p.tid)
        .where(_p.tid == bindparam("tid"), _p.status.in_([literal_column(f"'{state}'") for state in _OPEN_STATES]))
        .limit(bindparam("most"))
        .subquery()
    )
)  # fmt: skip
_NODES = select(func.count()).where(_n.seen_at > bindparam("since"))


def tenant(read: Read | Tx, code: str) -> Settings | None:
    rows = _ask(read, _TENANT, {"code": code})
    return Settings(*rows[0]) if rows else None


def tenants(read: Read, after: int, most: int) -> list[Settings]:
    """Oldest first."""
    return [Settings(*row) for row in read.rows(_PAGE, {"after": after, "most": most})]


def is_empty(read: Read) -> bool:
    """Whether there is no tenant yet."""
    return read.row(_ANY, {}) is None


def operators(tx: Tx, *, but: int) -> int:
    """How many users operate the installation besides this one."""
    return int(tx.select(_OPERATORS, {"but": but}, of=[USERS, TENANTS])[0][0])


def applications_named(tx: Tx, tid: int, name: str) -> list[ApplicationRow]:
    return [ApplicationRow(*row) for row in tx.select(_NAMED, {"tid": tid, "name": name}, of=[APPLICATIONS])]


def open_processes(read: Read, tid: int, most: int) -> int:
    """How many processes of a tenant have not ended; counts no further than `most`."""
    return int(read.rows(_OPEN, {"tid": tid, "most": most})[0][0])


def running_nodes(read: Read) -> int:
    """How many nodes have written something lately, at least one."""
    return max(1, int(read.rows(_NODES, {"since": read.now() - NODE_SILENCE})[0][0]))


def _ask(read: Read | Tx, statement: Select[Any], params: dict[str, Any]) -> list[tuple[Any, ...]]:
    return read.select(statement, params, of=[TENANTS]) if isinstance(read, Tx) else read.rows(statement, params)
