from __future__ import annotations

import asyncio
import itertools
import os
import signal
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engines.stage import Stage
from penstock.store import Store
from support import postgres as support

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[support.Postgres]:
    """A PostgreSQL of our own; fails, never skips, when there is none. Its database `template` has the schema."""
    with support.running() as running:
        # here a program dies at most, never the machine
        running.psql("postgres", "ALTER SYSTEM SET fsync = off")
        running.psql("postgres", "SELECT pg_reload_conf()")
        running.psql("postgres", "CREATE DATABASE template")
        Store.open(running.url("template")).close()
        yield running
        running.stop(signal.SIGQUIT)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def dialect(request) -> str:
    return request.param


@pytest.fixture
def url(dialect, request) -> str:
    """The address of an empty database, once of each kind."""
    if dialect == "sqlite":
        return request.getfixturevalue("sqlite_url")
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def sqlite_url(tmp_path) -> Iterator[str]:
    """In memory where the machine offers it: here a program dies at most, never the machine."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder:
        yield f"sqlite:///{folder}/penstock.db"


@pytest.fixture
def postgres_url(server) -> str:
    name = f"engines_{next(_numbers)}"
    with psycopg.connect(server.url("postgres"), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name} TEMPLATE template STRATEGY FILE_COPY".encode())
    return server.url(name)


@pytest.fixture(autouse=True)
def no_sweep(monkeypatch):
    """Only the first sweep runs by itself: nothing may wait for the next."""
    monkeypatch.setattr("penstock.engines.loops.SWEEP", 3600)


@pytest.fixture
def play(url) -> Callable[[Callable[[Stage], Awaitable[Any]]], Any]:
    """Run a journey on a platform that works, and check at the end that its database holds together."""

    def run(journey: Callable[[Stage], Awaitable[Any]], **options: Any) -> Any:
        async def main() -> Any:
            async with Stage.open(url, **options) as stage:
                result = await journey(stage)
                await stage.check()
                return result

        return asyncio.run(main())

    return run
