"""What the demo starts: the server, the worker, and an endpoint that takes the numbers. It ends these and nothing else."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN = 60.0
"""Seconds a program may take to start, on a slow machine too."""


class DemoFailed(Exception):
    """What the person at the terminal is told."""


class Program:
    """One program of ours as a process of its own, with its log in a file. Started again it appends to it."""

    def __init__(self, name: str, arguments: list[str], log: Path, ready: str) -> None:
        self.name = name
        self.arguments = arguments
        self.log = log
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Until its log says that it is ready."""
        # Somebody's PENSTOCK_* would lead our programs to somebody's server.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PENSTOCK_")}
        environment["PYTHONUNBUFFERED"] = "1"
        command = [sys.executable, "-m", "penstock", *self.arguments]
        with self.log.open("ab") as log:
            before = log.tell()
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        until = time.monotonic() + READY_WITHIN
        while self._ready not in self.log.read_bytes()[before:].decode(errors="replace"):
            self.check()
            if time.monotonic() > until:
                raise DemoFailed(f"the {self.name} was not ready after {READY_WITHIN:.0f} s")
            time.sleep(0.02)

    def check(self) -> None:
        """Raises: DemoFailed when it has ended by itself."""
        assert self._process is not None
        if (code := self._process.poll()) is not None:
            raise DemoFailed(f"the {self.name} ended with exit code {code}")

    def kill(self) -> None:
        """As `kill -9` does: nothing of it has a chance to tidy up."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()

    def tail(self, lines: int = 12) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class Endpoint:
    """Somebody else's service: takes numbers, answers JSON. A repeat with the same Idempotency-Key counts once."""

    def __init__(self) -> None:
        self.received: dict[str, Any] = {}
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                key = self.headers["Idempotency-Key"]
                endpoint.received.setdefault(key, body)
                number = list(endpoint.received).index(key) + 1
                answer = json.dumps({"receipt": f"receipt {number}", "packages": body["numbers"]["packages"]}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """The demo's terminal is not its log."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/licences"

    @contextmanager
    def serving(self) -> Iterator[None]:
        thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._http.shutdown()
            self._http.server_close()


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises: DemoFailed when the time is over, SystemExit on SIGTERM; both so that what was started is stopped."""

    def late(*_: object) -> None:
        raise DemoFailed(f"it was not done after {seconds:g} s")

    def told(*_: object) -> None:
        raise SystemExit(143)

    before = signal.signal(signal.SIGALRM, late), signal.signal(signal.SIGTERM, told)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before[0])
        signal.signal(signal.SIGTERM, before[1])
