"""An endpoint for http nodes: what it is asked is written down, what it answers a test has laid ready."""

from __future__ import annotations

import http.server
import json
import threading
from collections import deque
from typing import Any, NamedTuple


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Endpoint:
    """A server on loopback that answers what a test has laid ready."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: deque[tuple[int, dict[str, str], bytes]] = deque()
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                content = self.rfile.read(int(self.headers.get("content-length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = json.loads(content) if content else None
                endpoint.requests.append(Request(self.command, self.path, headers, body))
                status, more, answer = endpoint.answers.popleft() if endpoint.answers else (200, {}, b"{}")
                self.send_response(status)
                for name, value in {**more, "content-length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def lay(self, status: int, body: Any = None, **headers: str) -> None:
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.answers.append((status, {name.replace("_", "-"): value for name, value in headers.items()}, content))

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
