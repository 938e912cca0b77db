"""Every call of the door, as it goes over the wire."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from penstock.client import Api, Client, Failure, NewProcess, Request, Sync, models


class Sent:
    """Gives the request back in place of an answer."""

    asynchronous = False

    def send(self, request: Request[Any], /) -> Any:
        return request


def built(call: Callable[[Api[Sync]], Any]) -> Request[Any]:
    return call(Api(Sent()))


CALLS = [
    (lambda c: c.me(), "GET", "/me", None),
    (lambda c: c.change_me(password="n", old_password="o"), "PATCH", "/me", {"password": "n", "old_password": "o"}),
    (lambda c: c.revoke_token("pt"), "POST", "/tokens/revoke", {"token": "pt"}),
    (lambda c: c.tenant(), "GET", "/tenant", None),
    (lambda c: c.change_tenant(four_eyes=True), "PATCH", "/tenant", {"four_eyes": True}),
    (lambda c: c.users.get("a@b"), "GET", "/users/a%40b", None),
    (
        lambda c: c.users.create("a@b", password="p", groups=["g"]),
        "POST", "/users", {"email": "a@b", "password": "p", "groups": ["g"], "roles": []},
    ),
    (lambda c: c.users.change("u", disabled=True), "PATCH", "/users/u", {"disabled": True}),
    (lambda c: c.users.delete("u"), "DELETE", "/users/u", None),
    (lambda c: c.users.revoke_tokens("u"), "DELETE", "/users/u/tokens", None),
    (lambda c: c.groups.get("g"), "GET", "/groups/g", None),
    (lambda c: c.groups.create("g", "G"), "POST", "/groups", {"code": "g", "name": "G"}),
    (lambda c: c.groups.rename("g", "G"), "PATCH", "/groups/g", {"name": "G"}),
    (lambda c: c.groups.delete("g"), "DELETE", "/groups/g", None),
    (lambda c: c.groups.add("g", "a@b"), "PUT", "/groups/g/members/a%40b", None),
    (lambda c: c.groups.remove("g", "u"), "DELETE", "/groups/g/members/u", None),
    (lambda c: c.applications.get("a"), "GET", "/applications/a", None),
    (lambda c: c.applications.create("A"), "POST", "/applications", {"name": "A", "roles": []}),
    (lambda c: c.applications.change("a", name="B"), "PATCH", "/applications/a", {"name": "B"}),
    (lambda c: c.applications.rotate("a"), "POST", "/applications/a/rotate", {}),
    (lambda c: c.applications.delete("a"), "DELETE", "/applications/a", None),
    (lambda c: c.applications.revoke_tokens("a"), "DELETE", "/applications/a/tokens", None),
    (lambda c: c.definitions.decide("d", 2, "approve", "ok"), "POST", "/definitions/d/versions/2/approve", {"comment": "ok"}),
    (lambda c: c.definitions.permissions("d"), "GET", "/definitions/d/permissions", None),
    (
        lambda c: c.definitions.put_permissions("d", {"viewer": ("group:g",)}),
        "PUT", "/definitions/d/permissions", {"permissions": {"viewer": ["group:g"]}},
    ),
    (lambda c: c.openapi(), "GET", "/openapi.json", None),
    (lambda c: c.definitions.deploy({"code": "a"}), "POST", "/definitions", {"code": "a"}),
    (lambda c: c.definitions.validate('{"code": "a"}'), "POST", "/definitions/~validate", {"code": "a"}),
    (lambda c: c.definitions.get("a/b"), "GET", "/definitions/a%2Fb", None),
    (lambda c: c.definitions.version("a", 2), "GET", "/definitions/a/versions/2", None),
    (lambda c: c.definitions.values("a").put("k", [1]), "PUT", "/definitions/a/values/k", [1]),
    (lambda c: c.processes.start("loan"), "POST", "/processes", {"definition": "loan"}),
    (
        lambda c: c.processes.start("loan", {"n": 0}, version=2, id="x", metadata={"m": 1}, entity=[]),
        "POST", "/processes",
        {"definition": "loan", "version": 2, "id": "x", "input": {"n": 0}, "metadata": {"m": 1}, "entity": []},
    ),
    (
        lambda c: c.processes.start_many([NewProcess("loan", input=1)]),
        "POST", "/processes/~batch", {"processes": [{"definition": "loan", "input": 1}]},
    ),
    (lambda c: c.processes.get("p"), "GET", "/processes/p", None),
    (lambda c: c.processes.complete("p", {"x": 1}), "POST", "/processes/p/complete", {"output": {"x": 1}}),
    (lambda c: c.processes.cancel("p"), "POST", "/processes/p/cancel", {}),
    (lambda c: c.processes.terminate("p", "why"), "POST", "/processes/p/terminate", {"reason": "why"}),
    (lambda c: c.processes.suspend("p"), "POST", "/processes/p/suspend", None),
    (lambda c: c.processes.resume("p"), "POST", "/processes/p/resume", None),
    (lambda c: c.processes.retry("p"), "POST", "/processes/p/retry", None),
    (lambda c: c.processes.debug("p", 4, input={}), "POST", "/processes/p/debug", {"visit": 4, "input": {}}),
    (lambda c: c.processes.debug("p", "n", output=None), "POST", "/processes/p/debug", {"node": "n", "output": None}),
    (lambda c: c.processes.skip("p", "n", 0), "POST", "/processes/p/skip", {"node": "n", "output": 0}),
    (lambda c: c.processes.restart("p", "n", scope=7), "POST", "/processes/p/restart", {"node": "n", "scope": 7}),
    (
        lambda c: c.processes.migrate("p", 2, mapping={"a": "b"}, dry_run=True),
        "POST", "/processes/p/migrate", {"version": 2, "mapping": {"a": "b"}, "dry_run": True},
    ),
    (lambda c: c.processes.signal("p", "go", key="k"), "POST", "/processes/p/signal", {"name": "go", "key": "k"}),
    (lambda c: c.processes.values("p").get("a b"), "GET", "/processes/p/values/a%20b", None),
    (lambda c: c.processes.values("p").delete("k"), "DELETE", "/processes/p/values/k", None),
    (lambda c: c.processes.values("p").increment("k"), "POST", "/processes/p/values/k/increment", None),
    (
        lambda c: c.bulk.begin("cancel", filter={"definition": "a", "status": ["FAILED"]}, dry_run=True),
        "POST", "/bulk", {"command": "cancel", "filter": {"definition": "a", "status": ["FAILED"]}, "dry_run": True},
    ),
    (
        lambda c: c.bulk.begin("migrate", ids=["p"], arguments={"version": 2}),
        "POST", "/bulk", {"command": "migrate", "ids": ["p"], "arguments": {"version": 2}},
    ),
    (lambda c: c.bulk.get("b"), "GET", "/bulk/b", None),
    (lambda c: c.bulk.cancel("b"), "POST", "/bulk/b/cancel", None),
    (lambda c: c.items.get("i"), "GET", "/items/i", None),
    (lambda c: c.items.claim("i"), "POST", "/items/i/claim", None),
    (lambda c: c.items.complete("i", {"ok": True}), "POST", "/items/i/complete", {"output": {"ok": True}}),
    (lambda c: c.items.counts(), "GET", "/items/~counts", None),
    (lambda c: c.items.unclaim("i"), "POST", "/items/i/unclaim", None),
    (lambda c: c.items.assign("i", "group:g"), "POST", "/items/i/assign", {"to": "group:g"}),
    (
        lambda c: c.items.delegate("i", "user:a@b.c", "do"),
        "POST", "/items/i/delegate", {"to": "user:a@b.c", "note": "do"},
    ),
    (lambda c: c.items.cancel("i"), "POST", "/items/i/cancel", {}),
    (lambda c: c.items.acknowledge("i"), "POST", "/items/i/acknowledge", None),
    (lambda c: c.items.change("i", due_at=None), "PATCH", "/items/i", {"due_at": None}),
    (lambda c: c.items.change("i", priority=3), "PATCH", "/items/i", {"priority": 3}),
    (
        lambda c: c.items.command_many([models.ItemCommand("i", "complete", {"a": 1}), models.ItemCommand("j", "claim")]),
        "POST", "/items/~batch",
        {"items": [{"id": "i", "command": "complete", "output": {"a": 1}}, {"id": "j", "command": "claim"}]},
    ),
    (lambda c: c.items.draft("i"), "GET", "/items/i/draft", None),
    (lambda c: c.items.save_draft("i", [1]), "PUT", "/items/i/draft", [1]),
    (lambda c: c.items.drop_draft("i"), "DELETE", "/items/i/draft", None),
    (lambda c: c.items.write_log("i", "x", level="error"), "POST", "/items/i/log", {"message": "x", "level": "error"}),
    (lambda c: c.items.write_post("i", "x"), "POST", "/items/i/posts", {"text": "x"}),
    (lambda c: c.items.edit_post("i", 2, "y"), "PUT", "/items/i/posts/2", {"text": "y"}),
    (lambda c: c.items.delete_post("i", 2), "DELETE", "/items/i/posts/2", None),
    (
        lambda c: c.processes.begin_thread("p", "n", candidates=["group:g"]),
        "POST", "/processes/p/threads", {"name": "n", "candidates": ["group:g"]},
    ),
    (
        lambda c: c.jobs.poll(["b", "a"], max=5, wait=10, lease=60, worker="w"),
        "POST", "/jobs/poll", {"topics": ["a", "b"], "max": 5, "wait": 10, "lease": 60, "worker": "w"},
    ),
    (
        lambda c: c.jobs.complete(
            [models.CompleteEntry(id="j", lease="L", output=1, values={"k": 2}, increments=["n"])],
            poll=models.Poll(["a"], 1, 60, "w"),
        ),
        "POST", "/jobs/complete",
        {
            "jobs": [{"id": "j", "lease": "L", "output": 1, "values": {"k": 2}, "increments": ["n"]}],
            "poll": {"topics": ["a"], "max": 1, "lease": 60, "worker": "w"},
        },
    ),
    (
        lambda c: c.jobs.fail([models.FailEntry(id="j", lease=1, failure=Failure("T", "m", True), delay=3)]),
        "POST", "/jobs/fail",
        {"jobs": [{"id": "j", "lease": 1, "failure": {"type": "T", "message": "m", "permanent": True}, "delay": 3}]},
    ),
    (
        lambda c: c.jobs.throw([models.ThrowEntry(id="j", lease="L", code="C", data={"x": 1})]),
        "POST", "/jobs/throw", {"jobs": [{"id": "j", "lease": "L", "code": "C", "data": {"x": 1}}]},
    ),
    (
        lambda c: c.jobs.extend([models.ExtendEntry(id="j", lease="L", seconds=9)]),
        "POST", "/jobs/extend", {"jobs": [{"id": "j", "lease": "L", "seconds": 9}]},
    ),
    (
        lambda c: c.jobs.log([models.LogEntry(id="j", lease="L", level="info", message="m")]),
        "POST", "/jobs/log", {"jobs": [{"id": "j", "lease": "L", "level": "info", "message": "m"}]},
    ),
    (lambda c: c.jobs.complete_one("j", 5, token="T"), "POST", "/jobs/j/complete", {"output": 5}),
    (
        lambda c: c.jobs.fail_one("j", Failure("T", "m"), lease="L"),
        "POST", "/jobs/j/fail", {"failure": {"type": "T", "message": "m"}, "lease": "L"},
    ),
    (lambda c: c.jobs.throw_one("j", "C", lease="L"), "POST", "/jobs/j/throw", {"code": "C", "lease": "L"}),
    (
        lambda c: c.message("m", key="k", payload=[], id="1", ttl=5),
        "POST", "/messages", {"name": "m", "key": "k", "payload": [], "id": "1", "ttl": 5},
    ),
    (lambda c: c.broadcast("s", {"a": 1}), "POST", "/signals", {"name": "s", "payload": {"a": 1}}),
]  # fmt: skip


@pytest.mark.parametrize(("call", "method", "path", "body"), CALLS)
def test_a_call_is_built_as_the_door_documents(call, method, path, body):
    request = built(call)
    assert (request.method, request.path) == (method, "/api/v1" + path)
    assert (None if request.body is None else json.loads(request.body)) == body
    # What changes something carries a key, or is fenced by a lease.
    assert request.keyed == (method != "GET" and not path.startswith("/jobs"))
    assert request.repeatable == (not request.keyed)


def test_debug_takes_one_of_input_and_output():
    for given in ({}, {"input": 1, "output": 2}):
        with pytest.raises(TypeError, match="one of"):
            built(lambda c, given=given: c.processes.debug("p", "n", **given))


def test_definitions_go_as_yaml_or_json():
    assert built(lambda c: c.definitions.deploy("code: a\n")).content_type == "application/yaml"
    assert built(lambda c: c.definitions.deploy(b' {"code": "a"}')).content_type == "application/json"


def test_calls_keep_their_names_and_help():
    with Client("http://127.0.0.1:1", token="t") as client:
        assert client.processes.start.__name__ == "start"
        assert "same `id`" in (client.processes.start.__doc__ or "")
