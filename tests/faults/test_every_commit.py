"""A program that dies before, in or after each of its commits, and the next one that goes on: promise 7 of docs/reliability.md."""

from __future__ import annotations

import http.server
import itertools
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from faults.conftest import tell
from faults.flows import FLOWS
from penstock.store.tables import metadata

DYING = Path(__file__).parent / "dying.py"
DIED = 77
KEPT = {"meta", "nodes", "tenants", "applications", "definitions", "versions"}
"""Tables that a play finds as they were made."""
WHERE = ("before", "in", "after")
PLAYERS = 2
SAMPLES = 20
"""Deaths in the short version."""


class Endpoint(http.server.BaseHTTPRequestHandler):
    """What http nodes call: the same answer always."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "8")
        self.end_headers()
        self.wfile.write(b'{"a": 1}')

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Players:
    """Programs that play; each does one play at a time."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder, self.endpoint = folder, endpoint
        tests = DYING.parent.parent
        environment = {
            **os.environ,
            "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent / 'src'}",
            "PYTHONWARNINGS": "ignore",
        }
        self._programs = [
            subprocess.Popen([sys.executable, str(DYING)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True, env=environment)
            for _ in range(PLAYERS)
        ]  # fmt: skip
        self._free: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()
        for program in self._programs:
            self._free.put(program)
        self._numbers = itertools.count(1)

    def play(self, url: str, flow: str | None, journal: Path, **death: Any) -> tuple[int, Any]:
        """How it ended, and what it found at the end."""
        result = self.folder / f"result {next(self._numbers)}"
        task = {
            "url": url,
            "flow": flow,
            "journal": str(journal),
            "result": str(result),
            "endpoint": self.endpoint,
            **death,
        }
        program = self._free.get()
        try:
            assert program.stdin is not None
            assert program.stdout is not None
            program.stdin.write(json.dumps(task) + "\n")
            program.stdin.flush()
            code = json.loads(program.stdout.readline())["code"]
        finally:
            self._free.put(program)
        text = result.read_text() if result.exists() else ""
        if code == 0:
            return 0, json.loads(text)
        return code, text

    def end(self) -> None:
        for program in self._programs:
            assert program.stdin is not None
            assert program.stdout is not None
            program.stdin.close()
            program.wait(30)
            program.stdout.close()


@pytest.fixture
def players(tmp_path: Path, endpoint: str) -> Iterator[Players]:
    made = Players(tmp_path, endpoint)
    yield made
    made.end()


class Files:
    """Databases that begin as copies of one in which all is deployed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self.first = f"sqlite:///{folder}/first.db"

    def new(self) -> str:
        path = self._folder / f"{next(self._numbers)}.db"
        shutil.copyfile(self._folder / "first.db", path)
        return f"sqlite:///{path}"

    def drop(self, url: str) -> None:
        for ending in ("", "-wal", "-shm", ".lock"):
            Path(url.removeprefix("sqlite:///") + ending).unlink(missing_ok=True)


class Databases:
    """The same on a PostgreSQL: a few databases in turn, with nothing left in them of the play before."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._free: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._made = 0
        self._lock = threading.Lock()
        self.first = server.database()

    def new(self) -> str:
        with self._lock:
            if self._made < PLAYERS:
                self._made += 1
                return self._copy(f"commits_{self._made}")
        url = self._free.get(timeout=60)
        with psycopg.connect(url) as db:
            for table in metadata.sorted_tables:
                if table.name not in KEPT:
                    db.execute(f"DELETE FROM {table.name}".encode())
            db.execute("DELETE FROM meta WHERE key = 'feed'")
        return url

    def drop(self, url: str) -> None:
        self._free.put(url)

    def _copy(self, name: str) -> str:
        template = self.first.rpartition("/")[2]
        with psycopg.connect(self._server.url("postgres"), autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY".encode())
        return str(self._server.url(name))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def databases(request, tmp_path) -> Files | Databases:
    return Files(tmp_path) if request.param == "sqlite" else Databases(request.getfixturevalue("postgres"))


class Deaths:
    """Each flow undisturbed, then with deaths."""

    def __init__(self, players: Players, databases: Files | Databases, folder: Path) -> None:
        self.players, self.databases, self.folder = players, databases, folder
        self.wanted: dict[str, Any] = {}
        self.died = 0

    def undisturbed(self, flow: str) -> int:
        """Answers how many commits it took."""
        url = self.databases.new()
        code, found = self.players.play(url, flow, self.folder / f"{flow} journal")
        assert code == 0, f"{flow}: {found}"
        self.databases.drop(url)
        self.wanted[flow] = found["ending"]
        assert found["ending"]["left"] == [0] * 5, f"{flow}: something is left: {found['ending']}"
        return int(found["commits"])

    def dying(self, death: tuple[str, int, str]) -> str | None:
        """What is wrong after it."""
        flow, at, where = death
        url, journal = self.databases.new(), self.folder / f"{flow} {at} {where}"
        code, found = self.players.play(url, flow, journal, at=at, where=where)
        if code == DIED:
            self.died += 1
            code, found = self.players.play(url, flow, journal)
        self.databases.drop(url)
        if code != 0:
            return f"{death}: {code} {found}"
        if found["ending"] != self.wanted[flow]:
            return f"{death}: {differences(self.wanted[flow], found['ending'])}"
        return None


def differences(wanted: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    return {name: (wanted[name], found[name]) for name in wanted if wanted[name] != found[name]}


def test_whichever_commit_a_program_dies_at_the_next_one_comes_to_the_same_end(
    databases, players, tmp_path, chance, long
):
    began = time.monotonic()
    deaths = Deaths(players, databases, tmp_path)
    code, said = players.play(databases.first, None, tmp_path / "none")
    assert code == 0, said
    few = isinstance(databases, Databases) and not long
    flows = chance.sample(list(FLOWS), 4) if few else list(FLOWS)
    with ThreadPoolExecutor(PLAYERS) as pool:
        commits = dict(zip(flows, pool.map(deaths.undisturbed, flows), strict=True))
        every = [(flow, at, where) for flow, count in commits.items() for at in range(1, count + 1) for where in WHERE]
        chosen = every if long else chance.sample(every, SAMPLES // 2 if few else SAMPLES)
        wrong = [problem for problem in pool.map(deaths.dying, chosen) if problem]
    assert not wrong, f"{len(wrong)} of {len(chosen)}:\n" + "\n".join(wrong[:10])
    assert deaths.died > len(chosen) * 0.8
    tell(
        f"every commit, {type(databases).__name__}", flows=len(flows), commits=sum(commits.values()), places=len(every),
        deaths=deaths.died, seconds=round(time.monotonic() - began, 1),
    )  # fmt: skip
