"""The command line against a server that answers as docs/api.md says."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from client.remote import Answer, problem, remote
from penstock.cli.app import app
from worker.door import open_door

AT = "2024-05-01T10:00:00Z"
PROCESS = {"id": "p1", "definition": "loan", "version": 3, "status": "RUNNING", "created_at": AT, "input": {"n": 1}}
ITEM = {"id": "i1", "state": "READY", "task": "APPROVE", "name": {"en": "Approve [it]"}, "data": {"a": 1}}
VISITS = [
    {"n": 1, "node": "score", "kind": "job", "state": "COMPLETED", "attempt": 2, "started_at": AT,
     "ended_at": "2024-05-01T10:00:04Z"},
    {"n": 2, "node": "notify", "state": "FAILED", "started_at": AT, "scope": 1, "failure": {
        "type": "Timeout", "message": "too [slow]", "cause": {"type": "OSError", "message": "down"}}},
]  # fmt: skip


class Server:
    def __init__(self, there, answers):
        self.there = there
        self.answers = answers

    def run(self, *args, **more):
        return CliRunner().invoke(app, list(args), **more)

    def json(self, *args):
        answer = self.run(*args, "--json")
        assert answer.exit_code == 0, answer.output
        assert answer.stderr == ""
        return json.loads(answer.stdout)


@pytest.fixture
def server(tmp_path, monkeypatch):
    answers = {}

    def answer(seen):
        found = answers.get(f"{seen.method} {seen.path.removeprefix('/api/v1')}", problem(404, "not_found", "no such"))
        return found.pop(0) if isinstance(found, list) else found

    with remote(answer) as there:
        monkeypatch.chdir(tmp_path)
        for name in ("URL", "CLIENT_ID", "CLIENT_SECRET", "TOKEN", "CREDENTIALS"):
            monkeypatch.delenv(f"PENSTOCK_{name}", raising=False)
        (tmp_path / ".penstock").mkdir()
        users = [{"email": "ana@example.com", "password": "pw", "groups": []}]
        content = {"url": there.url, "application": {"id": "app", "secret": "s"}, "users": users}
        (tmp_path / ".penstock" / "credentials.json").write_text(json.dumps(content))
        yield Server(there, answers)


def ok(**answer):
    return Answer(200, answer)


def test_start(server):
    server.answers["POST /processes"] = Answer(201, PROCESS)
    answer = server.json("start", "loan", "--input", '{"n": 1}', "--id", "x", "--metadata", "{}", "--version", "3")
    assert answer["id"] == "p1"
    assert server.there.calls[0].json == {
        "definition": "loan",
        "version": 3,
        "id": "x",
        "input": {"n": 1},
        "metadata": {},
    }
    assert server.run("start", "loan").stdout.split() == ["p1", "loan", "3", "RUNNING"]


def test_start_and_wait(server):
    ended = PROCESS | {"status": "COMPLETED", "output": {"risk": 0.5}}
    server.answers["POST /processes"] = Answer(201, PROCESS)
    server.answers["GET /processes/p1"] = [ok(**PROCESS), ok(**ended)]
    assert server.json("start", "loan", "--wait")["output"] == {"risk": 0.5}
    server.answers["GET /processes/p1"] = [ok(**PROCESS | {"status": "FAILED"})]
    answer = server.run("start", "loan", "--wait")
    assert answer.exit_code == 1
    assert answer.stderr == "penstock: p1 is FAILED (penstock show p1)\n"


def test_a_wait_that_ends_by_time_says_so(server):
    server.answers |= {"POST /processes": Answer(201, PROCESS), "GET /processes/p1": ok(**PROCESS)}
    answer = server.run("start", "loan", "--wait", "--timeout", "0.1")
    assert answer.exit_code == 3
    assert answer.stderr == "penstock: p1 is still RUNNING after 0.1 s and goes on (penstock show p1)\n"


def test_ps(server):
    server.answers["GET /processes"] = ok(items=[PROCESS], next="c2")
    found = server.json("ps", "--status", "running", "--search", "metadata.customer=ACME", "--limit", "5")
    assert found["next"] == "c2"
    assert found["items"][0]["status"] == "RUNNING"
    assert sorted(server.there.calls[0].query) == [
        ("limit", "5"), ("metadata.customer", "ACME"), ("status", "RUNNING"),
    ]  # fmt: skip
    answer = server.run("ps")
    assert "loan" in answer.stdout
    assert "--cursor c2" in answer.stderr


def test_show(server):
    server.answers |= {
        "GET /processes/p1": ok(**PROCESS, parent={"id": "p0", "visit": 4}),
        "GET /processes/p1/visits": ok(items=VISITS),
        "GET /processes/p1/values": ok(items=[{"key": "k", "value": [1]}]),
    }
    text = server.run("show", "p1").stdout
    for part in ("called by p0", "score", "attempt 2", "4.0 s", "Timeout: too [slow] ← OSError: down", "[1]"):
        assert part in text
    answer = server.json("show", "p1")
    assert answer.keys() == {"process", "visits", "values"}
    assert answer["visits"][1]["failure"]["cause"] == {"type": "OSError", "message": "down"}


def test_history(server):
    entry = {"seq": 1, "feed": 7, "at": AT, "actor": "app:x", "type": "Started", "data": {"a": 1}}
    server.answers["GET /processes/p1/history"] = ok(items=[entry])
    assert "Started" in server.run("history", "p1").stdout
    assert server.json("history", "p1")["items"][0]["feed"] == 7


@pytest.mark.parametrize(
    ("args", "path", "body"),
    [
        (["retry", "p1"], "retry", None),
        (["suspend", "p1"], "suspend", None),
        (["resume", "p1"], "resume", None),
        (["cancel", "p1", "--reason", "r"], "cancel", {"reason": "r"}),
        (["terminate", "p1"], "terminate", {}),
        (["debug", "p1", "n", "--output", "null"], "debug", {"node": "n", "output": None}),
        (["debug", "p1", "--visit", "4", "--input", "{}"], "debug", {"visit": 4, "input": {}}),
        (["skip", "p1", "n", "--output", "1"], "skip", {"node": "n", "output": 1}),
        (["restart", "p1", "n", "--scope", "2"], "restart", {"node": "n", "scope": 2}),
        (["complete", "p1", "--output", "[]"], "complete", {"output": []}),
    ],
)
def test_commands_to_a_process(server, args, path, body):
    server.answers[f"POST /processes/p1/{path}"] = ok(**PROCESS)
    assert server.run(*args).stdout.strip() == "p1 RUNNING"
    [call] = server.there.calls
    assert (json.loads(call.body) if call.body else None) == body
    assert server.run(*args, "--json").exit_code == 0


def test_a_refused_one_does_not_stop_the_others(server):
    server.answers["POST /processes/p1/retry"] = problem(409, "wrong_state", "cannot retry: RUNNING")
    server.answers["POST /processes/p2/retry"] = ok(**PROCESS | {"id": "p2"})
    answer = server.run("retry", "p1", "p2", "--json")
    assert answer.exit_code == 1
    found = json.loads(answer.stdout)
    assert [each["id"] for each in found["items"]] == ["p2"]
    assert [(each["id"], each["error"]["code"]) for each in found["errors"]] == [("p1", "wrong_state")]
    assert answer.stderr.startswith("penstock: p1: cannot retry: RUNNING (")


def test_migrate_process(server):
    moves = [{"visit": 3, "node": "old", "to": "new"}]
    server.answers["POST /processes/p1/migrate"] = ok(process=PROCESS, moves=moves, problems=[])
    assert server.json("migrate-process", "p1", "4", "--map", "old=new", "--dry-run")["moves"] == moves
    assert server.there.calls[0].json == {"version": 4, "mapping": {"old": "new"}, "dry_run": True}
    problems = [{"pointer": "/mapping", "message": "node x has no counterpart"}]
    server.answers["POST /processes/p1/migrate"] = ok(process=None, moves=[], problems=problems)
    answer = server.run("migrate-process", "p1", "4")
    assert answer.exit_code == 1
    assert "no counterpart" in answer.stdout


BULK = {
    "id": "b1",
    "command": "cancel",
    "state": "RUNNING",
    "total": 2,
    "done": 0,
    "created_at": "2026-01-02T03:04:05Z",
}


def test_bulk(server):
    failure = {"process": "p2", "outcome": "FAILED", "code": "forbidden", "detail": "may not [cancel]", "problems": []}
    server.answers |= {
        "POST /bulk": Answer(202, BULK),
        "GET /bulk/b1": [ok(**BULK | {"done": 1}), ok(**BULK | {"state": "DONE", "done": 1, "failed": 1})],
        "GET /bulk/b1/results": ok(items=[failure]),
    }
    answer = server.run("bulk", "cancel", "--definition", "loan", "--status", "failed", "--search", "metadata.a=1")
    assert answer.exit_code == 1, "one failed"
    assert "may not [cancel]" in answer.stdout
    assert server.there.calls[0].json == {
        "command": "cancel", "arguments": {},
        "filter": {"definition": "loan", "status": ["FAILED"], "search": {"metadata.a": "1"}},
    }  # fmt: skip
    answer = server.json("bulk", "migrate", "p1", "--arguments", '{"version": 2}', "--dry-run", "--no-wait")
    assert answer["bulk"]["state"] == "RUNNING"
    assert server.there.calls[-1].json == {
        "command": "migrate", "ids": ["p1"], "arguments": {"version": 2}, "dry_run": True,
    }  # fmt: skip


def test_bulk_delete_without_a_terminal_is_meant(server):
    server.answers |= {"POST /bulk": Answer(202, BULK | {"state": "DONE"}), "GET /bulk/b1/results": ok(items=[])}
    answer = server.run("bulk", "delete", "p1")
    assert answer.exit_code == 2
    assert "say --yes to do it" in answer.stderr
    assert server.there.calls == []
    assert server.run("bulk", "delete", "p1", "--yes").exit_code == 0
    assert server.run("bulk", "terminate", "p1").exit_code == 0, "scripts go on as they were"
    assert [seen.json["command"] for seen in server.there.calls if seen.method == "POST"] == ["delete", "terminate"]


def test_bulks(server):
    server.answers |= {
        "GET /bulk": ok(items=[BULK]),
        "POST /bulk/b1/cancel": ok(**BULK | {"state": "CANCELLED"}),
        "GET /bulk/b1/results": ok(items=[]),
    }
    assert "b1" in server.run("bulks").stdout
    assert server.json("bulks", "b1", "--cancel")["bulk"]["state"] == "CANCELLED"


def test_signals_and_messages(server):
    server.answers |= {
        "POST /processes/p1/signal": ok(delivered=1),
        "POST /signals": Answer(202, {"delivered": 3}),
        "POST /messages": Answer(202, {"id": "m", "duplicate": True}),
    }
    assert server.json("signal", "p1", "go", "--payload", "1") == {"delivered": 1}
    assert "3" in server.run("broadcast", "go").stdout
    assert "known already" in server.run("message", "go", "--id", "m", "--ttl", "5").stdout


def test_values(server):
    value = {"key": "k", "value": {"a": 1}}
    server.answers |= {
        "GET /processes/p1/values": ok(items=[value]),
        "GET /definitions/loan/values/k": ok(**value),
        "PUT /processes/p1/values/k": ok(**value),
        "POST /processes/p1/values/n/increment": ok(key="n", value=2),
        "DELETE /processes/p1/values/k": Answer(204),
    }
    assert server.json("values", "list", "p1") == {"items": [value]}
    assert json.loads(server.run("values", "get", "loan", "k", "--definition").stdout) == {"a": 1}
    assert server.json("values", "put", "p1", "k", '{"a": 1}') == value
    assert server.run("values", "increment", "p1", "n").stdout == "2\n"
    assert server.run("values", "delete", "p1", "k").exit_code == 0


def test_inbox(server):
    server.answers |= {
        "GET /items": ok(items=[ITEM], next="c"),
        "POST /items/i1/claim": ok(**ITEM | {"state": "CLAIMED"}),
        "POST /items/i1/complete": ok(**ITEM | {"state": "COMPLETED"}),
    }
    answer = server.run("inbox", "--user", "ana@example.com")
    assert "Approve [it]" in answer.stdout
    assert "there are more" in answer.stderr
    assert server.there.seen[0].json["username"] == "ana@example.com"
    query = server.there.calls[0].query
    assert sorted(query) == [("limit", "50"), ("mine", "true"), ("state", "CLAIMED"), ("state", "READY")]
    assert server.json("inbox", "claim", "i1", "--user", "ana@example.com")["state"] == "CLAIMED"
    assert server.json("inbox", "complete", "i1", "--output", '{"ok": true}')["state"] == "COMPLETED"
    assert server.there.calls[-1].json == {"output": {"ok": True}}
    assert server.run("inbox", "--user", "bo@example.com").exit_code == 1


def test_who_and_what(server):
    server.answers |= {
        "GET /me": ok(tenant={"id": "t", "code": "demo"}, principal="app:x", kind="app", roles=["admin"]),
        "GET /openapi.json": ok(openapi="3.1.0"),
        "GET /definitions": ok(items=[{"id": "d", "code": "loan", "name": {"es": "Préstamo"}, "latest": 3}]),
        "GET /definitions/loan/versions": ok(items=[{"version": 3, "version_id": "v", "state": "PUBLISHED"}]),
    }
    assert "app:x of tenant demo" in server.run("whoami").stdout
    assert json.loads(server.run("openapi").stdout) == {"openapi": "3.1.0"}
    assert "Préstamo" in server.run("definitions").stdout
    assert "PUBLISHED" in server.run("definitions", "loan").stdout


DEPLOYED = {"id": "d", "code": "loan", "version": 3, "version_id": "v", "created_at": AT, "unchanged": True}


def test_deploy(server, tmp_path):
    (tmp_path / "loan.yaml").write_text("code: loan\nnodes:\n  a: {kind: job}\n")
    server.answers |= {"POST /definitions/~validate": ok(valid=True, problems=[]), "POST /definitions": ok(**DEPLOYED)}
    assert server.run("deploy", "loan.yaml").stdout.strip() == "loan.yaml loan 3 (unchanged)"
    assert server.json("deploy", "loan.yaml")["files"][0]["deployed"]["version"] == 3
    assert server.run("deploy", "loan.yaml", "--dry-run").stdout.strip() == "loan.yaml valid"
    assert [call.path.rpartition("/")[2] for call in server.there.calls] == [
        "~validate", "definitions", "~validate", "definitions", "~validate",
    ]  # fmt: skip
    assert server.there.calls[1].headers["content-type"] == "application/yaml"


def test_deploy_says_where_each_problem_is(server, tmp_path):
    (tmp_path / "bad.yaml").write_text("code: loan\nnodes:\n  a: {kind: jbo}\n")
    problems = [
        {"pointer": "/nodes/a/kind", "message": "is not a [kind]", "code": "unknown"},
        {"pointer": "", "message": "no end", "code": "shape", "warning": True},
    ]
    server.answers["POST /definitions/~validate"] = ok(valid=False, problems=problems)
    answer = server.run("deploy", "bad.yaml")
    assert answer.exit_code == 1
    assert answer.stdout.splitlines() == [
        "bad.yaml:3: error /nodes/a/kind: is not a [kind] [unknown]", "bad.yaml:1: warning no end [shape]",
    ]  # fmt: skip
    answer = server.run("deploy", "bad.yaml", "--json")
    assert json.loads(answer.stdout)["files"][0]["problems"][0]["line"] == 3
    assert "definitions" not in {call.path.rpartition("/")[2] for call in server.there.calls}


def test_deploy_of_what_is_no_document(server, tmp_path):
    (tmp_path / "bad.yaml").write_text("a: [")
    server.answers["POST /definitions/~validate"] = problem(400, "invalid", "not YAML: line 1")
    answer = server.run("deploy", "bad.yaml")
    assert answer.exit_code == 1
    assert answer.stdout == "bad.yaml: error not YAML: line 1 [invalid]\n"


def test_errors_of_the_server(server):
    answer = server.run("show", "nope")
    assert answer.exit_code == 1
    assert answer.stderr == "penstock: no such (GET /api/v1/processes/nope, 404 not_found)\n"
    answer = server.run("ps", "--url", "nonsense")
    assert answer.exit_code == 1
    assert "not a server's URL" in answer.stderr


def test_worker(tmp_path):
    (tmp_path / "jobs.py").write_text(
        "from penstock.worker import Worker\napp = Worker(wait=1)\n"
        "@app.job('t')\ndef handler(job):\n    return job.input\n"
    )
    with open_door() as door:
        job_id = door.offer("t", 5)
        env = os.environ | {"PENSTOCK_URL": door.url, "PENSTOCK_CLIENT_ID": "i", "PENSTOCK_CLIENT_SECRET": "s"}
        command = [sys.executable, "-m", "penstock", "worker", "jobs:app", "--concurrency", "3"]
        process = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
        try:
            assert door.result(job_id)[1]["output"] == 5
            process.terminate()
            _, log = process.communicate(timeout=5)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 0
    assert "3 at once" in log
    assert "SIGTERM: stopping" in log


@pytest.mark.parametrize(
    ("verb", "state"),
    [("submit", "IN_REVIEW"), ("withdraw", "DRAFT"), ("approve", "APPROVED"), ("reject", "REJECTED"), ("activate", "ACTIVE"),
     ("retire", "RETIRED")],
)  # fmt: skip
def test_a_decision_about_a_version(server, verb, state):
    server.answers[f"POST /definitions/loan/versions/2/{verb}"] = ok(version=2, version_id="v2", state=state)
    answer = server.run(verb, "loan", "2", "--comment", "looks [good]")
    assert answer.exit_code == 0, answer.output
    assert answer.stdout.split() == ["loan", "2", state]
    assert json.loads(server.there.calls[-1].body) == {"comment": "looks [good]"}
    server.answers[f"POST /definitions/loan/versions/2/{verb}"] = problem(409, "wrong_state", f"cannot {verb}: it is X")
    refused = server.run(verb, "loan", "2", "-m", "x")
    assert refused.exit_code == 1
    assert f"cannot {verb}: it is X" in refused.stderr


def test_a_rejection_says_why(server):
    assert server.run("reject", "loan", "2").exit_code == 2
    assert not server.there.calls


def test_a_server_that_does_not_answer_is_named_with_who_named_it(server, tmp_path, monkeypatch):
    gone = {"url": "http://127.0.0.1:1", "token": "T"}
    (tmp_path / "gone.json").write_text(json.dumps(gone))
    answer = server.run("ps", "--credentials", str(tmp_path / "gone.json"))
    assert answer.exit_code == 1
    assert answer.stderr.startswith(f"penstock: no answer from http://127.0.0.1:1 (by {tmp_path / 'gone.json'}): ")
    answer = server.run("ps", "--url", "http://127.0.0.1:2", "--credentials", str(tmp_path / "gone.json"))
    assert answer.stderr.startswith("penstock: no answer from http://127.0.0.1:2 (by --url): ")


def test_a_tenants_first_password_goes_to_a_file(server, tmp_path):
    made = {"tenant": {"id": "t", "code": "acme", "name": "acme", "disabled": False, "revision": 1, "quotas": {}},
            "administrator": {"email": "boss@example.com", "password": "made-up-here"}}  # fmt: skip
    server.answers["POST /tenants"] = Answer(201, made)
    file = tmp_path / "boss.json"
    args = ("tenant", "create", "acme", "--email", "boss@example.com", "--write", str(file))
    answer = server.run(*args)
    assert answer.exit_code == 0, answer.output
    assert "made-up-here" not in answer.output
    kept = json.loads(file.read_text())
    assert kept["url"] == server.there.url
    assert kept["users"] == [made["administrator"]]
    assert file.stat().st_mode & 0o077 == 0
    again = server.run(*args)
    assert again.exit_code == 2
    assert "is not overwritten" in again.stderr
    assert len(server.there.calls) == 1, "a secret must have somewhere to go before it is made"


def test_no_quota_is_none_and_not_a_number_below(server):
    answer = server.run("tenant", "change", "acme", "--open-processes", "-1")
    assert answer.exit_code == 2
    assert "0 or more, or none" in answer.stderr


def test_a_refusal_names_the_thing_once(server):
    def refusal(status, code, detail):
        return Answer(status, {"title": code, "status": status, "code": code, "detail": detail})

    server.answers["DELETE /groups/a"] = refusal(404, "not_found", "no group 'a'")
    server.answers["DELETE /groups/b"] = refusal(403, "forbidden", "user:x may not administer people")
    server.answers["DELETE /groups/c"] = refusal(409, "conflict", "it is named by items")
    told = server.run("group", "delete", "a", "b", "c", "--yes").stderr.splitlines()
    assert told[0].startswith("penstock: no group 'a' (")
    assert told[1].startswith("penstock: user:x may not administer people (DELETE /api/v1/groups/b")
    assert told[2].startswith("penstock: c: it is named by items (")
