"""A real HTTP server that stands in for the remote side: it keeps what it was sent and answers as it is told."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Seen:
    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    status: int = 200
    json: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    hang_up: bool = False
    """Close the connection in place of an answer."""


def problem(status: int, code: str, detail: str = "no", **more: Any) -> Answer:
    body = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code, **more}
    return Answer(status, body, {"Content-Type": "application/problem+json"})


class Remote:
    """`answers` are given one after the other, the last one for ever; or a function of what was seen."""

    def __init__(self, url: str, answers: list[Answer] | Callable[[Seen], Answer]) -> None:
        self.url = url
        self.seen: list[Seen] = []
        self.tokens = 0
        self.token_lifetime: float | None = 3600
        self._answers = answers
        self._lock = threading.Lock()

    @property
    def calls(self) -> list[Seen]:
        """What was seen, without the calls for tokens."""
        return [seen for seen in self.seen if seen.path != "/api/v1/token"]

    def handle(self, seen: Seen) -> Answer:
        with self._lock:
            self.seen.append(seen)
            if seen.path == "/api/v1/token":
                self.tokens += 1
                return Answer(200, {"access_token": f"token-{self.tokens}", "expires_in": self.token_lifetime})
            if isinstance(self._answers, list):
                return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return self._answers(seen)


@contextmanager
def remote(answers: list[Answer] | Callable[[Seen], Answer], port: int = 0) -> Iterator[Remote]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except ConnectionError:
                self.close_connection = True

        def _any(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = here.handle(Seen(self.command, parts.path, parse_qsl(parts.query), headers, body))
            if answer.hang_up:
                self.close_connection = True
                return
            content = b"" if answer.json is None else json.dumps(answer.json).encode()
            content = content if answer.body is None else answer.body
            self.send_response(answer.status)
            for name, value in ({"Content-Type": "application/json"} | answer.headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - the names BaseHTTPRequestHandler calls

        def log_message(self, format: str, *args: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def process_request(self, request: Any, client_address: Any) -> None:
            open_sockets.add(request)
            super().process_request(request, client_address)

        def shutdown_request(self, request: Any) -> None:
            open_sockets.discard(request)
            super().shutdown_request(request)

        def handle_error(self, request: Any, client_address: Any) -> None:
            return

    open_sockets: set[socket.socket] = set()
    server = Server(("127.0.0.1", port), Handler)
    here = Remote(f"http://127.0.0.1:{server.server_address[1]}", answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.002}, daemon=True)
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
        # A server that went away answers nobody, on connections that were kept alive neither.
        for connection in list(open_sockets):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        thread.join()
