"""Every route's happy path, in the journeys they are made for."""

from __future__ import annotations

import base64
import itertools
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.server import Api, Server, fresh, until

FORM = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}, "n": {"type": "number"}},
    "required": ["approved"],
}


def nodes_of(api: Api, id: str) -> list[tuple[str, str]]:
    return [(visit["node"], visit["state"]) for visit in api.visits(id)]


# -- who calls -------------------------------------------------------------------------------------------------------


def test_a_token_is_had_by_every_documented_way(server: Server, nobody: Api):
    application = server.credentials["application"]
    id, secret = application["id"], application["secret"]
    grant = {"grant_type": "client_credentials"}
    basic = base64.b64encode(f"{id}:{secret}".encode()).decode()
    ways = [
        {"json": {**grant, "client_id": id, "client_secret": secret}},
        {"data": {**grant, "client_id": id, "client_secret": secret, "scope": "all"}},
        {"data": grant, "headers": {"authorization": f"Basic {basic}"}},
    ]
    for way in ways:
        response = nobody.request("POST", "/token", **way)
        assert response.status_code == 200, response.text
        assert response.headers["cache-control"] == "no-store"
        token = response.json()
        assert (token["token_type"], token["expires_in"]) == ("Bearer", 3600)
        me = server.client(token["access_token"]).get("/me")
        assert (me["principal"], me["kind"], me["tenant"]["code"]) == (f"app:{id}", "application", "demo")


def test_people_are_known_by_their_address(ana: Api, root: Api):
    me = ana.get("/me")
    assert (me["principal"], me["kind"], me["groups"], me["roles"]) == ("user:ana@example.com", "user", ["staff"], [])
    assert root.get("/me")["roles"] == ["admin", "operator"]


# -- definitions -----------------------------------------------------------------------------------------------------


def test_a_definition_gets_versions_and_shows_its_document(api: Api):
    code = fresh("d")
    yaml = f"penstock: 1\ncode: {code}\nname: {{en: One, es: Uno}}\nnodes:\n  a: {{kind: job, topic: t}}\n"
    types = ("application/yaml", "text/yaml", "application/x-yaml; charset=utf-8")
    answers = [api.request("POST", "/definitions", content=yaml, headers={"content-type": kind}) for kind in types]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert [answer.json()["unchanged"] for answer in answers] == [False, True, True]
    untold = api.request("POST", "/definitions", content=yaml)
    assert untold.json()["unchanged"] is True
    document = {"penstock": 1, "code": code, "nodes": {"b": {"kind": "job", "topic": "t"}}}
    second = api.post("/definitions", document, 201)
    assert (second["version"], second["id"]) == (2, answers[0].json()["id"])
    found = api.get(f"/definitions/{code}")
    assert (found["latest"], found["document"]) == (2, document)
    versions = api.get(f"/definitions/{code}/versions")["items"]
    assert [each["version"] for each in versions] == [2, 1]
    first = api.get(f"/definitions/{code}/versions/1")
    assert first["version_id"] == answers[0].json()["version_id"]
    assert first["document"]["name"] == {"en": "One", "es": "Uno"}
    assert code in {each["code"] for each in api.everything("/definitions", limit=200)}
    valid = api.post("/definitions/~validate", document)
    assert valid == {"valid": True, "problems": []}
    assert api.get(f"/definitions/{code}")["latest"] == 2
    assert api.start(code, version=1)["version"] == 1
    assert api.start(code)["version"] == 2


def test_lists_of_definitions_and_versions_go_by_pages(api: Api):
    code = fresh("d")
    for n in range(5):
        api.deploy({f"n{n}": {"kind": "job", "topic": "t"}}, code=code)
    versions = api.everything(f"/definitions/{code}/versions", limit=2)
    assert [each["version"] for each in versions] == [5, 4, 3, 2, 1]
    one_by_one = [each["code"] for each in api.everything("/definitions", limit=3)]
    assert len(one_by_one) == len(set(one_by_one))
    assert set(one_by_one) >= {code}


# -- people ----------------------------------------------------------------------------------------------------------


def test_a_person_claims_and_completes_an_item(api: Api, ana: Api, ben: Api):
    tasks = {
        "APPROVE": {
            "name": {"en": "Approve"},
            "description": "Look closely",
            "schema": FORM,
            "ui": {"type": "VerticalLayout"},
            "candidates": ["group:staff"],
            "due": "P2D",
            "priority": 7,
        }
    }
    nodes = {
        "approve": {"kind": "item", "task": "APPROVE", "input": {"of": "${input.of}"}},
        "yes": {"kind": "end"},
        "no": {"kind": "end"},
    }
    flows = [
        {"from": "approve", "to": "yes", "if": "approve.approved"},
        {"from": "approve", "to": "no", "default": True},
    ]
    code = api.deploy(nodes, flows, tasks=tasks, permissions={"initiator": ["group:staff"]}, output="${approve}")
    id = ana.post("/processes", {"definition": code, "input": {"of": "me"}}, 201)["id"]
    (item,) = ben.get("/items", mine=True, definition=code, task="APPROVE", state="READY")["items"]
    assert (item["process"], item["data"], item["priority"], item["owner"]) == (id, {"of": "me"}, 7, None)
    assert "schema" not in item
    whole = ben.get(f"/items/{item['id']}")
    assert (whole["schema"], whole["ui"], whole["name"]) == (FORM, {"type": "VerticalLayout"}, {"en": "Approve"})
    due = datetime.fromisoformat(whole["due_at"]) - datetime.fromisoformat(whole["created_at"])
    assert due == timedelta(days=2)
    claimed = ben.post(f"/items/{item['id']}/claim", {}, 200)
    assert (claimed["state"], claimed["owner"]) == ("CLAIMED", "user:ben@example.com")
    assert ben.post(f"/items/{item['id']}/claim", {}, 200)["state"] == "CLAIMED"
    assert ana.get("/items", process=id, mine=True)["items"] == []
    wrong = ben.post(f"/items/{item['id']}/complete", {"output": {"n": "x"}}, 400)
    assert {each["pointer"] for each in wrong["problems"]} == {"/output", "/output/n"}
    done = ben.post(f"/items/{item['id']}/complete", {"output": {"approved": True, "n": 1}}, 200)
    assert (done["state"], done["ended_by"], done["output"]) == (
        "COMPLETED",
        "user:ben@example.com",
        {"approved": True, "n": 1},
    )
    assert nodes_of(api, id) == [("approve", "COMPLETED"), ("yes", "COMPLETED")]
    assert api.process(id)["output"]["approved"] is True
    refused = ben.post(f"/items/{item['id']}/claim", {}, 409)
    assert "COMPLETED" in refused["detail"]


def test_an_item_of_a_cancelled_process_is_cancelled(api: Api, ben: Api):
    code = api.deploy({"check": {"kind": "item", "task": "C"}}, tasks={"C": {"candidates": ["role:everyone"]}})
    id = api.start(code)["id"]
    (item,) = ben.get("/items", process=id)["items"]
    api.post(f"/processes/{id}/cancel")
    assert ben.get(f"/items/{item['id']}")["state"] == "CANCELLED"
    ben.post(f"/items/{item['id']}/complete", {}, 409)
    assert ben.get("/items", process=id, state=["READY", "CLAIMED"])["items"] == []


def test_items_go_by_pages(api: Api):
    code = api.deploy({"check": {"kind": "item", "task": "C"}}, tasks={"C": {"candidates": ["role:everyone"]}})
    ids = [api.start(code)["id"] for _ in range(7)]
    found = api.everything("/items", definition=code, limit=3)
    assert [item["process"] for item in found] == ids[::-1]


# -- search and pages ------------------------------------------------------------------------------------------------


def test_processes_are_found_by_what_their_definition_lists(api: Api, ana: Api):
    search = ["metadata.customer", "input.number", "entity.kind.name"]
    code = api.deploy(
        {"work": {"kind": "job", "topic": "t"}}, search=search, permissions={"initiator": ["group:staff"]}
    )
    ids = []
    for n in range(6):
        body = {
            "metadata": {"customer": f"c{n % 2}", "other": "x"},
            "input": {"number": n},
            "entity": {"kind": {"name": "k"}},
        }
        ids.append((ana if n == 5 else api).post("/processes", {"definition": code, **body}, 201)["id"])
    api.post(f"/processes/{ids[0]}/suspend")
    api.post(f"/processes/{ids[1]}/cancel")

    def found(**query: Any) -> list[int]:
        return [ids.index(each["id"]) for each in api.everything("/processes", definition=code, **query)]

    assert found() == [5, 4, 3, 2, 1, 0]
    assert found(order="oldest") == [0, 1, 2, 3, 4, 5]
    assert found(**{"metadata.customer": "c1"}) == [5, 3, 1]
    assert found(**{"metadata.customer": "c1", "input.number": "3"}) == [3]
    assert found(**{"entity.kind.name": "k", "limit": 4}) == [5, 4, 3, 2, 1, 0]
    assert found(**{"input.number[from]": "1", "input.number[to]": "3"}) == [2, 1]
    assert found(**{"metadata.customer[prefix]": "c", "input.number[from]": "4"}) == [5, 4]
    assert found(q="C1 k") == [5, 3, 1]
    assert found(q="c9") == []
    refused = api.get("/processes", 400, definition=code, **{"metadata.other": "x"})
    assert refused["problems"][0]["pointer"] == "metadata.other"
    assert "metadata.customer" in refused["detail"], "what is known is told"
    assert found(status="SUSPENDED") == [0]
    assert found(status=["SUSPENDED", "CANCELLED"]) == [1, 0]
    assert found(created_by="user:ana@example.com") == [5]
    assert found(version=1) == [5, 4, 3, 2, 1, 0]
    assert found(version=2) == []
    assert found(incidents="true") == []
    assert found(sort="modified")[:2] == [1, 0]
    assert found(sort="ended") == [1]
    assert found(ended_from=api.process(ids[1])["ended_at"]) == [1]
    assert found(ended_to=api.process(ids[1])["ended_at"]) == []
    third = api.process(ids[3])["created_at"]
    assert found(created_from=third)[-1] <= 3
    assert 3 not in found(created_to=third)


def test_pages_have_no_gap_and_no_duplicate_while_processes_are_added(api: Api):
    code = api.deploy({"work": {"kind": "job", "topic": fresh("topic")}})
    api.post("/processes/~batch", {"processes": [{"definition": code}] * 120})
    before = [each["id"] for each in api.everything("/processes", definition=code, limit=200)]
    assert len(set(before)) == 120
    stop = threading.Event()
    added: list[str] = []

    def add() -> None:
        while not stop.is_set():
            added.append(api.start(code)["id"])

    adding = threading.Thread(target=add)
    adding.start()
    try:
        newest = [each["id"] for each in api.everything("/processes", definition=code, limit=7)]
        oldest = [each["id"] for each in api.everything("/processes", definition=code, order="oldest", limit=11)]
    finally:
        stop.set()
        adding.join()
    assert len(added) > 5
    for seen, expected in ((newest, before), (oldest, before[::-1])):
        assert len(seen) == len(set(seen))
        assert [id for id in seen if id in set(before)] == expected
    after = [each["id"] for each in api.everything("/processes", definition=code, order="oldest", limit=200)]
    assert after == before[::-1] + added


def test_values_history_and_visits_go_by_pages(api: Api):
    topic = fresh("topic")
    steps = [f"s{n}" for n in range(12)]
    nodes = {step: {"kind": "job", "topic": topic} for step in steps}
    flows = [{"from": one, "to": two} for one, two in itertools.pairwise(steps)]
    id = api.start(api.deploy(nodes, flows))["id"]
    for n in range(12):
        api.finish(api.take(topic), n, values={f"key{n:02}": n})
    assert [visit["node"] for visit in api.everything(f"/processes/{id}/visits", limit=5)] == steps
    history = api.everything(f"/processes/{id}/history", limit=5)
    assert [entry["seq"] for entry in history] == list(range(1, 14))
    assert [entry["type"] for entry in history] == ["Started"] + ["JobCompleted"] * 12
    assert history[1]["data"]["output"] == 0
    values = api.everything(f"/processes/{id}/values", limit=5)
    assert values == [{"key": f"key{n:02}", "value": n} for n in range(12)]
    visit = api.visits(id)[3]
    assert (visit["output"], visit["attempt"], visit["kind"], visit["state"]) == (3, 1, "job", "COMPLETED")
    assert visit["started_at"] <= visit["ended_at"]


# -- values ----------------------------------------------------------------------------------------------------------


def test_values_and_counters_of_processes_and_definitions(api: Api, ana: Api):
    topic = fresh("topic")
    nodes = {
        "first": {"kind": "job", "topic": topic},
        "work": {"kind": "job", "topic": topic, "input": {"n": "${values.n}"}},
    }
    code = api.deploy(nodes, [{"from": "first", "to": "work"}])
    id = api.start(code)["id"]
    for base in (f"/processes/{id}/values", f"/definitions/{code}/values"):
        assert api.get(base) == {"items": [], "next": None}
        assert api.put(f"{base}/a", {"x": [1, 2.5, None]}) == {"key": "a", "value": {"x": [1, 2.5, None]}}
        assert [api.post(f"{base}/n/increment")["value"] for _ in range(3)] == [1, 2, 3]
        assert ana.get(f"{base}/n")["value"] == 3
        assert [each["key"] for each in ana.get(base)["items"]] == ["a", "n"]
        api.delete(f"{base}/a", 204)
        api.get(f"{base}/a", 404)
    api.finish(api.take(topic), increments=["n"])
    assert api.take(topic)["input"] == {"n": 4}


def test_counters_lose_nothing_under_many_hands(api: Api):
    code = api.deploy({"work": {"kind": "job", "topic": "t"}})
    id = api.start(code)["id"]
    paths = [f"/processes/{id}/values/n/increment", f"/definitions/{code}/values/n/increment"]
    seen: list[int] = []

    def count() -> None:
        for _ in range(20):
            seen.extend(api.post(path)["value"] for path in paths)

    threads = [threading.Thread(target=count) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == sorted([*range(1, 121), *range(1, 121)])


# -- messages, signals, timers, children -----------------------------------------------------------------------------


def waiter(api: Api, **message: Any) -> str:
    return api.deploy({"wait": {"kind": "message", **message}}, output="${wait}")


def test_a_message_wakes_the_one_that_waits_for_its_key(api: Api):
    name = fresh("message")
    code = waiter(api, message=name, key="${input.order}")
    ids = {order: api.start(code, input={"order": order})["id"] for order in ("a", "b")}
    sent = api.post("/messages", {"name": name, "key": "b", "payload": {"paid": 5}, "id": "m1"}, 202)
    assert sent == {"id": "m1", "duplicate": False}
    assert api.until(ids["b"], "COMPLETED")["output"] == {"paid": 5}
    assert api.post("/messages", {"name": name, "key": "a", "id": "m1"}, 202) == {"id": "m1", "duplicate": True}
    assert api.status(ids["a"]) == "RUNNING"


def test_a_message_is_kept_until_somebody_waits_for_it_and_goes_to_one(api: Api):
    name = fresh("message")
    code = waiter(api, message=name)
    api.post("/messages", {"name": name, "payload": 1, "id": "kept"}, 202)
    assert api.post("/messages", {"name": name, "payload": 2, "id": "kept"}, 202)["duplicate"] is True
    first, second = api.start(code)["id"], api.start(code)["id"]
    until(lambda: "COMPLETED" in {api.status(first), api.status(second)})
    assert sorted([api.status(first), api.status(second)]) == ["COMPLETED", "RUNNING"]
    api.post("/messages", {"name": name, "payload": 3}, 202)
    outputs = [api.until(id, "COMPLETED")["output"] for id in (first, second)]
    assert sorted(outputs) == [1, 3]


def test_a_message_that_expired_wakes_nobody(api: Api):
    name = fresh("message")
    api.post("/messages", {"name": name, "ttl": 1}, 202)
    began = time.monotonic()
    code = waiter(api, message=name)
    until(lambda: time.monotonic() - began > 1.05)
    id = api.start(code)["id"]
    assert api.post("/messages", {"name": name, "payload": "fresh"}, 202)["duplicate"] is False
    assert api.until(id, "COMPLETED")["output"] == "fresh"


def test_a_message_starts_a_process(api: Api):
    name, topic = fresh("message"), fresh("topic")
    nodes = {
        "begin": {"kind": "start", "message": name},
        "work": {"kind": "job", "topic": topic, "input": {"of": "${begin}"}},
    }
    code = api.deploy(nodes, [{"from": "begin", "to": "work"}])
    for n in range(2):
        assert api.post("/messages", {"name": name, "payload": {"n": n}, "id": f"m{n}"}, 202)["duplicate"] is False
        assert api.post("/messages", {"name": name, "payload": {"n": n}, "id": f"m{n}"}, 202)["duplicate"] is True
        job = api.take(topic)
        assert job["input"] == {"of": {"n": n}}
        assert job["definition"] == code
    assert len(api.get("/processes", definition=code)["items"]) == 2


def test_a_signal_reaches_everybody_who_listens_now(api: Api):
    name = fresh("signal")
    code = waiter(api, signal=name)
    assert api.post("/signals", {"name": name}, 202) == {"delivered": 0}
    ids = [api.start(code)["id"] for _ in range(3)]
    one = api.post(f"/processes/{ids[0]}/signal", {"name": name, "payload": "alone"})
    assert one == {"delivered": 1}
    assert api.until(ids[0], "COMPLETED")["output"] == "alone"
    assert [api.status(id) for id in ids[1:]] == ["RUNNING", "RUNNING"]
    assert api.post("/signals", {"name": name, "payload": "all"}, 202) == {"delivered": 2}
    assert [api.until(id, "COMPLETED")["output"] for id in ids[1:]] == ["all", "all"]


def test_more_listeners_than_one_unit_takes_are_all_told(api: Api):
    name = fresh("signal")
    code = waiter(api, signal=name)
    api.post("/processes/~batch", {"processes": [{"definition": code}] * 450})
    assert api.post("/signals", {"name": name}, 202) == {"delivered": 450}
    until(lambda: not api.get("/processes", definition=code, status="RUNNING")["items"])


def test_timers_fire_and_boundaries_interrupt(api: Api):
    topic = fresh("topic")
    nodes = {
        "wait": {"kind": "timer", "after": "PT0.1S"},
        "work": {"kind": "job", "topic": topic},
        "late": {"kind": "boundary", "attached_to": "work", "timer": "${input.limit}"},
        "too_late": {"kind": "set", "vars": {"late": True}},
        "reminder": {"kind": "boundary", "attached_to": "work", "timer": "PT0.05S", "interrupting": False},
        "reminded": {"kind": "end"},
    }
    flows = [
        *({"from": a, "to": b} for a, b in (("wait", "work"), ("late", "too_late"), ("reminder", "reminded"))),
    ]
    id = api.start(api.deploy(nodes, flows, output="${vars}"), input={"limit": "PT0.4S"})["id"]
    job = api.take(topic)
    process = api.until(id, "COMPLETED")
    assert process["output"] == {"late": True}
    assert api.finish(job, None, 409)["code"] == "lease_lost"
    states = dict(nodes_of(api, id))
    assert (states["work"], states["reminded"], states["late"]) == ("CANCELLED", "COMPLETED", "COMPLETED")


def test_a_timer_until_a_time_and_an_event_gateway(api: Api):
    name = fresh("message")
    nodes = {
        "first": {"kind": "gateway", "gateway": "event"},
        "told": {"kind": "message", "message": name, "key": "${input.key}"},
        "over": {"kind": "timer", "until": "${input.until}"},
    }
    flows = [{"from": "first", "to": "told"}, {"from": "first", "to": "over"}]
    code = api.deploy(nodes, flows)
    soon = (datetime.now(UTC) + timedelta(seconds=0.2)).isoformat().replace("+00:00", "Z")
    later = "2999-01-01T00:00:00Z"
    timed = api.start(code, input={"key": "x", "until": soon})["id"]
    told = api.start(code, input={"key": "y", "until": later})["id"]
    api.post("/messages", {"name": name, "key": "y"}, 202)
    api.until(told, "COMPLETED")
    api.until(timed, "COMPLETED")
    assert [node for node, _ in nodes_of(api, told)] == ["first", "told"]
    assert [node for node, _ in nodes_of(api, timed)] == ["first", "over"]


def test_a_process_calls_another_and_goes_on_with_its_output(api: Api):
    topic = fresh("topic")
    child = api.deploy({"work": {"kind": "job", "topic": topic, "input": "${input}"}}, output="${work}")
    nodes = {
        "sub": {"kind": "call", "definition": child, "input": {"n": "${input.n}"}, "on_error": {"NO": "refused"}},
        "refused": {"kind": "set", "vars": {"refused": True}},
        "kept": {"kind": "set", "vars": {"result": "${sub}"}},
    }
    code = api.deploy(nodes, [{"from": "sub", "to": "kept"}], output="${vars}")
    id = api.start(code, input={"n": 3})["id"]
    job = api.take(topic)
    assert job["input"] == {"n": 3}
    called = api.process(job["process"])
    assert called["parent"] == {"id": id, "visit": 1}
    assert called["definition"] == child
    api.finish(job, {"square": 9})
    assert api.until(id, "COMPLETED")["output"] == {"result": {"square": 9}}

    thrown = api.start(code, input={"n": 4})["id"]
    job = api.take(topic)
    api.post(f"/jobs/{job['id']}/throw", {"lease": job["lease"], "code": "NO"}, 204)
    assert api.until(thrown, "COMPLETED")["output"] == {"refused": True}

    cancelled = api.start(code, input={"n": 5})["id"]
    job = api.take(topic)
    api.post(f"/processes/{cancelled}/cancel")
    api.until(job["process"], "CANCELLED")
    api.finish(job, None, 409)

    orphaned = api.start(code, input={"n": 6})["id"]
    job = api.take(topic)
    api.post(f"/processes/{job['process']}/cancel")
    api.until(orphaned, "FAILED")
    assert api.visits(orphaned)[0]["failure"]["type"] == "ChildCancelled"


def test_elements_run_side_by_side_and_their_outputs_come_in_order(api: Api):
    topic = fresh("topic")
    inner = {"work": {"kind": "job", "topic": topic, "input": {"of": "${paper}", "at": "${loop.index}"}}}
    nodes = {
        "papers": {
            "kind": "scope",
            "for_each": "${input.papers}",
            "as": "paper",
            "limit": 4,
            "nodes": inner,
            "output": "${work}",
        },
        "sum": {"kind": "set", "vars": {"all": "${papers}"}},
    }
    code = api.deploy(nodes, [{"from": "papers", "to": "sum"}], output="${vars.all}")
    papers = [f"p{n}" for n in range(9)]
    id = api.start(code, input={"papers": papers})["id"]
    open_at_most = 0
    while api.status(id) == "RUNNING":
        jobs = api.poll(topic, max=50, wait=2)
        open_at_most = max(open_at_most, len(jobs))
        for job in reversed(jobs):
            api.finish(job, [job["input"]["of"], job["input"]["at"]])
    assert open_at_most == 4
    assert api.process(id)["output"] == [[paper, index] for index, paper in enumerate(papers)]
    empty = api.start(code, input={"papers": []})["id"]
    assert api.process(empty)["output"] == []


def test_a_definition_that_calls_itself_without_end_stops(api: Api):
    code = fresh("again")
    api.deploy({"again": {"kind": "call", "definition": code}}, code=code)
    first = api.start(code)["id"]
    (deepest,) = until(lambda: api.get("/processes", definition=code, status="FAILED")["items"])
    assert "deep" in api.visits(deepest["id"])[0]["failure"]["message"]
    api.post(f"/processes/{first}/cancel")
    until(lambda: not api.get("/processes", definition=code, status=["RUNNING", "FAILED"])["items"])


def test_a_loop_without_a_wait_is_an_incident(api: Api):
    nodes = {"begin": {"kind": "start"}, "a": {"kind": "set", "vars": {"n": 1}}, "b": {"kind": "set", "vars": {"n": 2}}}
    flows = [{"from": "begin", "to": "a"}, {"from": "a", "to": "b"}, {"from": "b", "to": "a"}]
    id = api.start(api.deploy(nodes, flows))["id"]
    assert api.status(id) == "FAILED"
    assert api.everything(f"/processes/{id}/visits", limit=200)[-1]["failure"]["type"] == "TooManyMoves"
    api.post(f"/processes/{id}/cancel")


def test_a_process_that_is_driven_from_outside(api: Api):
    code = api.deploy(driver="client")
    id = api.start(code, entity={"a": 1})["id"]
    done = api.post(f"/processes/{id}/complete", {"output": {"total": 3}})
    assert (done["status"], done["output"], done["entity"]) == ("COMPLETED", {"total": 3}, {"a": 1})
    assert done["ended_at"] is not None


# -- commands --------------------------------------------------------------------------------------------------------


class Chain:
    """one -> two -> three, each a job with one attempt."""

    def __init__(self, api: Api) -> None:
        self.topic = fresh("topic")
        self.nodes = {
            n: {"kind": "job", "topic": self.topic, "retry": {"max_attempts": 1}} for n in ("one", "two", "three")
        }
        self.flows = [{"from": "one", "to": "two"}, {"from": "two", "to": "three"}]
        self.code = api.deploy(self.nodes, self.flows, output="${[one, two, three]}")
        self.id = str(api.start(self.code)["id"])
        self.path = f"/processes/{self.id}"


def test_retry_is_a_new_attempt_of_what_failed_and_nothing_else(api: Api):
    chain = Chain(api)
    api.finish(api.take(chain.topic), 1)
    api.fail(api.take(chain.topic))
    assert api.post(f"{chain.path}/retry")["status"] == "RETRYING"
    job = api.take(chain.topic)
    assert (job["node"], job["attempt"]) == ("two", 2)
    api.finish(job, 2)
    assert api.status(chain.id) == "RUNNING"
    api.finish(api.take(chain.topic), 3)
    process = api.process(chain.id)
    assert (process["status"], process["output"], process["retries"]) == ("COMPLETED", [1, 2, 3], 1)


def test_debug_gives_an_input_or_a_result_by_hand(api: Api):
    chain = Chain(api)
    api.post(f"{chain.path}/debug", {"node": "one", "output": "by hand"})
    api.fail(api.take(chain.topic))
    visit = api.visits(chain.id)[-1]
    api.post(f"{chain.path}/debug", {"visit": visit["n"], "input": {"other": "input"}})
    job = api.take(chain.topic)
    assert (job["node"], job["input"]) == ("two", {"other": "input"})
    api.finish(job, 2)
    api.finish(api.take(chain.topic), 3)
    assert api.process(chain.id)["output"] == ["by hand", 2, 3]


def test_skip_ends_a_visit_with_an_output_of_ones_own(api: Api):
    chain = Chain(api)
    job = api.take(chain.topic)
    api.post(f"{chain.path}/skip", {"node": "one", "output": "skipped"})
    api.finish(job, 1, 409)
    api.fail(api.take(chain.topic))
    api.post(f"{chain.path}/skip", {"node": "two"})
    api.finish(api.take(chain.topic), 3)
    process = api.process(chain.id)
    assert (process["status"], process["incidents"]) == ("COMPLETED", 0)
    assert process["output"] == ["skipped", None, 3]
    assert nodes_of(api, chain.id)[0] == ("one", "SKIPPED")


def test_restart_goes_back_to_a_node(api: Api):
    chain = Chain(api)
    for n in (1, 2):
        api.finish(api.take(chain.topic), n)
    third = api.take(chain.topic)
    api.post(f"{chain.path}/restart", {"node": "two"})
    api.finish(third, 3, 409)
    job = api.take(chain.topic)
    assert job["node"] == "two"
    api.finish(job, "again")
    api.finish(api.take(chain.topic), 3)
    assert api.process(chain.id)["output"] == [1, "again", 3]
    assert nodes_of(api, chain.id) == [
        *[
            ("one", "COMPLETED"),
            ("two", "SUPERSEDED"),
            ("three", "SUPERSEDED"),
            ("two", "COMPLETED"),
            ("three", "COMPLETED"),
        ]
    ]


def test_migrate_moves_tokens_to_another_version(api: Api):
    chain = Chain(api)
    job = api.take(chain.topic)
    renamed = {"uno": chain.nodes["one"], "two": chain.nodes["two"], "extra": chain.nodes["three"]}
    flows = [{"from": "uno", "to": "two"}, {"from": "two", "to": "extra"}]
    api.deploy(renamed, flows, code=chain.code, output="${[uno, two, extra]}")
    before = api.process(chain.id)
    refused = api.post(f"{chain.path}/migrate", {"version": 2}, 400)
    assert "one" in refused["problems"][0]["message"]
    dry = api.post(f"{chain.path}/migrate", {"version": 2, "dry_run": True})
    assert dry["problems"]
    unknown = api.post(f"{chain.path}/migrate", {"version": 2, "mapping": {"one": "nowhere"}}, 400)
    assert unknown["problems"][0]["pointer"] == "/mapping/one"
    mapping = {"one": "uno"}
    dry = api.post(f"{chain.path}/migrate", {"version": 2, "mapping": mapping, "dry_run": True})
    assert (dry["moves"], dry["problems"]) == ([{"visit": job["visit"], "node": "one", "to": "uno"}], [])
    assert api.process(chain.id) == before
    moved = api.post(f"{chain.path}/migrate", {"version": 2, "mapping": mapping})
    assert moved["process"]["version"] == 2
    api.finish(job, 1)
    for n in (2, 3):
        api.finish(api.take(chain.topic), n)
    assert api.process(chain.id)["output"] == [1, 2, 3]
    assert [node for node, _ in nodes_of(api, chain.id)] == ["uno", "two", "extra"]


def test_suspend_keeps_what_comes_and_resume_goes_on(api: Api):
    name = fresh("message")
    nodes = {
        "told": {"kind": "message", "message": name},
        "wait": {"kind": "timer", "after": "PT0.1S"},
        "check": {"kind": "item", "task": "C"},
    }
    id = api.start(api.deploy(nodes, tasks={"C": {"candidates": ["role:everyone"]}}))["id"]
    api.post(f"/processes/{id}/suspend")
    (item,) = api.get("/items", process=id)["items"]
    api.post(f"/items/{item['id']}/complete", {}, 200)
    api.post("/messages", {"name": name}, 202)
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 0.3)
    assert api.status(id) == "SUSPENDED"
    api.post(f"/processes/{id}/resume")
    api.until(id, "COMPLETED")


def test_a_batch_of_starts_answers_each_by_itself(api: Api):
    code = api.deploy({"work": {"kind": "job", "topic": fresh("topic")}})
    id = str(uuid.uuid4())
    starts = [
        {"definition": code, "id": id},
        {"definition": "no_such"},
        {"definition": code, "id": "x"},
        {"definition": code},
    ]
    results = api.post("/processes/~batch", {"processes": starts})["results"]
    assert [result["status"] for result in results] == [201, 404, 400, 201]
    assert results[0]["process"]["id"] == id
    assert results[1]["error"]["code"] == "not_found"
    (again,) = api.post("/processes/~batch", {"processes": starts[:1]})["results"]
    assert (again["status"], again["process"]["id"]) == (200, id)


@pytest.mark.parametrize("broken", ["input", "flow", "join"])
def test_what_the_engine_cannot_do_is_an_incident_that_can_be_skipped(api: Api, broken):
    topic = fresh("topic")
    nodes: dict[str, Any] = {"work": {"kind": "job", "topic": topic}, "end": {"kind": "end"}}
    flows: list[Any] = [{"from": "work", "to": "end"}]
    if broken == "input":
        nodes["work"]["input"] = {"x": "${input.no_such.member}"}
    elif broken == "flow":
        flows[0]["if"] = "input.n > 3"
    else:
        nodes |= {"other": {"kind": "job", "topic": topic}, "end": {"kind": "end", "join": "all"}}
        flows = [{"from": "work", "to": "end", "if": "true"}, {"from": "other", "to": "end", "if": "input.n > 3"}]
        nodes["elsewhere"] = {"kind": "end"}
        flows.append({"from": "other", "to": "elsewhere", "default": True})
    id = api.start(api.deploy(nodes, flows), input={"n": 1})["id"]
    for job in api.poll(topic, max=5):
        api.finish(job)
    process = api.until(id, "FAILED")
    assert process["incidents"] == 1
    (failed,) = [visit for visit in api.visits(id) if visit["state"] == "FAILED"]
    assert failed["failure"]["message"]
    if broken == "flow":
        api.post(f"/processes/{id}/restart", {"node": "end"})
        api.post(f"/processes/{id}/cancel")
    else:
        api.post(f"/processes/{id}/skip", {"visit": failed["n"]})
        api.until(id, "COMPLETED")
