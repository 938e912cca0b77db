"""The shell blocks of the how-to pages and the README, run as they stand there (on another port, in another folder)."""

import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("docs/how-to/first-workflow.md", "docs/how-to/worker.md", "README.md")


def blocks(page, kind="sh"):
    return re.findall(rf"^```{kind}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def shell(tmp_path):
    """Runs a block. What serves or works for ever goes to the background, and ends with the test."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    behind, before = [], []

    def run(block):
        text = block.replace("var/dev", str(tmp_path / "dev")).replace("8080", str(port))
        lines = [line.partition(" #")[0].rstrip(" &") for line in text.splitlines() if not line.startswith("make ")]
        output = ""
        for line in lines:
            if line.startswith("export "):
                before.append(line)
            elif re.search(r"penstock (dev|worker)\b", line):
                behind.append(background(" && ".join([*before, f"exec {line}"]), tmp_path / f"log{len(behind)}"))
            else:
                done = subprocess.run(
                    ["bash", "-ec", "\n".join([*before, line])],
                    cwd=ROOT,
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                )
                assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
                output += done.stdout
        return output

    yield run
    for process in reversed(behind):
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def background(command, log):
    with log.open("wb") as out:
        process = subprocess.Popen(["bash", "-c", command], cwd=ROOT, stdout=out, stderr=out)
    until = time.monotonic() + 30
    while not re.search(r"ready http://| at http://", log.read_text()):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.05)
    return process


@pytest.mark.slow
def test_first_workflow_runs_as_written(shell):
    outputs = [shell(block) for block in blocks("docs/how-to/first-workflow.md")]
    assert "RUNNING" in outputs[2]
    assert "Hello, Grace!" in outputs[4]
    assert outputs[4].count("COMPLETED") >= 3


@pytest.mark.slow
def test_worker_page_runs_as_written(shell):
    shell(blocks("docs/how-to/first-workflow.md")[0])
    for block in blocks("docs/how-to/worker.md"):
        shell(block)


@pytest.mark.slow
def test_readme_runs_as_written(shell):
    outputs = [shell(block) for block in blocks("README.md")]
    assert "Hello, Ada!" in outputs[-1]


@pytest.mark.parametrize(("kind", "name"), [("yaml", "definition.yaml"), ("python", "worker.py")])
def test_first_workflow_shows_the_example_that_is_there(kind, name):
    [shown] = blocks("docs/how-to/first-workflow.md", kind)
    assert (ROOT / "examples" / "hello" / name).read_text().endswith(shown)


def test_worker_page_shows_a_module_that_imports():
    [shown] = blocks("docs/how-to/worker.md", "python")
    space = {}
    exec(compile(shown, "worker.md", "exec"), space)  # noqa: S102
    assert space["worker"].topics == ("loan.check", "loan.score")


@pytest.mark.parametrize("page", [*PAGES, "examples/licence_audit/README.md"])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text()):
        assert target.startswith("http") or (ROOT / page).parent.joinpath(target).exists(), target
