"""Where units run: a writer's thread with groups, each unit in the event loop, or groups in the loop and COMMIT alone in
a thread. The figures of docs/decisions/0001-writer-thread.md come from here; about a minute.

    PYTHONPATH=src:tests python tests/benchmarks/writer_thread.py

Clients are coroutines of one event loop that submit a unit of seven rows (a process's step), wait for its answer and
submit the next. "door" adds what a request costs around that: 0.2 ms of Python and two system calls.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import apsw
import psycopg

from penstock.store import Store, Tx
from penstock.store.group import Group, Kept, Unit
from penstock.store.rows import HISTORY, JOBS, PROCESSES, SCOPES, VISITS
from penstock.store.writer import GROUP_UNITS
from store.making import processes, row
from support import postgres

RUNS = 5
SECONDS = 0.6
STALL = 0.3
DATA = json.dumps({"amount": 12.5, "customer": "Ann Example", "lines": [{"a": i, "b": f"text {i}"} for i in range(6)]})
LOADS = {"64 clients, door": (64, True), "64 clients": (64, False), "1 client": (1, False)}


class Arrangement(Protocol):
    def submit(self, unit: Callable[[Tx], Any], pid: int) -> Awaitable[Any]: ...


class WriterThread:
    """As built."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def submit(self, unit, pid):
        return self._store.submit_async(unit, (pid,))


class InLoop:
    """Each unit is a transaction, in the event loop."""

    def __init__(self, store: Store) -> None:
        self.connection = store._connection
        self.kept = Kept(self.connection, "bench", 10_000)

    def group(self, units: list[Unit]) -> Group:
        pids = sorted({key for unit in units for key in unit.keys}) if self.connection.shared else []
        begun = self.connection.begin(pids)
        group = Group(self.kept, begun.now, begun.locked)
        for unit in units:
            group.run(unit)
        return group

    def submit(self, unit, pid):
        future = asyncio.get_running_loop().create_future()
        group = self.group([Unit(unit, (pid,), None, None, low=False)])
        self.connection.commit(group.writes, ())
        self.kept.cache.update(group.objects)
        future.set_result(group.answers[0][1])
        return future


class CommitThread(InLoop):
    """Groups and their flush in the event loop, COMMIT in a thread."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._thread = ThreadPoolExecutor(1)
        self._waiting: list[Unit] = []
        self._busy = False

    def submit(self, unit, pid):
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.append(Unit(unit, (pid,), future, loop, low=False))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._turn)
        return future

    def _turn(self) -> None:
        units, self._waiting = self._waiting[:GROUP_UNITS], self._waiting[GROUP_UNITS:]
        group = self.group(units)
        writes = group.writes
        if not self.connection.shared:
            self.connection.flush(writes)
            writes = {}
        # on PostgreSQL the flush is one round trip with the COMMIT
        commit = asyncio.get_running_loop().run_in_executor(self._thread, self.connection.commit, writes, ())
        commit.add_done_callback(lambda done: self._answer(group, done))

    def _answer(self, group: Group, done: asyncio.Future[None]) -> None:
        done.result()
        self.kept.cache.update(group.objects)
        for unit, result, _ in group.answers:
            unit.future.set_result(result)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._busy = False


ARRANGEMENTS = {"writer thread": WriterThread, "in the loop": InLoop, "COMMIT thread": CommitThread}


def step(pid: int) -> Callable[[Tx], int]:
    """What a worker's answer does to a process: seven rows."""

    def unit(tx: Tx) -> int:
        seq = tx.cached("seq", pid)
        if seq is None:
            found = tx.get(PROCESSES, (pid,))
            assert found is not None
            seq = found[PROCESSES.index["seq"]]
        seq += 1
        tx.patch(PROCESSES, (pid,), {"seq": seq, "next_n": seq + 1, "at": tx.now})
        tx.put(HISTORY, row(HISTORY, pid=pid, seq=seq, at=tx.now, actor="app:1", type="JobCompleted", data=DATA))
        tx.put(SCOPES, row(SCOPES, pid=pid, state=DATA))
        tx.patch(VISITS, (pid, seq - 1), {"state": "COMPLETED", "output": DATA, "ended_at": tx.now})
        tx.put(VISITS, row(VISITS, pid=pid, n=seq, node="score", state="OPEN", input=DATA, started_at=tx.now))
        tx.delete(JOBS, (pid, seq - 1))
        tx.put(JOBS, row(JOBS, pid=pid, n=seq, queue="1:score", state="READY", available_at=tx.now))
        tx.cache("seq", pid, seq)
        return seq

    return unit


def door(pipe: tuple[int, int], seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass
    os.write(pipe[1], b"x")
    os.read(pipe[0], 1)


async def load(arrangement: Arrangement, pids: list[int], clients: int, *, doors: bool) -> dict[str, float]:
    pipe = os.pipe()
    waits: list[float] = []
    end = time.perf_counter() + SECONDS

    async def client(pid: int) -> None:
        while (start := time.perf_counter()) < end:
            if doors:
                door(pipe, 0.000_15)
            await arrangement.submit(step(pid), pid)
            if doors:
                door(pipe, 0.000_05)
            waits.append(time.perf_counter() - start)

    cpu, start = time.process_time(), time.perf_counter()
    await asyncio.gather(*(client(pid) for pid in pids[:clients]))
    cpu, took = time.process_time() - cpu, time.perf_counter() - start
    os.close(pipe[0])
    os.close(pipe[1])
    return {
        "units/s": len(waits) / took,
        "p99 ms": statistics.quantiles(waits, n=100)[98] * 1000,
        "CPU us": cpu / len(waits) * 1e6,
    }


async def stalled(arrangement: Arrangement, pids: list[int], lock: Callable[[], Any]) -> float:
    """The longest the event loop is away while another program holds a lock that the units need; milliseconds."""
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - start)

    ticking = asyncio.ensure_future(tick())
    await asyncio.sleep(0.01)
    holding = lock()
    await asyncio.gather(*(arrangement.submit(step(pid), pid) for pid in pids[:4]))
    await asyncio.to_thread(holding.join)
    await asyncio.sleep(0.01)
    ticking.cancel()
    return longest * 1000


def holder(url: str) -> Callable[[], threading.Thread]:
    """Starts a thread that holds the database's write lock for `STALL` seconds, once it has it."""

    def lock() -> threading.Thread:
        held = threading.Event()

        def hold() -> None:
            if url.startswith("sqlite"):
                db = apsw.Connection(url.removeprefix("sqlite:///"))
                db.execute("BEGIN IMMEDIATE")
                held.set()
                time.sleep(STALL)
                db.close()
            else:
                with psycopg.connect(url) as connection:
                    connection.execute("LOCK TABLE processes IN EXCLUSIVE MODE")
                    held.set()
                    time.sleep(STALL)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        return thread

    return lock


@contextmanager
def opened(url: str, name: str) -> Iterator[tuple[Arrangement, list[int]]]:
    with Store.open(url, "bench") as store:
        pids = processes(store, 64)
        if name != "writer thread":
            store.writer.close()  # its connection is free now
        yield ARRANGEMENTS[name](store), pids


def measure(urls: dict[str, str]) -> dict[str, Any]:
    """Medians of interleaved runs, each arrangement on a database of its own."""
    results: dict[str, Any] = {}
    for _ in range(RUNS):
        for name, url in urls.items():
            with opened(url, name) as (arrangement, pids):
                for title, (clients, doors) in LOADS.items():
                    found = asyncio.run(load(arrangement, pids, clients, doors=doors))
                    results.setdefault(title, {}).setdefault(name, []).append(found)
                lag = asyncio.run(stalled(arrangement, pids, holder(url)))
                results.setdefault("database locked", {}).setdefault(name, []).append({"loop away ms": lag})
    return {
        title: {
            name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in named.items()
        }
        for title, named in results.items()
    }


def show(database: str, results: dict[str, Any]) -> None:
    for title, named in results.items():
        for name, figures in named.items():
            text = "  ".join(f"{key} {figure:9,.1f}" for key, figure in figures.items())
            print(f"{database:10} {title:17} {name:14} {text}")


def main() -> None:
    print(
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.machine()}, SQLite "
        f"{apsw.sqlite_lib_version()} (WAL, synchronous=FULL), psycopg {psycopg.__version__}, PostgreSQL (fsync and "
        f"synchronous_commit on); medians of {RUNS} interleaved runs of {SECONDS} s"
    )
    found = {}
    with tempfile.TemporaryDirectory(dir=Path.cwd() if "--here" in sys.argv else None) as folder:
        found["SQLite"] = measure({name: f"sqlite:///{folder}/{i}.db" for i, name in enumerate(ARRANGEMENTS)})
        show("SQLite", found["SQLite"])
    with postgres.running() as server:
        print(server.psql("postgres", "SELECT version()").strip())
        found["PostgreSQL"] = measure({name: server.database() for name in ARRANGEMENTS})
        show("PostgreSQL", found["PostgreSQL"])
    if "--json" in sys.argv:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
