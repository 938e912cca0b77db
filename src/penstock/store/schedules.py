"""Schedules: definitions whose processes the clock starts. `due_at` is the next time by the rule, `fires_at` with its jitter.

Both are null while nothing is due: a schedule that is paused, or whose last time has passed. Whoever changes a row holds it until
its commit (`lock`, `take`), so an edit and a firing on two nodes come one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, select

from penstock.core import codec
from penstock.core import events as ev
from penstock.core.recurrence import Rule, spread
from penstock.core.requests import Viewer
from penstock.core.schema import coerce
from penstock.core.state import ENDED
from penstock.errors import Invalid, NotFound, WrongState
from penstock.store import definitions, grants, processes, tables
from penstock.store.held import Held
from penstock.store.reader import Read
from penstock.store.rows import PROCESSES, SCHEDULES, Tx

ACTIVE, PAUSED, OVER = "ACTIVE", "PAUSED", "ENDED"
STATES = (ACTIVE, PAUSED, OVER)
"""OVER: its last time has passed."""

DATA = ("input", "metadata", "entity")


class Row(NamedTuple):
    """A row of `schedules`, in the order of its columns."""

    sid: int
    tid: int
    id: str
    definition: str
    version: int | None
    cron: str | None
    every: int | None
    timezone: str
    input: str
    starts_at: int | None
    ends_at: int | None
    jitter: int
    overlap: str
    catch_up: str
    catch_up_limit: int
    state: str
    revision: int
    due_at: int | None
    fires_at: int | None
    last_due: int | None
    last_process: str | None
    last_pid: int | None
    last_error: str | None
    failures: int
    skipped: int
    created_at: int
    created_by: str
    modified_at: int
    modified_by: str

    @property
    def key(self) -> str:
        """What its jitter is made from."""
        return f"{self.tid}/{self.sid}"

    def waiting_for(self, due: int | None) -> Row:
        """The row with this as its next time."""
        fires_at = None if due is None else due + spread(self.key, due, self.jitter)
        return self._replace(due_at=due, fires_at=fires_at)

    @property
    def rule(self) -> Rule:
        return Rule(
            cron=self.cron,
            every=self.every,
            timezone=self.timezone,
            anchor=self.created_at if self.starts_at is None else self.starts_at,
            starts_at=self.starts_at,
            ends_at=self.ends_at,
        )


_s, _p, _d = tables.schedules.c, tables.processes.c, tables.definitions.c
_ALL: Select[tuple[object, ...]] = select(*tables.schedules.columns)
_BY_ID = _ALL.where(_s.tid == bindparam("tid"), _s.id == bindparam("id"))
_LOCK = _BY_ID.with_for_update()
_TAKE = _ALL.where(_s.sid == bindparam("sid")).with_for_update(skip_locked=True)
_DUE = _ALL.where(_s.fires_at <= bindparam("now")).order_by(_s.fires_at, _s.sid).limit(bindparam("most"))
_NEXT = select(_s.fires_at).where(_s.fires_at > bindparam("now")).order_by(_s.fires_at).limit(1)
_STATUS = select(_p.status).where(_p.pid == bindparam("pid"))
_TENANT = select(tables.tenants.c.id).where(tables.tenants.c.tid == bindparam("tid"))


# -- reading ---------------------------------------------------------------------------------------------------------


def get(read: Read, tid: int, id: str) -> Row | None:
    row = read.row(_BY_ID, {"tid": tid, "id": id})
    return None if row is None else Row(*row)


def listed(
    read: Read,
    tid: int,
    states: tuple[str, ...],
    definition: str | None,
    after: str,
    most: int,
    viewer: Viewer | None = None,
) -> list[Row]:
    """By id, from the one after `after`; without those that are hidden from the viewer."""
    statement = _ALL.where(_s.tid == tid, _s.id > after).order_by(_s.id).limit(most)
    if definition is not None:
        statement = statement.where(_s.definition == definition)
    if states:
        statement = statement.where(_s.state.in_(states))
    if viewer is not None and (hidden := grants.hidden_schedules(read, tid, viewer.grantees)):
        statement = statement.where(_s.definition.not_in(select(_d.code).where(_d.tid == tid, _d.did.in_(hidden))))
    return [Row(*row) for row in read.rows(statement, {})]


def due(read: Read, most: int) -> tuple[int, list[Row], int | None]:
    """The database's time, what is due by it, and when the next is."""
    now = read.now()
    rows = [Row(*row) for row in read.rows(_DUE, {"now": now, "most": most})]
    following = read.row(_NEXT, {"now": now})
    return now, rows, None if following is None else following[0]


def tenant_id(read: Read, tid: int) -> str:
    """The public id of a schedule's tenant."""
    row = read.row(_TENANT, {"tid": tid})
    return "" if row is None else str(row[0])


# -- writing ---------------------------------------------------------------------------------------------------------


def lock(tx: Tx, tid: int, id: str) -> Row | None:
    """The row, held until the commit; waits for a node that has it."""
    rows = tx.select(_LOCK, {"tid": tid, "id": id}, of=[SCHEDULES])
    return Row(*rows[0]) if rows else None


def take(tx: Tx, sid: int) -> Row | None:
    """The row, held until the commit; None when it is gone or another node has it."""
    rows = tx.select(_TAKE, {"sid": sid}, of=[SCHEDULES])
    return Row(*rows[0]) if rows else None


def put(tx: Tx, row: Row) -> None:
    tx.put(SCHEDULES, tuple(row))


def new_key(tx: Tx) -> int:
    return tx.next_id(SCHEDULES)


def remove(tx: Tx, row: Row) -> None:
    tx.delete(SCHEDULES, (row.sid,))


def running(tx: Tx, row: Row) -> bool:
    """Whether the process it started last has not ended."""
    if row.last_pid is None:
        return False
    found = tx.select(_STATUS, {"pid": row.last_pid}, of=[PROCESSES])
    return bool(found) and found[0][0] not in {status.value for status in ENDED}


def begin(
    tx: Tx, row: Row, id: str, *, starter: str, actor: str, start: Callable[[Held, ev.Started], Held]
) -> tuple[str, int]:
    """Start the process a schedule is for, `id` its own; answers id and pid. One that is there is not started again.

    `start` is the engine's. Raises: NotFound (definition or version), WrongState (retired), Invalid (its input does not fit).
    """
    known = processes.find(tx, row.tid, id)
    if known is not None:
        return id, known
    version = _version(tx, row)
    data = _fitted(tx, version.vid, codec.decode_json(row.input))
    held = processes.create(tx, tid=row.tid, id=id, did=version.did, vid=version.vid, created_by=starter)
    moved = start(held, ev.Started(at=tx.now, actor=actor, **data))
    return id, moved.pid


def _version(tx: Tx, row: Row) -> definitions.Latest:
    found = definitions.startable(tx, row.tid, row.definition, row.version)
    if found is None:
        name = row.definition if row.version is None else f"{row.definition} version {row.version}"
        raise NotFound("definition", name)
    if found.state != definitions.ACTIVE:
        raise WrongState(f"cannot start: version {found.number} of definition {row.definition!r} is {found.state}")
    return found


def _fitted(tx: Tx, vid: int, value: Any) -> dict[str, Any]:
    """Input, metadata and entity in the types of their schemas."""
    _, version = definitions.version(tx, vid)
    data: dict[str, Any] = {}
    for name in DATA:
        given = value if name == "input" else None
        schema = version.schemas.get(name)
        if schema is not None:
            given = coerce(schema, {} if given is None and schema.get("type") == "object" else given)
            problems = definitions.unfit(version, name, given)
            if problems:
                where = problems[0].pointer
                raise Invalid(f"the {name} does not fit the definition: {where}: {problems[0].message}", problems)
        if given is not None:
            data[name] = given
    return data
