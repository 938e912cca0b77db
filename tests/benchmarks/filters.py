"""Lists of processes at 1,000,000: each documented filter alone, and combinations an operator uses, through the HTTP door.

    python tests/benchmarks/filters.py [sqlite|postgresql] [--count N] [--rounds N] [--plans] [--only TEXT] [--out FILE]

The rows are made once and kept in var/bench; `--plans` prints how each page is read. 95 % of the processes have ended; they
are of 20 definitions with three versions each, over 90 days, 90 % of them by one application, the rest by 200 users. Each has
three searchable values: one of 20,000 customers (one in twenty processes is the largest one's), an amount and a region.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

sys.path.insert(0, str(Path(__file__).parent.parent))

from penstock.config import Settings
from penstock.core.durations import format_time
from penstock.core.requests import Filter
from penstock.identity.model import Actor, Kind
from penstock.operations import definitions
from penstock.operations.people import seed
from penstock.store import Store, listing, search
from penstock.store.rows import PROCESSES, SEARCH
from penstock.wiring.platform import Platform
from support.postgres import Postgres, binaries

FOLDER = Path("var/bench").absolute()
DAY = 24 * 3600 * 1000
DAYS = 90
REGIONS = ("North West", "North East", "South", "Midlands", "Wales", "Scotland", "Overseas", "London")
STATUSES = {
    "COMPLETED": 930, "CANCELLED": 15, "TERMINATED": 5, "RUNNING": 35, "FAILED": 10, "SUSPENDED": 4, "RETRYING": 1,
}  # fmt: skip
OPEN = ("RUNNING", "FAILED", "SUSPENDED", "RETRYING")
CHUNK = 2_000


class Kept(Postgres):
    """A server whose data stays where it is."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "data" / "PG_VERSION").exists():
            folder.mkdir(parents=True, exist_ok=True)
            super().__init__(folder)
            return
        self.folder, self.data, self._count, self._shared = folder, folder / "data", 0, ""
        self.bin = binaries()
        text = (self.data / "postgresql.conf").read_text()
        self.port = int(text.rpartition("port = ")[2].split()[0])
        self.start()


# -- rows --------------------------------------------------------------------------------------------------------------


def fill(url: str, count: int) -> dict[str, Any]:
    """Makes the tenant, its definitions and the rows; answers what the requests are made of."""
    platform = Platform.build(replace(Settings(), database_url=url, data_dir=FOLDER, secret_key="A" * 43))
    try:
        return asyncio.run(_fill(platform, count))
    finally:
        platform.close()


async def _fill(platform: Platform, count: int) -> dict[str, Any]:
    ctx = platform.operations
    made = await seed(ctx, "bench", "Bench", [])
    actor = Actor(tenant=made.tenant, principal=f"app:{made.application_id}", kind=Kind.APPLICATION)
    versions = []
    for n in range(20):
        for at in range(3):
            document = {
                "penstock": 1, "code": f"d{n:02d}", "name": f"Definition {n}, {at}",
                "search": ["metadata.customer", "metadata.region", "input.amount"],
                "nodes": {"work": {"kind": "job", "topic": "t"}},
            }  # fmt: skip
            await definitions.deploy(ctx, actor, document)
    found = await ctx.store.async_read(
        lambda read: read.rows("SELECT vid, did, number FROM versions ORDER BY did, number")
    )
    versions = [(vid, did) for vid, did, _ in found]
    now = await ctx.store.submit_async(lambda tx: tx.now)
    chance = random.Random(5)
    parents: list[int] = []
    began = time.monotonic()
    for first in range(0, count, CHUNK):
        rows = [_process(chance, made, versions, now, at, count) for at in range(first, min(first + CHUNK, count))]

        def unit(tx: Any, rows: list[dict[str, Any]] = rows) -> None:
            for each in rows:
                pid = tx.next_pid()
                values = each["values"]
                if parents and each["child"]:
                    each["parent_pid"], each["parent_visit"], each["parent_scope"] = chance.choice(parents), 1, 0
                elif len(parents) < 5_000:
                    parents.append(pid)
                tx.put(PROCESSES, tuple(pid if name == "pid" else each.get(name) for name in PROCESSES.columns))
                for name, value in values:
                    tx.put(SEARCH, (each["tid"], name, value, each["created_at"], pid))

        await ctx.store.submit_async(unit)
        if first % 100_000 == 0:
            print(f"  {first:,} rows, {time.monotonic() - began:.0f} s", flush=True)
    [(parent,)] = await ctx.store.async_read(
        lambda read: read.rows("SELECT id FROM processes WHERE pid = ?", (parents[7],))
    )
    return {
        "application": {"id": made.application_id, "secret": made.application_secret},
        "tid": made.tenant.tid, "now": now, "count": count, "parent": parent, "pid": parents[7],
    }  # fmt: skip


def _process(
    chance: random.Random, made: Any, versions: list[tuple[int, int]], now: int, at: int, count: int
) -> dict[str, Any]:
    created_at = now - DAYS * DAY + at * DAYS * DAY // count
    status = chance.choices(list(STATUSES), list(STATUSES.values()))[0]
    ended_at = None if status in OPEN else created_at + int(chance.expovariate(1 / 7_200_000)) + 1
    # versions follow each other, and a few old ones are still started
    of = chance.randrange(20) * 3
    vid, did = versions[of + (chance.randrange(3) if chance.random() < 0.05 else min(2, at * 3 // count))]
    by = f"app:{made.application_id}" if chance.random() < 0.9 else f"user:u{chance.randrange(200)}@example.com"
    customer = "C-00000" if chance.random() < 0.05 else f"C-{chance.randrange(20_000):05d}"
    amount, region = chance.randrange(100_000) / 10, chance.choice(REGIONS)
    entries = [
        (search.CREATED_BY, by), ("metadata.customer", search.value_key(customer)),
        ("metadata.region", search.value_key(region)), ("input.amount", search.value_key(amount)),
        *((search.WORD, word) for word in {*search.words_of(customer), *search.words_of(region)}),
    ]  # fmt: skip
    if ended_at is not None:
        entries.append((search.ENDED, search.time_key(ended_at)))
    if status == "FAILED":
        entries.append((search.INCIDENTS, ""))
    return {
        "tid": made.tenant.tid, "id": str(UUID(int=chance.getrandbits(128), version=4)), "did": did, "vid": vid,
        "status": status, "seq": 5, "next_n": 3, "at": ended_at or created_at + 1_000, "incidents": int(status == "FAILED"),
        "retrying": int(status == "RETRYING"), "retries": 0, "running": 0, "semantics": 1, "created_at": created_at,
        "created_by": by, "ended_at": ended_at, "depth": 0, "values": entries, "child": chance.random() < 0.05,
    }  # fmt: skip


# -- questions ---------------------------------------------------------------------------------------------------------


def questions(known: dict[str, Any]) -> dict[str, dict[str, Any]]:
    now = known["now"]

    def ago(days: float) -> str:
        return format_time(now - int(days * DAY))

    app = f"app:{known['application']['id']}"
    return {
        "no filter": {},
        "no filter, oldest": {"order": "oldest"},
        "status=FAILED": {"status": "FAILED"},
        "status=COMPLETED": {"status": "COMPLETED"},
        "status=RETRYING": {"status": "RETRYING"},
        "definition": {"definition": "d07"},
        "version (alone)": {"version": "1"},
        "created_from (a day)": {"created_from": ago(1)},
        "created_from, created_to (a month ago)": {"created_from": ago(31), "created_to": ago(30)},
        "created_by (a user)": {"created_by": "user:u17@example.com"},
        "created_by (the application)": {"created_by": app},
        "ended_from (a day)": {"ended_from": ago(1)},
        "ended_from, ended_to (a month ago)": {"ended_from": ago(31), "ended_to": ago(30)},
        "parent": {"parent": known["parent"]},
        "incidents=true": {"incidents": "true"},
        "incidents=false": {"incidents": "false"},
        "metadata.customer": {"metadata.customer": "C-04711"},
        "metadata.customer (the largest)": {"metadata.customer": "C-00000"},
        "metadata.customer[prefix]": {"metadata.customer[prefix]": "C-047"},
        "input.amount": {"input.amount": "123.4"},
        "input.amount[from][to] (1 %)": {"input.amount[from]": "5000", "input.amount[to]": "5100"},
        "q (a customer)": {"q": "04711"},
        "q (two words)": {"q": "scot 04711"},
        "sort=ended": {"sort": "ended"},
        "* FAILED of one definition": {"status": "FAILED", "definition": "d07"},
        "* RUNNING by a user in the last day": {
            "status": "RUNNING", "created_by": "user:u17@example.com", "created_from": ago(1),
        },
        "* metadata.customer, newest first": {"metadata.customer": "C-00000", "sort": "created", "order": "newest"},
        "* definition and version": {"definition": "d07", "version": "1"},
        "* metadata and status": {"metadata.customer": "C-00000", "status": "FAILED"},
        "+ SUSPENDED of a definition, oldest": {"status": "SUSPENDED", "definition": "d07", "order": "oldest"},
        "+ definition, ended last week, sort=ended": {"definition": "d07", "ended_from": ago(7), "sort": "ended"},
        "+ RUNNING by the application": {"status": "RUNNING", "created_by": app},
        "+ region, half of all amounts": {"metadata.region": "Wales", "input.amount[from]": "5000"},
        "+ FAILED, sort=modified": {"status": "FAILED", "sort": "modified", "order": "oldest"},
        "+ q of 1 in 8": {"q": "wales"},
        "+ sort=modified": {"sort": "modified"},
    }  # fmt: skip


def ask(url: str, known: dict[str, Any], wanted: dict[str, dict[str, Any]], rounds: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    with httpx.Client(base_url=f"{url}/api/v1", timeout=30, trust_env=False) as http:
        app = known["application"]
        form = {"grant_type": "client_credentials", "client_id": app["id"], "client_secret": app["secret"]}
        token = http.post("/token", json=form).raise_for_status().json()["access_token"]
        http.headers["authorization"] = f"Bearer {token}"
        for name, query in wanted.items():
            times, rows, status = [], 0, 200
            for _ in range(rounds):
                began = time.perf_counter()
                answer = http.get("/processes", params=query)
                times.append((time.perf_counter() - began) * 1000)
                status = answer.status_code
                rows = len(answer.json().get("items", ()))
            times.sort()
            results[name] = {
                "median_ms": round(statistics.median(times), 1),
                "p99_ms": round(times[min(len(times) - 1, int(len(times) * 0.99))], 1),
                "rows": rows, "status": status,
            }  # fmt: skip
            found = results[name]
            print(
                f"  {name:42} {found['median_ms']:8.1f} {found['p99_ms']:8.1f} ms  {rows:3} rows  {status}", flush=True
            )
    return results


def plans(url: str, known: dict[str, Any], wanted: dict[str, dict[str, Any]]) -> None:
    """How each page is read: the statements the list sends, explained."""
    with Store.open(url, "plans") as store:
        for name, query in wanted.items():
            print(f"\n{name}: {query}")
            store.read(
                lambda read, q=query: listing.page(_Explaining(read, store), known["tid"], _filter(q, known), None, 51)
            )


class _Explaining:
    def __init__(self, read: Any, store: Store) -> None:
        self._read = read
        self._sqlite = store.dialect == "sqlite"

    def rows(self, statement: Any, params: Any = ()) -> Any:
        compiler = _compiler(sqlite=self._sqlite)
        text, values = compiler(statement, params)
        explain = "EXPLAIN QUERY PLAN " if self._sqlite else "EXPLAIN (ANALYZE, COSTS OFF) "
        began = time.perf_counter()
        rows = self._read.rows(statement, params)
        print(f"    {len(rows)} rows, {(time.perf_counter() - began) * 1000:.1f} ms")
        literal = explain + (text if self._sqlite else text.replace("%s", "?"))
        for row in self._read.rows(literal, values):
            print(f"      {row[-1]}")
        return rows


def _compiler(*, sqlite: bool) -> Any:
    if sqlite:
        from penstock.store.sqlite import _compile as made
    else:
        from penstock.store.postgres import _compile as made
    return made


def _filter(query: dict[str, Any], known: dict[str, Any]) -> Filter:
    """The door's own translation; words and the parent by hand."""
    from urllib.parse import urlencode

    from penstock.api import filters, models
    from penstock.operations import reading
    from penstock.web.parsing import Parameters

    wanted = filters.parse_list(Parameters(models.ProcessQuery).parse(urlencode(query).encode()))
    parent = known["pid"] if "parent" in query else None
    return wanted._replace(search=wanted.search + reading.words(query.get("q")), parent_pid=parent)


# -- running -----------------------------------------------------------------------------------------------------------


@contextmanager
def database(kind: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The address of the filled database, and what is known of it."""
    note = FOLDER / f"filters-{kind}-{count}.json"
    server = None
    try:
        if kind == "sqlite":
            url = f"sqlite:///{FOLDER}/filters-{count}.db"
        else:
            server = Kept(FOLDER / "filters-postgresql")
            url = server.url(f"filters_{count}")
        if not note.exists():
            _empty(kind, url, server)
            print(f"{kind}: making {count:,} processes", flush=True)
            began = time.monotonic()
            known = fill(url, count)
            if server is not None:
                server.psql(url.rpartition("/")[2], "VACUUM ANALYZE")
            known["size"] = _size(kind, url, server)
            print(f"  made in {time.monotonic() - began:.0f} s, {known['size'] / 1e6:,.0f} MB", flush=True)
            note.write_text(json.dumps(known))
        yield url, json.loads(note.read_text())
    finally:
        if server is not None:
            server.stop()


def _empty(kind: str, url: str, server: Postgres | None) -> None:
    if server is not None:
        name = url.rpartition("/")[2]
        server.psql("postgres", f"DROP DATABASE IF EXISTS {name}")
        server.psql("postgres", f"CREATE DATABASE {name}")
    else:
        for path in FOLDER.glob(Path(url).name + "*"):
            path.unlink()


def _size(kind: str, url: str, server: Postgres | None) -> int:
    if server is None:
        return Path(url.removeprefix("sqlite://")).stat().st_size
    return int(server.psql("postgres", f"SELECT pg_database_size('{url.rpartition('/')[2]}')"))


@contextmanager
def serving(url: str) -> Iterator[str]:
    environment = {**os.environ, "PENSTOCK_DATABASE_URL": url, "PENSTOCK_DATA_DIR": str(FOLDER), "PENSTOCK_PORT": "0"}
    environment["PENSTOCK_SECRET_KEY"] = "A" * 43
    command = [sys.executable, "-m", "penstock", "serve"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("ready "):
                yield line.split()[1]
                break
    finally:
        process.terminate()
        process.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(description="Lists of processes at 1,000,000.")
    parser.add_argument("kinds", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--plans", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    results = {}
    for kind in given.kinds:
        with database(kind, given.count) as (url, known):
            wanted = {name: query for name, query in questions(known).items() if given.only in name}
            if given.plans:
                plans(url, known, wanted)
                continue
            print(f"{kind}: {given.count:,} processes, {known['size'] / 1e6:,.0f} MB; median and p99 of {given.rounds}")
            with serving(url) as address:
                results[kind] = ask(address, known, wanted, given.rounds)
    if given.out is not None:
        given.out.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
