"""Secrets and connections on the real process: over HTTP, in its log and files, and under a new key."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import Any

import pytest

from process.test_http_nodes import Endpoint
from support.server import Api, Server, fresh, serving

VALUE = "s3cr3t-value-that-nobody-may-see"


@pytest.fixture
def endpoint():
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()


def keep(api: Api, name: str, value: str = VALUE, status: int = 201) -> Any:
    return api.call("PUT", f"/secrets/{name}", {"value": value}, status)


def connect(api: Api, name: str, url: str, status: int = 201, **more: Any) -> Any:
    return api.call("PUT", f"/connections/{name}", {"base_url": url, **more}, status)


def test_a_secret_from_its_birth_to_its_end(api, server):
    name = fresh("S")
    made = keep(api, name)
    assert made["name"] == name
    assert made["revision"] == 1
    response = api.request("GET", f"/secrets/{name}")
    assert response.json() == made
    assert made in api.everything("/secrets", limit=1)
    tag = {"if-match": response.headers["etag"]}
    assert api.call("PUT", f"/secrets/{name}", {"value": "other"}, 200, headers=tag)["revision"] == 2
    api.call("PUT", f"/secrets/{name}", {"value": "third"}, 412, headers=tag)
    api.call("DELETE", f"/secrets/{name}", status=412, headers=tag)
    api.delete(f"/secrets/{name}", 204)
    api.get(f"/secrets/{name}", 404)
    api.delete(f"/secrets/{name}", 404)
    assert VALUE not in server.log.read_text()


def test_a_process_calls_through_a_connection_and_nothing_of_the_secret_is_left(api, server, endpoint):
    secret, connection = fresh("S"), fresh("c")
    keep(api, secret)
    auth = {"type": "bearer", "token": f"${{secrets.{secret}}}"}
    made = connect(api, connection, f"{endpoint.url}/base", auth=auth, headers={"x-a": "1"}, timeout="PT5S")
    assert made["warnings"] == []
    assert made["auth"] == auth
    assert api.get(f"/connections/{connection}")["auth"] == auth
    assert connection in [each["name"] for each in api.everything("/connections", limit=1)]
    endpoint.lay(200, {"you": f"sent Bearer {VALUE}"})
    node = {
        "kind": "http",
        "connection": connection,
        "url": "/x/${input.n}",
        "method": "PUT",
        "body": [f"${{secrets.{secret}}}"],
    }
    id = api.start(api.deploy({"h": node}, output="${h}"), input={"n": 7})["id"]
    assert api.until(id, "COMPLETED")["output"] == {"you": "sent Bearer ***"}
    [request] = endpoint.requests
    assert (request.method, request.path, request.body) == ("PUT", "/base/x/7", [VALUE])
    assert request.headers["authorization"] == f"Bearer {VALUE}"
    told = json.dumps([api.process(id), api.visits(id), api.everything(f"/processes/{id}/history")])
    assert VALUE not in told
    tried = api.post(f"/connections/{connection}/~test", {"path": "/health"})
    assert (tried["ok"], tried["status"], tried["error"]) == (True, 200, None)
    api.delete(f"/connections/{connection}", 204)
    api.post(f"/connections/{connection}/~test", {}, 404)
    for path in server.data.rglob("*"):
        if path.is_file():
            assert VALUE.encode() not in path.read_bytes(), path
    assert VALUE not in server.log.read_text()


def test_a_connection_of_every_kind_is_answered_as_it_was_sent(api):
    kinds = [
        {"type": "none"},
        {"type": "basic", "username": "u", "password": "${secrets.NOT_YET}"},
        {"type": "api_key", "name": "k", "value": "${secrets.NOT_YET}", "in": "query"},
        {
            "type": "oauth2_client_credentials", "token_url": "https://login.example.com/t", "client_id": "a",
            "client_secret": "${secrets.NOT_YET}", "scope": "s", "client_auth": "body",
        },
    ]  # fmt: skip
    for auth in kinds:
        name = fresh("c")
        made = connect(api, name, "https://api.example.com", auth=auth)
        assert made["auth"] == auth
        assert [each["code"] for each in made["warnings"]] == ["unknown_secret"] * (auth["type"] != "none")
        api.delete(f"/connections/{name}", 204)


def test_the_other_tenant_has_its_own(api, other, endpoint):
    name = fresh("S")
    keep(api, name)
    connect(api, name, endpoint.url)
    for path in (f"/secrets/{name}", f"/connections/{name}"):
        other.get(path, 404)
        other.delete(path, 404)
    other.post(f"/connections/{name}/~test", {}, 404)
    node = {"kind": "http", "connection": name, "url": "/", "retry": {"max_attempts": 1}}
    id = other.start(other.deploy({"h": node}))["id"]
    other.until(id, "FAILED")
    assert name in other.visits(id)[0]["failure"]["message"]
    assert endpoint.requests == []
    keep(other, name, "theirs")
    assert api.get(f"/secrets/{name}")["revision"] == 1


def test_users_without_a_role_see_none(ana, root, api):
    name = fresh("S")
    keep(root, name)
    for path in ("/secrets", "/connections"):
        ana.get(path, 403)
    ana.get(f"/secrets/{name}", 404)
    keep(ana, name, status=404)
    connect(ana, "c", "https://x.example.com", 404)
    assert root.get(f"/secrets/{name}")["created_by"] == "user:root@example.com"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/secrets/a%20b", {"value": "x"}, 400),
        ("/secrets/a%00b", {"value": "x"}, 400),
        ("/secrets/a%0ab", {"value": "x"}, 400),
        ("/secrets/1a", {"value": "x"}, 400),
        ("/secrets/" + "a" * 65, {"value": "x"}, 400),
        ("/secrets/BIG", {"value": "x" * 1_048_576}, 400),
        ("/secrets/BIG", {"value": "ü" * 40_000}, 400),
        ("/secrets/BIG", {"value": "x" * 3_000_000}, 413),
        ("/secrets/BAD", {"value": ""}, 400),
        ("/secrets/BAD", {"value": 5}, 400),
        ("/secrets/BAD", {"value": "a\u0000b"}, 400),
        ("/secrets/BAD", {}, 400),
        ("/secrets/BAD", {"value": "x", "more": 1}, 400),
        ("/connections/a%0ab", {"base_url": "https://x.example.com"}, 400),
        ("/connections/c", {"base_url": "x.example.com"}, 400),
        ("/connections/c", {"base_url": "https://x.example.com", "auth": {"type": "magic"}}, 400),
        ("/connections/c", {"base_url": "https://x.example.com", "auth": {"type": "bearer", "token": "clear"}}, 400),
        ("/connections/c", {"base_url": "https://x.example.com", "auth": {"type": "bearer"}}, 400),
        ("/connections/c", {"base_url": "https://x.example.com", "headers": {"a": "x" * 9_000}}, 400),
        ("/connections/c", {"base_url": "https://x.example.com", "headers": {"a": "${input.x}"}}, 400),
        ("/connections/c", {"base_url": "https://x.example.com", "timeout": "PT0S"}, 400),
        ("/connections/c", [], 400),
    ],
)
def test_bad_secrets_and_connections_are_refused(api, path, body, status):
    response = api.request("PUT", path, json=body)
    assert response.status_code == status, response.text
    if isinstance(body, dict) and len(str(body.get("value", ""))) > 10:
        assert body["value"][:20] not in response.text


@pytest.mark.parametrize(
    ("nodes", "pointer"),
    [
        ({"a": {"kind": "job", "topic": "t", "input": {"b": ["${secrets.X}"]}}}, "/nodes/a/input/b/0"),
        ({"a": {"kind": "set", "vars": {"b": "${secrets.X}"}}}, "/nodes/a/vars/b"),
        ({"a": {"kind": "timer", "after": "${secrets.X}"}}, "/nodes/a/after"),
        ({"a": {"kind": "http", "url": "https://x/", "method": "${secrets.X}"}}, "/nodes/a/method"),
        ({"a": {"kind": "http", "url": "https://x/", "connection": "${secrets.X}"}}, "/nodes/a/connection"),
        ({"a": {"kind": "http", "url": "https://x/", "body": {"b": "${secrets.X + 'y'}"}}}, "/nodes/a/body/b"),
        ({"a": {"kind": "http", "url": "https://x/", "connection": "c"}}, "/nodes/a/url"),
        ({"a": {"kind": "http", "url": "/path"}}, "/nodes/a/url"),
    ],
)
def test_references_in_wrong_places_are_named_at_deployment(api, nodes, pointer):
    response = api.request("POST", "/definitions", json={"penstock": 1, "code": fresh("d"), "nodes": nodes})
    assert response.status_code == 400
    assert pointer in [each["pointer"] for each in response.json()["problems"]], response.text


def test_deployment_warns_of_names_that_are_not_there(api):
    nodes = {"a": {"kind": "http", "connection": fresh("c"), "headers": {"x": "${secrets.NOT_THERE}"}}}
    document = {"penstock": 1, "code": fresh("d"), "nodes": nodes}
    checked = api.post("/definitions/~validate", document, 200)
    assert checked["valid"]
    made = api.post("/definitions", document, 201)
    for warnings in (checked["problems"], made["warnings"]):
        assert {(each["pointer"], each["code"], each["warning"]) for each in warnings} == {
            ("/nodes/a/connection", "unknown_connection", True), ("/nodes/a/headers/x", "unknown_secret", True),
        }  # fmt: skip


def test_the_data_directory_has_a_key_that_only_its_owner_reads(server: Server):
    path = server.data / "secret.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().strip() not in server.log.read_text()


def test_keys_are_rotated_by_the_command_and_the_old_one_can_go(tmp_path, endpoint):
    with serving(tmp_path) as server:
        api = server.application()
        keep(api, "TOKEN")
        node = {"kind": "http", "url": endpoint.url, "headers": {"x-token": "${secrets.TOKEN}"}}
        code = api.deploy({"h": node})
        server.stop()
        path = server.data / "secret.key"
        old = path.read_text().strip()
        new = "B" * 43
        path.write_text(f"{new}\n{old}\n")
        environment = {**os.environ, "PENSTOCK_SECRET_KEY_FILE": str(path)}
        command = [sys.executable, "-m", "penstock", "rotate-keys", "--data", str(server.data), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        told = json.loads(done.stdout)["message"]
        assert told.startswith("encrypted anew with the key ")
        assert told.endswith(": secrets 1, access keys 1, providers' secrets 0, signing keys 1")
        path.write_text(new)
        server.start()
        api = server.client(api.token)
        id = api.start(code)["id"]
        api.until(id, "COMPLETED")
        assert endpoint.requests[0].headers["x-token"] == VALUE
        path.write_text("no key")
        refused = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert refused.returncode == 1
        assert "key 1" in refused.stderr


def test_the_command_line_sets_a_secret_from_stdin(server, api):
    name = fresh("S")
    base = [sys.executable, "-m", "penstock", "secret"]
    more = ["--credentials", str(server.data / "credentials.json"), "--json"]
    done = subprocess.run([*base, "set", name, *more], input=VALUE + "\n", capture_output=True, text=True, check=True)
    assert VALUE not in done.stdout + done.stderr
    assert api.get(f"/secrets/{name}")["revision"] == 1
    listed = subprocess.run([*base, "list", *more], capture_output=True, text=True, check=True)
    assert name in listed.stdout
    subprocess.run([*base, "remove", name, *more], capture_output=True, text=True, check=True)
    api.get(f"/secrets/{name}", 404)
