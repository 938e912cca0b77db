"""Unit tests have no I/O: a socket that wants to reach anything fails, but for those in a folder named `loopback`."""

import socket

import pytest


@pytest.fixture(autouse=True)
def no_network(request, monkeypatch):
    if "loopback" in request.path.parts:
        return

    def refuse(*target, **_):
        raise RuntimeError(f"a unit test wants to reach {target}")

    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
