"""A version's way to what new processes start with, in a tenant that wants approval and in one that does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from process.people import logged_in
from support.server import Api, Server, fresh

STATES = ("DRAFT", "IN_REVIEW", "APPROVED", "REJECTED", "ACTIVE", "RETIRED")
VERBS = ("submit", "withdraw", "approve", "reject", "activate", "retire")


def documented() -> dict[tuple[str, str], str]:
    """The table of docs/api/definitions.md: (decision, state) -> state after it."""
    text = (Path(__file__).parents[2] / "docs/api/definitions.md").read_text()
    table = text.partition("| decision | from | to |")[2].partition("\n\n")[0]
    found: dict[tuple[str, str], str] = {}
    for verb, of, to in re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([A-Z_]+) \|", table, re.MULTILINE):
        found |= {(verb, state): to for state in re.findall(r"[A-Z_]{5,}", of.partition(";")[0])}
    return found


LEGAL = documented()
NODES = {"work": {"kind": "job", "topic": "t"}}


@pytest.fixture(scope="module")
def boss(server: Server) -> Api:
    """The second tenant's application, where approval is required by the fixture below."""
    return server.other()


@pytest.fixture
def required(boss: Api) -> Iterator[Api]:
    boss.patch("/tenant", {"approval": "required", "four_eyes": False})
    yield boss
    boss.patch("/tenant", {"approval": "none", "four_eyes": False})


def decide(api: Api, code: str, number: int, verb: str, status: int = 200, comment: str = "a comment") -> Any:
    return api.post(f"/definitions/{code}/versions/{number}/{verb}", {"comment": comment}, status)


def version(api: Api, code: str, number: int) -> str:
    return str(api.get(f"/definitions/{code}/versions/{number}")["state"])


def deploy(api: Api, code: str, **more: Any) -> Any:
    return api.post("/definitions", {"penstock": 1, "code": code, "name": fresh("n"), "nodes": NODES, **more}, 201)


def in_state(api: Api, state: str) -> str:
    """A definition whose version 1 is in a state, in a tenant that wants approval."""
    code = fresh("d")
    assert deploy(api, code)["state"] == "DRAFT"
    ways = {
        "DRAFT": [], "IN_REVIEW": ["submit"], "APPROVED": ["submit", "approve"], "REJECTED": ["submit", "reject"],
        "ACTIVE": ["submit", "approve", "activate"], "RETIRED": ["submit", "approve", "activate", "retire"],
    }  # fmt: skip
    for verb in ways[state]:
        decide(api, code, 1, verb)
    assert version(api, code, 1) == state
    return code


@pytest.mark.parametrize("state", STATES)
def test_a_decision_is_legal_where_the_table_says_so(required: Api, state):
    for verb in VERBS:
        code = in_state(required, state)
        before = required.get(f"/definitions/{code}/versions/1/decisions")["items"]
        after = LEGAL.get((verb, state))
        if after is None:
            problem = decide(required, code, 1, verb, 409)
            assert problem["code"] == "wrong_state"
            assert verb in problem["detail"]
            assert state in problem["detail"]
            assert version(required, code, 1) == state
            assert required.get(f"/definitions/{code}/versions/1/decisions")["items"] == before
        else:
            assert decide(required, code, 1, verb, comment=f"to {after}")["state"] == after
            assert version(required, code, 1) == after
            *_, last = required.get(f"/definitions/{code}/versions/1/decisions")["items"]
            assert (last["action"], last["state"], last["comment"]) == (verb, after, f"to {after}")
            assert last["actor"] == required.name


@pytest.mark.parametrize("state", STATES)
def test_only_an_active_version_is_started(required: Api, state):
    code = in_state(required, state)
    for body in ({"definition": code}, {"definition": code, "version": 1}):
        if state == "ACTIVE":
            required.post("/processes", body, 201)
        else:
            problem = required.post("/processes", body, 409)
            assert problem["code"] == "wrong_state"
            assert state in problem["detail"]
    caller = required.deploy({"sub": {"kind": "call", "definition": code}}, code=fresh("caller"))
    for verb in ("submit", "approve", "activate"):
        decide(required, caller, 1, verb)
    id = required.start(caller)["id"]
    if state == "ACTIVE":
        assert required.until(id, "RUNNING")
    else:
        required.until(id, "FAILED")
        assert state in required.visits(id)[0]["failure"]["message"]


def test_a_new_version_takes_over_when_it_is_activated(required: Api):
    code = in_state(required, "ACTIVE")
    old = required.start(code)["id"]
    deploy(required, code)
    assert required.get(f"/definitions/{code}")["latest"] == 2
    assert required.get(f"/definitions/{code}")["active"] == 1
    assert required.start(code)["version"] == 1
    required.post(f"/processes/{old}/migrate", {"version": 2}, 409)
    decide(required, code, 2, "submit")
    decide(required, code, 2, "approve")
    assert required.start(code)["version"] == 1
    decide(required, code, 2, "activate")
    assert (version(required, code, 1), version(required, code, 2)) == ("RETIRED", "ACTIVE")
    assert required.start(code)["version"] == 2
    required.post("/processes", {"definition": code, "version": 1}, 409)
    assert required.process(old)["status"] == "RUNNING", "what runs goes on"
    required.post(f"/processes/{old}/migrate", {"version": 2})
    decide(required, code, 1, "activate")
    assert required.start(code)["version"] == 1, "back to the one before"
    actions = [each["action"] for each in required.everything(f"/definitions/{code}/versions/1/decisions", limit=1)]
    assert actions == ["submit", "approve", "activate", "retire", "activate"]


def test_without_approval_a_version_is_active_at_once_and_older_ones_by_number(boss: Api):
    code = fresh("d")
    assert deploy(boss, code)["state"] == deploy(boss, code)["state"] == "ACTIVE"
    assert boss.start(code)["version"] == 2
    assert boss.start(code, version=1)["version"] == 1
    decide(boss, code, 2, "activate", 409)
    decide(boss, code, 1, "activate")
    assert boss.start(code)["version"] == 1
    decide(boss, code, 1, "retire")
    problem = boss.post("/processes", {"definition": code}, 409)
    assert "RETIRED" in problem["detail"], "nobody falls back to another version in silence"
    assert boss.start(code, version=2)["version"] == 2
    decide(boss, code, 1, "submit", 409)


def test_a_message_starts_the_active_version(required: Api):
    name, code = fresh("message"), fresh("d")
    nodes = {"begin": {"kind": "start", "message": name}, **NODES}
    flows = [{"from": "begin", "to": "work"}]
    deploy(required, code, nodes=nodes, flows=flows)
    required.post("/messages", {"name": name, "id": "1"}, 202)
    assert required.get("/processes", definition=code)["items"] == []
    for verb in ("submit", "approve", "activate"):
        decide(required, code, 1, verb)
    required.post("/messages", {"name": name, "id": "2"}, 202)
    (process,) = required.get("/processes", definition=code)["items"]
    assert process["version"] == 1


# -- four eyes -------------------------------------------------------------------------------------------------------


@pytest.fixture
def four_eyes(root: Api) -> Iterator[Api]:
    root.patch("/tenant", {"approval": "required", "four_eyes": True})
    yield root
    root.patch("/tenant", {"approval": "none", "four_eyes": False})


def test_author_and_submitter_do_not_approve(server: Server, root: Api, four_eyes: Api):
    submitter, approver, stranger = (logged_in(server, root) for _ in range(3))
    code = fresh("d")
    managers = {"manager": [submitter.name, approver.name]}
    deploy(root, code, permissions=managers)
    for verb in VERBS:
        problem = decide(stranger, code, 1, verb, 403)
        assert problem["code"] == "forbidden"
    decide(submitter, code, 1, "submit")
    for caller in (root, submitter):
        assert "somebody else" in decide(caller, code, 1, "approve", 403)["detail"]
    assert version(root, code, 1) == "IN_REVIEW"
    assert decide(approver, code, 1, "reject", 400, comment=" ")["problems"][0]["pointer"] == "/comment"
    decide(approver, code, 1, "reject", comment="the topic is misspelt\nsee line 3")
    decide(root, code, 1, "withdraw")
    decide(root, code, 1, "submit")
    decide(submitter, code, 1, "approve")  # this time another's submission, and not their document
    decide(approver, code, 1, "activate")
    assert approver.get(f"/definitions/{code}")["active"] == 1
    made = [
        (each["actor"], each["action"]) for each in stranger.get(f"/definitions/{code}/versions/1/decisions")["items"]
    ]
    assert made == [
        (submitter.name, "submit"), (approver.name, "reject"), (root.name, "withdraw"), (root.name, "submit"),
        (submitter.name, "approve"), (approver.name, "activate"),
    ]  # fmt: skip


def test_permissions_of_a_draft_wait_for_its_activation(server: Server, root: Api, four_eyes: Api):
    first, second = logged_in(server, root), logged_in(server, root)
    code, path = fresh("d"), "/definitions/{}/permissions"
    deploy(root, code, permissions={"manager": [first.name]})
    decide(root, code, 1, "submit")
    decide(first, code, 1, "approve")
    decide(first, code, 1, "activate")
    deploy(root, code, permissions={"manager": [second.name]})
    assert root.get(path.format(code))["permissions"]["manager"] == [first.name]
    decide(root, code, 2, "submit")
    decide(second, code, 2, "approve", 403)
    decide(first, code, 2, "approve")
    assert root.get(path.format(code))["permissions"]["manager"] == [first.name]
    decide(first, code, 2, "activate", 403)
    assert version(root, code, 2) == "APPROVED", "a manager does not grant"
    assert root.get(path.format(code))["permissions"]["manager"] == [first.name]
    decide(root, code, 2, "activate")
    assert root.get(path.format(code))["permissions"]["manager"] == [second.name]


def test_a_plain_application_deploys_and_submits_and_does_not_decide(server: Server, root: Api, four_eyes: Api):
    made = root.post("/applications", {"name": "ci"}, 201)
    ci = server.as_application(made["id"], made["secret"])
    code = fresh("d")
    deploy(ci, code)
    decide(ci, code, 1, "submit")
    decide(ci, code, 1, "approve", 403)
    decide(ci, code, 1, "withdraw")
    decide(ci, code, 1, "submit")
    decide(root, code, 1, "approve")
    decide(ci, code, 1, "activate", 403)


@pytest.mark.parametrize("comment", ["x" * 2_001, "a\u0007", "\u202e"])
def test_a_bad_comment_is_refused(api: Api, comment):
    code = api.deploy(NODES)
    assert decide(api, code, 1, "retire", 400, comment=comment)["problems"][0]["pointer"] == "/comment"
    assert version(api, code, 1) == "ACTIVE"


def test_a_decision_under_a_key_is_made_once(required: Api):
    code = in_state(required, "DRAFT")
    key = {"idempotency-key": fresh("key")}
    path = f"/definitions/{code}/versions/1/submit"
    for _ in range(2):
        assert required.post(path, {}, headers=key)["state"] == "IN_REVIEW"
    assert len(required.get(f"/definitions/{code}/versions/1/decisions")["items"]) == 1
    required.post(path, {"comment": "another"}, 409, headers=key)
    required.post(f"/definitions/{code}/versions/9/submit", {}, 404)
    required.post("/definitions/no_such/versions/1/submit", {}, 404)
