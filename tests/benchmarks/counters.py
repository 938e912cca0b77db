"""Counters over HTTP: `python tests/benchmarks/counters.py` has many clients increment one key at the door `cloudio`.

Keep-alive connections, full durability, a fresh server for each run; every number from 1 to the last must have been answered
once. Beside the rate stands what an increment costs the server in CPU time, which says more on a machine that has other work.
PostgreSQL's own CPU time is not in it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from load import Measured, closed
from run import ROOT, Databases, server
from wire import Wire

sys.path.insert(0, str(ROOT))

from tests.support import postgres

TICKS = os.sysconf("SC_CLK_TCK")
DEFINITION = {
    "penstock": 1,
    "code": "bench_counters",
    "driver": "graph",
    "nodes": {"count": {"kind": "job", "topic": "bench_counters"}},
    "flows": [],
}


class Counted(msgspec.Struct):
    """One run; microseconds of the server's CPU time an increment, by user and by system."""

    measured: Measured
    total: int
    user: float
    system: float


async def job(url: str, token: str) -> dict[str, Any]:
    """A job in hand for an hour, as a call of the door names it."""
    wire = await Wire.open(url, token)
    await wire.call("POST", "/api/v1/definitions", DEFINITION)
    await wire.call("POST", "/api/v1/processes", {"definition": DEFINITION["code"]})
    body = {"topics": ["bench_counters"], "wait": 10, "lease": 3600}
    (taken,) = (await wire.call("POST", "/api/v1/jobs/poll", body))["jobs"]
    wire.close()
    return {
        "wfUid": taken["definition"],
        "wfInstUid": taken["process"],
        "version": taken["version"],
        "token": taken["token"],
        "nodeUid": taken["node"],
        "executionId": taken["execution_id"],
        "key": "counted",
    }


def cpu(pid: int) -> tuple[float, float]:
    """Seconds of CPU time a process has had: user, system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


async def measure(target: str, pid: int, operation: str, clients: int, seconds: float) -> Counted:
    url, _, token = target.partition(" ")
    body = await job(url, token)
    wires = [await Wire.open(url) for _ in range(clients)]
    answers: list[int] = []

    async def one(number: int) -> None:
        answer = await wires[number % clients].call("POST", f"/v1/wf/{operation}", body)
        answers.append(answer["value"])

    before = cpu(pid)
    measured = await closed(one, clients, seconds, warmup=0.5)
    after = cpu(pid)
    assert sorted(answers) == list(range(1, len(answers) + 1)), "a number is missing or was answered twice"
    user, system = ((b - a) / len(answers) * 1e6 for a, b in zip(before, after, strict=True))
    return Counted(measured, len(answers), user, system)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--clients", type=int, default=50)
    options.add_argument("--seconds", type=float, default=3.0)
    options.add_argument("--databases", nargs="*", default=["sqlite", "postgresql"])
    options.add_argument("--operations", nargs="*", default=["instanceIncrementAndGet", "incrementAndGet"])
    options.add_argument("--json", action="store_true", help="a JSON line a run")
    given = options.parse_args()
    (ROOT / "var" / "bench").mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="db-", dir=ROOT / "var" / "bench"))
    try:
        with postgres.running() as running:
            databases = Databases(folder, running)
            for kind in given.databases:
                for operation in given.operations:
                    with server(databases.fresh(kind)) as (target, process, _):
                        print(f"server {process.pid}", file=sys.stderr, flush=True)
                        found = uvloop.run(measure(target, process.pid, operation, given.clients, given.seconds))
                    if given.json:
                        print(
                            msgspec.json.encode({"database": kind, "operation": operation, "run": found}).decode(),
                            flush=True,
                        )
                    else:
                        say(kind, operation, given.clients, found)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def say(kind: str, operation: str, clients: int, found: Counted) -> None:
    m = found.measured
    print(
        f"{kind:11} {operation:24} {clients} at once: {m.rate:7,.0f}/s, p50 {m.p50:5.1f} ms, p99 {m.p99:5.1f} ms; "
        f"server CPU {found.user + found.system:5.0f} us an increment ({found.user:.0f} user, {found.system:.0f} system)",
        flush=True,
    )


if __name__ == "__main__":
    main()
