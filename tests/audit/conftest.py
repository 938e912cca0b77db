from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import postgres as support


@pytest.fixture(scope="session")
def server() -> Iterator[support.Postgres]:
    """A PostgreSQL of our own; fails, never skips, when there is none."""
    with support.running() as running:
        yield running


@pytest.fixture
def postgres_url(server: support.Postgres) -> str:
    return str(server.schema())


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/penstock.db"
    return str(request.getfixturevalue("postgres_url"))
