from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.load import DEFINITION, Caller, Load
from faults.nodes import Look, Node, seeded
from support import postgres as support

LONG = os.environ.get("PENSTOCK_FAULTS") == "long"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if LONG:
        for item in items:
            if item.path.parent == Path(__file__).parent:
                item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture(scope="session")
def long() -> bool:
    """Much of everything (`make faults`), or what `make test` has time for."""
    return LONG


@pytest.fixture(scope="session")
def postgres() -> Iterator[support.Postgres]:
    """A PostgreSQL of our own with full durability: it is broken, too."""
    with support.running() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/penstock.db"
    return str(request.getfixturevalue("postgres").database())


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Its seed is printed when the test fails."""
    seed = time.time_ns() % 1_000_000
    print(f"chance: {seed}")
    return random.Random(seed)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Callable[..., list[Node]]]:
    """Start nodes on a database; they are ended whatever happens, and must have nothing to complain about."""
    made: list[Node] = []

    def start(url: str, *names: str, **environment: str) -> list[Node]:
        tenant = seeded(url)
        made.extend(Node(tmp_path / name, url, tenant, name, **environment) for name in names or ("one",))
        for node in made:
            node.start()
        return made

    try:
        yield start
        for node in made:
            node.end()
    finally:
        for node in made:
            node.kill()
            node.forget_clients()


@pytest.fixture
def look(url: str) -> Iterator[Look]:
    found = Look(url)
    yield found
    found.close()


def loaded(nodes: list[Node], look: Look, wanted: int, chance: random.Random) -> Load:
    """The definition is there; nothing runs yet."""
    nodes[0].application().post("/definitions", DEFINITION, 201)
    return Load(Caller(lambda: [node.url for node in nodes], nodes[0].token(), chance), look, wanted)


def tell(name: str, **numbers: Any) -> None:
    """What was seen, for docs/reliability.md: a line on the output, and in the file FAULTS_TOLD names."""
    line = f"{name}: " + ", ".join(f"{key} {value}" for key, value in numbers.items())
    print(line)
    if path := os.environ.get("FAULTS_TOLD"):
        with Path(path).open("a") as file:
            file.write(line + "\n")
