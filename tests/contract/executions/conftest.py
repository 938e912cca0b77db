"""The door on the real process, which serves all tests of this folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import httpx
import pytest

from contract.executions.door import PREFIX, Caller, DoorContract
from support.server import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), second=True) as running:
        yield running


@pytest.fixture(scope="session")
def contract(server: Server) -> DoorContract:
    return DoorContract(httpx.get(f"{server.url}{PREFIX}/openapi.json", trust_env=False).json())


@pytest.fixture(scope="session")
def caller(server: Server, contract: DoorContract) -> Iterator[Caller]:
    """The demo tenant's application."""
    customer = server.credentials["executions"]["customer_id"]
    made = Caller(server, contract, server.application(), customer)
    with contextlib.closing(made.http):
        yield made


@pytest.fixture(scope="session")
def person(server: Server, contract: DoorContract, caller: Caller) -> Iterator[Caller]:
    """A user of the demo tenant who may read and no more."""
    made = Caller(server, contract, server.user("ana"), caller.customer)
    with contextlib.closing(made.http):
        yield made


@pytest.fixture(scope="session")
def nobody(server: Server, contract: DoorContract, caller: Caller) -> Iterator[Caller]:
    made = Caller(server, contract, server.client(), caller.customer)
    with contextlib.closing(made.http):
        yield made
