"""Who listens to an event stream, in a thread: keeps what came, and the numbers it came under."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import Any

import httpx

from support.server import PREFIX, Api, until

STREAM = "text/event-stream"


class Listener:
    """One connection. Every event is checked against the server's own description."""

    def __init__(self, api: Api, path: str = "/events", last: int | None = None, **params: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.last = last
        """The number of the last event or mark."""
        self.marks = 0
        self.ended = False
        self.error: Exception | None = None
        self._url = api.server.url + PREFIX + path
        self._headers = {"authorization": f"Bearer {api.token}"}
        self._headers |= {} if last is None else {"last-event-id": str(last)}
        self._params = params
        method_path = PREFIX + path
        operation = api.server.contract.operation("GET", method_path)
        assert operation is not None
        self._check = api.server.contract.part_of(operation, STREAM)
        self._socket: socket.socket | None = None
        self._client = httpx.Client(timeout=60, trust_env=False)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        until(lambda: (self.last is not None and self.marks) or self.ended)

    def _run(self) -> None:
        try:
            with self._client.stream("GET", self._url, params=self._params, headers=self._headers) as answer:
                assert answer.status_code == 200, answer.read()
                assert answer.headers["content-type"] == STREAM
                self._socket = answer.extensions["network_stream"].get_extra_info("socket")
                self._read(answer)
        except (httpx.HTTPError, AssertionError, RuntimeError) as error:
            self.error = error
        self.ended = True

    def _read(self, answer: httpx.Response) -> None:
        number, data = None, None
        for line in answer.iter_lines():
            if line.startswith("id: "):
                number = int(line[4:])
            elif line.startswith("data: "):
                data = json.loads(line[6:])
            elif not line and number is not None:
                if data is None:
                    self.marks += 1
                else:
                    assert data["feed"] == number, data
                    self._check(data)
                    self.events.append(data)
                self.last, number, data = number, None, None

    @property
    def feeds(self) -> list[int]:
        return [event["feed"] for event in self.events]

    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    def until(self, count: int, seconds: float = 15.0) -> list[dict[str, Any]]:
        """Wait until so many events have come, and answer them."""
        until(lambda: len(self.events) >= count or self.ended, seconds)
        return self.events

    def leave(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # else the thread would wait for the next sign of life
        self._thread.join(10)
        self._client.close()
