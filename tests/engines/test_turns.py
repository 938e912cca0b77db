"""Whose turn at the writer is taken by what no request does: the engine's own work, and strangers at the log-in."""

from __future__ import annotations

import asyncio
import time

import pytest

from engines.stage import Stage, graph, job
from penstock.errors import LeaseLost, Unauthenticated
from penstock.store.fairness import ENGINE, STRANGERS, in_turn, of_tenant

WAITS = {"code": "waits", "nodes": {"work": {"kind": "job", "topic": "t"}}}


def served(stage: Stage, tag: int) -> int:
    return stage.store.writer._normal.served.get(tag, 0)


def test_what_the_engine_does_for_a_process_takes_its_tenants_turn(play):
    async def journey(stage: Stage) -> None:
        await stage.deploy(graph("child", {"w": job("c"), "t": {"kind": "timer", "after": "PT0.05S"}}, ("w", "t")))
        await stage.deploy({"code": "parent", "nodes": {"sub": {"kind": "call", "definition": "child"}}})
        # nothing of the stage's own is submitted in this turn: it has no door
        assert served(stage, stage.tid) == 0
        id = await stage.start("parent")
        [taken] = await stage.poll("c", lease=1)

        async def expired() -> bool:
            return bool(await stage.one("SELECT count(*) FROM jobs WHERE lease IS NULL"))

        await stage.until(expired)
        assert served(stage, stage.tid) >= 2  # the child's start, the lease
        with pytest.raises(LeaseLost):
            await stage.complete(taken)
        await stage.work("c")
        await stage.completed(id)
        assert served(stage, stage.tid) >= 4  # the timer, and the parent hears of the end

    play(journey)


def test_an_answer_that_came_before_its_lease_ended_is_applied_however_long_it_waits(play):
    """Its tenant has much waiting, and the look for leases that have run out has nothing before it."""

    async def journey(stage: Stage) -> None:
        await stage.deploy(WAITS)
        id = await stage.start("waits")
        with in_turn(of_tenant(stage.tid)):
            [taken] = await stage.poll("t", lease=0.5)
            flood = [stage.store.submit(lambda _: time.sleep(0.02)) for _ in range(100)]
            await stage.complete(taken)
        assert all(each.done() for each in flood)
        assert await stage.store.submit_async(lambda tx: tx.now) > taken.leased_until
        await stage.completed(id)

    play(journey)


def test_who_cannot_log_in_takes_neither_the_platforms_turn_nor_a_tenants(play):
    async def journey(stage: Stage) -> None:
        await stage.quiet()
        before = served(stage, STRANGERS[0])
        for _ in range(3):
            with pytest.raises(Unauthenticated):
                await stage.platform.credentials.application_token("nobody", "wrong", "10.0.0.1")
        await asyncio.sleep(0)
        assert served(stage, STRANGERS[0]) == before + 3
        assert STRANGERS[0] != ENGINE[0]

    play(journey)
