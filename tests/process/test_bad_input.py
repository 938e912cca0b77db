"""Whatever is sent: a 4xx that says what is wrong and where, and never half a write. `Api` fails on every 5xx."""

from __future__ import annotations

import itertools
import json
import socket
from urllib.parse import quote

import pytest

from penstock.api.routes import ROUTES
from support.routes import BODIES, NAMED, OF_OPERATORS, PUBLIC, WITH_BODY, WITH_ID, body_of, names, path_of
from support.server import PREFIX, Api, check_problem, fresh

JSON = {"content-type": "application/json"}
YAML = {"content-type": "application/yaml"}


def problem(response, status, code=None):
    """The answer's problem details, with its status and code made sure of."""
    assert response.status_code == status, response.text
    found = check_problem(response)
    if code is not None:
        assert found["code"] == code, found
    return found


def pointers(found):
    return {each["pointer"] for each in found["problems"]}


@pytest.fixture(scope="module")
def process(api: Api) -> str:
    """A process that waits for a worker."""
    return api.start(api.deploy({"work": {"kind": "job", "topic": fresh("topic")}}))["id"]


# -- JSON ------------------------------------------------------------------------------------------------------------

MALFORMED = {
    "empty": b"",
    "blank": b"  ",
    "cut short": b'{"definition": "x"',
    "trailing comma": b'{"definition": "x",}',
    "single quotes": b"{'definition': 'x'}",
    "two values": b'{"definition": "x"} {}',
    "bare word": b"definition",
    "NaN": b'{"definition": "x", "input": NaN}',
    "Infinity": b'{"definition": "x", "input": -Infinity}',
    "too large a number": b'{"definition": "x", "input": 1e400}',
    "too many digits": b'{"definition": "x", "input": ' + b"9" * 5000 + b"}",
    "65 bits": b'{"definition": "x", "input": {"a": [18446744073709551616]}}',
    "lone surrogate": b'{"definition": "x", "input": "\\ud800"}',
    "lone low surrogate": b'{"definition": "x", "input": {"\\udc00": 1}}',
    "NUL": b'{"definition": "x", "input": "a\\u0000b"}',
    "NUL in a name": b'{"definition": "x", "input": {"a\\u0000b": 1}}',
    "control character": b'{"definition": "x", "input": "a\x01b"}',
    "not UTF-8": b'{"definition": "x", "input": "\xff"}',
    "UTF-16": '{"definition": "x"}'.encode("utf-16"),
    "surrogate in UTF-8": b'{"definition": "x", "input": "\xed\xa0\x80"}',
    "1,000 deep": b'{"definition": "x", "input": ' + b"[" * 1000 + b"]" * 1000 + b"}",
    "1,000 maps deep": b'{"definition": "x", "input": ' + b'{"a":' * 1000 + b"1" + b"}" * 1000 + b"}",
    "100,000 deep": b'{"definition": "x", "input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("operation", ["startProcess", "putProcessValue", "deployDefinition", "completeJob"])
def test_json_that_cannot_be_kept_is_refused(api: Api, process, content, operation):
    route = NAMED[operation]
    if operation == "completeJob":
        content = content.replace(b'"definition": "x"', b'"lease": "x"').replace(b'"input"', b'"output"')
    path = path_of(route, owner=process)
    if operation == "completeJob" and content == b"":
        return  # everything of it may be left out
    found = problem(api.request(route.method, path, content=content, headers=JSON), 400, "invalid")
    assert found["problems"], found


@pytest.mark.parametrize("content", [b"null", b"[]", b'"text"', b"1", b"true"])
@pytest.mark.parametrize(
    "route", [r for r in WITH_BODY if r.request is not bytes and r.method == "POST"], ids=lambda r: r.operation
)
def test_a_body_that_is_not_an_object_is_refused(api: Api, route, content):
    found = problem(api.request(route.method, path_of(route), content=content, headers=JSON), 400, "invalid")
    assert "must be an object" in found["detail"], found


@pytest.mark.parametrize(
    "route", [r for r in WITH_BODY if r.method == "POST" and r.request is not bytes], ids=lambda r: r.operation
)
def test_an_unknown_member_is_refused_and_named(api: Api, route):
    if route.operation == "createToken":
        return  # OAuth 2: what is not known is passed over
    body = {**BODIES.get(route.operation, {}), "colour": "red"}
    found = problem(api.request(route.method, path_of(route), json=body), 400, "invalid")
    assert pointers(found) == {"/colour"}, found


@pytest.mark.parametrize(
    "route", [r for r in WITH_BODY if r.request is not bytes and r.method == "POST"], ids=lambda r: r.operation
)
def test_a_wrong_type_is_refused_with_its_place(server, api: Api, route):
    schemas = server.contract.document["components"]["schemas"]
    schema = schemas[route.request.__name__]
    for name, member in schema.get("properties", {}).items():
        kinds = {each.get("type") for each in [member, *member.get("anyOf", [])] if each}
        if not member.keys() - {"default"}:
            continue  # any JSON
        wrong = {"string": ["s"], "integer": 1.5, "number": "1", "boolean": "yes", "array": {}, "object": []}
        for kind in kinds & wrong.keys():
            value = wrong[kind] if len(kinds) < 3 else {"neither": "fits"}
            body = {**BODIES.get(route.operation, {}), name: value}
            found = problem(api.request(route.method, path_of(route), json=body), 400, "invalid")
            assert pointers(found) == {f"/{name}"}, found


def test_a_problem_deep_inside_is_pointed_at(api: Api):
    entries = [{"id": "a.1", "lease": "x"}, {"id": "b.1", "lease": "x", "increments": ["ok", 7]}]
    found = problem(api.request("POST", "/jobs/complete", json={"jobs": entries}), 400)
    assert pointers(found) == {"/jobs/1/increments/1"}
    found = problem(api.request("POST", "/jobs/fail", json={"jobs": [{"id": "a.1", "lease": "x"}]}), 400)
    assert pointers(found) == {"/jobs/0/failure"}


def test_causes_nest_ten_deep(api: Api):
    cause = {"type": "Deepest"}
    for _ in range(12):
        cause = {"type": "Outer", "cause": cause}
    body = {"jobs": [{"id": "a.1", "lease": "x", "failure": cause}]}
    assert "10" in problem(api.request("POST", "/jobs/fail", json=body), 400)["problems"][0]["message"]


def test_a_malformed_body_is_told_by_line_and_column(api: Api):
    text = b'{\n  "definition": "x",\n  "input": {]\n}'
    found = problem(api.request("POST", "/processes", content=text, headers=JSON), 400)
    assert "line 3, column 13" in found["detail"], found


# -- sizes -----------------------------------------------------------------------------------------------------------


def chunks(size: int):
    part = b" " * 65536
    for _ in range(size // len(part) + 1):
        yield part


@pytest.mark.parametrize("operation", ["startProcess", "putProcessValue", "deployDefinition", "pollJobs"])
def test_an_oversized_body_is_refused_whether_declared_or_chunked(api: Api, process, operation):
    route = NAMED[operation]
    path = path_of(route, owner=process)
    size = 3 * 1024 * 1024
    declared = api.request(route.method, path, content=b" " * size, headers=JSON)
    assert "bytes" in problem(declared, 413, "too_large")["detail"]
    chunked = api.request(route.method, path, content=chunks(size), headers=JSON)
    assert "bytes" in problem(chunked, 413, "too_large")["detail"]


def test_a_body_that_only_claims_to_be_huge_is_refused_unread(server):
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(
            f"POST {PREFIX}/processes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            "Content-Length: 99999999999\r\n\r\n{".encode()
        )
        assert raw.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("text", [b"-1", b"1e3", b"0x10", b"9" * 30, b""])
def test_an_odd_content_length_is_refused(server, text):
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(b"POST /api/v1/processes HTTP/1.1\r\nHost: x\r\nContent-Length: " + text + b"\r\n\r\n{}")
        assert raw.recv(65536).startswith(b"HTTP/1.1 4")


def test_values_and_outputs_that_are_too_large_are_refused(api: Api, process):
    text = "x" * (1024 * 1024)
    problem(api.request("PUT", f"/processes/{process}/values/big", json=text), 413, "too_large")
    api.get(f"/processes/{process}/values/big", 404)
    code = api.deploy({"work": {"kind": "job", "topic": (topic := fresh("topic"))}})
    problem(api.request("POST", "/processes", json={"definition": code, "input": text}), 413, "too_large")
    half = "x" * (600 * 1024)
    too_much = {"definition": code, "input": half, "metadata": {"a": half}}
    problem(api.request("POST", "/processes", json=too_much), 413, "too_large")
    assert api.get("/processes", definition=code)["items"] == []
    for name in ("/messages", "/signals"):
        problem(api.request("POST", name, json={"name": "big", "payload": half}), 413, "too_large")

    id = api.start(code, input="y" * (1000 * 1024))["id"]
    job = api.take(topic)
    assert pointers(api.finish(job, half, 413)) == {"/output"}
    assert pointers(api.finish(job, None, 413, values={"a/b": half})) == {"/values/a~1b"}
    refused = api.post(f"/jobs/{job['id']}/throw", {"lease": job["lease"], "code": "X", "data": half}, 413)
    assert pointers(refused) == {"/data"}
    found = api.post(f"/processes/{id}/debug", {"node": "work", "output": half}, 413)
    assert pointers(found) == {"/output"}
    found = api.post(f"/processes/{id}/skip", {"node": "work", "output": half}, 413)
    assert pointers(found) == {"/output"}
    found = api.post(f"/processes/{id}/signal", {"name": "n", "payload": half}, 413)
    assert pointers(found) == {"/payload"}
    assert api.status(id) == "RUNNING"
    api.finish(job)


# -- ids -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", WITH_ID, ids=names(WITH_ID))
def test_an_unknown_id_is_not_found(api: Api, root: Api, route):
    caller = root if route.operation in OF_OPERATORS else api
    found = problem(caller.request(route.method, path_of(route), **body_of(route)), 404, "not_found")
    assert found["detail"].startswith("no "), found


ODD = {
    "no UUID": "not-a-uuid",
    "digits": "1",
    "UUID in braces of nobody": "{01234567-89ab-cdef-0123-456789abcdef}",
    "spaces": "a b",
    "slash": "a/b",
    "emoji": "🦆",
    "quote": "' OR 1=1 --",
    "long": "x" * 3000,
    "dots": "...",
    "percent": "%",
    "visit of nothing": ".1",
    "huge visit": "00000000-0000-0000-0000-000000000000.99999999999999999999",
    "negative visit": "00000000-0000-0000-0000-000000000000.-1",
}


@pytest.mark.parametrize("id", ODD.values(), ids=ODD)
@pytest.mark.parametrize("route", WITH_ID, ids=names(WITH_ID))
def test_an_odd_id_is_not_found(api: Api, root: Api, route, id):
    text = quote(id, safe="")
    path = path_of(route, id=text, owner=text, code=text, name=text, tenant=text, provider=text)
    caller = root if route.operation in OF_OPERATORS else api
    problem(caller.request(route.method, path, **body_of(route)), 404, "not_found")


@pytest.mark.parametrize("id", ["a%00b", "%ff", "%ed%a0%80"], ids=["NUL", "not UTF-8", "surrogate"])
@pytest.mark.parametrize("route", WITH_ID, ids=names(WITH_ID))
def test_an_id_that_is_no_text_is_refused(api: Api, route, id):
    path = path_of(route, id=id, owner=id, code=id, name=id, tenant=id, provider=id)
    found = problem(api.request(route.method, path, **body_of(route)), 400, "invalid")
    assert len(pointers(found)) == 1, found


@pytest.mark.parametrize("number", ["0", "99", "999999999999999999"])
def test_an_unknown_version_is_not_found(api: Api, number):
    code = api.deploy({"work": {"kind": "job", "topic": "t"}})
    api.get(f"/definitions/{code}/versions/{number}", 404)
    assert f"no definition '{code} version" in api.get(f"/definitions/{code}/versions/{number}", 404)["detail"]


@pytest.mark.parametrize("number", ["x", "-1", "1.0", "1e3", "9" * 30, "٣"])
def test_a_version_that_is_no_number_is_refused(api: Api, number):
    code = api.deploy({"work": {"kind": "job", "topic": "t"}})
    found = problem(api.request("GET", f"/definitions/{code}/versions/{quote(number)}"), 400)
    assert pointers(found) == {"number"}


def test_ids_inside_of_bodies_are_looked_up_too(api: Api, process):
    found = api.post("/processes", {"definition": "no_such_definition"}, 404)
    assert "no definition 'no_such_definition'" in found["detail"]
    code = api.deploy({"work": {"kind": "job", "topic": "t"}})
    assert "version 7" in api.post("/processes", {"definition": code, "version": 7}, 404)["detail"]
    assert pointers(api.post("/processes", {"definition": code, "id": "seven"}, 400)) == {"/id"}
    for body in ({"node": "nowhere"}, {"visit": 999}):
        found = api.post(f"/processes/{process}/skip", body, 400)
        assert pointers(found) == {f"/{next(iter(body))}"}
        assert str(next(iter(body.values()))) in found["detail"]
        api.post(f"/processes/{process}/debug", {**body, "output": 1}, 400)
    for body in ({}, {"node": "work", "visit": 1}):
        api.post(f"/processes/{process}/skip", body, 400)
    for body in ({"node": "work"}, {"node": "work", "input": 1, "output": 1}):
        assert "input" in api.post(f"/processes/{process}/debug", body, 400)["detail"]
    assert pointers(api.post(f"/processes/{process}/restart", {"node": "nowhere"}, 400)) == {"/node"}
    api.post(f"/processes/{process}/restart", {"node": "work", "scope": 77}, (400, 409))
    assert "version 77" in api.post(f"/processes/{process}/migrate", {"version": 77}, 404)["detail"]
    assert api.get("/items", process="no-uuid", expect=404)["code"] == "not_found"
    assert pointers(api.get("/processes", definition="no_such_definition", expect=400)) == {"definition"}
    (result,) = api.post("/jobs/complete", {"jobs": [{"id": "garbage", "lease": "x"}]})["results"]
    assert result["error"]["status"] == 404
    (result,) = api.post("/processes/~batch", {"processes": [{"definition": "no_such_definition"}]})["results"]
    assert result["status"] == 404
    assert api.status(process) == "RUNNING"


# -- methods, content types, paths -----------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: r.operation)
def test_a_wrong_method_is_answered_405_with_what_is_allowed(api: Api, route):
    path = path_of(route)
    allowed = {other.method for other in ROUTES if other.path == route.path}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - allowed:
        response = api.request(method, path)
        problem(response, 405, "method_not_allowed")
        assert set(response.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "kind", ["text/plain", "multipart/form-data; boundary=x", "application/json; charset=latin-1", "json"]
)
@pytest.mark.parametrize("route", WITH_BODY, ids=names(WITH_BODY))
def test_a_wrong_content_type_is_answered_415(api: Api, route, kind):
    found = problem(
        api.request(route.method, path_of(route), content=b"{}", headers={"content-type": kind}),
        415,
        "unsupported_media_type",
    )
    assert "application/json" in found["detail"]


@pytest.mark.parametrize(
    "path", ["", "/", "/nothing", "/processes/", "/processes//history", "/items/x/y/z", "/../healthz"]
)
def test_an_unknown_path_is_not_found(server, path):
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(f"GET {PREFIX}{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404 "), answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "not_found"


@pytest.mark.parametrize(
    "request_line",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_and_the_server_lives_on(server, api: Api, request_line):
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(request_line)
        answer = raw.recv(65536)
        assert answer.startswith(b"HTTP/1.1 4") or answer == b""
    assert api.get("/me")["kind"]


def test_an_answer_to_head_has_no_body(api: Api):
    response = api.http.head("/me")
    assert response.status_code == 200
    assert response.content == b""


# -- parameters ------------------------------------------------------------------------------------------------------

BAD_FILTERS = [
    ("/processes", "status=NOPE", "status"),
    ("/processes", "status=running", "status"),
    ("/processes", "status=RUNNING&status=", "status"),
    ("/processes", "limit=0", "limit"),
    ("/processes", "limit=201", "limit"),
    ("/processes", "limit=-1", "limit"),
    ("/processes", "limit=ten", "limit"),
    ("/processes", "limit=1.5", "limit"),
    ("/processes", "limit=", "limit"),
    ("/processes", "limit=99999999999999999999", "limit"),
    ("/processes", "limit=5&limit=6", "limit"),
    ("/processes", "version=0", "version"),
    ("/processes", "version=one", "version"),
    ("/processes", "version=99999999999999999999", "version"),
    ("/processes", "order=sideways", "order"),
    ("/processes", "created_from=yesterday", "created_from"),
    ("/processes", "created_to=2026-13-01T00:00:00Z", "created_to"),
    ("/processes", "created_to=2026-01-01", "created_to"),
    ("/processes", "created_from=9999-12-31T23:59:60Z", "created_from"),
    ("/processes", "created_from=%D9%A3", "created_from"),
    ("/processes", "colour=red", "colour"),
    ("/processes", "metadata=x", "metadata"),
    ("/processes", "metadata.a=1&metadata.a=2", "metadata.a"),
    ("/processes", "output.a=1", "output.a"),
    ("/processes", "definition=a%00b", "definition"),
    ("/processes", "metadata.a=%00", "metadata.a"),
    ("/processes", "created_by=%FF", ""),
    ("/processes", "&".join(f"metadata.a{n}=1" for n in range(300)), ""),
    ("/items", "state=OPEN", "state"),
    ("/items", "mine=perhaps", "mine"),
    ("/items", "limit=1000", "limit"),
    ("/items", "owner=x", "owner"),
    ("/definitions", "limit=0", "limit"),
    ("/definitions", "code=x", "code"),
    ("/definitions", "cursor=x&cursor=y", "cursor"),
    ("/me", "verbose=1", "verbose"),
]


@pytest.mark.parametrize(("path", "query", "pointer"), BAD_FILTERS, ids=[f"{p}?{q[:40]}" for p, q, _ in BAD_FILTERS])
def test_a_bad_filter_is_refused_and_named(api: Api, path, query, pointer):
    found = problem(api.request("GET", f"{path}?{query}"), 400, "invalid")
    assert {each.partition(".")[0] if each not in query else each for each in pointers(found)} == {pointer}, found
    assert found["detail"].startswith(pointer), found


def test_filters_that_match_nothing_answer_an_empty_list(api: Api):
    api.deploy({"a": {"kind": "job", "topic": "searched"}}, search=["metadata.customer"])
    for query in (
        {"created_by": "nobody"},
        {"created_from": "2999-01-01T00:00:00Z"},
        {"created_to": "1971-01-01T00:00:00+02:00"},
        {"metadata.customer": "🦆"},
        {"version": 9_223_372_036_854_775_807},
    ):
        assert api.get("/processes", **query) == {"items": [], "next": None}
    for name in ("metadata.colour", "entity.a.b"):
        assert pointers(api.get("/processes", **{name: "red"}, expect=400)) == {name}


def tampered(cursor: str) -> dict[str, str]:
    middle = len(cursor) // 2
    changed = "A" if cursor[middle] != "A" else "B"
    return {
        "changed": cursor[:middle] + changed + cursor[middle + 1 :],
        "cut": cursor[:-3],
        "longer": cursor + "AAAA",
        "empty": "",
        "text": "next please",
        "not ASCII": "é" + cursor,
        "huge": "A" * 10_000,
        "one": "A",
        "padding": cursor + "====",
    }


def test_a_cursor_that_was_tampered_with_is_refused(api: Api):
    code = api.deploy({"work": {"kind": "job", "topic": "t"}})
    for _ in range(3):
        api.start(code)
    cursor = api.get("/processes", definition=code, limit=1)["next"]
    for name, odd in tampered(cursor).items():
        found = problem(api.request("GET", "/processes", params={"definition": code, "limit": 1, "cursor": odd}), 400)
        assert pointers(found) == {"cursor"}, (name, found)
    for path, more in (
        ("/processes", {}),
        ("/processes", {"definition": code, "order": "oldest"}),
        ("/definitions", {}),
        ("/items", {"definition": code}),
    ):
        found = problem(api.request("GET", path, params={**more, "cursor": cursor}), 400)
        assert "not a cursor of this list" in found["detail"]
    assert len(api.get("/processes", definition=code, limit=2, cursor=cursor)["items"]) == 2


@pytest.mark.parametrize("key", ["", "x" * 201, "é", "a\tb"])
def test_a_bad_idempotency_key_is_refused(api: Api, key):
    headers = {"idempotency-key": key.encode("latin-1")}
    response = api.request("POST", "/processes", json={"definition": "x"}, headers=headers)
    assert pointers(problem(response, 400)) == {"Idempotency-Key"}


BAD_POLLS = [
    ({"topics": []}, "/topics"),
    ({"topics": ["t"] * 101}, "/topics"),
    ({"topics": [f"topic{n}" for n in range(5000)]}, "/topics"),
    ({"topics": [""]}, "/topics/0"),
    ({"topics": ["a", "x" * 201]}, "/topics/1"),
    ({"topics": ["http:"]}, "/topics/0"),
    ({"topics": "t"}, "/topics"),
    ({"topics": [1]}, "/topics/0"),
    ({}, "/topics"),
    ({"topics": ["t"], "max": 0}, "/max"),
    ({"topics": ["t"], "max": 501}, "/max"),
    ({"topics": ["t"], "max": 1.5}, "/max"),
    ({"topics": ["t"], "wait": 61}, "/wait"),
    ({"topics": ["t"], "wait": -1}, "/wait"),
    ({"topics": ["t"], "wait": "5"}, "/wait"),
    ({"topics": ["t"], "lease": 0}, "/lease"),
    ({"topics": ["t"], "lease": 3601}, "/lease"),
    ({"topics": ["t"], "worker": "x" * 201}, "/worker"),
]


@pytest.mark.parametrize(("body", "pointer"), BAD_POLLS, ids=[f"{str(b)[:50]}" for b, _ in BAD_POLLS])
def test_a_bad_poll_is_refused(api: Api, body, pointer):
    found = problem(api.request("POST", "/jobs/poll", json=body), 400, "invalid")
    assert pointers(found) == {pointer}, found


# -- values ----------------------------------------------------------------------------------------------------------


def test_keys_of_values_have_a_length(api: Api, process):
    for owner in (f"/processes/{process}", f"/definitions/{api.process(process)['definition']}"):
        base = f"{owner}/values"
        longest = "k" * 255
        api.put(f"{base}/{longest}", 1)
        assert api.get(f"{base}/{longest}")["value"] == 1
        for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/increment")):
            body = {"json": 1} if method == "PUT" else {}
            found = problem(api.request(method, f"{base}/{longest}k{path}", **body), 400)
            assert "255" in found["detail"]
            assert pointers(found) == {"key"}, found
    topic = fresh("topic")
    api.start(api.deploy({"work": {"kind": "job", "topic": topic}}))
    job = api.take(topic)
    for more in ({"increments": ["k" * 256]}, {"values": {"k" * 256: 1}}, {"increments": [""]}, {"values": {"": 1}}):
        found = api.finish(job, None, 400, **more)
        assert next(iter(pointers(found))).startswith("/" + next(iter(more))), found
    api.finish(job)


@pytest.mark.parametrize("key", ["a/b", "ä🦆", "%", "..", "a b", "?", "#", "~batch", "x" * 255, "increment"])
def test_keys_of_values_may_be_any_text(api: Api, process, key):
    path = f"/processes/{process}/values/{quote(key, safe='')}"
    if key == "..":
        path = path.replace("..", "%2E%2E")
    api.put(path, {"of": key})
    assert api.get(path) == {"key": key, "value": {"of": key}}
    assert {"key": key, "value": {"of": key}} in api.everything(f"/processes/{process}/values", limit=200)
    api.delete(path, 204)
    api.get(path, 404)
    api.delete(path, 404)


@pytest.mark.parametrize(
    "value", [None, False, 0, "", [], {}, 1.5, -(2**63), 2**63 - 1, 1e308, "🦆", {"": {"": [None]}}, [[]] * 50]
)
def test_a_value_comes_back_as_it_was_put(api: Api, process, value):
    path = f"/processes/{process}/values/{fresh('key')}"
    assert api.put(path, value)["value"] == value
    assert api.get(path)["value"] == value


@pytest.mark.parametrize("value", ["text", None, 1.5, True, [], {}, "1", 2**63 - 1])
def test_only_a_whole_number_can_be_incremented(api: Api, process, value):
    for owner in (f"/processes/{process}", f"/definitions/{api.process(process)['definition']}"):
        path = f"{owner}/values/{fresh('key')}"
        api.put(path, value)
        found = problem(api.request("POST", f"{path}/increment"), 409, "conflict")
        assert path.rpartition("/")[2] in found["detail"]
        assert api.get(path)["value"] == value


# -- definitions -----------------------------------------------------------------------------------------------------

MANY_WRONG = """
penstock: 2
code: 9lives
colour: red
driver: horse
tasks:
  FORM: {schema: {type: banana}, candidates: [everybody]}
nodes:
  a: {kind: job}
  b: {kind: jbo, topic: x}
  c: {kind: item, task: FROM}
  d: {kind: job, topic: x, input: "${input.}", retry: {max_attempts: 0, delay: soon}}
flows:
  - {from: a, to: nowhere}
  - {from: d, to: c, if: "1 +"}
"""
EXPECTED = {
    *("/penstock", "/code", "/colour", "/driver", "/tasks/FORM/schema", "/tasks/FORM/candidates/0", "/nodes/a"),
    *("/nodes/b/kind", "/nodes/c/task", "/nodes/d/input", "/nodes/d/retry/max_attempts", "/nodes/d/retry/delay"),
    *("/flows/0/to", "/flows/1/if"),
}


def test_every_problem_of_a_definition_is_listed(api: Api):
    found = problem(api.request("POST", "/definitions", content=MANY_WRONG.encode(), headers=YAML), 400)
    assert pointers(found) == EXPECTED, found
    assert f"{len(found['problems'])} problems" in found["detail"]
    validated = api.call("POST", "/definitions/~validate", content=MANY_WRONG.encode(), headers=YAML)
    assert validated["valid"] is False
    assert {each["pointer"] for each in validated["problems"]} == EXPECTED
    api.get("/definitions/9lives", 404)


NO_DEFINITIONS = {
    "list": "[1, 2]",
    "text": "just text",
    "number": "7",
    "null": "null",
    "tab": "a:\n\t- b",
    "unclosed": "code: {a",
    "alias": "a: &x 1\nb: *x",
    "bomb": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
    "tag": "!!python/object/apply:os.system ['true']",
    "two documents": "a: 1\n---\nb: 2",
    "two keys": "code: a\ncode: b",
    "NUL": 'code: "a\\0b"',
    "not finite": "code: .inf",
    "deep": "[" * 500 + "]" * 500,
    "timestamp key": "2026-01-01: x\n1: y",
    "empty map": "{}",
    "only a comment": "# nothing",
}


@pytest.mark.parametrize("text", NO_DEFINITIONS.values(), ids=NO_DEFINITIONS)
@pytest.mark.parametrize("path", ["/definitions", "/definitions/~validate"])
def test_what_is_no_definition_is_refused(api: Api, text, path):
    response = api.request("POST", path, content=text.encode(), headers=YAML)
    if response.status_code == 200:
        assert path.endswith("~validate")
        assert response.json()["valid"] is False
        assert response.json()["problems"]
    else:
        assert problem(response, 400, "invalid")["problems"]


@pytest.mark.parametrize("headers", [JSON, YAML, {}], ids=["JSON", "YAML", "no content type"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"\x00", b" \n"], ids=["empty", "UTF-16", "NUL", "blank"])
def test_a_definition_that_cannot_be_read_is_refused(api: Api, headers, content):
    for path in ("/definitions", "/definitions/~validate"):
        problem(api.request("POST", path, content=content, headers=headers), 400, "invalid")


def test_a_start_that_does_not_fit_its_schemas_lists_every_problem(api: Api):
    data = {
        "input": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
            "required": ["c"],
        },
        "metadata": {"type": "object", "properties": {"m": {"enum": ["x", "y"]}}},
    }
    code = api.deploy({"work": {"kind": "job", "topic": "t"}}, data=data)
    body = {"definition": code, "input": {"a": "one", "b": 2}, "metadata": {"m": "z"}}
    found = api.post("/processes", body, 400)
    assert pointers(found) == {"/input", "/input/a", "/input/b", "/metadata/m"}, found
    assert api.get("/processes", definition=code)["items"] == []


# -- credentials -----------------------------------------------------------------------------------------------------

PROTECTED = [route for route in ROUTES if route.operation not in PUBLIC]


@pytest.mark.parametrize("route", PROTECTED, ids=names(PROTECTED))
def test_no_credential_and_no_good_one_are_answered_401(server, nobody: Api, route):
    body = body_of(route)
    headers = {
        "none": {},
        "garbage": {"authorization": "Bearer garbage"},
        "of our form": {"authorization": "Bearer pt_" + "A" * 43},
        "expired": {"authorization": f"Bearer {server.expired}"},
        "a job's, of nobody": {"authorization": "Bearer pj_1.1.AAAA"},
        "a job's, malformed": {"authorization": "Bearer pj_zz"},
        "no token": {"authorization": "Bearer"},
        "two tokens": {"authorization": "Bearer a b"},
        "other scheme": {"authorization": "Basic YTpi"},
        "not ASCII": {"authorization": "Bearer \xe9".encode("latin-1")},
    }
    for name, each in headers.items():
        response = nobody.request(route.method, path_of(route), headers=each, **body)
        assert response.status_code == 401, (name, response.text)


BAD_GRANTS = [
    ({"grant_type": "client_credentials"}, 401),
    ({"grant_type": "client_credentials", "client_id": "x", "client_secret": "y"}, 401),
    ({"grant_type": "client_credentials", "client_id": "", "client_secret": ""}, 401),
    ({"grant_type": "password", "username": "ana@example.com", "password": "wrong"}, 401),
    ({"grant_type": "password", "username": "nobody@example.com", "password": "x"}, 401),
    ({"grant_type": "password", "username": "ana@example.com", "password": "x" * 100_000}, 401),
    ({"grant_type": "password"}, 400),
    ({"grant_type": "refresh_token"}, 400),
    ({}, 400),
]


@pytest.mark.parametrize(("grant", "status"), BAD_GRANTS)
def test_a_bad_grant_gets_no_token(nobody: Api, grant, status):
    problem(nobody.request("POST", "/token", json=grant), status)
    if grant:
        problem(nobody.request("POST", "/token", data=grant), status)


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic YQ==", "Basic AGI6", "Digest x", "Basic /w=="])
def test_a_malformed_basic_header_gets_no_token(nobody: Api, header):
    form = {"grant_type": "client_credentials"}
    problem(nobody.request("POST", "/token", data=form, headers={"authorization": header}), 401)


def test_a_form_with_a_field_twice_or_with_nul_is_refused(nobody: Api):
    form = {"content-type": "application/x-www-form-urlencoded"}
    for content in (
        b"grant_type=password&grant_type=password",
        b"grant_type=password&username=%00&password=x",
        b"\xff",
    ):
        problem(nobody.request("POST", "/token", content=content, headers=form), 400)


# -- permissions -----------------------------------------------------------------------------------------------------


def test_a_user_without_permission_is_forbidden(api: Api, ana: Api, process):
    code = api.process(process)["definition"]
    calls = [
        ("deployDefinition", {}),
        ("startProcess", {"definition": code}),
        *((f"{command}Process", None) for command in ("complete", "cancel", "terminate", "suspend", "resume", "retry")),
        *((f"{command}Process", None) for command in ("debug", "skip", "restart", "migrate", "signal")),
        *(
            (f"{verb}{kind}Value", None)
            for verb in ("put", "delete", "increment")
            for kind in ("Process", "Definition")
        ),
        *((f"{verb}Jobs", None) for verb in ("poll", "complete", "fail", "throw", "extend", "log")),
        *((f"{verb}Job", None) for verb in ("complete", "fail", "throw")),
        ("sendMessage", None),
        ("sendSignal", None),
    ]
    before = api.process(process)
    for operation, body in calls:
        route = NAMED[operation]
        ids = {"id": f"{process}.1" if "{id}" in route.path and route.path.startswith("/jobs") else process}
        path = path_of(route, **ids, owner=process if route.path.startswith("/processes") else code)
        more = {"json": body} if body else body_of(route)
        found = problem(ana.request(route.method, path, **more), 403, "forbidden")
        assert "may not" in found["detail"], (operation, found)
    (result,) = ana.post("/processes/~batch", {"processes": [{"definition": code}]})["results"]
    assert result["status"] == 403
    assert api.process(process) == before


def test_a_user_sees_no_item_that_is_not_hers_and_claims_none_she_only_sees(api: Api, ana: Api, ben: Api):
    tasks = {"CHECK": {"candidates": ["group:risk"]}}
    nodes = {"check": {"kind": "item", "task": "CHECK"}}
    hidden = api.start(api.deploy(nodes, tasks=tasks))["id"]
    (item,) = api.get("/items", process=hidden)["items"]
    for method, path in (("GET", ""), ("POST", "/claim"), ("POST", "/complete")):
        body = {"json": {}} if path == "/complete" else {}
        problem(ana.request(method, f"/items/{item['id']}{path}", **body), 404, "not_found")
    assert ana.get("/items", process=hidden)["items"] == []
    seen = api.start(api.deploy(nodes, tasks=tasks, permissions={"viewer": ["group:staff"]}))["id"]
    (item,) = api.get("/items", process=seen)["items"]
    assert ana.get(f"/items/{item['id']}")["state"] == "READY"
    ana.post(f"/items/{item['id']}/claim", {}, 403)
    ana.post(f"/items/{item['id']}/complete", {}, 403)
    ben.post(f"/items/{item['id']}/claim", {}, 200)
    assert api.get(f"/items/{item['id']}")["owner"] == "user:ben@example.com"


# -- at random -------------------------------------------------------------------------------------------------------


def test_whatever_json_every_route_is_given_it_never_fails(api: Api, process):
    values = [None, True, -1, 0, 1.5, 2**53, 1e308, "", "x", "🦆", [], {}, [[]], {"a": {}}, "x" * 1000]
    code = api.process(process)["definition"]
    numbers = itertools.count()
    for route in WITH_BODY:
        if route.operation in {"cancelProcess", "terminateProcess", "completeProcess", "skipProcess", "debugProcess"}:
            continue  # these would end it; unknown ids were tried on them
        path = path_of(route, id=process, owner=process if route.path.startswith("/processes") else code, key="fuzz")
        base = BODIES.get(route.operation, {})
        for name in [*(base if isinstance(base, dict) else ()), "id", "input", "wait", "poll", "mapping", "payload"]:
            for value in values:
                if name == "wait" and isinstance(value, float | int):
                    continue
                body = {**(base if isinstance(base, dict) else {}), name: value}
                if next(numbers) % 3 == 0:
                    api.request(route.method, path, json=body)
    assert api.get("/me")["kind"]
