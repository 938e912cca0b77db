"""A disk that is full: promise 4 of docs/reliability.md. The disk is a small tmpfs, so the test must be root."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from faults.conftest import tell
from faults.nodes import Look
from support.server import Api, fresh, until

SIZE = 160 << 20
BALLAST = 154 << 20
TIMED = {"t": {"kind": "timer", "after": "PT1S"}, "w": {"kind": "job", "topic": "after"}}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 MiB, most of it taken by a file `ballast`."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs")
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", place], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.decode()}")
    with (place / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, BALLAST)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def url(disk: Path) -> str:
    return f"sqlite:///{disk}/penstock.db"


class Filling:
    """Writes values until it is told that the disk is full, and on; several threads."""

    def __init__(self, api: Api, process: str) -> None:
        self.api, self.process = api, process
        self.kept: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.told: set[str] = set()
        self.stop = threading.Event()
        self.errors: list[BaseException] = []

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                self.write(fresh("v"), os.urandom(20_000).hex())
        except BaseException as error:
            self.errors.append(error)
            raise

    def write(self, key: str, value: str) -> bool:
        response = self.api.http.put(f"/processes/{self.process}/values/{key}", json=value)
        if response.status_code == 200:
            self.kept[key] = value
            return True
        assert response.status_code == 503, response.text
        problem = response.json()
        assert problem["code"] == "unavailable", problem
        assert int(response.headers["retry-after"]) >= 1
        self.told.add(problem["detail"])
        self.refused[key] = value
        return False


def test_a_full_disk_is_told_and_when_there_is_room_again_all_goes_on(disk, url, nodes, look: Look, long):
    [node] = nodes(url)
    pid, api = node.pid, node.application()
    id = api.start(api.deploy({"w": {"kind": "job", "topic": "never"}}))["id"]
    timed = api.deploy(TIMED, [{"from": "t", "to": "w"}])
    began = time.monotonic()
    rounds = 5 if long else 2
    for round_ in range(rounds):
        waiting = {api.start(timed)["id"] for _ in range(10)}
        filling = fill(api, id)
        time.sleep(1.5)  # their timers are due while nothing can be written
        assert api.get(f"/processes/{id}")["status"] == "RUNNING", "reading goes on"
        assert api.http.get(node.url + "/healthz").status_code == 200
        assert not filling.errors
        assert all("disk is full" in text for text in filling.told), filling.told
        found = values(look)
        assert filling.kept.items() <= found.items(), "an acknowledged value is gone"
        assert not filling.refused.keys() & found.keys(), "a refused value is there"
        make_room(disk)
        until(lambda filling=filling: filling.write(fresh("v"), "after"), 10, 0.1)
        assert filling.write(fresh("big"), os.urandom(50_000).hex())
        check_timers(api, waiting)
        tell("full disk", round=round_, kept=len(filling.kept), refused=len(filling.refused), told=sorted(filling.told))
    assert node.pid == pid
    node.stop()
    problems = look.problems()
    assert not problems, problems[:10]
    db = apsw.Connection(url.removeprefix("sqlite:///"))
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
    tell("full disk", rounds=rounds, seconds=round(time.monotonic() - began, 1))


def test_a_server_that_finds_no_room_to_start_says_so_in_one_line(disk, tmp_path):
    with (disk / "ballast").open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(b"x" * 4096)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    environment |= {"PENSTOCK_DATABASE_URL": f"sqlite:///{disk}/penstock.db", "PENSTOCK_PORT": "0"}
    environment["PENSTOCK_DATA_DIR"] = str(disk)
    command = [sys.executable, "-m", "penstock", "serve"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert "full" in line or "No space left" in line, line


def fill(api: Api, id: str) -> Filling:
    filling = Filling(api, id)
    threads = [threading.Thread(target=filling.run) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(filling.refused) > 20 or filling.errors, 30)
    finally:
        filling.stop.set()
        for thread in threads:
            thread.join()
    assert not filling.errors, filling.errors
    return filling


def check_timers(api: Api, waiting: set[str]) -> None:
    """Those that were due while nothing could be written fire now, once."""
    jobs = {}

    def all_there() -> bool:
        jobs.update({job["process"]: job for job in api.poll("after", max=50, wait=1)})
        return waiting <= jobs.keys()

    until(all_there, 15)
    for job in jobs.values():
        api.finish(job)
        assert api.history(job["process"]).count("TimerFired") == 1


def values(look: Look) -> dict[str, str]:
    return {key: value.strip('"') for key, value in look.rows("SELECT key, value FROM process_values")}


def make_room(disk: Path) -> None:
    """From outside, as an operator would: enough for the log to be moved into the database, and a little."""
    ballast = disk / "ballast"
    room = (disk / "penstock.db-wal").stat().st_size + (5 << 20)
    os.truncate(ballast, max(0, ballast.stat().st_size - room))
