"""Workers that answer late, twice or garbage; callers that vanish; bodies that dribble in: promise 9 of docs/reliability.md."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.conftest import tell
from faults.nodes import Look, Node, seeded
from support.server import Api, fresh, until

BODY_SECONDS = 2.0
RESET = struct.pack("ii", 1, 0)


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('rude')}/penstock.db"


@pytest.fixture(scope="module")
def node(url) -> Iterator[Node]:
    folder = Path(url.removeprefix("sqlite:///")).parent
    made = Node(folder, url, seeded(url), FAULTS_BODY_SECONDS=str(BODY_SECONDS))
    try:
        yield made.start()
        made.end()
    finally:
        made.kill()
        made.forget_clients()


@pytest.fixture(scope="module")
def api(node: Node) -> Api:
    return node.application()


@contextlib.contextmanager
def connected(api: Api) -> Iterator[socket.socket]:
    host, _, port = api.server.url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), 10) as plain:
        plain.settimeout(10)
        yield plain


def request(api: Api, path: str, body: Any, key: str = "") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"POST /api/v1{path} HTTP/1.1",
        "host: x",
        "content-type: application/json",
        f"authorization: Bearer {api.token}",
        f"content-length: {len(content)}",
        *([f"idempotency-key: {key}"] if key else []),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def answer(plain: socket.socket) -> bytes:
    """All that comes until the server closes or the answer is whole."""
    found = b""
    while not (b"\r\n\r\n" in found and whole(found)):
        part = plain.recv(65536)
        if not part:
            break
        found += part
    return found


def whole(found: bytes) -> bool:
    head, _, body = found.partition(b"\r\n\r\n")
    lengths = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(lengths) and len(body) >= lengths[0]


def waiting(api: Api) -> tuple[str, str, str]:
    """(process, definition, topic) of a process with one job."""
    topic = fresh("topic")
    code = api.deploy({"w": {"kind": "job", "topic": topic}}, output="${w}")
    return api.start(code)["id"], code, topic


def test_a_late_answer_and_a_second_one_change_nothing(api: Api):
    id, _, topic = waiting(api)
    late = api.take(topic, lease=1)
    again = api.take(topic, lease=60)  # as soon as the lease ran out
    assert again["id"] == late["id"]
    assert api.finish(late, "late", status=409)["code"] == "lease_lost"
    assert api.fail(late, status=409)["code"] == "lease_lost"
    body = {"lease": again["lease"], "output": "right", "increments": ["n"]}
    for _ in range(3):
        response = api.request(
            "POST", f"/jobs/{again['id']}/complete", json=body, headers={"idempotency-key": "the same"}
        )
        assert response.status_code == 204
    assert api.finish(again, "twice", status=409)["code"] == "lease_lost"
    assert api.until(id, "COMPLETED")["output"] == "right"
    assert api.get(f"/processes/{id}/values/n")["value"] == 1


def test_garbage_is_refused_and_the_job_goes_on(api: Api, chance, long):
    id, _, topic = waiting(api)
    job = api.take(topic, lease=60)
    good = json.dumps({"lease": job["lease"], "output": {"a": [1, 2, 3]}, "values": {"k": 1}}).encode()
    for _ in range(2_000 if long else 200):
        bad = bytearray(good)
        for _ in range(chance.randint(1, 6)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        if chance.random() < 0.3:
            bad = bad[: chance.randrange(len(bad))]
        response = api.http.post(
            f"/jobs/{job['id']}/complete", content=bytes(bad), headers={"content-type": "application/json"}
        )
        assert response.status_code in (204, 400, 409), (bytes(bad), response.text)
        if response.status_code == 204:  # what was hit was inside the output
            id, _, topic = waiting(api)
            job = api.take(topic, lease=60)
            good = json.dumps({"lease": job["lease"], "output": {"a": [1, 2, 3]}, "values": {"k": 1}}).encode()
    with connected(api) as plain:
        plain.sendall(os.urandom(300) + b"\r\n\r\n")
        assert answer(plain).startswith((b"HTTP/1.1 400", b""))
    api.finish(job, "good")
    assert api.until(id, "COMPLETED")["output"] == "good"


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_a_worker_that_vanishes_while_it_polls_takes_no_job_with_it(api: Api, how):
    topic = fresh("topic")
    code = api.deploy({"w": {"kind": "job", "topic": topic}})
    for _ in range(20):
        with connected(api) as plain:
            plain.sendall(request(api, "/jobs/poll", {"topics": [topic], "wait": 30, "lease": 3600}))
            time.sleep(0.02)
            if how == "reset":
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    ids = {api.start(code)["id"] for _ in range(5)}
    began = time.monotonic()
    taken: set[str] = set()
    while taken < ids and time.monotonic() < began + 10:
        for job in api.poll(topic, max=5, wait=1):
            taken.add(job["process"])
            api.finish(job)
    assert taken == ids, "a job went to somebody who had left"
    tell(f"vanished polls ({how})", seconds=round(time.monotonic() - began, 2))


def test_a_caller_that_vanishes_in_the_midst_of_a_body_has_written_nothing(api: Api, look: Look):
    _, code, _ = waiting(api)
    before = look.one("SELECT count(*) FROM processes")
    whole_request = request(api, "/processes", {"definition": code, "input": {"x": "y" * 5_000}})
    for cut in range(200, len(whole_request), 300):
        with connected(api) as plain:
            plain.sendall(whole_request[:cut])
    time.sleep(0.2)
    assert api.http.get(api.server.url + "/readyz").status_code == 200
    assert look.one("SELECT count(*) FROM processes") == before


def test_a_caller_that_vanishes_before_its_answer_gets_the_same_one_when_it_asks_again(api: Api, look: Look, chance):
    _, code, _ = waiting(api)
    before = look.one("SELECT count(*) FROM processes")
    keys = [fresh("key") for _ in range(40)]
    for key in keys:
        with connected(api) as plain:
            plain.sendall(request(api, "/processes", {"definition": code}, key))
            if chance.random() < 0.5:
                select.select([plain], [], [], chance.uniform(0, 0.01))
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    ids = []
    for key in keys * 2:
        response = api.http.post("/processes", json={"definition": code}, headers={"idempotency-key": key})
        assert response.status_code in (200, 201), response.text
        ids.append(response.json()["id"])
    assert ids[: len(keys)] == ids[len(keys) :]
    assert len(set(ids)) == len(keys)
    assert look.one("SELECT count(*) FROM processes") == before + len(keys)


def test_bodies_that_dribble_hold_nobody_up_and_are_ended(api: Api, long):
    """Some send a byte now and then, some nothing at all after the head."""
    _, code, _ = waiting(api)
    count = 200 if long else 60
    head = request(api, "/processes", b"").replace(b"content-length: 0", b"content-length: 1000")
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connected(api)) for _ in range(count)]
        for plain in slow:
            plain.sendall(head)
        began = time.monotonic()
        stop = threading.Event()
        dribbling = threading.Thread(target=dribble, args=(slow[::2], stop))
        dribbling.start()
        slowest = 0.0
        while time.monotonic() < began + BODY_SECONDS / 2:
            asked = time.monotonic()
            api.start(code)
            slowest = max(slowest, time.monotonic() - asked)
        stop.set()
        dribbling.join()
        ends = [answer(plain) for plain in slow]
        seconds = time.monotonic() - began
    assert slowest < 1.0
    assert all(end.startswith(b"HTTP/1.1 400") and b"did not arrive within" in end for end in ends), ends[:2]
    assert seconds < BODY_SECONDS + 3
    tell("dribbling bodies", count=count, slowest_other_call=round(slowest, 3), ended_after=round(seconds, 2))


def dribble(slow: list[socket.socket], stop: threading.Event) -> None:
    while not stop.is_set():
        for plain in slow:
            with contextlib.suppress(OSError):
                plain.sendall(b" ")
        time.sleep(0.1)


def test_heads_that_never_end_hold_nobody_up(api: Api):
    _, code, _ = waiting(api)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connected(api)) for _ in range(100)]
        for plain in slow:
            plain.sendall(b"POST /api/v1/processes HTTP/1.1\r\nhost: x\r\nx-slow: ")
        asked = time.monotonic()
        ids = {api.start(code)["id"] for _ in range(10)}
        assert time.monotonic() - asked < 5
    assert len(ids) == 10
    until(lambda: api.http.get(api.server.url + "/healthz").status_code == 200)
