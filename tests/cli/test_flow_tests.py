"""`penstock test` as it is used; and the examples' own tests, here and on a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from penstock.cli.app import app
from penstock.client import Client
from penstock.engines.http_jobs import RETRIED
from penstock.simulation import answers, read_tests, run_tests
from support.server import serving, until

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

FLOW = """
penstock: 1
code: flow
nodes: {a: {kind: job, topic: t}, b: {kind: set, vars: {}}, c: {kind: set, vars: {}}}
flows: [{from: a, to: b, if: a == 1}, {from: a, to: c, default: true}]
output: {a: "${a}"}
"""
TESTS = """
answers: {a: {output: 1}}
cases:
  - name: it works
    expect: {result: {a: 1}}
  - name: it does not
    expect:
      path: [a, c]
      result: {a: 2}
  - name: nobody answers
    answers: {a: null}
    expect: {status: COMPLETED}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "flow.yaml").write_text(FLOW)
    (tmp_path / "flow.tests.yaml").write_text(TESTS)
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(app, ["test", *args])


def test_examples_pass_from_the_command_line():
    program = Path(sys.executable).with_name("penstock")
    done = subprocess.run(
        [program, "test", "examples", "--coverage", "--json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["ok"]
    assert found["cases"] >= 25
    for each in found["coverage"]:
        missed = each["nodes_missed"] + each["flows_missed"]
        assert not missed, f"{each['definition']}: no case takes {missed}"


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.rglob("*.tests.yaml")), ids=lambda path: str(path.relative_to(EXAMPLES))
)
def test_example_passes(path):
    report = run_tests(path)
    assert report.ok, report


def test_failures_are_shown_with_their_differences(run):
    done = run(".")
    assert done.exit_code == 1
    for text in (
        "✓ it works  PT0S",
        "✗ it does not",
        "path       another path was taken  flow.tests.yaml:8",
        "~ c         b",
        "/a: expected 2, was 1",
        "✗ nobody answers",
        "a (visit 1) still waits for its worker (topic t)",
        "a: {output: null}",
        "1 passed, 2 failed in",
    ):
        assert text in done.output
    assert done.output.count("timeline") == 2


@pytest.mark.parametrize(
    ("args", "code", "texts"),
    [
        (["flow.yaml", "-k", "it works"], 0, ["1 passed in"]),
        (["flow.tests.yaml", "-k", "IT*"], 1, ["1 passed, 1 failed in"]),
        (["flow.yaml", "-k", "works", "-v"], 0, ["timeline"]),
        (["flow.yaml", "-k", "works", "--coverage"], 0, ["flow 2 of 3 nodes, 1 of 2 flows", "the node c", "the flow a → c (default)"]),
        ([".", "-k", "flow", "--coverage"], 1, ["flow 2 of 3 nodes"]),
        (["flow.yaml", "-k", "nothing"], 2, ["no case is called 'nothing'"]),
        (["nowhere.yaml"], 2, ["nowhere.yaml does not exist"]),
        ([], 2, ["Missing argument"]),
        (["flow.yaml", "--jsno"], 2, ["No such option"]),
    ],
)  # fmt: skip
def test_options_and_exit_codes(run, args, code, texts):
    done = run(*args)
    assert done.exit_code == code, done.output
    for text in texts:
        assert text in done.output


def test_problems_are_listed_with_their_lines(run, tmp_path):
    (tmp_path / "flow.tests.yaml").write_text(TESTS.replace("path:", "pathh:"))
    done = run("flow.yaml")
    assert done.exit_code == 1
    assert (
        "flow.tests.yaml:8: /cases/1/expect/pathh: there is no member 'pathh' here; did you mean 'path'?" in done.output
    )
    assert "0 passed, 1 problem in files" in done.output
    assert json.loads(run("flow.yaml", "--json").stdout)["problems"] == 1


def test_definitions_without_tests_are_told(run, tmp_path):
    (tmp_path / "bare.yaml").write_text(FLOW.replace("code: flow", "code: bare"))
    (tmp_path / "other.yaml").write_text("not: a definition")
    assert "bare.yaml has no tests" in run(".", "--coverage").output
    assert json.loads(run(".", "--coverage", "--json").stdout)["untested"] == ["bare.yaml"]


def test_json_tells_everything(run):
    done = run(".", "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert (found["ok"], found["cases"], found["failed"]) == (False, 3, 2)
    works, fails, waits = found["files"][0]["cases"]
    assert works["ok"]
    assert works["path"] == ["a", "b"]
    assert [each["kind"] for each in fails["differences"]] == ["result", "path"]
    assert fails["differences"][0]["changes"] == [{"pointer": "/a", "expected": 2, "actual": 1}]
    assert waits["open"] == ["a"]


def test_a_real_server_takes_the_same_way(tmp_path):
    """The first case of the order example once more, with a server, a database and people; visit by visit."""
    suite = read_tests(EXAMPLES / "order" / "order.tests.yaml")
    simulated = suite.run(suite.cases[0]).check()
    with (
        serving(tmp_path) as server,
        Client.from_credentials(server.data / "credentials.json", url=server.url) as client,
    ):
        for path in sorted(EXAMPLES.rglob("*.yaml")):
            if not path.name.endswith(".tests.yaml"):
                assert client.definitions.validate(path.read_bytes()).problems == []
                client.definitions.deploy(path.read_bytes())
        process = client.processes.start("order", suite.cases[0].input)
        for topic, count in (("stock.hold", 2), ("order.invoice", 1)):
            _work(client, topic, count)
        client.message("order.paid", key="A1")
        [item] = until(lambda: client.items.list(task="PACK").items)
        client.items.complete(item.id, {"weight": 2.5})
        _work(client, "shipping.label", 1)
        until(lambda: client.broadcast("van.left").delivered)
        done = until(lambda: (found := client.processes.get(process.id)).status == "COMPLETED" and found)
        visits = [*client.processes.visits.all(process.id, limit=200)]
        [child] = [each for each in client.processes.list().items if each.parent]
        visits += client.processes.visits.all(child.id, limit=200)
    assert done.output == simulated.result
    told = [(each.visit, each.node, each.kind, each.state, each.attempt) for each in simulated.timeline]
    assert [(each.n, each.node, each.kind, each.state, each.attempt) for each in visits] == told


def _work(client, topic, count):
    outputs = {"stock.hold": lambda job: job.input["sku"], "order.invoice": lambda _: {"number": "INV-1"}}
    for _ in range(count):
        [job] = client.jobs.poll([topic], wait=10).jobs
        output = outputs.get(topic, lambda _: {"parcel": "P-77"})(job)
        client.jobs.complete_one(job.id, lease=job.lease, output=output)


def test_endpoints_are_tried_again_after_the_answers_that_production_retries():
    assert answers.RETRIED == RETRIED


def test_page_shows_what_works(tmp_path):
    """The page's first example is the one that is there; its Python runs."""
    page = (ROOT / "docs" / "how-to" / "test-a-flow.md").read_text()
    blocks = [block.split("\n", 1) for block in page.split("```")[1::2]]
    [shown] = [text for kind, text in blocks if kind == "yaml" and "cases:" in text]
    (tmp_path / "definition.yaml").write_text((EXAMPLES / "hello" / "definition.yaml").read_text())
    (tmp_path / "definition.tests.yaml").write_text(shown)
    assert len(read_tests(tmp_path / "definition.tests.yaml").cases) >= 2
    assert run_tests(tmp_path / "definition.tests.yaml").ok
    for kind, text in blocks:
        if kind == "python":
            space: dict[str, object] = {}
            exec(compile(text.replace('"examples', f'"{EXAMPLES}'), "test-a-flow.md", "exec"), space)  # noqa: S102
            if "test_greeting" in space:
                space["test_greeting"]()
            else:
                for case in space["tests"].cases:
                    space["test_flow"](case)
