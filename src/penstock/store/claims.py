"""What stands behind a job's token, for those who read: the process it speaks of, and the job as it is now."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import bindparam, select

from penstock.store import jobs, tables
from penstock.store.reader import Read

_p, _t, _d, _v, _j = tables.processes.c, tables.tenants.c, tables.definitions.c, tables.versions.c, tables.jobs.c


class Identity(NamedTuple):
    """What never changes of a process: whose it is, what it is called, what it is a run of."""

    pid: int
    id: str
    tid: int
    tenant_id: str
    tenant_code: str
    did: int
    definition_id: str
    code: str


_IDENTITY = (
    select(_p.pid, _p.id, _p.tid, _t.id, _t.code, _p.did, _d.id, _d.code)
    .select_from(tables.processes)
    .join(tables.tenants, _t.tid == _p.tid)
    .join(tables.definitions, _d.did == _p.did)
    .where(_p.pid == bindparam("of_pid"))
)


def identity(reader: Read, of_pid: int) -> Identity | None:
    row = reader.row(_IDENTITY, {"of_pid": of_pid})
    return None if row is None else Identity(*row)


_JOB = (
    select(*tables.jobs.columns, _v.number, _p.vid)
    .select_from(tables.jobs)
    .join(tables.versions, _v.vid == _j.vid)
    .join(tables.processes, _p.pid == _j.pid)
    .where(_j.pid == bindparam("of_pid"), _j.n == bindparam("n"))
)


def job(reader: Read, of_pid: int, n: int) -> tuple[jobs.Row, int, int] | None:
    """A job, the number of the version it was handed out in, and the vid its process is at now."""
    row = reader.row(_JOB, {"of_pid": of_pid, "n": n})
    return None if row is None else (jobs.Row(*row[:-2]), row[-2], row[-1])
