"""Event streams when things break: every event once and in order, whatever dies; who takes nothing holds nothing."""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from penstock.client import Client, ClientError
from support.events import Listener
from support.server import PREFIX, until

SET = {"penstock": 1, "code": "line", "nodes": {"s": {"kind": "set", "vars": {"x": 1}}}, "flows": []}


class Follower(threading.Thread):
    """The Python client on one node's address; goes to another when it is told."""

    def __init__(self, node, token):
        super().__init__(daemon=True)
        self.node = node
        self.token = token
        self.feeds: list[int] = []
        self.processes: list[str] = []
        self.done = threading.Event()
        self.error: Exception | None = None
        self.start()

    def run(self):
        last = 0
        while not self.done.is_set():
            try:
                with Client(self.node.url, token=self.token) as client:
                    for event in client.events(after=last, types=["Started"]):
                        last = event.feed
                        self.feeds.append(event.feed)
                        self.processes.append(event.process)
                        if self.done.is_set():
                            return
            except ClientError as error:
                self.error = error
                time.sleep(0.1)


def starting(nodes, token, stop, started, chance):
    """Start processes wherever somebody answers; what was acknowledged is kept."""
    for n in itertools.count():
        if stop.is_set():
            return
        node = chance.choice(nodes)
        id = f"00000000-0000-4000-8000-{n:012d}"
        with contextlib.suppress(ClientError, OSError), Client(node.url, token=token) as client:
            started.append(client.processes.start("line", id=id).id)


def test_every_event_comes_once_and_in_order_though_nodes_are_killed(url, nodes, look, chance):
    """One node on SQLite, two on PostgreSQL; each is killed in turn, and started again."""
    names = ("one",) if look.dialect == "sqlite" else ("one", "two")
    running = nodes(url, *names)
    for node in running:  # clients come back to the address they know
        node._environment["PENSTOCK_PORT"] = node.url.rpartition(":")[2]
    running[0].application().post("/definitions", SET, 201)
    token = running[0].token()
    followers = [Follower(node, token) for node in running for _ in range(3)]
    stop, started = threading.Event(), []
    starter = threading.Thread(
        target=starting, args=(running, token, stop, started, random.Random(chance.random())), daemon=True
    )
    starter.start()
    for node in [*running, running[0]]:
        before = len(started)
        until(lambda before=before: len(started) > before + 10, 60)
        node.stop(signal.SIGKILL)
        time.sleep(chance.uniform(0, 0.3))
        node.start()
    before = len(started)
    until(lambda: len(started) > before + 10, 60)
    stop.set()
    starter.join(60)
    there = {id for (id,) in look.rows("SELECT id FROM processes")}
    assert there >= set(started)
    for follower in followers:
        until(lambda follower=follower: set(follower.processes) >= there, 30)
        assert len(follower.processes) == len(there), "an event came twice"
        assert follower.feeds == sorted(set(follower.feeds))
    assert len({tuple(follower.feeds) for follower in followers}) == 1
    for follower in followers:
        follower.done.set()
    running[0].application().post("/processes", {"definition": "line"}, 201)
    for follower in followers:
        follower.join(20)


SIZE = 200_000


def enough() -> int:
    """So many events of `SIZE` that twice what the kernel keeps for a connection is less."""
    settings = Path("/proc/sys/net/ipv4/tcp_wmem")
    kept = int(settings.read_text().split()[-1]) if settings.exists() else 4 << 20
    return max(60, 2 * kept // SIZE + 1)


@pytest.mark.parametrize("query", ["", "?after=0"], ids=["live", "old"])
def test_a_client_that_takes_nothing_is_cut_off(tmp_path, nodes, query):
    """Whether it stopped while it was told what happens, or what has happened."""
    count = enough()
    [node] = nodes(f"sqlite:///{tmp_path}/penstock.db", FAULTS_STALLED="2")
    api = node.application()
    api.post("/definitions", SET, 201)
    host, _, port = node.url.removeprefix("http://").partition(":")

    def start() -> None:
        quick = Listener(api, type="Started")
        for _ in range(count):
            api.start("line", input={"text": "x" * SIZE})
        assert len(quick.until(count, 60)) == count
        quick.leave()

    if query:
        start()
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((host, int(port)))
        slow.sendall(
            f"GET {PREFIX}/events{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token}\r\n\r\n".encode()
        )
        if not query:
            start()
        until(lambda: "is cut off" in node.log.read_text(), 60)
        slow.settimeout(30)
        received = 0
        with contextlib.suppress(ConnectionError):
            while part := slow.recv(1 << 20):
                received += len(part)
        assert received < count * SIZE / 2


@pytest.mark.parametrize("count", [200])
def test_a_server_shuts_down_with_streams_open_and_the_clients_come_back(tmp_path, nodes, count):
    [node] = nodes(f"sqlite:///{tmp_path}/penstock.db")
    api = node.application()
    api.post("/definitions", SET, 201)
    listeners = [Listener(api) for _ in range(count)]
    began = time.monotonic()
    assert node.stop() == 0
    assert time.monotonic() - began < 5
    for listener in listeners:
        until(lambda listener=listener: listener.ended)
        assert listener.error is None, "the stream was broken off, not ended"
        listener.leave()
    node.start()
    api = node.client(api.token)
    id = api.start("line")["id"]
    for listener in listeners[:20]:
        again = Listener(api, last=listener.last)
        assert [event.get("process") for event in again.until(1)] == [id]
        again.leave()
