"""One SQLite database, one server: a second one says so in one line and leaves."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from support.server import Server, fresh, serving

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}


def penstock(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "penstock", *map(str, arguments)],
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("first")) as server:
        yield server


@pytest.mark.parametrize("command", ["dev", "serve", "migrate"])
def test_a_second_server_on_the_same_data_is_refused(running: Server, command):
    database = running.data / "penstock.db"
    if command == "dev":
        done = penstock("dev", "--data", running.data, "--port", "0")
    else:
        done = penstock(command, PENSTOCK_DATABASE_URL=f"sqlite:///{database}", PENSTOCK_PORT="0")
        if command == "migrate" and done.returncode == 0:
            pytest.skip("there is nothing to migrate")
    assert done.returncode != 0
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert str(database) in line
    assert str(running.pid) in line
    assert "Traceback" not in done.stderr
    api = running.application()
    assert api.start(api.deploy({"work": {"kind": "job", "topic": "t"}}))["status"] == "RUNNING"


def test_a_port_that_is_taken_is_told_in_one_line(running: Server, tmp_path):
    port = running.url.rpartition(":")[2]
    done = penstock("dev", "--data", tmp_path / "other", "--port", port)
    assert done.returncode != 0
    assert port in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_a_data_folder_that_cannot_be_one_is_told_in_one_line(tmp_path):
    file = tmp_path / "a_file"
    file.write_text("")
    for data in (file / "below", Path("/proc/nothing")):
        done = penstock("dev", "--data", data, "--port", "0")
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert str(data) in done.stderr or str(file) in done.stderr, done.stderr


def test_a_server_that_is_told_to_stop_answers_its_waiting_polls_and_leaves(tmp_path):
    with serving(tmp_path) as server:
        api = server.application()
        with ThreadPoolExecutor(5) as pool:
            polls = [
                pool.submit(api.request, "POST", "/jobs/poll", json={"topics": [fresh("t")], "wait": 60})
                for _ in "12345"
            ]
            topic = fresh("topic")
            api.start(api.deploy({"work": {"kind": "job", "topic": topic}}))
            api.take(topic)  # by now the others wait, too
            began = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - began < 5
            for poll in polls:
                with contextlib.suppress(httpx.TransportError):
                    assert poll.result().json() == {"jobs": []}


def test_after_the_first_has_gone_the_second_may_have_the_data(tmp_path):
    with serving(tmp_path) as first:
        api = first.application()
        id = api.start(api.deploy({"work": {"kind": "job", "topic": "t"}}))["id"]
        first.kill()
        first.start()
        assert first.application().status(id) == "RUNNING"
        assert first.stop() == 0
        first.start()
        assert first.application().status(id) == "RUNNING"
