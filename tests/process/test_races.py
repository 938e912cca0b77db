"""Two at once: one of them wins, the other is told so; the same said twice is done once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from support.server import Api, fresh

ROUNDS = 25


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def at_once(pool: ThreadPoolExecutor, *calls: Callable[[], httpx.Response]) -> list[httpx.Response]:
    """Answers of calls that are made in the same moment."""
    barrier = threading.Barrier(len(calls))

    def go(call: Callable[[], httpx.Response]) -> httpx.Response:
        barrier.wait()
        return call()

    return [future.result() for future in [pool.submit(go, call) for call in calls]]


def statuses(answers: list[httpx.Response]) -> list[int]:
    return sorted(answer.status_code for answer in answers)


def post(api: Api, path: str, body: Any = None, **headers: str) -> Callable[[], httpx.Response]:
    return lambda: api.request("POST", path, json={} if body is None else body, headers=headers)


EXCLUSIVE = [
    ("cancel", "cancel", {"CANCELLED"}),
    ("cancel", "terminate", {"CANCELLED", "TERMINATED"}),
    ("terminate", "terminate", {"TERMINATED"}),
    ("suspend", "suspend", {"SUSPENDED"}),
    ("skip", "cancel", {"COMPLETED", "CANCELLED"}),
    ("debug", "skip", {"COMPLETED"}),
]
BODY = {"skip": {"node": "work"}, "debug": {"node": "work", "output": 1}}


@pytest.mark.parametrize(("one", "two", "after"), EXCLUSIVE)
def test_of_two_commands_that_exclude_each_other_exactly_one_wins(api: Api, pool, one, two, after):
    code = api.deploy({"work": {"kind": "job", "topic": fresh("topic")}})
    for _ in range(ROUNDS):
        id = api.start(code)["id"]
        answers = at_once(pool, *(post(api, f"/processes/{id}/{each}", BODY.get(each)) for each in (one, two)))
        assert statuses(answers) == [200, 409], [answer.text for answer in answers]
        (lost,) = [answer.json() for answer in answers if answer.status_code == 409]
        (won,) = [answer.json() for answer in answers if answer.status_code == 200]
        now = api.process(id)
        assert lost["code"] == "wrong_state"
        assert now["status"] in after
        assert now["status"] in lost["detail"]
        assert (now["status"], now["seq"]) == (won["status"], won["seq"])


@pytest.mark.parametrize("command", ["resume", "retry"])
def test_of_two_equal_commands_one_wins(api: Api, pool, command):
    topic = fresh("topic")
    code = api.deploy({"work": {"kind": "job", "topic": topic, "retry": {"max_attempts": 1}}})
    for _ in range(ROUNDS):
        id = api.start(code)["id"]
        if command == "retry":
            api.fail(api.take(topic))
        else:
            api.post(f"/processes/{id}/suspend")
        answers = at_once(pool, *[post(api, f"/processes/{id}/{command}")] * 3)
        assert statuses(answers) == [200, 409, 409]
        job = api.take(topic)
        assert api.poll(topic) == []
        api.finish(job)
        assert api.status(id) == "COMPLETED"


def test_a_completion_and_a_cancellation_exclude_each_other(api: Api, pool):
    topic = fresh("topic")
    code = api.deploy({"work": {"kind": "job", "topic": topic}}, output="${work}")
    for _ in range(ROUNDS):
        id = api.start(code)["id"]
        job = api.take(topic)
        body = {"lease": job["lease"], "output": "done", "increments": ["counted"]}
        finished, cancelled = at_once(
            pool, post(api, f"/jobs/{job['id']}/complete", body), post(api, f"/processes/{id}/cancel")
        )
        assert (finished.status_code, cancelled.status_code) in {(204, 409), (409, 200)}
        process = api.process(id)
        if finished.status_code == 204:
            assert (process["status"], process["output"]) == ("COMPLETED", "done")
            assert api.get(f"/processes/{id}/values/counted")["value"] == 1
        else:
            assert finished.json()["code"] == "lease_lost"
            assert (process["status"], process["output"]) == ("CANCELLED", None)
            api.get(f"/processes/{id}/values/counted", 404)


def test_a_job_that_is_completed_twice_at_once_is_completed_once(api: Api, pool):
    topic = fresh("topic")
    code = api.deploy({"work": {"kind": "job", "topic": topic}}, output="${work}")
    for _ in range(ROUNDS):
        id = api.start(code)["id"]
        job = api.take(topic)
        calls = [
            post(api, f"/jobs/{job['id']}/complete", {"lease": job["lease"], "output": n, "increments": ["counted"]})
            for n in range(4)
        ]
        answers = at_once(pool, *calls)
        assert statuses(answers) == [204, 409, 409, 409]
        (winner,) = [n for n, answer in enumerate(answers) if answer.status_code == 204]
        assert api.process(id)["output"] == winner
        assert api.get(f"/processes/{id}/values/counted")["value"] == 1


def test_an_item_is_claimed_by_one_of_two_people(api: Api, ana: Api, ben: Api, pool):
    tasks = {"CHECK": {"candidates": ["group:staff"]}}
    code = api.deploy({"check": {"kind": "item", "task": "CHECK"}}, tasks=tasks)
    for _ in range(ROUNDS):
        process = api.start(code)["id"]
        (item,) = ana.get("/items", process=process, mine=True)["items"]
        path = f"/items/{item['id']}"
        answers = at_once(pool, post(ana, f"{path}/claim"), post(ben, f"{path}/claim"))
        assert statuses(answers) == [200, 409]
        winner, loser = (ana, ben) if answers[0].status_code == 200 else (ben, ana)
        assert api.get(path)["owner"] == winner.name
        assert loser.get("/items", process=process, mine=True)["items"] == []
        loser.post(f"{path}/complete", {}, (403, 409))
        winner.post(f"{path}/complete", {"output": {"fine": True}}, 200)
        winner.post(f"{path}/complete", {"output": {"fine": True}}, 409)


def test_two_pollers_never_get_the_same_job(api: Api, pool):
    topic = fresh("topic")
    code = api.deploy({"work": {"kind": "job", "topic": topic}})
    starts = [{"definition": code}] * 100
    assert {each["status"] for each in api.post("/processes/~batch", {"processes": starts})["results"]} == {201}
    polls = [post(api, "/jobs/poll", {"topics": [topic], "max": 20})] * 8
    taken = [job["id"] for answer in at_once(pool, *polls) for job in answer.json()["jobs"]]
    assert len(taken) == len(set(taken)) == 100


@pytest.mark.parametrize("way", ["id", "key", "both"])
def test_the_same_start_twice_at_once_is_one_process(api: Api, pool, way):
    topic = fresh("topic")
    code = api.deploy({"work": {"kind": "job", "topic": topic}})
    for n in range(ROUNDS):
        body = {"definition": code, "input": {"n": n}}
        headers = {}
        if way != "key":
            body["id"] = str(uuid.uuid4())
        if way != "id":
            headers = {"idempotency-key": fresh("key")}
        answers = at_once(pool, *[post(api, "/processes", body, **headers)] * 4)
        assert statuses(answers) == [200, 200, 200, 201], [answer.text for answer in answers]
        assert len({answer.text for answer in answers}) == 1
        again = api.request("POST", "/processes", json=body, headers=headers)
        assert again.status_code == 200
        assert again.text == answers[0].text
    assert len(api.poll(topic, max=500)) == ROUNDS
    assert len(api.everything("/processes", definition=code)) == ROUNDS


def test_an_idempotency_key_with_another_body_is_a_conflict(api: Api):
    code = api.deploy({"work": {"kind": "job", "topic": "t"}})
    headers = {"idempotency-key": fresh("key")}
    first = api.post("/processes", {"definition": code, "input": 1}, 201, headers=headers)
    for body in (
        {"definition": code, "input": 2},
        {"definition": code},
        {"definition": code, "input": 1, "version": 1},
    ):
        refused = api.post("/processes", body, 409, headers=headers)
        assert refused["code"] == "conflict"
        assert headers["idempotency-key"] in refused["detail"]
    api.post(f"/processes/{first['id']}/cancel", {}, 409, headers=headers)
    assert api.status(first["id"]) == "RUNNING"
    assert len(api.everything("/processes", definition=code)) == 1


def test_a_process_id_with_another_start_exists_already(api: Api):
    id = str(uuid.uuid4())
    one, two = (api.deploy({"work": {"kind": "job", "topic": "t"}}) for _ in "12")
    api.post("/processes", {"definition": one, "id": id, "input": {"a": 1}, "metadata": {"m": 1}}, 201)
    for body in (
        {"definition": two, "id": id},
        {"definition": one, "id": id, "input": {"a": 2}, "metadata": {"m": 1}},
        {"definition": one, "id": id.upper(), "input": {"a": 1}},
    ):
        refused = api.post("/processes", body, 409)
        assert refused["code"] == "already_exists", refused
        assert id in refused["detail"]
    again = {"definition": one, "id": id.upper(), "input": {"a": 1}, "metadata": {"m": 1}}
    assert api.post("/processes", again, 200)["id"] == id


def test_every_changing_call_under_a_key_is_done_once(api: Api):
    """docs/api.md: changing requests may carry `Idempotency-Key`."""
    topic, name = fresh("topic"), fresh("name")
    tasks = {"CHECK": {"candidates": ["role:everyone"]}}
    nodes = {
        "work": {"kind": "job", "topic": topic, "retry": {"max_attempts": 1}},
        "check": {"kind": "item", "task": "CHECK"},
        "heard": {"kind": "message", "signal": name},
        "told": {"kind": "message", "message": name},
        "last": {"kind": "timer", "after": "PT1H"},
    }
    code = api.deploy(nodes, tasks=tasks)
    id = api.start(code)["id"]
    process = f"/processes/{id}"
    (item,) = api.get("/items", process=id)["items"]
    job = api.take(topic)
    entry = {"id": job["id"], "lease": job["lease"]}
    calls = [
        ("POST", f"{process}/values/n/increment", None),
        ("PUT", f"{process}/values/p", {"a": 1}),
        ("DELETE", f"{process}/values/p", None),
        ("POST", f"/definitions/{code}/values/n/increment", None),
        ("POST", f"/items/{item['id']}/claim", {}),
        ("POST", f"/items/{item['id']}/complete", {"output": {"x": 1}}),
        ("POST", "/jobs/fail", {"jobs": [{**entry, "failure": {"type": "X"}}]}),
        ("POST", f"{process}/retry", {}),
        ("POST", f"{process}/suspend", {}),
        ("POST", f"{process}/resume", {}),
        ("POST", f"{process}/signal", {"name": name}),
        ("POST", "/messages", {"name": name}),
        ("POST", "/signals", {"name": name}),
        ("POST", f"{process}/restart", {"node": "heard"}),
        ("POST", f"{process}/debug", {"node": "work", "input": 7}),
        ("POST", f"{process}/migrate", {"version": 1}),
        ("POST", f"{process}/skip", {"node": "work", "output": 1}),
        ("POST", "/processes/~batch", {"processes": [{"definition": code}, {"definition": "no_such"}]}),
        ("POST", "/definitions", {"penstock": 1, "code": code, "nodes": nodes, "tasks": tasks, "name": "two"}),
        ("POST", f"{process}/terminate", {}),
    ]
    for method, path, body in calls:
        headers = {"idempotency-key": fresh("key")}
        more = {} if body is None else {"json": body}
        first = api.request(method, path, headers=headers, **more)
        assert first.status_code < 300, first.text
        second = api.request(method, path, headers=headers, **more)
        assert second.text.replace('"status":200', '"status":201') == first.text, (method, path)
        assert second.status_code in {first.status_code, 200}, (method, path, second.text)
    assert api.get(f"{process}/values/n")["value"] == 1
    assert len(api.everything("/processes", definition=code)) == 2
    events = api.history(id)
    for once in ("ItemClaimed", "ItemCompleted", "JobFailed", "SuspendRequested", "DebugRequested", "SkipRequested"):
        assert events.count(once) == 1, events
