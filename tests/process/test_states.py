"""Every command in every state: what docs/architecture.md allows, and a refusal that changes nothing for the rest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.server import Api, fresh, until

STATES = ("RUNNING", "SUSPENDED", "FAILED", "RETRYING", "TERMINATING", "TERMINATED", "CANCELLED", "COMPLETED")
ENDED = {"TERMINATED", "CANCELLED", "COMPLETED"}
BODIES = {
    "complete": {"output": {"by": "hand"}},
    "cancel": {"reason": "a test"},
    "terminate": {"reason": "a test"},
    "suspend": {},
    "resume": {},
    "retry": {},
    "debug": {"node": "work", "output": {"by": "hand"}},
    "skip": {"node": "work", "output": {"by": "hand"}},
    "restart": {"node": "work"},
    "migrate": {"version": 1},
    "signal": {"name": "nobody-listens"},
}
AFTER = {
    "complete": {"COMPLETED"},
    "cancel": {"CANCELLED"},
    "terminate": {"TERMINATING", "TERMINATED"},
    "suspend": {"SUSPENDED"},
    "resume": {"RUNNING", "FAILED", "RETRYING"},
    "retry": {"RETRYING"},
    "debug": {"COMPLETED"},
    "skip": {"COMPLETED"},
    "restart": {"RUNNING"},
}


def documented() -> dict[str, set[str]]:
    """The table of docs/architecture.md: command -> states it is legal in."""
    text = (Path(__file__).parents[2] / "docs/architecture.md").read_text()
    found: dict[str, set[str]] = {}
    table = text.partition("| command | legal in |")[2].partition("\n\n")[0]
    for commands, states in re.findall(r"^\| ([a-z][^|]*?) \| ([^|]+?) \|$", table, re.MULTILINE):
        legal = set(STATES) - ENDED if "has not ended" in states else set(re.findall(r"[A-Z]{4,}", states))
        for command in re.sub(r"\(.*?\)", "", commands).split(","):
            found[command.strip()] = legal
    return found


LEGAL = documented()


def process_in(api: Api, state: str, driver: str = "graph") -> str:
    """The id of a process that has been brought into a state."""
    topic = fresh("topic")
    retry = {"max_attempts": 1}
    code = api.deploy({"work": {"kind": "job", "topic": topic, "retry": retry}}, driver=driver)
    id = api.start(code)["id"]
    match state:
        case "SUSPENDED":
            api.post(f"/processes/{id}/suspend")
        case "FAILED" | "RETRYING":
            api.fail(api.take(topic), permanent=True)
            if state == "RETRYING":
                api.post(f"/processes/{id}/retry")
        case "TERMINATING":
            api.take(topic)
            api.post(f"/processes/{id}/terminate")
        case "TERMINATED":
            api.post(f"/processes/{id}/terminate")
        case "CANCELLED":
            api.post(f"/processes/{id}/cancel")
        case "COMPLETED":
            api.finish(api.take(topic)) if driver == "graph" else api.post(f"/processes/{id}/complete")
    assert api.status(id) == state
    return id


def test_the_documented_table_names_every_command():
    assert LEGAL.keys() == BODIES.keys()
    assert set().union(*LEGAL.values()) == set(STATES) - ENDED


# A process that is driven from outside has no jobs: these two it never comes into, and what a graph says stands below.
CASES = [(c, s) for c in BODIES for s in STATES if c != "complete" or s not in {"FAILED", "RETRYING"}]


@pytest.mark.parametrize(("command", "state"), CASES)
def test_a_command_is_legal_where_the_table_says_so(api: Api, command, state):
    id = process_in(api, state, "client" if command == "complete" and state != "TERMINATING" else "graph")
    before = api.process(id)
    history = api.history(id)

    response = api.request("POST", f"/processes/{id}/{command}", json=BODIES[command])

    after = api.process(id)
    if state in LEGAL[command]:
        assert response.status_code == 200, response.text
        if command in AFTER:
            assert after["status"] in AFTER[command]
    else:
        assert response.status_code == 409, response.text
        problem = response.json()
        assert problem["code"] == "wrong_state"
        assert command in problem["detail"]
        assert state in problem["detail"]
        assert after == before
        assert api.history(id) == history


@pytest.mark.parametrize("state", STATES)
def test_a_graph_completes_by_itself_alone(api: Api, state):
    id = process_in(api, state)
    before = api.process(id)
    problem = api.post(f"/processes/{id}/complete", {}, 409)
    assert problem["code"] == "wrong_state"
    assert "complete" in problem["detail"]
    assert api.process(id) == before


@pytest.mark.parametrize("state", sorted(ENDED))
def test_what_has_ended_offers_no_work(api: Api, state):
    id = process_in(api, state)
    assert {visit["state"] for visit in api.visits(id)}.isdisjoint({"OPEN", "FAILED"})
    assert api.process(id)["ended_at"] is not None


def test_resume_goes_back_to_the_incident(api: Api):
    id = process_in(api, "FAILED")
    api.post(f"/processes/{id}/suspend")
    assert api.post(f"/processes/{id}/resume")["status"] == "FAILED"
    assert api.post(f"/processes/{id}/retry")["status"] == "RETRYING"


def test_terminating_ends_when_the_job_has_answered(api: Api):
    topic = fresh("topic")
    id = api.start(api.deploy({"work": {"kind": "job", "topic": topic}}))["id"]
    job = api.take(topic)
    assert api.post(f"/processes/{id}/terminate", {"reason": "enough"})["status"] == "TERMINATING"
    (told,) = api.post("/jobs/extend", {"jobs": [{"id": job["id"], "lease": job["lease"]}]})["results"]
    assert told["cancel"] is True
    api.finish(job, {"too": "late"})
    ended = api.process(id)
    assert ended["status"] == "TERMINATED"
    assert ended["output"] is None


def test_what_comes_while_suspended_is_applied_at_resume(api: Api):
    topic = fresh("topic")
    id = api.start(api.deploy({"work": {"kind": "job", "topic": topic}}, output="${work}"))["id"]
    job = api.take(topic)
    api.post(f"/processes/{id}/suspend")
    api.finish(job, {"kept": True})
    assert api.status(id) == "SUSPENDED"
    api.post(f"/processes/{id}/resume")
    assert api.until(id, "COMPLETED")["output"] == {"kept": True}


def test_jobs_of_a_suspended_process_are_not_handed_out(api: Api):
    topic = fresh("topic")
    id = api.start(api.deploy({"work": {"kind": "job", "topic": topic}}))["id"]
    api.post(f"/processes/{id}/suspend")
    assert api.poll(topic) == []
    api.post(f"/processes/{id}/resume")
    job = until(lambda: api.poll(topic))[0]
    assert job["process"] == id
