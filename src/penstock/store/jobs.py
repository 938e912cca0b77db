"""Jobs: what is offered to workers, and the leases that fence their answers.

A row lives while its visit's work is out. READY: anybody who polls its queue may take it. LEASED: somebody has it until
`leased_until`. HELD: its process is suspended. AWAITING: an http endpoint answered 202 and will answer with the job's token.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import bindparam, literal_column, select

from penstock.core import commands as do
from penstock.core.run import HTTP_TOPIC
from penstock.store import tables
from penstock.store.reader import Read
from penstock.store.rows import JOBS, PROCESSES, VISITS, Tx

MOST_DELIVERIES = 10
"""Leases of one attempt that may run out before it fails: a job that kills its workers must not do so for ever."""


class Lease(NamedTuple):
    """A worker's hold on a job. `token_hash` is of the job's own token."""

    lease: str
    until: int
    worker: str
    token_hash: str


class Row(NamedTuple):
    """A row of `jobs`, in the order of its columns."""

    pid: int
    n: int
    tid: int
    vid: int
    scope: int
    node: str
    queue: str
    attempt: int
    state: str
    available_at: int
    lease: str | None
    leased_until: int | None
    worker: str | None
    deliveries: int
    token_hash: str | None
    timeout: int | None
    told: int
    trace: str | None
    """`traceparent` of the step that opened it, where steps are traced."""


class Ready(NamedTuple):
    """A job that nobody has, with its input as JSON."""

    row: Row
    input: str | None


def queue_of(tid: int, topic: str) -> str:
    """A topic of a tenant; the engine's own http runner serves all tenants from one queue."""
    return f"{0 if topic == HTTP_TOPIC else tid}/{topic}"


def topic_of(queue: str) -> str:
    return queue.partition("/")[2]


def open(tx: Tx, tid: int, vid: int, pid: int, command: do.OpenJob, lease: Lease | None) -> str:
    """A new job, born leased where a worker waits for it. Answers its queue."""
    c = command
    queue = queue_of(tid, c.topic)
    state = "READY" if lease is None else "LEASED"
    held = (
        (None, None, None, 0, None) if lease is None else (lease.lease, lease.until, lease.worker, 1, lease.token_hash)
    )
    tx.put(
        JOBS, (pid, c.visit, tid, vid, c.scope, c.node, queue, c.attempt, state, tx.now, *held, c.timeout, 0, tx.trace)
    )
    return queue


def close(tx: Tx, pid: int, n: int) -> None:
    tx.delete(JOBS, (pid, n))


def get(tx: Tx, pid: int, n: int) -> Row | None:
    row = tx.get(JOBS, (pid, n))
    return None if row is None else Row(*row)


def execution_id(n: int, attempt: int) -> int:
    """A number for one attempt of one visit, unique in its process; fits 32 bits for two million visits."""
    return n * 1000 + min(attempt, 999)


def take(tx: Tx, row: Row, lease: Lease, vid: int) -> Row:
    """Lease a READY row to somebody, who is told that it is of version `vid`."""
    columns: dict[str, Any] = {
        "vid": vid,
        "state": "LEASED",
        "lease": lease.lease,
        "leased_until": lease.until,
        "worker": lease.worker,
        "deliveries": row.deliveries + 1,
        "token_hash": lease.token_hash,
    }
    tx.patch(JOBS, (row.pid, row.n), columns)
    return row._replace(**columns)


def extend(tx: Tx, row: Row, until: int) -> None:
    tx.patch(JOBS, (row.pid, row.n), {"leased_until": until})


def give_back(tx: Tx, row: Row, *, held: bool, delivered: bool = True) -> None:
    """A lease ran out or was given up: the job is offered again. Not `delivered`: nobody had it in hand."""
    columns: dict[str, Any] = {"state": "HELD" if held else "READY", "lease": None, "leased_until": None}
    if not delivered:
        columns["deliveries"] = max(0, row.deliveries - 1)
    tx.patch(JOBS, (row.pid, row.n), columns)


def postpone(tx: Tx, pid: int, n: int, until: int) -> None:
    """The end of a lease could not be dealt with: look at it again later."""
    tx.patch(JOBS, (pid, n), {"leased_until": until})


def wait_for_token(tx: Tx, row: Row, until: int) -> None:
    """The endpoint took the job and will answer later, with the job's token."""
    tx.patch(JOBS, (row.pid, row.n), {"state": "AWAITING", "lease": None, "leased_until": until})


_j = tables.jobs.c
_COLUMNS = tuple(tables.jobs.columns)
_IS_READY = _j.state == literal_column("'READY'")
"""Written out, or the partial index could not be used."""
_v = tables.visits.c
_INPUT = select(_v.input).where(_v.pid == _j.pid, _v.n == _j.n).scalar_subquery()
_READY = (
    select(*_COLUMNS, _INPUT)
    .where(_j.queue == bindparam("queue"), _IS_READY)
    .order_by(_j.available_at, _j.pid, _j.n)
    .limit(bindparam("most"))
)
# With its process's row, as every unit that changes a process has it: two nodes never wait for each other's jobs.
# The process's row first: a job whose process is passed over must not stay locked.
_READY_SHARED = (
    _READY.add_columns(*tables.processes.c)
    .select_from(tables.processes.join(tables.jobs, tables.processes.c.pid == _j.pid))
    .with_for_update(key_share=True, skip_locked=True)
)
_LEFT = select(_j.pid).where(_j.queue == bindparam("queue"), _IS_READY).limit(bindparam("most"))
_EXPIRED = (
    select(_j.pid, _j.n, _j.tid)
    .where(_j.leased_until.is_not(None), _j.leased_until <= bindparam("now"))
    .order_by(_j.leased_until)
    .limit(bindparam("most"))
)


def ready(tx: Tx, queue: str, most: int) -> list[Ready]:
    """READY jobs of a queue, oldest first.

    On PostgreSQL those of processes that another node holds are passed over.
    """
    params, width = {"queue": queue, "most": most}, JOBS.width
    if tx.sole_writer:
        found = tx.select(_READY, params, of=[JOBS, VISITS])
    else:
        found = tx.select(_READY_SHARED, params, of=[JOBS, VISITS, PROCESSES])
        for row in found:
            tx.learn(PROCESSES, row[width + 1 :])
    return [Ready(Row(*row[:width]), row[width]) for row in found]


def left(tx: Tx, queue: str, most: int) -> int:
    """How many READY jobs there are in a queue, up to `most`, those passed over too; 0 where none can be passed over."""
    return 0 if tx.sole_writer else len(tx.select(_LEFT, {"queue": queue, "most": most}, of=[JOBS]))


def expired(tx: Tx, most: int) -> list[tuple[int, int, int]]:
    """(pid, n, tid) of jobs whose lease, or wait for an answer, has run out."""
    return [(pid, n, tid) for pid, n, tid in tx.select(_EXPIRED, {"now": tx.now, "most": most}, of=[JOBS])]


_p, _v = tables.processes.c, tables.versions.c
_VERSION_OF = (
    select(_p.tid, _v.digest, _v.document).join(tables.versions, _v.vid == _p.vid).where(_p.pid == bindparam("pid"))
)


def version_of(read: Read, pid: int) -> tuple[int, str, str] | None:
    """Tenant, digest and document of the version a process runs now."""
    row = read.row(_VERSION_OF, {"pid": pid})
    return None if row is None else (row[0], row[1], row[2])
