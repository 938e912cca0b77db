"""Items over HTTP: a day in the life of an inbox, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.server import Api, fresh

JSON = {"content-type": "application/json"}
FORM = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TASKS = {"T": {"candidates": ["group:staff"], "schema": FORM, "due": "P1D", "priority": 2}}
ROLES = {"permissions": {"manager": ["group:risk"], "initiator": ["role:everyone"]}}
"""Ana and ben are staff; ben is in the group risk, too."""


@pytest.fixture(scope="module")
def code(api: Api) -> str:
    return api.deploy({"t": {"kind": "item", "task": "T", "input": {"of": "${input}"}}}, tasks=TASKS, **ROLES)


@pytest.fixture
def item(api: Api, code: str) -> str:
    return task(api, code)


def task(api: Api, code: str) -> str:
    process = api.start(code, input={"n": 1})["id"]
    (found,) = api.get("/items", process=process)["items"]
    return str(found["id"])


def pointers(problem: Any) -> set[str]:
    return {each["pointer"] for each in problem["problems"]}


def test_a_task_goes_from_hand_to_hand(api: Api, ana: Api, ben: Api, root: Api, item: str):
    path = f"/items/{item}"
    assert ana.post(f"{path}/claim", {}, 200)["owner"] == ana.name
    given = ana.post(f"{path}/delegate", {"to": "user:root@example.com", "note": "you know"}, 200)
    assert (given["owner"], given["delegated_by"]) == (root.name, ana.name)
    back = root.post(f"{path}/unclaim", {}, 200)
    assert (back["state"], back["owner"], back["delegated_by"]) == ("CLAIMED", ana.name, None)
    ana.post(f"{path}/assign", {"to": ben.name}, 403)
    assigned = ben.post(f"{path}/assign", {"to": "group:staff"}, 200)
    assert (assigned["state"], assigned["owner"], assigned["candidates"]) == ("READY", None, ["group:staff"])
    assert ana.post(f"{path}/log", {"message": "at work"}, 201)["data"] == {"level": "info", "message": "at work"}
    (line,) = ben.get(f"{path}/log")["items"]
    assert (line["line"], line["actor"], line["type"]) == (1, ana.name, "log")
    done = ana.post(f"{path}/complete", {"output": {"n": 3}}, 200)
    assert (done["state"], done["ended_by"], done["output"]) == ("COMPLETED", ana.name, {"n": 3})
    history = api.history(done["process"])
    assert history == ["Started", "ItemClaimed", "ItemDelegated", "ItemUnclaimed", "ItemAssigned", "ItemClaimed", "ItemCompleted"]  # fmt: skip


def test_an_inbox_is_sorted_filtered_and_counted(api: Api, ana: Api, ben: Api, code: str):
    before = ana.get("/items/~counts")
    ids = [task(api, code) for _ in range(4)]
    ben.call("PATCH", f"/items/{ids[1]}", {"due_at": "2001-01-01T00:00:00+01:00", "priority": 900})
    ben.call("PATCH", f"/items/{ids[2]}", {"due_at": None})
    ana.post(f"/items/{ids[3]}/claim", {}, 200)
    now = ana.get("/items/~counts")
    assert [now[name] - before[name] for name in ("mine", "groups", "overdue")] == [1, 3, 1]
    assert now["capped"] is False

    def listed(**query: Any) -> list[str]:
        found = [each["id"] for each in ana.everything("/items", definition=code, limit=2, **query)]
        return [id for id in found if id in ids]

    assert listed(mine=True, overdue=True) == [ids[1]]
    assert listed(mine=True, sort="priority")[0] == ids[1]
    assert listed(mine=True, sort="due") == [ids[1], ids[0], ids[3], ids[2]]
    assert listed(mine=True, sort="due", order="desc") == [ids[2], ids[3], ids[0], ids[1]]
    assert listed(mine=True, state=["READY"], order="asc") == ids[:3]
    assert listed(owner=ana.name) == [ids[3]]
    assert set(listed(group="staff")) == set(ids[:3])
    assert listed(group="risk") == []
    assert listed(due_before="2002-01-01T00:00:00Z") == [ids[1]]
    assert listed(kind="MESSAGE") == []
    (late,) = [each for each in api.everything("/items", overdue=True) if each["id"] == ids[1]]
    assert late["due_at"] == "2000-12-31T23:00:00.000Z"


def test_a_draft_is_saved_read_and_forgotten(api: Api, ana: Api, ben: Api, item: str):
    path = f"/items/{item}/draft"
    ana.call("PUT", path, {"n": "not yet a number"}, 403)
    assert "READY" in api.call("PUT", path, {"n": "not yet a number"}, 409)["detail"]
    ana.post(f"/items/{item}/claim", {}, 200)
    ana.get(path, 404)
    saved = ana.request("PUT", path, json={"n": "not yet a number"})
    assert saved.json()["data"] == {"n": "not yet a number"}
    tag = saved.headers["etag"]
    assert ana.request("GET", path).headers["etag"] == tag
    newer = ana.request("PUT", path, json={"n": 1}, headers={"if-match": tag})
    assert (newer.status_code, newer.headers["etag"] != tag) == (200, True)
    stale = ana.request("PUT", path, json={"n": 2}, headers={"if-match": tag})
    assert (stale.status_code, stale.json()["code"]) == (412, "stale")
    assert ana.request("DELETE", path, headers={"if-match": tag}).status_code == 412
    assert ana.get(path)["data"] == {"n": 1}
    ben.get(path, 403)
    ana.delete(path, 204)
    ana.get(path, 404)
    ana.call("PUT", path, {"n": 5}, 200)
    ana.post(f"/items/{item}/complete", {"output": {"n": 5}}, 200)
    ana.get(path, 404)


def test_a_change_is_made_for_what_was_read(ben: Api, item: str):
    path = f"/items/{item}"
    tag = ben.request("GET", path).headers["etag"]
    changed = ben.request("PATCH", path, json={"priority": 7}, headers={"if-match": tag})
    assert (changed.status_code, changed.json()["priority"]) == (200, 7)
    assert changed.headers["etag"] != tag
    stale = ben.request("PATCH", path, json={"priority": 8}, headers={"if-match": tag})
    assert (stale.status_code, stale.json()["code"]) == (412, "stale")
    assert ben.request("PATCH", path, json={"priority": 8}, headers={"if-match": "*"}).json()["priority"] == 8
    assert ben.request("PATCH", path, json={}, headers={"if-match": "nonsense"}).status_code == 400
    assert ben.get(path)["due_at"] is not None


def test_a_cancelled_task_is_an_error_of_its_process(api: Api, ana: Api, ben: Api):
    nodes = {"t": {"kind": "item", "task": "T", "on_error": {"ItemCancelled": "no"}}, "no": {"kind": "end"}}
    code = api.deploy(nodes, tasks=TASKS, output="${t__error_ItemCancelled.message}", **ROLES)
    id = task(api, code)
    ana.post(f"/items/{id}/cancel", {"reason": "x"}, 403)
    gone = ben.post(f"/items/{id}/cancel", {"reason": "double"}, 200)
    assert (gone["state"], gone["ended_by"]) == ("CANCELLED", ben.name)
    ended = api.until(gone["process"], "COMPLETED")
    assert ended["output"] == "double"


def test_many_at_once(api: Api, ana: Api, code: str):
    ids = [task(api, code) for _ in range(3)]
    body = {"items": [{"id": id, "command": "claim"} for id in [*ids, "no-uuid"]]}
    results = ana.post("/items/~batch", body)["results"]
    assert [each["status"] for each in results] == [200, 200, 200, 404]
    body = {"items": [{"id": id, "command": "complete", "output": {"n": at or "x"}} for at, id in enumerate(ids)]}
    results = ana.post("/items/~batch", body)["results"]
    assert [each["status"] for each in results] == [400, 200, 200]
    assert pointers(results[0]["error"]) == {"/output/n"}
    odd = ana.post("/items/~batch", {"items": [{"id": ids[0], "command": "claim", "output": 1}]}, 400)
    assert pointers(odd) == {"/items/0/output"}


def test_a_message_is_read_and_a_thread_talked_in(api: Api, ana: Api, ben: Api):
    nodes = {"m": {"kind": "item", "type": "message", "task": "T", "input": {"text": "done"}}, "end": {"kind": "end"}}
    flows = [{"from": "m", "to": "end"}]
    code = api.deploy(nodes, flows, tasks={"T": {"candidates": ["group:staff"]}}, **ROLES)
    process = api.start(code)
    assert process["status"] == "COMPLETED"
    (message,) = ana.get("/items", process=process["id"], mine=True, kind="MESSAGE")["items"]
    assert "MESSAGE" in ana.post(f"/items/{message['id']}/complete", {}, 409)["detail"]
    assert ana.post(f"/items/{message['id']}/acknowledge", {}, 200)["state"] == "COMPLETED"
    assert ben.get("/items", process=process["id"], mine=True, state="READY")["items"] == []

    waiting = api.start(api.deploy({"w": {"kind": "job", "topic": fresh("w")}}, **ROLES))["id"]
    ana.post(f"/processes/{waiting}/threads", {"name": "May I?"}, 403)
    thread = ben.post(f"/processes/{waiting}/threads", {"name": "Which?", "candidates": ["group:staff"]}, 201)
    assert (thread["kind"], thread["name"], thread["node"], thread["owner"]) == ("THREAD", "Which?", "", ben.name)
    path = f"/items/{thread['id']}"
    first = ana.post(f"{path}/posts", {"text": "The frist."}, 201)
    ben.call("PUT", f"{path}/posts/{first['number']}", {"text": "No"}, 403)
    edited = ana.call("PUT", f"{path}/posts/{first['number']}", {"text": "The first."}, 200)
    assert (edited["text"], edited["edited_at"] is None) == ("The first.", False)
    second = ben.post(f"{path}/posts", {"text": "Thanks"}, 201)
    ben.delete(f"{path}/posts/{second['number']}", 204)
    ben.delete(f"{path}/posts/{second['number']}", 404)
    assert [each["text"] for each in ana.everything(f"{path}/posts", limit=1)] == ["The first.", None]
    assert [each["type"] for each in ben.get(f"{path}/log")["items"]] == ["post.edited", "post.deleted"]
    ana.get(f"{path}/log", 403)
    assert [each["posts"] for each in ana.get(f"/processes/{waiting}/threads")["items"]] == [2]
    assert ana.get("/items/~counts")["threads"] >= 1
    assert ben.post(f"{path}/complete", {}, 200)["state"] == "COMPLETED"
    ana.post(f"{path}/posts", {"text": "too late"}, 409)
    assert api.status(waiting) == "RUNNING"


# -- what is refused ---------------------------------------------------------------------------------------------------

ODD_LISTS = [
    ("sort=name", "sort"),
    ("sort=-due", "sort"),
    ("order=up", "order"),
    ("kind=STEP", "kind"),
    ("owner=ana", "owner"),
    ("owner=user%3Anobody", "owner"),
    ("group=", "group"),
    ("overdue=perhaps", "overdue"),
    ("due_before=2026-11-21", "due_before"),
    ("due_before=2026-11-21T12:00:00", "due_before"),
    ("due_before=tomorrow", "due_before"),
    ("sort=due&state=COMPLETED", "state"),
    ("sort=created&overdue=true", "sort"),
    ("colour=red", "colour"),
    ("sort=due&sort=priority", "sort"),
    ("limit=0", "limit"),
]


@pytest.mark.parametrize(("query", "pointer"), ODD_LISTS, ids=[query for query, _ in ODD_LISTS])
def test_an_odd_filter_is_refused_and_named(api: Api, query, pointer):
    found = api.call("GET", f"/items?{query}", status=400)
    assert {each.partition(".")[0] for each in pointers(found)} == {pointer}, found


def test_a_cursor_is_good_for_its_list_alone(api: Api, ana: Api, code: str):
    for _ in range(3):
        task(api, code)
    query = {"mine": True, "definition": code, "sort": "due", "limit": 1}
    cursor = ana.get("/items", **query)["next"]
    assert ana.get("/items", **query, cursor=cursor)["items"]
    for odd in ({**query, "sort": "priority"}, {**query, "order": "desc"}, {**query, "mine": False}, {"limit": 1}):
        assert pointers(ana.get("/items", 400, **odd, cursor=cursor)) == {"cursor"}
    for text in (cursor[:-2], cursor[::-1], "", "x", "A" * 3000):
        assert pointers(ana.get("/items", 400, **query, cursor=text)) == {"cursor"}


ODD_CHANGES = [
    ({"due_at": "2026-11-21T12:00:00"}, "/due_at"),
    ({"due_at": "2026-11-21"}, "/due_at"),
    ({"due_at": "soon"}, "/due_at"),
    ({"due_at": "0000-01-01T00:00:00Z"}, "/due_at"),
    ({"due_at": 5}, "/due_at"),
    ({"priority": 1001}, "/priority"),
    ({"priority": -1001}, "/priority"),
    ({"priority": 1.5}, "/priority"),
    ({"priority": None}, "/priority"),
    ({"owner": "user:ana@example.com"}, "/owner"),
]


@pytest.mark.parametrize(("body", "pointer"), ODD_CHANGES, ids=[str(body) for body, _ in ODD_CHANGES])
def test_an_odd_change_is_refused_and_changes_nothing(api: Api, item: str, body, pointer):
    before = api.get(f"/items/{item}")
    assert pointers(api.call("PATCH", f"/items/{item}", body, 400)) == {pointer}
    assert api.get(f"/items/{item}") == before


def test_a_draft_has_its_limits(api: Api, ana: Api, item: str):
    ana.post(f"/items/{item}/claim", {}, 200)
    path = f"/items/{item}/draft"
    assert ana.call("PUT", path, "x" * 300_000, 413)["code"] == "too_large"
    assert ana.call("PUT", path, "x" * (1024 * 1024 + 10), 413)["code"] == "too_large"
    for deep in ("[" * 1000 + "]" * 1000, '{"a":' * 1000 + "1" + "}" * 1000):
        assert ana.call("PUT", path, status=400, content=deep, headers=JSON)["code"] == "invalid"
    ana.call("PUT", path, status=400, content="", headers=JSON)
    ana.call("PUT", path, status=400, content='{"a": "\\u0000"}', headers=JSON)
    ana.get(path, 404)
    for fine in (None, False, 0, "", [], {"n": ["any", {"thing": 1.5}]}):
        assert ana.call("PUT", path, status=200, content=json.dumps(fine), headers=JSON)["data"] == fine


@pytest.mark.parametrize(
    "to", ["user:nobody@example.com", "group:nobody", "app:nobody", "role:everyone", "ana", "user:", "group: x"]
)
def test_nobody_is_given_an_item(api: Api, item: str, to):
    before = api.get(f"/items/{item}")
    assert pointers(api.post(f"/items/{item}/assign", {"to": to}, 400)) == {"/to"}
    api.post(f"/items/{item}/claim", {}, 200)
    assert pointers(api.post(f"/items/{item}/delegate", {"to": to}, 400)) == {"/to"}
    assert before["owner"] is None


def test_odd_threads_and_posts(api: Api, other: Api):
    process = api.start(api.deploy({"w": {"kind": "job", "topic": fresh("w")}}))["id"]
    odd = {"name": "n", "candidates": ["group:staff", "user:nobody@example.com"]}
    assert pointers(api.post(f"/processes/{process}/threads", odd, 400)) == {"/candidates/1"}
    assert pointers(api.post(f"/processes/{process}/threads", {"name": ""}, 400)) == {"/name"}
    assert api.get(f"/processes/{process}/threads")["items"] == []
    thread = api.post(f"/processes/{process}/threads", {"name": "n", "text": "hello"}, 201)["id"]
    for text in ("", "x" * 10_001):
        assert pointers(api.post(f"/items/{thread}/posts", {"text": text}, 400)) == {"/text"}
    for number in (0, 2, 2**31):
        api.call("PUT", f"/items/{thread}/posts/{number}", {"text": "x"}, 404)
    api.call("PUT", f"/items/{thread}/posts/one", {"text": "x"}, (400, 404))
    for path in (f"/processes/{process}/threads", f"/items/{thread}/posts", f"/items/{thread}/log"):
        other.get(path, 404)
    other.post(f"/items/{thread}/posts", {"text": "x"}, 404)
    assert [each["text"] for each in api.get(f"/items/{thread}/posts")["items"]] == ["hello"]


def test_a_strangers_bad_request_tells_nothing(api: Api, ana: Api, other: Api):
    hidden = task(api, api.deploy({"t": {"kind": "item", "task": "T"}}, tasks={"T": {"candidates": ["group:risk"], "schema": FORM}}))  # fmt: skip
    for who in (ana, other):
        who.post(f"/items/{hidden}/complete", {"output": {"n": "x"}}, 404)
        who.post(f"/items/{hidden}/assign", {"to": "nobody"}, 404)
        who.post(f"/items/{hidden}/delegate", {"to": "nobody"}, 404)
        who.call("PATCH", f"/items/{hidden}", {"priority": 1}, 404)
        who.post(f"/items/{hidden}/acknowledge", {}, 404)
        who.get(f"/items/{hidden}/draft", 404)
        who.get(f"/items/{hidden}/posts", 404)
