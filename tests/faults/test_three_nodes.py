"""Three servers on one PostgreSQL; one dies, one is frozen and comes back: promise 6 of docs/reliability.md."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from faults.conftest import loaded, tell
from faults.load import LEASE, Load

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(postgres) -> str:
    return str(postgres.database())


def test_one_node_is_killed_and_one_frozen_until_its_leases_ran_out(url, nodes, look, chance, long):
    rounds, wanted = (6, 500) if long else (1, 40)
    first, second, third = nodes(url, "first", "second", "third")
    alive = [first, second, third]
    load = loaded(alive, look, wanted, chance)
    began = time.monotonic()

    async def disturb(load: Load) -> None:
        for _ in range(rounds):
            await asyncio.sleep(chance.uniform(0.5, 1.5))
            third.send(signal.SIGSTOP)
            await asyncio.to_thread(second.kill)
            await asyncio.sleep(LEASE + chance.uniform(0.5, 2))
            await asyncio.to_thread(load.check)
            third.send(signal.SIGCONT)
            await asyncio.sleep(chance.uniform(0.2, 1))
            await asyncio.to_thread(load.check)
            await asyncio.to_thread(second.start)

    asyncio.run(load.run(disturb, 200 if long else 75))
    for node in alive:
        node.stop()
    load.check_end()
    deadlocks = look.one("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert deadlocks == 0
    tell("three nodes", rounds=rounds, saw=load.told(), seconds=round(time.monotonic() - began, 1))
