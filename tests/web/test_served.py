"""A door behind a real server on loopback, given what a hostile or broken client sends, byte by byte."""

import asyncio
import json
import socket
import threading
import time
from typing import Any

import msgspec
import pytest
import uvicorn

from penstock.identity.model import Actor, Kind, Tenant
from penstock.web.auth import bearer
from penstock.web.routing import Auth, Door, Route
from penstock.web.site import Site
from penstock.web.waiting import wait

ACTOR = Actor(tenant=Tenant(1, "t", "t"), principal="app:a", kind=Kind.APPLICATION)
LIMIT = 64 * 1024


class Line(msgspec.Struct, forbid_unknown_fields=True):
    amount: int


class Order(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    lines: list[Line] = []
    data: Any = None


class Tokens:
    async def authenticate(self, token):
        return ACTOR


class Wait(msgspec.Struct):
    seconds: float = 0


left = threading.Event()


async def echo(call):
    return call.body


async def poll(call):
    try:
        await wait(asyncio.get_running_loop().create_future(), call.query.seconds, call.gone)
    except BaseException:
        left.set()
        raise
    return []


def route(method, path, handler, **more):
    return Route(method=method, path=path, operation=path, summary="", handler=handler, **more)


@pytest.fixture(scope="module")
def port():
    door = Door(
        [
            route("POST", "/orders", echo, request=Order, response=Order),
            route("GET", "/poll", poll, query=Wait, response=list[int], auth=Auth.NONE),
        ],
        None, name="test", title="Test", version="1", prefix="/api", authenticate=bearer(Tokens()), max_body=LIMIT,
    )  # fmt: skip
    config = uvicorn.Config(
        Site({"": door}), host="127.0.0.1", port=0, loop="uvloop", http="httptools", log_level="error"
    )
    server = uvicorn.Server(config)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(10)
    listening.close()


def talk(port, text, *, more=(), pause=0.0):
    """Sends bytes, and reads one answer: (status, headers, content)."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(text)
        for part in more:
            time.sleep(pause)
            try:
                connection.sendall(part)
            except ConnectionError:
                break
        got = b""
        while b"\r\n\r\n" not in got:
            part = connection.recv(65536)
            assert part, f"closed after {got!r}"
            got += part
        head, _, content = got.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        expected = 0 if text.startswith(b"HEAD") else int(headers.get("content-length", 0))
        while len(content) < expected:
            content += connection.recv(65536)
        return int(lines[0].split()[1]), headers, content


def post(body, path="/api/orders", *, method="POST", content_type="application/json", length=None):
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


def chunked(*parts):
    head = (
        b"POST /api/orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    return head, [*(b"%x\r\n%s\r\n" % (len(part), part) for part in parts), b"0\r\n\r\n"]


def test_a_good_request(port):
    status, headers, content = talk(port, post(b'{"id":"\xc3\xbc","lines":[{"amount":1}]}'))
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(content) == {"id": "ü", "lines": [{"amount": 1}], "data": None}


def test_a_chunked_request(port):
    head, parts = chunked(b'{"id":', b'"a"}')
    assert talk(port, head, more=parts, pause=0.02)[0] == 200


@pytest.mark.parametrize(
    ("request_text", "status", "code", "pointer"),
    [
        (post(b'{"id":"a"'), 400, "invalid", ""), (post(b'{"id":"\xff"}'), 400, "invalid", ""),
        (post(b'{"id":1}'), 400, "invalid", "/id"), (post(b'{"id":"a","lines":[{"amount":1},{"amount":"1"}]}'), 400, "invalid", "/lines/1/amount"),
        (post(b'{"id":"a","other":1}'), 400, "invalid", "/other"), (post(b"[]"), 400, "invalid", ""), (post(b""), 400, "invalid", ""),
        (post(b'{"id":"a","data":' + b"[" * 1000 + b"]" * 1000 + b"}"), 400, "invalid", ""),
        (post(b'{"id":"a","data":' + b'{"a":' * 5000 + b"1" + b"}" * 5001), 400, "invalid", ""),
        (post(b'{"id":"a\\u0000"}'), 400, "invalid", "/id"), (post(b'{"id":"a","data":' + b"1" * 40 + b"}"), 400, "invalid", "/data"),
        (post(b"{}", content_type="text/xml"), 415, "unsupported_media_type", None),
        (post(b"{}", "/api/nowhere"), 404, "not_found", None), (post(b"{}", "/"), 404, "not_found", None),
        (post(b"{}", "/api/%ff"), 404, "not_found", None), (post(b"{}", "/api/orders?x=1"), 400, "invalid", "x"),
        (post(b"{}", method="PUT"), 405, "method_not_allowed", None), (post(b"", method="GET"), 405, "method_not_allowed", None),
        (post(b"{}", method="OPTIONS"), 405, "method_not_allowed", None),
        (post(b"", length=10 * LIMIT), 413, "too_large", ""),
        (b"GET /api/orders/../x HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not_found", None),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", None, None, None),
    ],
)  # fmt: skip
def test_bad_input_is_answered_with_what_is_wrong_and_where(port, request_text, status, code, pointer):
    got, headers, content = talk(port, request_text)
    if status is None:  # the server's own parser may refuse first
        assert 400 <= got < 500
        return
    assert (got, headers["content-type"]) == (status, "application/problem+json")
    problem = json.loads(content)
    assert (problem["status"], problem["code"]) == (status, code)
    if pointer is not None:
        assert problem["problems"][0]["pointer"] == pointer


def test_a_body_over_the_limit_is_refused_declared_or_not(port):
    body = b'{"id":"' + b"x" * LIMIT + b'"}'
    assert talk(port, post(body))[0] == 413
    head, parts = chunked(*[b"x" * 8192] * 20)
    assert talk(port, head, more=parts)[0] == 413


def test_an_endless_body_is_cut_off(port):
    head, parts = chunked(*[b"x" * LIMIT] * 12)
    status, headers, _ = talk(port, head, more=parts[:9])
    assert (status, headers["connection"]) == (413, "close")


def test_the_connection_lives_on_after_a_refusal(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for body, status in [(b"{", b"400"), (b'{"id":"' + b"x" * LIMIT + b'"}', b"413"), (b'{"id":"a"}', b"200")]:
            connection.sendall(post(body))
            assert connection.recv(65536).split()[1] == status


def test_a_poll_ends_in_time(port):
    began = time.monotonic()
    assert talk(port, b"GET /api/poll?seconds=0.2 HTTP/1.1\r\nHost: x\r\n\r\n")[2] == b"[]"
    assert 0.15 < time.monotonic() - began < 5


def test_a_poll_notices_that_its_client_left(port):
    left.clear()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET /api/poll?seconds=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.1)
        assert not left.is_set()
    assert left.wait(5)


def test_head_has_no_body(port):
    status, headers, content = talk(port, b"HEAD /api/poll HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")[:3]
    assert status == 200
    assert "content-length" in headers or content == b""
