"""Lists with filters and bulk operations on the real server: what callers send, and what they hear."""

from __future__ import annotations

import pytest

from support.server import Api, fresh, until


@pytest.fixture
def code(api: Api) -> str:
    """Three processes that wait, found by their customers."""
    made = api.deploy({"work": {"kind": "job", "topic": fresh("topic")}}, search=["metadata.customer", "input.amount"])
    for n in range(3):
        api.start(made, metadata={"customer": f"Acme {n}"}, input={"amount": n * 10})
    return made


def ended(api: Api, made):
    return until(lambda: (now := api.get(f"/bulk/{made['id']}"))["state"] != "RUNNING" and now)


def test_a_bulk_operation_from_beginning_to_end(api: Api, code: str):
    wanted = {
        "definition": code,
        "search": {"metadata.customer[prefix]": "Acme", "input.amount[from]": "10"},
        "q": "acm",
    }
    body = {"command": "suspend", "filter": wanted}
    dry = ended(api, api.post("/bulk", {**body, "dry_run": True}, 202))
    assert (dry["done"], dry["dry_run"]) == (2, True)
    told = api.everything(f"/bulk/{dry['id']}/results", limit=1)
    assert [each["outcome"] for each in told] == ["DONE", "DONE"]
    assert api.get("/processes", definition=code, status="SUSPENDED")["items"] == []
    made = ended(api, api.post("/bulk", body, 202, headers={"idempotency-key": fresh("key")}))
    assert [made[name] for name in ("state", "total", "done", "failed", "skipped")] == ["DONE", 2, 2, 0, 0]
    assert made["filter"]["search"] == {"metadata.customer[prefix]": "Acme", "input.amount[from]": "10"}
    again = ended(api, api.post("/bulk", {"command": "suspend", "filter": made["filter"], "dry_run": True}, 202))
    assert again["filter"] == made["filter"], "what was shown can be asked for again"
    assert {each["id"] for each in api.get("/processes", definition=code, status="SUSPENDED")["items"]} == {
        each["process"] for each in told
    }
    ids = [each["id"] for each in api.get("/processes", definition=code)["items"]]
    named = ended(api, api.post("/bulk", {"command": "resume", "ids": ids}, 202))
    assert (named["done"], named["skipped"]) == (2, 1)
    assert api.get(f"/bulk/{named['id']}/failures")["items"] == []
    assert [each["code"] for each in api.get(f"/bulk/{named['id']}/results", outcome="SKIPPED")["items"]] == [
        "wrong_state"
    ]
    listed = [each["id"] for each in api.everything("/bulk", limit=1)]
    assert listed[:4] == [named["id"], again["id"], made["id"], dry["id"]]


def test_a_bulk_operation_can_be_stopped(api: Api):
    code = api.deploy({"work": {"kind": "job", "topic": fresh("topic")}})
    api.post("/processes/~batch", {"processes": [{"definition": code}] * 300})
    made = api.post("/bulk", {"command": "suspend", "filter": {"definition": code}}, 202)
    stopped = api.post(f"/bulk/{made['id']}/cancel")
    assert stopped["state"] == "CANCELLED"
    assert api.post(f"/bulk/{made['id']}/cancel", status=409)["code"] == "wrong_state"


BAD = [
    ({}, ""),
    ({"command": "explode", "ids": ["x"]}, "/command"),
    ({"command": "cancel"}, ""),
    ({"command": "cancel", "ids": []}, "/ids"),
    ({"command": "cancel", "ids": ["x"]}, "/ids/0"),
    ({"command": "cancel", "ids": ["0" * 32], "filter": {"definition": "d"}}, ""),
    ({"command": "cancel", "filter": {}}, "/filter"),
    ({"command": "cancel", "filter": {"state": "RUNNING"}}, "/filter/state"),
    ({"command": "cancel", "filter": {"status": ["RUNING"]}}, "/filter/status"),
    ({"command": "cancel", "filter": {"status": ["COMPLETED"]}}, "/filter/status/0"),
    ({"command": "cancel", "filter": {"definition": "no_such"}}, "/filter/definition"),
    ({"command": "cancel", "filter": {"created_from": "yesterday"}}, "/filter/created_from"),
    ({"command": "cancel", "filter": {"parent": "x"}}, "/filter/parent"),
    ({"command": "cancel", "filter": {"q": "!"}}, "/filter/q"),
    ({"command": "cancel", "filter": {"search": {"x": "1"}}}, "/filter/x"),
    ({"command": "cancel", "filter": {"search": {"metadata.a[near]": "1"}}}, "/filter/metadata.a[near]"),
    ({"command": "cancel", "filter": {"search": {"metadata.unheard": "1"}}}, "/filter/search/metadata.unheard"),
    ({"command": "cancel", "filter": {"definition": "d"}, "arguments": {"why": 1}}, "/arguments/why"),
    ({"command": "cancel", "filter": {"definition": "d"}, "arguments": {"reason": 1}}, "/arguments/reason"),
    ({"command": "skip", "filter": {"definition": "d"}}, "/arguments/node"),
    ({"command": "migrate", "ids": ["0" * 32]}, "/arguments/version"),
    ({"command": "retry", "ids": ["0" * 32], "arguments": {"x": 1}}, "/arguments/x"),
]


@pytest.mark.parametrize(("body", "pointer"), BAD)
def test_bad_bulk_operations_are_refused_with_the_place(api: Api, body, pointer):
    problem = api.post("/bulk", body, 400)
    assert pointer in [each["pointer"] for each in problem["problems"]] or (not pointer and problem["problems"])


def test_an_operation_of_another_tenant_is_not_there(api: Api, other: Api, ana: Api, code: str):
    made = api.post("/bulk", {"command": "resume", "filter": {"definition": code}}, 202)
    for path in ("", "/results", "/failures"):
        for caller in (other, ana):
            caller.get(f"/bulk/{made['id']}{path}", 404)
        api.get(f"/bulk/nonsense{path}", 404)
    other.post(f"/bulk/{made['id']}/cancel", status=404)
    assert made["id"] not in [each["id"] for each in ana.everything("/bulk")]
    foreign = other.post("/bulk", {"command": "cancel", "filter": {"definition": code}}, 400)
    assert foreign["problems"][0]["pointer"] == "/filter/definition"


QUERIES = [
    ({"status": "RUNING"}, "status", "RUNNING"),
    ({"sort": "customer"}, "sort", "created, ended, modified"),
    ({"order": "up"}, "order", ""),
    ({"colour": "red"}, "colour", "created_by"),
    ({"definition": "no_such"}, "definition", "no_such"),
    ({"parent": "nonsense"}, "parent", "nonsense"),
    ({"incidents": "maybe"}, "incidents", ""),
    ({"ended_from": "2026"}, "ended_from", ""),
    ({"metadata.unheard_of": "1"}, "metadata.unheard_of", "metadata.customer"),
    ({"metadata.customer[like]": "1"}, "metadata.customer[like]", "[prefix]"),
    ({"metadata.customer[": "1"}, "metadata.customer[", ""),
    ({"q": " "}, "q", "words"),
    ({"q": "a b c d e f"}, "q", "words"),
    ({"version": "0"}, "version", ""),
    ({"cursor": "AAAA"}, "cursor", ""),
]


@pytest.mark.parametrize(("query", "pointer", "told"), QUERIES)
def test_bad_filters_are_refused_with_what_is_known(api: Api, code: str, query, pointer, told):
    problem = api.get("/processes", 400, **query)
    assert [each["pointer"] for each in problem["problems"]] == [pointer]
    assert told in problem["detail"]


def test_a_cursor_is_good_for_its_own_question(api: Api, code: str):
    cursor = api.get("/processes", definition=code, limit=1)["next"]
    for changed in ({"sort": "modified"}, {"order": "oldest"}, {"q": "acme"}, {"incidents": "false"}):
        api.get("/processes", 400, definition=code, cursor=cursor, **changed)
    assert len(api.get("/processes", definition=code, cursor=cursor)["items"]) == 2


def test_orders_and_pages(api: Api, code: str):
    ids = [each["id"] for each in api.get("/processes", definition=code, order="oldest")["items"]]
    api.post(f"/processes/{ids[0]}/suspend", status=(200, 409))
    for sort in ("created", "modified"):
        newest = [each["id"] for each in api.everything("/processes", definition=code, sort=sort, limit=1)]
        oldest = [
            each["id"] for each in api.everything("/processes", definition=code, sort=sort, order="oldest", limit=1)
        ]
        assert newest == oldest[::-1]
        assert sorted(newest) == sorted(ids)
    assert api.get("/processes", definition=code, sort="ended")["items"] == []


def test_visits_are_filtered(api: Api, code: str):
    [id] = [each["id"] for each in api.get("/processes", definition=code, limit=1)["items"]]
    for query, count in [
        ({"node": "work"}, 1),
        ({"node": "x"}, 0),
        ({"state": "OPEN", "kind": "job"}, 1),
        ({"kind": "item"}, 0),
    ]:
        assert len(api.get(f"/processes/{id}/visits", **query)["items"]) == count, query
    assert "COMPLETED" in api.get(f"/processes/{id}/visits", 400, state="DONE")["detail"]
