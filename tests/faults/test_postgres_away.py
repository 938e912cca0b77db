"""PostgreSQL crashes and comes back under load, the server stays up: promise 5 of docs/reliability.md."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator

import httpx
import pytest

from faults.conftest import loaded, tell
from faults.load import Load
from support import postgres as support

pytestmark = pytest.mark.postgres


@pytest.fixture
def own() -> Iterator[support.Postgres]:
    """One that nobody else uses: it is going to crash."""
    with support.running() as running:
        yield running


@pytest.fixture
def url(own) -> str:
    return own.database()


def test_a_postgres_that_crashes_under_load_is_503_and_then_all_goes_on(own, url, nodes, look, chance, long):
    crashes, wanted = (8, 300) if long else (1, 40)
    [node] = nodes(url)
    pid = node.pid
    load = loaded([node], look, wanted, chance)
    began = time.monotonic()

    async def disturb(load: Load) -> None:
        for _ in range(crashes):
            await asyncio.sleep(chance.uniform(0.3, 1.5))
            await asyncio.to_thread(own.stop, signal.SIGQUIT)
            # the first time longer than the writer waits, so that callers are told
            await asyncio.sleep(6.5 if not load.caller.refused else chance.uniform(0, 1))
            await asyncio.to_thread(own.start)
            until = len(load.outputs) + 5
            while len(load.outputs) < until and not (load.disturbed or finished(load)):
                await asyncio.sleep(0.02)
            await asyncio.to_thread(load.check)

    def finished(load: Load) -> bool:
        return len(load.started) >= wanted and not load.open()

    asyncio.run(load.run(disturb, 400 if long else 60))
    assert load.caller.refused > 0, "nobody was told that the database is away"
    assert node.pid == pid
    # without logging in: that would leave a row in the journal that has no feed number yet
    assert httpx.get(node.url + "/readyz", trust_env=False).status_code == 200
    node.stop()
    load.check_end()
    tell("PostgreSQL crashes", crashes=crashes, saw=load.told(), seconds=round(time.monotonic() - began, 1))
