"""`make bench`: Penstock beside DBOS, the same steps on the same machine in the same run; writes docs/performance.md.

Runs of the two sides take turns, and each figure is the median of its runs. Databases are made anew for each run, on the disk of
the working directory, with full durability. `--quick` is a short look that writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import apsw

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

from tests.benchmarks import profiling  # noqa: E402 - the path comes first
from tests.support import postgres  # noqa: E402

PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
PEER = ROOT / "var" / "bench" / "peer"
PEER_PACKAGES = ("dbos==3.4.0", "msgspec", "psycopg[binary]", "py-spy==0.4.1")
CLIENTS = (1, 50, 500)


def peer_python() -> Path:
    """The peer lives in an environment of its own, so that its versions are not ours; the sampler lives there too."""
    python, made = PEER / "bin" / "python", PEER / "packages"
    if not made.exists() or made.read_text() != str(PEER_PACKAGES):
        subprocess.run([sys.executable, "-m", "venv", PEER], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEER_PACKAGES], check=True)
        made.write_text(str(PEER_PACKAGES))
    return python


def measure(command: list[Any], seconds: float) -> dict[str, Any] | None:
    """One run of one side in a process of its own; None when it fails or takes far too long."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=HERE,
            capture_output=True,
            text=True,
            timeout=seconds * 4 + 60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        print(done.stderr[-400:], file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


class Databases:
    """Fresh databases of both kinds."""

    def __init__(self, folder: Path, server: postgres.Postgres) -> None:
        self._folder = folder
        self._server = server
        self._count = 0

    def fresh(self, kind: str) -> str:
        self._count += 1
        if kind == "sqlite":
            return f"sqlite:///{self._folder}/bench{self._count}.db"
        return self._server.database()


def counters(rounds: int, seconds: float) -> str:
    """One key of the door `cloudio`, incremented by 50 clients; medians."""
    command = [sys.executable, "counters.py", "--json", "--seconds", str(seconds)]
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for _ in range(rounds):
        done = subprocess.run(
            command, cwd=HERE, capture_output=True, text=True, timeout=seconds * 16 + 240, check=False
        )
        for line in done.stdout.splitlines():
            told = json.loads(line)
            found.setdefault((told["database"], told["operation"]), []).append(told["run"])
    lines = [
        "| key of | database | increments/s | p50 ms | p99 ms | server CPU µs each |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for (kind, operation), runs in found.items():
        of = "the process" if operation.startswith("instance") else "the definition"
        figure = median([run["measured"] for run in runs]) or {}
        cpu = statistics.median(run["user"] + run["system"] for run in runs)
        lines.append(f"| {of} | {kind} | {rate(figure)} | {figure['p50']:.1f} | {figure['p99']:.1f} | {cpu:.0f} |")
    return "\n".join(lines)


def human(databases: Databases, rounds: int, seconds: float, kinds: tuple[str, ...]) -> str:
    """A task of a person over the native API: start, my tasks, claim, complete; 50 people at once; medians."""
    lines = ["| database | processes/s | p50 ms | p99 ms | server CPU ms each |", "|---|---:|---:|---:|---:|"]
    for kind in kinds:
        runs = [
            run
            for _ in range(rounds)
            if (run := measure([sys.executable, "human.py", databases.fresh(kind), 50, seconds], seconds)) is not None
        ]
        figure = median(runs)
        if figure is None:
            lines.append(f"| {kind} | failed | - | - | - |")
            continue
        cpu = statistics.median(run["cpu_ms"] for run in runs)
        lines.append(f"| {kind} | {rate(figure)} | {figure['p50']:.1f} | {figure['p99']:.1f} | {cpu:.2f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def profiles(databases: Databases, seconds: float, kinds: tuple[str, ...]) -> str:
    """Three steps in process, sampled; the figures of the tables come from runs that were not."""
    sampler, told = peer_python().with_name("py-spy"), []
    for kind in kinds:
        for clients in (50, 500):
            call = [sys.executable, "ours.py", "inprocess", databases.fresh(kind), 3, clients, seconds]
            found = profiling.profile(sampler, call, seconds + 1)
            told.append(profiling.told(f"{kind}, 3 steps in process, {clients} at once", found))
    return "\n\n".join(told)


@contextmanager
def server(url: str) -> Iterator[tuple[str, subprocess.Popen[str], float]]:
    """`penstock serve` on a fresh database: base URL and token, the process, seconds until it was ready."""
    port = _free_port()
    folder = tempfile.mkdtemp(prefix="bench-", dir=ROOT / "var" / "bench")
    began = time.perf_counter()
    if url.startswith("sqlite"):
        command = [sys.executable, "-m", "penstock", "dev", "--data", folder, "--port", str(port)]
    else:
        command = [sys.executable, str(HERE / "serve_seeded.py"), url, folder, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "ready" in line, line
        ready = time.perf_counter() - began
        yield f"http://127.0.0.1:{port} {_token(folder)}", process, ready
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(15)
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _token(folder: str) -> str:
    known = json.loads((Path(folder) / "credentials.json").read_text())
    body = {
        "grant_type": "client_credentials",
        "client_id": known["application"]["id"],
        "client_secret": known["application"]["secret"],
    }
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{known['url']}/api/v1/token", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
        return str(json.load(answer)["access_token"])


def median(runs: list[dict[str, Any] | None]) -> dict[str, float] | None:
    good = [run for run in runs if run is not None]
    if not good:
        return None
    return {name: statistics.median(run[name] for run in good) for name in ("rate", "p50", "p99")}


Figures = dict[tuple[str, ...], dict[str, float] | None]


def compare(databases: Databases, rounds: int, seconds: float, kinds: tuple[str, ...]) -> Figures:
    """In process against the peer: the sides take turns."""
    figures: Figures = {}
    peer = peer_python()
    for kind in kinds:
        for steps in (1, 3):
            for clients in CLIENTS:
                ours, theirs = [], []
                for _ in range(rounds):
                    call = ["inprocess", databases.fresh(kind), steps, clients, seconds]
                    ours.append(measure([sys.executable, "ours.py", *call], seconds))
                    theirs.append(measure([peer, "theirs.py", databases.fresh(kind), steps, clients, seconds], seconds))
                figures["in process", kind, str(steps), str(clients)] = median(ours)
                figures["DBOS", kind, str(steps), str(clients)] = median(theirs)
                say(figures, kind, steps, clients)
    return figures


def say(figures: Figures, kind: str, steps: int, clients: int) -> None:
    ours, theirs = (
        figures["in process", kind, str(steps), str(clients)],
        figures["DBOS", kind, str(steps), str(clients)],
    )
    print(
        f"{kind:11} {steps} steps, {clients:3} at once: ours {rate(ours)}, DBOS {rate(theirs)} processes/s", flush=True
    )


def rate(figure: dict[str, float] | None) -> str:
    return "failed" if figure is None else f"{figure['rate']:,.0f}"


def over_http(databases: Databases, rounds: int, seconds: float, kinds: tuple[str, ...]) -> Figures:
    figures: Figures = {}
    for kind in kinds:
        for mode in ("single", "batch"):
            for steps in (1, 3):
                for clients in CLIENTS:
                    runs = []
                    for _ in range(rounds):
                        with server(databases.fresh(kind)) as (target, _, _):
                            runs.append(
                                measure([sys.executable, "ours.py", mode, target, steps, clients, seconds], seconds)
                            )
                    figures[f"HTTP, {mode}", kind, str(steps), str(clients)] = median(runs)
                    print(
                        f"{kind:11} HTTP {mode}, {steps} steps, {clients:3} at once: {rate(median(runs))}/s", flush=True
                    )
    return figures


def starts(databases: Databases, rounds: int, seconds: float) -> dict[str, float]:
    """Latency of acknowledged starts at 200 a second, idle memory, seconds until ready."""
    latencies, memory, ready = [], [], []
    for _ in range(rounds):
        with server(databases.fresh("sqlite")) as (target, process, until):
            memory.append(_memory(process.pid))
            ready.append(until)
            latencies.append(measure([sys.executable, "ours.py", "starts", target, 3, 200, seconds], seconds))
    found = median(latencies) or {"rate": 0.0, "p50": 0.0, "p99": 0.0}
    return {**found, "memory": statistics.median(memory), "ready": statistics.median(ready)}


def _memory(pid: int) -> float:
    """Resident MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024**2


def table(figures: Figures) -> str:
    lines = [
        "| what | database | steps | at once | processes/s | p50 ms | p99 ms | times DBOS |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for (what, kind, steps, clients), figure in figures.items():
        peer = figures.get(("DBOS", kind, steps, clients))
        ratio = (
            "-"
            if figure is None or peer is None or what == "DBOS" or not peer["rate"]
            else f"{figure['rate'] / peer['rate']:.0f}"
        )
        cells = (
            ("failed", "-", "-") if figure is None else (rate(figure), f"{figure['p50']:.1f}", f"{figure['p99']:.1f}")
        )
        lines.append(f"| {what} | {kind} | {steps} | {clients} | {' | '.join(cells)} | {ratio} |")
    return "\n".join(lines)


def machine(server_version: str) -> str:
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python "
        f"{platform.python_version()}, SQLite {apsw.sqlite_lib_version()} (the peer's: {sqlite3.sqlite_version}), "
        f"PostgreSQL {server_version}, {PEER_PACKAGES[0].replace('==', ' ')}, penstock {version('penstock')}. Durability: SQLite WAL with "
        "synchronous=FULL, PostgreSQL with fsync and synchronous_commit=on; the peer's SQLite as it configures itself."
    )


def write(text: str) -> None:
    page = PAGE.read_text()
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="one short round, nothing written")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=3.0)
    given = options.parse_args()
    rounds, seconds = (1, 2.0) if given.quick else (given.rounds, given.seconds)
    (ROOT / "var" / "bench").mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="db-", dir=ROOT / "var" / "bench"))
    try:
        with postgres.running() as running:
            databases = Databases(folder, running)
            figures = compare(databases, rounds, seconds, ("sqlite", "postgresql"))
            figures |= over_http(databases, rounds, seconds, ("sqlite", "postgresql"))
            first = starts(databases, rounds, seconds)
            tasks = human(databases, rounds, seconds, ("sqlite", "postgresql"))
            sampled = profiles(databases, seconds, ("sqlite", "postgresql"))
            server_version = running.psql("postgres", "SHOW server_version").split()[0]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    counted = counters(rounds, seconds)
    summary = (
        f"Acknowledged starts over HTTP at 200 a second: p50 {first['p50']:.1f} ms, p99 {first['p99']:.1f} ms. "
        f"Idle memory {first['memory']:.0f} MiB. `penstock dev` ready in {first['ready']:.2f} s on an empty directory."
    )
    text = "\n\n".join(
        (
            machine(server_version),
            f"Medians of {rounds} runs of {seconds:g} s.",
            table(figures),
            summary,
            "Counters: one key, incremented over HTTP by 50 keep-alive clients; every number is answered once.",
            counted,
            "A human task: start, my tasks, claim, complete over HTTP, 50 people at once.",
            tasks,
            "Sampling profiles of runs of their own, shares of the samples that hold the interpreter's lock:",
            sampled,
        )
    )
    print(text)
    if not given.quick:
        write(text)


if __name__ == "__main__":
    main()
