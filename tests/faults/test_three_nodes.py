"""Three servers on one PostgreSQL; one dies, one is frozen and comes back: promise 6 of docs/reliability.md."""

from __future__ import annotations

import asyncio
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from faults.conftest import loaded, tell
from faults.load import LEASE, Load
from support.server import Api, fresh, until

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(postgres) -> str:
    return str(postgres.database())


def test_one_node_is_killed_and_one_frozen_until_its_leases_ran_out(url, nodes, look, chance, long):
    rounds, wanted = (5, 300) if long else (1, 40)
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

    asyncio.run(load.run(disturb, 400 if long else 75))
    for node in alive:
        node.stop()
    load.check_end()
    deadlocks = look.one("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert deadlocks == 0
    tell("three nodes", rounds=rounds, saw=load.told(), seconds=round(time.monotonic() - began, 1))


def test_a_commit_of_a_node_that_was_frozen_for_too_long_is_made_once(url, nodes, look, tmp_path):
    """It stands in the midst of a transaction; the database gives up on it, another node does the same, then it wakes up."""
    hold = tmp_path / "frozen.hold"
    frozen, other = nodes(url, "frozen", "other", FAULTS_HOLD=str(tmp_path))
    api, elsewhere = frozen.application(), other.application()
    topic = fresh("topic")
    id = api.start(api.deploy({"w": {"kind": "job", "topic": topic}}))["id"]
    job = api.take(topic, lease=60)
    body = {"lease": job["lease"], "output": "once", "increments": ["n"]}
    headers = {"idempotency-key": "the same"}

    def complete(caller: Api) -> int:
        return caller.http.post(f"/jobs/{job['id']}/complete", json=body, headers=headers).status_code

    hold.touch()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(complete, api)
        until(hold.with_suffix(".held").exists)
        second = pool.submit(complete, elsewhere)
        assert second.result(30) == 204
        hold.unlink()
        assert first.result(30) == 204
    assert api.until(id, "COMPLETED")
    assert api.get(f"/processes/{id}/values/n")["value"] == 1
    assert api.history(id).count("JobCompleted") == 1
    for node in (frozen, other):
        node.stop()
    assert not look.problems()
