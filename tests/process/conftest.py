"""Tests on the real process. One server serves most of them; each test makes its own definitions, topics and processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.server import Api, Server, serving

HERE = Path(__file__).parent
LAST = "test_every_operation_was_exercised"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever the order, the test that looks back on the others comes last."""
    items.sort(key=lambda item: item.name == LAST)


@pytest.fixture(scope="session")
def whole_set(request) -> bool:
    """Whether every module of this folder runs, unfiltered."""
    modules = {item.path.name for item in request.session.items if item.path.parent == HERE}
    option = request.config.option
    return modules == {path.name for path in HERE.glob("test_*.py")} and not option.keyword and not option.markexpr


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), second=True) as running:
        yield running


@pytest.fixture(scope="session")
def api(server: Server) -> Api:
    return server.application()


@pytest.fixture(scope="session")
def other(server: Server) -> Api:
    return server.other()


@pytest.fixture(scope="session")
def nobody(server: Server) -> Api:
    return server.client()


@pytest.fixture(scope="session")
def ana(server: Server) -> Api:
    """In the group staff."""
    return server.user("ana")


@pytest.fixture(scope="session")
def ben(server: Server) -> Api:
    """In the groups staff and risk."""
    return server.user("ben")


@pytest.fixture(scope="session")
def root(server: Server) -> Api:
    """An administrator."""
    return server.user("root")
