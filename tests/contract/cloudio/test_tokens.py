"""A token lives exactly as long as its job, and is good for that job alone."""

from __future__ import annotations

import json

import pytest

from contract.cloudio.door import OPERATIONS, reference
from support.server import fresh, until

NO_WAIT = {"max_attempts": 3, "delay": "PT0.01S", "factor": 1, "jitter": 0}


def good(door, reference_) -> None:
    door.call("instancePut", {**reference_, "key": "good", "value": 1})
    assert door.value("instanceGet", reference_, "good") == 1


@pytest.mark.parametrize(
    "token",
    ["", "x", "a5bac5cb-b312-4038-b06f-e58a54ce56a", "pj_1.1." + "A" * 43, "pj_ffffffff.1." + "A" * 43, 7, "é`!\n"],
)
def test_a_token_nobody_gave_is_refused(door, token):
    door.refused(reference(door.job(), token=token))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("wfUid", "another"), ("wfUid", ""), ("wfInstUid", "x"), ("wfInstUid", "01a1fc0f-0000-7000-8000-000000000000"),
        ("version", "2"), ("version", 2), ("version", "01"), ("version", 1.5), ("nodeUid", "rest"), ("nodeUid", ""),
        ("executionId", "1"), ("executionId", 1002), ("executionId", ""),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_token_is_refused_alike(door, member, value):
    job = door.job()
    door.refused(reference(job, **{member: value}))
    good(door, reference(job))


def test_a_token_is_not_good_for_another_process(door):
    one, other = door.job(), door.job()
    door.refused(reference(one, token=other["token"]))
    door.refused(reference(one, wfInstUid=other["process"]))
    door.refused(reference(one, wfUid=other["definition"]))


def test_a_token_is_not_good_for_another_job_of_its_process(door, api):
    topic = fresh("topic")
    code = api.deploy({"one": {"kind": "job", "topic": topic}, "two": {"kind": "job", "topic": topic}})
    api.start(code)
    one, two = api.poll(topic, max=2, wait=10)
    assert one["process"] == two["process"]
    door.refused(reference(one, token=two["token"]))
    good(door, reference(one))
    # the type of both is the same, and says nothing against a token
    good(door, reference(two, nodeUid=topic))
    api.finish(one)
    door.refused(reference(one))
    good(door, reference(two))


def test_it_ends_with_its_job(door, api):
    job = door.job()
    good(door, reference(job))
    api.finish(job)
    door.refused(reference(job))
    assert api.get(f"/processes/{job['process']}/values")["items"] == [{"key": "good", "value": 1}]


@pytest.mark.parametrize("command", ["cancel", "restart", "skip", "debug"])
def test_it_ends_with_whatever_ends_the_job(door, api, command):
    job = door.job()
    good(door, reference(job))
    body = {"restart": {"node": "work"}, "skip": {"node": "work"}, "debug": {"node": "work", "output": 1}}.get(command)
    api.post(f"/processes/{job['process']}/{command}", body)
    door.refused(reference(job))


def test_a_terminated_process_leaves_the_token_until_its_worker_has_answered(door, api):
    job = door.job()
    api.post(f"/processes/{job['process']}/terminate")
    assert api.status(job["process"]) == "TERMINATING"
    good(door, reference(job))
    api.finish(job, status=(204, 409))
    api.until(job["process"], "TERMINATED")
    door.refused(reference(job))


def test_a_suspended_process_leaves_it(door, api):
    job = door.job()
    api.post(f"/processes/{job['process']}/suspend")
    good(door, reference(job))
    api.finish(job)
    api.post(f"/processes/{job['process']}/resume")
    door.refused(reference(job))


def test_a_new_attempt_has_a_new_token_and_the_old_one_is_dead(door, api):
    topic = fresh("topic")
    first = door.job(topic, retry=NO_WAIT)
    good(door, reference(first))
    api.fail(first)
    door.refused(reference(first))
    second = api.take(topic)
    assert second["execution_id"] != first["execution_id"]
    door.refused(reference(second, token=first["token"]))
    door.refused(reference(second, executionId=first["execution_id"]))
    good(door, reference(second))
    door.refused(reference(first))


def test_a_command_to_retry_kills_the_old_one_too(door, api):
    topic = fresh("topic")
    first = door.job(topic, retry={"max_attempts": 1})
    api.fail(first, permanent=True)
    api.until(first["process"], "FAILED")
    door.refused(reference(first))
    api.post(f"/processes/{first['process']}/retry")
    second = api.take(topic)
    door.refused(reference(first))
    good(door, reference(second))


def test_it_outlives_its_lease_until_somebody_else_has_the_job(door, api):
    topic = fresh("topic")
    code = api.deploy({"work": {"kind": "job", "topic": topic}})
    api.start(code)
    first = api.take(topic, lease=1)
    good(door, reference(first))
    api.until(api.start(api.deploy({"wait": {"kind": "timer", "after": "PT1.3S"}}))["id"], "COMPLETED")
    good(door, reference(first))
    second = api.take(topic)
    assert second["execution_id"] == first["execution_id"]
    door.refused(reference(first))
    good(door, reference(second))


def test_a_job_that_moves_to_another_version_goes_on_under_the_names_it_was_given(door, api):
    topic = fresh("topic")
    code = api.deploy({"old": {"kind": "job", "topic": topic}})
    process = api.start(code)["id"]
    job = api.take(topic)
    api.deploy({"new": {"kind": "job", "topic": topic, "input": {"x": 1}}}, code=code)
    good(door, reference(job))
    api.post(f"/processes/{process}/migrate", {"version": 2, "mapping": {"old": "new"}})
    good(door, reference(job))
    for operation in OPERATIONS:
        door.call(operation, reference(job, key=fresh("k"), value=1))
    door.refused(reference(job, nodeUid="neither"))
    door.refused(reference(job, version="2"))


# -- http nodes ------------------------------------------------------------------------------------------------------


def test_an_endpoint_works_with_what_it_was_sent_until_it_has_answered(server, door, api, endpoint):
    """202: its answer comes later. The body it got is, with a key, the body of its calls."""
    endpoint.lay(202)
    code = api.deploy({"call": {"kind": "http", "url": f"{endpoint.url}/task"}}, output="${call}")
    id = api.start(code)["id"]
    until(lambda: endpoint.requests)
    body = endpoint.requests[0].body
    assert {name: body[name] for name in ("wfUid", "wfInstUid", "version", "nodeUid", "nodeType")} == {
        "wfUid": code,
        "wfInstUid": id,
        "version": 1,
        "nodeUid": "call",
        "nodeType": "http",
    }
    assert type(body["executionId"]) is int
    door.call("instancePut", {**body, "key": "progress", "value": "half"})
    assert door.value("incrementAndGet", body, "calls") == 1
    assert door.value("incrementAndGet", {**body, "nodeUid": body["nodeType"]}, "calls") == 2
    until(lambda: api.visits(id)[0]["state"] == "OPEN")
    server.client(body["token"]).post(f"/jobs/{body['job']}/complete", {"output": "done"}, 204)
    assert api.until(id, "COMPLETED")["output"] == "done"
    door.refused(body)
    assert api.get(f"/processes/{id}/values")["items"] == [{"key": "progress", "value": "half"}]


def test_an_endpoint_with_a_body_of_its_own_finds_them_in_headers(door, api, endpoint):
    endpoint.lay(202)
    code = api.deploy({"call": {"kind": "http", "url": f"{endpoint.url}/task", "body": {"hello": "you"}}})
    id = api.start(code)["id"]
    until(lambda: endpoint.requests)
    request = endpoint.requests[0]
    assert request.body == {"hello": "you"}
    named = {
        "wfUid": request.headers["penstock-definition"],
        "wfInstUid": request.headers["penstock-process"],
        "version": request.headers["penstock-version"],
        "nodeUid": request.headers["penstock-node"],
        "executionId": request.headers["penstock-execution-id"],
        "token": request.headers["penstock-token"],
    }
    good(door, named)
    api.post(f"/processes/{id}/cancel")
    door.refused(named)


def test_the_token_is_nowhere_kept_in_clear(server, door, api):
    job = door.job()
    good(door, reference(job))
    door.refused(reference(job, executionId=0))
    secret = job["token"].rpartition(".")[2]
    assert secret not in server.log.read_text()
    shown = [
        api.process(job["process"]),
        api.visits(job["process"]),
        api.everything(f"/processes/{job['process']}/history"),
    ]
    assert secret not in json.dumps(shown)
