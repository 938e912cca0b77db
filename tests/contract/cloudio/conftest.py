"""The door on the real process, once on each database; each serves all tests of this folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from contract.cloudio.door import Door, Served, seeded
from support import postgres as support
from support.endpoint import Endpoint
from support.server import Api, Server, serving


@pytest.fixture(scope="session")
def postgres() -> Iterator[support.Postgres]:
    with support.running() as running:
        yield running


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def server(request, tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    if request.param == "sqlite":
        with serving(folder) as running:
            yield running
        return
    url = request.getfixturevalue("postgres").database()
    served = Served(folder, url, seeded(url))
    try:
        yield served.start()
    finally:
        code = served.stop()
        served.forget_clients()
    assert code == 0
    assert not served.complaints(), "\n".join(served.complaints())


@pytest.fixture(scope="session")
def api(server: Server) -> Api:
    """The workers' side."""
    return server.application()


@pytest.fixture(scope="session")
def door(server: Server, api: Api) -> Iterator[Door]:
    made = Door(server, api)
    with contextlib.closing(made.http):
        yield made


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()
