from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.store import Store
from support import postgres as support


@pytest.fixture(scope="session")
def server() -> Iterator[support.Postgres]:
    """A PostgreSQL of our own; fails, never skips, when there is none."""
    with support.running() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def dialect(request) -> str:
    return request.param


@pytest.fixture
def url(dialect, request, tmp_path: Path) -> str:
    """The address of an empty database, once of each kind."""
    if dialect == "sqlite":
        return f"sqlite:///{tmp_path}/penstock.db"
    return request.getfixturevalue("server").schema()


@pytest.fixture
def store(url) -> Iterator[Store]:
    with Store.open(url, "test") as opened:
        yield opened
