"""What belongs to one tenant does not exist for another, whatever id, key, name or cursor it sends."""

from __future__ import annotations

import uuid

import pytest

from support.routes import BODIES, OF_OPERATORS, WITH_ID, body_of, names, path_of
from support.server import Api, fresh, until

TASKS = {"CHECK": {"candidates": ["role:everyone"]}}


class Ours:
    """One of everything that has an id, in the demo tenant."""

    def __init__(self, api: Api) -> None:
        self.topic = fresh("topic")
        nodes = {"work": {"kind": "job", "topic": self.topic}, "check": {"kind": "item", "task": "CHECK"}}
        self.code = api.deploy(nodes, tasks=TASKS)
        self.process = api.start(self.code)["id"]
        self.job = api.take(self.topic, lease=600)
        (self.item,) = api.get("/items", process=self.process)["items"]
        for owner in (f"/processes/{self.process}", f"/definitions/{self.code}"):
            api.put(f"{owner}/values/a_key", "ours")
        files = {"file": ("ours.txt", b"ours", "text/plain")}
        self.document = api.call("POST", f"/documents?process={self.process}", files=files)["id"]

    def state(self, api: Api) -> object:
        values = [api.get(f"{o}/values") for o in (f"/processes/{self.process}", f"/definitions/{self.code}")]
        content = api.request("GET", f"/documents/{self.document}/content").content
        return (
            content,
            api.process(self.process),
            api.get(f"/items/{self.item['id']}"),
            api.visits(self.process),
            values,
        )


@pytest.fixture(scope="module")
def ours(api: Api) -> Ours:
    return Ours(api)


@pytest.mark.parametrize("route", WITH_ID, ids=names(WITH_ID))
def test_another_tenants_id_is_not_found(api: Api, other: Api, ours: Ours, route):
    before = ours.state(api)
    ids = {"id": ours.process}
    more = body_of(route)
    if route.path.startswith("/jobs"):
        ids["id"] = ours.job["id"]
        more["json"] = {**BODIES[route.operation], "lease": ours.job["lease"]}
    elif route.path.startswith("/items"):
        ids["id"] = ours.item["id"]
    elif route.path.startswith("/documents"):
        ids["id"] = ours.document
    ids["document"] = ours.document
    ids["owner"] = ours.process if route.path.startswith("/processes") else ours.code
    ids["code"] = ours.code
    response = other.request(route.method, path_of(route, **ids), **more)
    status, answer = (403, "forbidden") if route.operation in OF_OPERATORS else (404, "not_found")
    assert response.status_code == status, response.text
    assert response.json()["code"] == answer
    assert ours.state(api) == before


def test_another_tenants_jobs_are_refused_in_batches(api: Api, other: Api, ours: Ours):
    entry = {"id": ours.job["id"], "lease": ours.job["lease"]}
    entries = {
        "complete": entry,
        "fail": {**entry, "failure": {"type": "X"}},
        "throw": {**entry, "code": "X"},
        "extend": entry,
        "log": {**entry, "message": "m"},
    }
    for verb, each in entries.items():
        (result,) = other.post(f"/jobs/{verb}", {"jobs": [each]})["results"]
        assert result["error"]["status"] == 404, (verb, result)
    (result,) = api.post("/jobs/extend", {"jobs": [entry]})["results"]
    assert result["status"] == "ok"


def test_lists_show_the_own_tenants_things_only(api: Api, other: Api, ours: Ours):
    not_there = other.get("/processes", definition=ours.code, expect=400)
    assert not_there["detail"] == other.get("/processes", definition="x", expect=400)["detail"].replace(
        "'x'", repr(ours.code)
    )
    assert other.get("/items", definition=ours.code)["items"] == []
    assert ours.code not in {each["code"] for each in other.everything("/definitions", limit=200)}
    assert ours.process not in {each["id"] for each in other.everything("/processes", limit=200)}
    assert other.get("/items", process=ours.process, expect=404)["code"] == "not_found"
    assert other.poll(ours.topic) == []


def test_a_definition_of_another_tenant_cannot_be_started_or_called(api: Api, other: Api, ours: Ours):
    other.post("/processes", {"definition": ours.code}, 404)
    id = other.start(other.deploy({"sub": {"kind": "call", "definition": ours.code}}))["id"]
    other.until(id, "FAILED")
    (visit,) = other.visits(id)
    assert ours.code in visit["failure"]["message"]


def test_a_cursor_of_another_tenant_is_refused(api: Api, other: Api):
    code = fresh("same")
    for each in (api, other):
        each.deploy({"work": {"kind": "job", "topic": "t"}}, code=code)
        each.start(code)
        each.start(code)
    cursor = api.get("/processes", definition=code, limit=1)["next"]
    refused = other.get("/processes", definition=code, limit=1, cursor=cursor, expect=400)
    assert refused["problems"][0]["pointer"] == "cursor"


def test_the_same_ids_keys_codes_and_topics_in_two_tenants_do_not_meet(api: Api, other: Api):
    id, key, code, topic = str(uuid.uuid4()), fresh("key"), fresh("same"), fresh("topic")
    headers = {"idempotency-key": key}
    for each in (api, other):
        each.deploy({"work": {"kind": "job", "topic": topic}}, code=code, output="${work}")
        body = {"definition": code, "id": id, "input": {"of": each.name}}
        assert each.post("/processes", body, 201, headers=headers)["id"] == id
    for each in (api, other):
        assert each.process(id)["input"] == {"of": each.name}
        each.put(f"/processes/{id}/values/k", each.name)
        each.post(f"/definitions/{code}/values/counter/increment")
    job = api.take(topic)
    other.finish(job, "stolen", 409)  # their process of this id has no such lease
    api.finish(job, "api")
    assert api.until(id, "COMPLETED")["output"] == "api"
    assert other.status(id) == "RUNNING"
    assert other.get(f"/processes/{id}/values/k")["value"] == other.name
    assert api.get(f"/definitions/{code}/values/counter")["value"] == 1
    job = other.take(topic)
    other.finish(job, "other")
    assert other.until(id, "COMPLETED")["output"] == "other"


def test_messages_and_signals_stay_in_their_tenant(api: Api, other: Api):
    name = fresh("message")
    code = fresh("waits")
    ids = {}
    for each in (api, other):
        flows = [{"from": "message", "to": "signal"}]
        nodes = {"message": {"kind": "message", "message": name}, "signal": {"kind": "message", "signal": name}}
        each.deploy(nodes, flows, code=code)
        ids[each.name] = each.start(code)["id"]
    api.post("/messages", {"name": name, "id": "1"}, 202)
    until(lambda: any(visit["node"] == "signal" for visit in api.visits(ids[api.name])))
    assert [visit["node"] for visit in other.visits(ids[other.name])] == ["message"]
    assert other.post("/signals", {"name": name}, 202)["delivered"] == 0
    assert api.post("/signals", {"name": name}, 202)["delivered"] == 1
    api.until(ids[api.name], "COMPLETED")
    # a message's id is of its tenant, too
    assert other.post("/messages", {"name": name, "id": "1"}, 202)["duplicate"] is False
