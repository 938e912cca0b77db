"""A disk that is full: promise 4 of docs/reliability.md. The disk is a small tmpfs, so the test must be root."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from faults.conftest import tell
from faults.nodes import Look
from support.server import Api, fresh, until

SIZE = 12 << 20
BALLAST = 6 << 20
TIMED = {"t": {"kind": "timer", "after": "PT1S"}, "w": {"kind": "job", "topic": "after"}}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB, half of it taken by a file `ballast`."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs")
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", place], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.decode()}")
    (place / "ballast").write_bytes(b"x" * BALLAST)
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
    rounds = 6 if long else 2
    for round_ in range(rounds):
        filling = fill(api, id)
        waiting = [each["id"] for each in (started(api, timed) for _ in range(20)) if each]
        time.sleep(1.5)  # their timers are due while nothing can be written
        assert api.get(f"/processes/{id}")["status"] == "RUNNING", "reading goes on"
        assert api.http.get(node.url + "/healthz").status_code == 200
        assert not filling.errors
        assert all("disk is full" in text for text in filling.told), filling.told
        found = values(look)
        assert filling.kept.items() <= found.items(), "an acknowledged value is gone"
        assert not filling.refused.keys() & found.keys(), "a refused value is there"
        make_room(disk, api, id, filling)
        until(lambda filling=filling: filling.write(fresh("v"), "after"), 10, 0.1)
        filling.write("big", os.urandom(50_000).hex())
        jobs = {job["process"]: job for _ in waiting for job in api.poll("after", max=50, wait=3)}
        assert waiting == [] or jobs.keys() >= set(waiting), "a timer did not fire"
        for job in jobs.values():
            api.finish(job)
        tell("full disk", round=round_, kept=len(filling.kept), refused=len(filling.refused), told=sorted(filling.told))
    assert node.pid == pid
    node.stop()
    problems = look.problems()
    assert not problems, problems[:10]
    db = apsw.Connection(url.removeprefix("sqlite:///"))
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
    tell("full disk", rounds=rounds, seconds=round(time.monotonic() - began, 1))


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
    assert filling.kept or api
    return filling


def started(api: Api, code: str) -> dict[str, str] | None:
    """A process, when there was room for it."""
    response = api.http.post("/processes", json={"definition": code})
    assert response.status_code in (201, 503), response.text
    return response.json() if response.status_code == 201 else None


def values(look: Look) -> dict[str, str]:
    return {key: value.strip('"') for key, value in look.rows("SELECT key, value FROM process_values")}


def make_room(disk: Path, api: Api, id: str, filling: Filling) -> None:
    """From outside, as an operator would; each round takes another part of the ballast away."""
    ballast = disk / "ballast"
    ballast.open("r+b").truncate(max(0, ballast.stat().st_size - (1 << 20)))
