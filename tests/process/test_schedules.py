"""Schedules on the real process: over HTTP, and through `kill -9` around due times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest

from support.server import Api, fresh, serving, until


def add(api: Api, code: str, status: int = 201, **more: Any) -> Any:
    return api.post("/schedules", {"definition": code, "id": fresh("s"), "every": "P1D", **more}, status)


@pytest.fixture(scope="module")
def code(api: Api) -> str:
    schema = {"input": {"type": "object", "properties": {"x": {"type": "integer"}}}}
    return api.deploy({"wait": {"kind": "job", "topic": fresh("t")}}, data=schema)


def test_a_schedule_from_its_birth_to_its_end(api, code):
    made = add(api, code, cron="30 2 * * MON-FRI", every=None, timezone="Europe/Madrid", input={"x": 1})
    path = f"/schedules/{made['id']}"
    assert (made["state"], made["revision"], made["catch_up"], made["overlap"]) == ("ACTIVE", 1, "last", "allow")
    assert api.get(path) == made
    coming = api.get(f"{path}/next", count=3)
    assert coming["times"][0] == made["next"]
    assert len(coming["times"]) == 3
    assert made in api.everything("/schedules", definition=code, state="ACTIVE")

    response = api.request("GET", path)
    tag = response.headers["etag"]
    body = {"definition": code, "every": "PT1H", "jitter": "PT5M", "end": "2099-01-01T00:00:00Z"}
    changed = api.call("PUT", path, body, 200, headers={"if-match": tag})
    assert (changed["every"], changed["cron"], changed["jitter"], changed["revision"]) == ("PT1H", None, "PT5M", 2)
    api.call("PUT", path, body, 412, headers={"if-match": tag})
    api.call("PUT", path, body, 400, headers={"if-match": "latest"})

    assert api.post(f"{path}/pause")["next"] is None
    api.post(f"{path}/pause", status=409)
    assert api.post(f"{path}/resume")["next"] is not None
    process = api.post(f"{path}/run", status=201)["process"]
    assert api.process(process)["created_by"] == api.get("/me")["principal"]
    api.delete(path, 204)
    for call in (api.get, api.delete):
        call(path, 404)
    assert api.status(process) == "RUNNING"


def test_it_fires_by_itself_and_by_its_creator(api, code):
    made = add(api, code, every="PT1S", catch_up="none", input={"x": 5})
    path = f"/schedules/{made['id']}"
    seen = until(lambda: (found := api.get(path))["last_process"] and found)
    process = api.process(seen["last_process"])
    assert process["input"] == {"x": 5}
    assert process["created_by"] == seen["created_by"]
    assert api.get(f"/processes/{process['id']}/history")["items"][0]["actor"] == "system"
    api.delete(path, 204)


def test_pages_hold_every_schedule_once(api, code):
    ids = [add(api, code, id=f"page-{n:02}-{fresh('x')}")["id"] for n in range(7)]
    found = [each["id"] for each in api.everything("/schedules", definition=code, limit=2)]
    assert found == sorted(found)
    assert set(ids) <= set(found)
    assert len(set(found)) == len(found)
    for id in ids:
        api.delete(f"/schedules/{id}")


def test_the_other_tenant_sees_none_of_it_and_may_use_the_id(api, other, code):
    made = add(api, code)
    path = f"/schedules/{made['id']}"
    for call in (other.get, other.delete):
        call(path, 404)
    for name in ("pause", "resume", "run"):
        other.post(f"{path}/{name}", status=404)
    other.get(f"{path}/next", 404)
    other.call("PUT", path, {"definition": code, "every": "PT1H"}, 404)
    add(other, code, 404, id=made["id"])
    theirs = other.deploy({"wait": {"kind": "job", "topic": "t"}})
    assert add(other, theirs, id=made["id"])["id"] == made["id"]
    for one in (api, other):
        one.delete(path, 204)


def test_one_id_is_one_schedule_and_a_repeat_gets_the_first_answer(api, code):
    body = {"definition": code, "id": fresh("s"), "every": "P1D"}
    key = {"idempotency-key": fresh("k")}
    first = api.call("POST", "/schedules", body, 201, headers=key)
    assert api.call("POST", "/schedules", body, 201, headers=key) == first
    api.call("POST", "/schedules", {**body, "every": "P2D"}, 409, headers=key)
    assert api.request("POST", "/schedules", json=body).json()["code"] == "already_exists"
    api.delete(f"/schedules/{body['id']}")


@pytest.mark.parametrize(
    ("wanted", "pointer"),
    [
        ({"cron": "61 * * * *"}, "/cron"),
        ({"cron": "0 0 * * *\u0000"}, "/cron"),
        ({"cron": ""}, "/cron"),
        ({"cron": "* * * * * *"}, "/cron"),
        ({"cron": "*" * 300}, "/cron"),
        ({"cron": 5}, "/cron"),
        ({"cron": None}, ""),
        ({"every": "PT1H"}, ""),
        ({"cron": None, "every": "PT0.1S"}, "/every"),
        ({"cron": None, "every": "P1M"}, "/every"),
        ({"timezone": "Mars/Olympus"}, "/timezone"),
        ({"timezone": "../../etc/passwd"}, "/timezone"),
        ({"start": "tomorrow"}, "/start"),
        ({"start": "2030-01-02T00:00:00Z", "end": "2030-01-01T00:00:00Z"}, "/end"),
        ({"end": "2001-01-01T00:00:00Z"}, "/end"),
        ({"jitter": "P1D"}, "/jitter"),
        ({"jitter": "P1M"}, "/jitter"),
        ({"overlap": "queue"}, "/overlap"),
        ({"catch_up": "some"}, "/catch_up"),
        ({"catch_up_limit": 0}, "/catch_up_limit"),
        ({"catch_up_limit": 10**30}, "/catch_up_limit"),
        ({"id": "a/b"}, "/id"),
        ({"id": "a\u0007"}, "/id"),
        ({"id": ""}, "/id"),
        ({"version": 0}, "/version"),
        ({"input": {"x": "no number"}}, "/input/x"),
        ({"surprise": 1}, "/surprise"),
    ],
)
def test_bad_schedules_are_refused_with_what_and_where(api, code, wanted, pointer):
    before = len(api.everything("/schedules", definition=code, limit=200))
    body = {"definition": code, "cron": "0 0 * * *", **wanted}
    response = api.request("POST", "/schedules", json=body)
    assert response.status_code == 400, response.text
    assert pointer in [each["pointer"] for each in response.json()["problems"]], response.text
    assert len(api.everything("/schedules", definition=code, limit=200)) == before


def test_cron_nonsense_is_named_by_field_and_place(api, code):
    response = api.request("POST", "/schedules", json={"definition": code, "cron": "0 25 * * *"})
    assert "field 2, the hour, at character 3" in response.json()["detail"]


def test_unknown_definitions_versions_filters_and_cursors(api, code):
    add(api, "nothing-of-this-name", 404)
    add(api, code, 404, version=99)
    add(api, code, 413, input={"x": 1, "y": "x" * 1_100_000})
    api.get("/schedules", 400, state="ASLEEP")
    api.get("/schedules", 400, colour="red")
    api.get("/schedules", 400, cursor="tampered")
    api.get("/schedules/none/next", 404)
    made = add(api, code)
    for count in (0, 101, "x"):
        api.get(f"/schedules/{made['id']}/next", 400, count=count)
    api.delete(f"/schedules/{made['id']}")


def test_the_command_line_adds_lists_pauses_and_removes(server, api, code):
    def run(*words: str) -> Any:
        command = [sys.executable, "-m", "penstock", "schedule", *words, "--json"]
        more = ["--credentials", str(server.data / "credentials.json")]
        done = subprocess.run([*command, *more], capture_output=True, text=True, check=True, env=dict(os.environ))
        return json.loads(done.stdout)

    id = fresh("cli")
    made = run("add", code, "--cron", "@daily", "--id", id, "--timezone", "Asia/Tokyo", "--input", '{"x": 1}')
    assert (made["id"], made["cron"], made["input"]) == (id, "@daily", {"x": 1})
    assert id in [each["id"] for each in run("list", "--definition", code)["items"]]
    assert len(run("next", id, "--count", "4")["times"]) == 4
    assert run("pause", id)["state"] == "PAUSED"
    assert run("resume", id)["state"] == "ACTIVE"
    assert run("remove", id) == {"id": id, "deleted": True}
    api.get(f"/schedules/{id}", 404)


def test_kill_9_around_due_times_starts_each_of_them_once(tmp_path):
    with serving(tmp_path) as server:
        api = server.application()
        code = api.deploy({"wait": {"kind": "job", "topic": fresh("t")}})
        ids = [add(api, code, every="PT1S", catch_up="all", catch_up_limit=1000)["id"] for _ in range(5)]
        begun = time.monotonic()
        for pause in (0.95, 1.0, 1.05, 0.4, 2.1):
            time.sleep(pause)
            server.kill()
            server.start()
            api = server.client(api.token)
        until(lambda: time.monotonic() - begun > 8 and all(_caught_up(api, id) for id in ids), 30, 0.1)
        schedules = [api.post(f"/schedules/{id}/pause") for id in ids]
        processes = [each["id"] for each in api.everything("/processes", definition=code, limit=200)]
        assert len(processes) == len(set(processes))
        expected = Counter({each["id"]: _ms(each["last_due"]) - _ms(each["created_at"]) for each in schedules})
        assert all(total % 1000 == 0 for total in expected.values()), expected
        assert len(processes) == sum(expected.values()) // 1000
        assert min(expected.values()) >= 7_000
        assert [each["failures"] for each in schedules] == [0] * 5
        assert {each["last_process"] for each in schedules} <= set(processes)


def _caught_up(api: Api, id: str) -> bool:
    seen = api.get(f"/schedules/{id}")
    return seen["last_due"] is not None and _ms(seen["last_due"]) > time.time() * 1000 - 1_500


def _ms(text: str) -> int:
    from penstock.core.durations import parse_time

    return parse_time(text)
