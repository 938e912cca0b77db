"""A TCP proxy that breaks the connection at a COMMIT: before the server sees it, or before the client hears of it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

COMMIT = b"COMMIT\0"


class Proxy:
    """Between a store and its PostgreSQL. `arm` makes it break the next COMMIT."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._mode: str | None = None
        self._skip = 0
        self.broken = 0
        self.refusing = False
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, mode: str, skip: int = 0) -> None:
        """`before`: the COMMIT is not passed on. `after`: it is carried out, its answer is not passed on.

        `at once`: it is passed on and the client's side is closed without waiting. `skip`: so many COMMITs pass first.
        """
        self._skip = skip
        self._mode = mode

    def cut(self) -> None:
        """Break every connection."""
        for end in self._sockets:
            _close(end)
        self._sockets.clear()

    def close(self) -> None:
        _close(self._server)
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            if self.refusing:
                _close(client)
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [client, server]
            silent = threading.Event()
            threading.Thread(target=self._up, args=(client, server, silent), daemon=True).start()
            threading.Thread(target=self._down, args=(client, server, silent), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket, silent: threading.Event) -> None:
        seen = b""
        while True:
            try:
                data = client.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                return _close(client, server)
            seen = seen[-len(COMMIT) :] + data
            if self._mode and COMMIT in seen:
                seen = b""
                if self._skip:
                    self._skip -= 1
                else:
                    mode, self._mode = self._mode, None
                    self.broken += 1
                    return self._break(mode, data, client, server, silent)
            try:
                server.sendall(data)
            except OSError:
                return _close(client, server)

    @staticmethod
    def _break(mode: str, data: bytes, client: socket.socket, server: socket.socket, silent: threading.Event) -> None:
        if mode == "before":
            return _close(client, server)
        silent.set()
        server.sendall(data)
        if mode == "after":
            time.sleep(0.3)
        return _close(client, *([server] if mode == "after" else []))

    @staticmethod
    def _down(client: socket.socket, server: socket.socket, silent: threading.Event) -> None:
        while True:
            try:
                data = server.recv(1 << 16)
                if data and not silent.is_set():
                    client.sendall(data)
            except OSError:
                data = b""
            if not data:
                return _close(client, server)


def _close(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
