"""Whatever goes wrong is told in the envelope; checks come in one order."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from contract.cloudio.door import AUTH, OPERATIONS, VALUES, check_envelope, log_in_header, reference
from penstock.dialects.cloudio.routes import Cloudio, without_blanks
from penstock.dialects.cloudio.routes import door as make_door

JSON = {"content-type": "application/json"}
GOOD = {
    "wfUid": "w", "wfInstUid": "i", "version": "1", "token": "t", "nodeUid": "n", "executionId": "1", "key": "k", "value": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/wf", 404), ("GET", "/v1/wf/", 404), ("POST", "/v1/wf/delete", 404), ("POST", "/v1/wf/put/more", 404),
        ("POST", "/v1/wf/PUT", 404), ("POST", "/v1/auth/more", 404), ("POST", "/v1/wf/%FF", 404), ("POST", "/%20/v1/wf/x", 404),
        ("GET", "/v1/wf/put", 405), ("PUT", "/v1/wf/instancePut", 405), ("DELETE", "/v1/wf/get", 405), ("PATCH", "/v1/auth", 405),
        ("GET", "/%20/v1/wf//get/", 405),
    ],
)  # fmt: skip
def test_an_unknown_path_is_404_and_another_method_405(door, method, path, status):
    response = door.request(method, path)
    assert response.status_code == status, response.text
    if status == 405:
        assert "POST" in response.headers["allow"]


BODIES = [
    # body, part of the message
    (b"", "too early"),
    (b"{", "too early"),
    (b'{"wfUid":"w",}', "malformed"),
    (b"nothing", "malformed"),
    (b'{"wfUid":"\xff"}', "UTF-8"),
    (b"[]", "must be an object"),
    (b"null", "must be an object"),
    (b'"text"', "must be an object"),
    (b"{}", "wfUid"),
]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("body", "text"), BODIES, ids=[str(row[0]) for row in BODIES])
def test_a_bad_body_is_400(door, operation, body, text):
    response = door.request("POST", f"{VALUES}/{operation}", content=body, headers=JSON)
    assert response.status_code == 400, response.text
    assert text in response.json()["message"]


@pytest.mark.parametrize("operation", ["put", "instanceIncrementAndGet"])
@pytest.mark.parametrize("member", [*(name for name in GOOD if name != "value")])
@pytest.mark.parametrize("value", [None, True, [], {}, "\0", "MISSING"])
def test_a_member_that_is_missing_or_of_another_kind_is_named(door, operation, member, value):
    body = {**GOOD, member: value}
    if value == "MISSING":
        del body[member]
    assert member in door.call(operation, body, 400)["message"]


def test_a_put_without_a_value_is_400(door):
    body = {name: value for name, value in GOOD.items() if name != "value"}
    for operation in ("put", "instancePut"):
        assert "value" in door.call(operation, body, 400)["message"]


@pytest.mark.parametrize("member", ["version", "token", "executionId", "wfUid"])
@pytest.mark.parametrize("value", ["x" * 1001, 10**30])
def test_what_no_name_can_be_is_400(door, member, value):
    assert f"/{member}" in door.call("get", {**GOOD, member: value}, 400)["message"]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("brackets", ["[]", '{"a":}'])
def test_json_nested_1000_deep_is_400(door, operation, brackets):
    opening, closing = brackets[:-1], brackets[-1]
    deep = opening * 1000 + ("1" if opening != "[" else "") + closing * 1000
    body = json.dumps(GOOD)[:-1] + ', "more": ' + deep + "}"
    response = door.request("POST", f"{VALUES}/{operation}", content=body.encode(), headers=JSON)
    assert response.status_code == 400, response.text
    assert "nested" in response.json()["message"]


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**400])
def test_an_integer_no_database_keeps_is_400(door, value):
    body = json.dumps({**GOOD, "value": 0}).replace('"value": 0', f'"value": {value}')
    response = door.request("POST", f"{VALUES}/put", content=body.encode(), headers=JSON)
    assert response.status_code == 400, response.text


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "application/json; charset=utf-16"]
)
@pytest.mark.parametrize("path", [f"{VALUES}/{operation}" for operation in OPERATIONS] + [AUTH])
def test_another_media_type_is_415(door, path, kind):
    response = door.request("POST", path, content=json.dumps(GOOD).encode(), headers={"content-type": kind})
    assert response.status_code == 415, response.text


@pytest.mark.parametrize(("operation", "size"), [("put", 4 << 20), ("get", 64 << 10), ("incrementAndGet", 64 << 10)])
def test_a_large_body_is_413_before_it_is_read(door, operation, size):
    body = json.dumps({**GOOD, "more": "x" * size}).encode()
    assert door.request("POST", f"{VALUES}/{operation}", content=body, headers=JSON).status_code == 413


def test_checks_come_in_one_order(door):
    """Size, parse, the value's size, the token, its state."""
    job = door.job()
    bad = reference(job, token="x")
    door.call("put", {**bad, "key": ""}, 400)
    door.call("put", {**bad, "key": "k", "value": "x" * (1 << 20)}, 413)
    door.call("put", {**reference(job), "key": "k", "value": "text"})
    door.call("incrementAndGet", {**bad, "key": "k"}, 403)
    door.call("incrementAndGet", {**reference(job), "key": "k"}, 409)


def test_a_bad_idempotency_key_is_400(door):
    assert "Idempotency-Key" in door.call("put", GOOD, 400, headers={"Idempotency-Key": "x" * 201})["message"]


def test_the_document_tells_every_path(door):
    assert sorted(door.contract.document["paths"]) == sorted([AUTH, *(f"{VALUES}/{name}" for name in OPERATIONS)])
    page = door.http.get(f"{VALUES}/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")


def test_blank_segments_elsewhere_are_not_ours(door):
    for path in ("/%20/healthz", "//healthz", "/v1", "/v1/other", "/%20"):
        response = door.http.get(door.server.url + path)
        assert response.status_code == 404, path
        assert response.headers["content-type"] == "application/problem+json", path
    assert door.http.get("/healthz").json()["status"] == "ok"
    assert door.http.get("/").status_code == 200


@pytest.mark.parametrize(
    ("path", "stripped"),
    [
        (b"/v1/wf/put", b"/v1/wf/put"), (b"/%20/v1/wf/put", b"/v1/wf/put"), (b"//v1/%09/wf/put//", b"/v1/wf/put"), (b"/", b""),
        (b"/a%20b/c%2F", b"/a%20b/c%2F"), (b"/%20x/", b"/%20x"),
    ],
)  # fmt: skip
def test_blank_segments_go(path, stripped):
    assert without_blanks(path) == stripped


@pytest.mark.parametrize(
    ("path", "headers"), [(f"{VALUES}/get", {}), (AUTH, {"authorization": log_in_header("a@b.c", "x")})]
)
def test_our_own_mistake_is_500_and_tells_nothing_of_the_inside(path, headers):
    async def ask():
        app = make_door(Cloudio(None, None, b"k"))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://door") as http:
            return await http.post(path, json=GOOD, headers=headers)

    answer = asyncio.run(ask())
    assert answer.status_code == 500
    check_envelope(answer)
    assert "NoneType" not in answer.text
