"""Permissions of definitions are live; a definition that names viewers shows its processes to them alone."""

from __future__ import annotations

from typing import Any

import pytest

from process.people import etag, group, logged_in
from support.server import Api, Server, fresh

TASK = {"T": {"candidates": ["role:everyone"]}}


def work(api: Api, **more: Any) -> str:
    return api.deploy({"work": {"kind": "job", "topic": fresh("topic")}}, **more)


def put(api: Api, code: str, status: int = 200, **permissions: list[str]) -> Any:
    return api.call("PUT", f"/definitions/{code}/permissions", {"permissions": permissions}, status)


def granted(api: Api, code: str) -> dict[str, list[str]]:
    found = api.get(f"/definitions/{code}/permissions")["permissions"]
    return {name: grantees for name, grantees in found.items() if grantees}


def test_permissions_are_read_and_put_whole(root: Api):
    code = work(root, permissions={"initiator": ["group:staff"]})
    path = f"/definitions/{code}/permissions"
    assert root.get(path)["permissions"] == {
        "initiator": ["group:staff"], "candidate": [], "viewer": [], "manager": [], "administrator": [],
    }  # fmt: skip
    tag = etag(root, path)
    body = {"permissions": {"manager": ["user:ANA@example.com", "group:risk"]}}
    first = root.request("PUT", path, json=body, headers={"if-match": tag})
    assert first.status_code == 200
    assert granted(root, code) == {"manager": ["group:risk", "user:ana@example.com"]}
    assert root.request("PUT", path, json=body, headers={"if-match": tag}).status_code == 412
    assert root.request("PUT", path, json=body).headers["etag"] == first.headers["etag"] == etag(root, path)
    assert root.request("GET", path, headers={"if-none-match": etag(root, path)}).status_code == 304


@pytest.mark.parametrize(
    ("permissions", "pointer"),
    [
        ({"manager": ["group:risk", "group:no_such"]}, "/permissions/manager/1"),
        ({"manager": ["user:nobody@example.com"]}, "/permissions/manager/0"),
        ({"viewer": ["app:nothing"]}, "/permissions/viewer/0"),
        ({"viewer": ["role:boss"]}, "/permissions/viewer/0"),
        ({"viewer": ["ana@example.com"]}, "/permissions/viewer/0"),
        ({"viewer": ["group:risk", "group:risk"]}, "/permissions/viewer/1"),
        ({"owner": ["group:risk"]}, "/permissions/owner"),
        ({"a/b": []}, "/permissions/a~1b"),
        ({"viewer": "group:risk"}, "/permissions"),
        ({"viewer": [f"group:g{at}" for at in range(1_001)]}, "/permissions"),
        ({"viewer": ["group:" + "x" * 10_000]}, "/permissions/viewer/0"),
    ],
)
def test_bad_permissions_are_refused_and_none_is_put(root: Api, permissions, pointer):
    code = work(root, permissions={"initiator": ["group:staff"]})
    problem = root.put(f"/definitions/{code}/permissions", {"permissions": permissions}, 400)
    assert problem["problems"][0]["pointer"] == pointer
    assert granted(root, code) == {"initiator": ["group:staff"]}


def test_a_document_is_applied_first_and_when_its_block_changes(root: Api):
    code = fresh("d")
    work(root, code=code, permissions={"initiator": ["group:staff"]})
    put(root, code, manager=["group:risk"])
    work(root, code=code, permissions={"initiator": ["group:staff"]}, name="new, with the same block")
    assert granted(root, code) == {"manager": ["group:risk"]}
    work(root, code=code, permissions={"initiator": ["user:ANA@example.com"]})
    assert granted(root, code) == {"initiator": ["user:ana@example.com"]}
    put(root, code, manager=["group:risk"])
    work(root, code=code)
    assert granted(root, code) == {}


def test_a_document_that_names_strangers_is_warned_of(root: Api):
    document = {"penstock": 1, "code": fresh("d"), "nodes": {"work": {"kind": "job", "topic": "t"}},
                "permissions": {"initiator": ["group:staff", "group:no_such"], "manager": ["user:new@example.org"]}}  # fmt: skip
    warnings = root.post("/definitions", document, 201)["warnings"]
    assert [(each["pointer"], each["code"], each["warning"]) for each in warnings] == [
        ("/permissions/initiator/1", "unknown_grantee", True),
        ("/permissions/manager/0", "unknown_grantee", True),
    ]


def test_rights_follow_the_grants_and_not_the_document(server: Server, root: Api):
    me = logged_in(server, root)
    code = work(root, permissions={"initiator": [me.name]})
    id = me.start(code)["id"]
    me.post(f"/processes/{id}/suspend", None, 403)
    put(root, code, manager=[me.name])
    me.post(f"/processes/{id}/suspend")
    me.put(f"/processes/{id}/values/k", 1)
    me.put(f"/definitions/{code}/values/k", 1)
    put(root, code)
    me.post(f"/processes/{id}/resume", None, 403)
    me.call("PUT", f"/processes/{id}/values/k", 2, 403)
    me.post("/processes", {"definition": code}, 403)


def test_managers_read_grants_and_administrators_of_the_definition_put_and_deploy(server: Server, root: Api):
    me = logged_in(server, root)
    code = work(root)
    path = f"/definitions/{code}/permissions"
    document = {"penstock": 1, "code": code, "name": "mine", "nodes": {"work": {"kind": "job", "topic": "t"}}}
    me.get(path, expect=403)
    me.post("/definitions", document, 403)
    put(root, code, manager=[me.name])
    me.get(path)
    put(me, code, 403, manager=[me.name], administrator=[me.name])
    me.post("/definitions", document, 403)
    put(root, code, administrator=[me.name])
    me.post("/definitions", {**document, "permissions": {"administrator": [me.name]}}, 201)
    me.post("/definitions", {**document, "code": fresh("new")}, 403)
    me.post("/definitions", {"code": 7}, 403)
    put(me, code, manager=["group:risk"])
    put(me, code, 403, manager=[])


def test_nobody_grants_by_a_document_what_they_may_not_put(server: Server, root: Api):
    made = root.post("/applications", {"name": "ci"}, 201)
    ci, me = server.as_application(made["id"], made["secret"]), logged_in(server, root)
    mine = {"permissions": {"administrator": [ci.name]}}
    code, path = work(root, permissions={"manager": [me.name]}), "/definitions/{}"
    document = {"penstock": 1, "code": code, "nodes": {"work": {"kind": "job", "topic": "t"}}}
    assert ci.post("/definitions", {**document, **mine}, 403)["code"] == "forbidden"
    ci.post("/definitions", document, 403)  # what is taken away is changed as well
    assert root.get(path.format(code))["latest"] == 1
    assert granted(root, code) == {"manager": [me.name]}
    ci.post("/definitions", {**document, "name": "n", "permissions": {"manager": [me.name]}}, 201)
    put(root, code, initiator=["group:staff"], manager=[me.name])
    root.post("/definitions", {**document, "permissions": {"viewer": [me.name], "manager": [me.name]}}, 201)
    me.post(f"/definitions/{code}/versions/2/activate", {"comment": "back"}, 403)  # an old block is one, too
    assert root.get(path.format(code))["active"] == 3
    assert granted(root, code) == {"viewer": [me.name], "manager": [me.name]}
    me.post(f"/definitions/{code}/versions/3/retire", {"comment": "stop"})
    new = work(ci, **mine)
    assert granted(root, new) == {"administrator": [ci.name]}, "who makes a definition says whose it is"
    put(ci, new, administrator=[ci.name], viewer=[me.name])
    work(ci, code=new, permissions={"administrator": [ci.name, me.name]})
    assert granted(ci, new) == {"administrator": sorted([ci.name, me.name])}


def test_the_candidates_of_a_definition_get_what_names_none(server: Server, root: Api):
    me, stranger = logged_in(server, root), logged_in(server, root)
    code = root.deploy({"work": {"kind": "item", "task": "T"}}, tasks={"T": {}}, permissions={"candidate": [me.name]})
    root.start(code)
    (item,) = me.get("/items", definition=code)["items"]
    assert item["candidates"] == [me.name]
    stranger.get(f"/items/{item['id']}", expect=404)


# -- viewers ---------------------------------------------------------------------------------------------------------


def seen(api: Api, code: str, **query: Any) -> set[str]:
    return {each["id"] for each in api.everything("/processes", definition=code, limit=1, **query)}


def test_processes_of_a_definition_with_viewers_are_for_them(server: Server, root: Api, api: Api):
    viewer, manager, starter, stranger = (logged_in(server, root) for _ in range(4))
    code = work(root, permissions={"initiator": [starter.name]}, search=["input.name"])
    mine = starter.start(code, input={"name": "x"})["id"]
    others = {root.start(code, input={"name": "x"})["id"] for _ in range(3)}
    all_of_it = {mine, *others}
    assert seen(stranger, code) == all_of_it, "without viewers everybody of the tenant sees them"
    put(root, code, viewer=[f"group:{group(root, viewer)}"], manager=[manager.name], initiator=[starter.name])
    for caller, sees in ((root, all_of_it), (api, all_of_it), (viewer, all_of_it), (manager, all_of_it), (starter, {mine}), (stranger, set())):  # fmt: skip
        assert seen(caller, code) == sees
        assert seen(caller, code, order="oldest", status=["RUNNING", "SUSPENDED"]) == sees
        assert seen(caller, code, **{"input.name": "x"}) == sees
        for id in all_of_it:
            status = 200 if id in sees else 404
            for path in ("", "/history", "/visits", "/values"):
                caller.get(f"/processes/{id}{path}", expect=status)
            command = 200 if caller in (root, api, manager) else 403 if id in sees else 404
            caller.post(f"/processes/{id}/suspend", None, (command, 409) if command == 200 else command)
    starter.get(f"/definitions/{code}/values")
    stranger.get(f"/definitions/{code}/values", expect=404)
    put(root, code, viewer=["role:everyone"])
    assert seen(stranger, code) == all_of_it
    put(root, code, viewer=["role:starter"])
    assert seen(stranger, code) == set()
    assert seen(starter, code) == {mine}


def test_who_has_an_item_sees_its_process(server: Server, root: Api):
    candidate, stranger = logged_in(server, root), logged_in(server, root)
    nodes = {"work": {"kind": "item", "task": "T"}}
    code = root.deploy(nodes, tasks={"T": {"candidates": [candidate.name]}}, permissions={"viewer": ["group:risk"]})
    ids = [root.start(code)["id"] for _ in range(2)]
    assert seen(candidate, code) == set(ids)
    assert seen(stranger, code) == set()
    item = candidate.get("/items", process=ids[0])["items"][0]["id"]
    candidate.post(f"/items/{item}/claim")
    assert seen(candidate, code) == set(ids)
    candidate.post(f"/items/{item}/complete", {"output": {}})
    root.until(ids[0], "COMPLETED")
    assert candidate.process(ids[0])["status"] == "COMPLETED", "who had an item sees what became of it"
    root.post(f"/processes/{ids[1]}/cancel")
    assert seen(candidate, code) == {ids[0]}
    candidate.get(f"/processes/{ids[1]}", expect=404)


def test_lists_over_all_definitions_leave_out_what_is_hidden_and_nothing_else(server: Server, root: Api):
    starter, stranger = logged_in(server, root), logged_in(server, root)
    open_code = work(root)
    hidden_code = work(root, permissions={"initiator": [starter.name], "viewer": ["group:risk"]})
    shown = [root.start(open_code)["id"] for _ in range(3)]
    hidden = [root.start(hidden_code)["id"] for _ in range(3)]
    own = [starter.start(hidden_code)["id"] for _ in range(2)]
    shown.append(root.start(open_code)["id"])
    since = root.process(shown[0])["created_at"]
    for query in ({}, {"status": "RUNNING"}, {"order": "oldest"}, {"status": ["RUNNING", "FAILED"], "order": "oldest"}):
        found = [each["id"] for each in stranger.everything("/processes", created_from=since, limit=2, **query)]
        assert len(found) == len(set(found))
        assert set(found) >= set(shown)
        assert set(found).isdisjoint({*hidden, *own})
        found = [each["id"] for each in starter.everything("/processes", created_from=since, limit=2, **query)]
        assert set(found) >= {*shown, *own}
        assert set(found).isdisjoint(hidden)
        assert len(found) == len(set(found))
    assert {each["id"] for each in starter.everything("/processes", created_by=starter.name)} == set(own)
