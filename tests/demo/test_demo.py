"""The main job as a user runs it: `demo.py` in a process of its own, judged from outside."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "examples" / "licence_audit" / "demo.py"


def run(data, *options, timeout=170):
    environment = {**os.environ, "COLUMNS": "100"}
    command = [sys.executable, str(DEMO), "--data", str(data), "--timeout", str(timeout - 20), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, check=False)


def summary(data):
    return json.loads((data / "summary.json").read_text())


def counted(counters, kind):
    return sum(count for key, count in counters.items() if key.startswith(f"{kind}:"))


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def started(output):
    """Every pid that the demo said it had started."""
    return [int(pid) for pid in re.findall(r"pid (\d+)", output)]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_demo_runs_to_its_end(tmp_path):
    data = tmp_path / "demo"
    done = run(data, "--limit", "12")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    assert "✗" not in done.stdout
    found = summary(data)
    assert found["ok"]
    assert found["numbers"]["packages"] == 12
    assert sum(found["numbers"]["families"].values()) == 12
    assert counted(found["counters"], "licence") == counted(found["counters"], "family") == 12
    assert "| licence | packages |" in (data / "report.md").read_text()
    assert "Traceback" not in (data / "server.log").read_text() + (data / "worker.log").read_text()
    assert len(started(done.stdout)) == 2
    assert not any(map(alive, started(done.stdout)))
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_demo_survives_kill(tmp_path):
    """The server is killed at random moments of the classification; every count is right nevertheless."""
    data = tmp_path / "demo"
    done = run(data, "--kill", "5", "--pace", "0.3", timeout=220)
    assert done.returncode == 0, done.stdout + done.stderr + (data / "server.log").read_text()[-4000:]
    found = summary(data)
    assert len(found["killed"]) == len(set(found["killed"])) == 5
    assert (data / "server.log").read_text().count("ready http://") == 6
    packages = found["numbers"]["packages"]
    assert packages > 20
    assert sum(found["numbers"]["licences"].values()) == packages
    assert counted(found["counters"], "licence") == counted(found["counters"], "family") == packages
    assert not any(map(alive, started(done.stdout)))


def test_demo_leaves_a_foreign_folder_alone(tmp_path):
    (tmp_path / "precious").write_text("mine")
    done = run(tmp_path, timeout=60)
    assert done.returncode == 1
    assert "was not made by this demo" in done.stdout
    assert (tmp_path / "precious").read_text() == "mine"
