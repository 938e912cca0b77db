"""A human task over HTTP: `python human.py URL CLIENTS SECONDS [BACKLOG]` prints one JSON line.

Each client is a user of its own and does, again and again: start a process with one item, list its tasks (`mine=true`), claim
the task, complete it. URL is an empty database (`sqlite:///PATH`, `postgresql://…`); the server is a process of its own, and
what it used of the processors (user and system) is told for each process, for other work may run on the machine.
BACKLOG: so many items lie open in each inbox before the measuring begins.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from load import Measured, closed
from wire import Wire

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
DEFINITION = {
    "penstock": 1,
    "code": "human",
    "permissions": {"initiator": ["role:everyone"]},
    "tasks": {
        "APPROVE": {
            "name": "Approve",
            "candidates": ["role:starter"],
            "due": "P2D",
            "schema": {"type": "object", "properties": {"approved": {"type": "boolean"}}, "required": ["approved"]},
        }
    },
    "nodes": {"approve": {"kind": "item", "task": "APPROVE", "input": {"of": "${input.n}"}}},
    "output": {"approved": "${approve.approved}"},
}


class Human(Measured, kw_only=True):
    """`cpu_ms` is the server's, for each process done."""

    cpu_ms: float
    backlog: int


@contextmanager
def server(url: str, users: int) -> Iterator[tuple[dict[str, Any], int]]:
    """A server on this database; what it wrote of its tenant, and its process's number."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(HERE / "serve_seeded.py"), url, folder, str(port), str(users)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            # the server's own lines come first
            assert any(line.startswith("ready ") for line in process.stdout), "it did not start"
            yield json.loads((Path(folder) / "credentials.json").read_text()), process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(15)


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def one(wire: Wire, number: int) -> None:
    """One process, from its start to its end."""
    process = await wire.call("POST", "/api/v1/processes", {"definition": "human", "input": {"n": number}})
    found = await wire.call("GET", "/api/v1/items?mine=true&state=READY&limit=10")
    (item,) = [item for item in found["items"] if item["process"] == process["id"]]
    await wire.call("POST", f"/api/v1/items/{item['id']}/claim")
    done = await wire.call("POST", f"/api/v1/items/{item['id']}/complete", {"output": {"approved": True}})
    assert done["state"] == "COMPLETED"


async def work(known: dict[str, Any], pid: int, clients: int, seconds: float, backlog: int) -> Human:
    application = known["application"]
    grant = {"grant_type": "client_credentials", "client_id": application["id"], "client_secret": application["secret"]}
    setup = await Wire.open(known["url"])
    token = await setup.call("POST", "/api/v1/token", grant)
    setup = await Wire.open(known["url"], token["access_token"])
    await setup.call("POST", "/api/v1/definitions", DEFINITION)
    for token in known["tokens"]:
        wire = await Wire.open(known["url"], token)
        for left in range(backlog, 0, -500):
            starts = [{"definition": "human", "input": {"n": 0}}] * min(500, left)
            await wire.call("POST", "/api/v1/processes/~batch", {"processes": starts})
        wire.close()  # the server closes what is silent for long
    wires = [await Wire.open(known["url"], token) for token in known["tokens"]]
    before = cpu_seconds(pid)
    begun = 0

    async def next_one(number: int) -> None:
        nonlocal begun
        begun += 1
        await one(wires[number % clients], number)

    measured = await closed(next_one, clients, seconds)
    spent = cpu_seconds(pid) - before
    return Human(**msgspec.structs.asdict(measured), cpu_ms=spent * 1000 / begun, backlog=backlog)


def main() -> None:
    url, clients, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    backlog = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    with server(url, clients) as (known, pid):
        print(f"server {pid}", file=sys.stderr)
        print(msgspec.json.encode(uvloop.run(work(known, pid, clients, seconds, backlog))).decode())


if __name__ == "__main__":
    main()
