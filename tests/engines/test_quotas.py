"""A tenant's open processes, counted by allowances: never above the quota on one node, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
import pytest

from engines.stage import Stage, graph, job
from penstock.errors import Invalid, LimitExceeded, PenstockError
from penstock.identity.model import Actor, Quotas
from penstock.operations import people, quotas
from penstock.store import installation

WAITS = {"code": "waits", "nodes": {"work": {"kind": "job", "topic": "t"}}}
TOLD = graph("told", {"s": {"kind": "start", "message": "begin"}, "w": job("w")}, ("s", "w"))
QUICK = {"code": "quick", "nodes": {"note": {"kind": "set", "vars": {"x": 1}}}}


def limited(stage: Stage, quota: int) -> None:
    """The stage's actor, as it is when the tenant has this quota."""
    tenant = msgspec.structs.replace(stage.actor.tenant, quotas=Quotas(open_processes=quota))
    stage.actor = msgspec.structs.replace(stage.actor, tenant=tenant)


async def open_now(stage: Stage) -> int:
    return await stage.store.async_read(lambda read: installation.open_processes(read, stage.tid, 1_000_000))


async def tried(stage: Stage, code: str = "waits", **more: Any) -> str | PenstockError:
    try:
        return await stage.start(code, **more)
    except PenstockError as error:
        return error


def test_starts_at_once_never_exceed_the_quota_and_none_is_refused_below_it(play):
    async def journey(stage: Stage) -> None:
        limited(stage, 20)
        await stage.deploy(WAITS)
        found = await asyncio.gather(*(tried(stage) for _ in range(60)))
        made = [each for each in found if isinstance(each, str)]
        refused = [each for each in found if not isinstance(each, str)]
        assert len(made) == 20 == await open_now(stage)
        assert all(isinstance(each, LimitExceeded) and each.details["retry_after"] == 1 for each in refused)

    play(journey)


def test_what_ends_makes_room(play):
    async def journey(stage: Stage) -> None:
        limited(stage, 2)
        await stage.deploy(WAITS)
        for _ in range(2):
            await stage.start("waits")
        assert isinstance(await tried(stage), LimitExceeded)
        (job,) = await stage.poll("t")
        await stage.complete(job)

        async def again() -> bool:
            return isinstance(await tried(stage), str)

        await stage.until(again)
        assert await open_now(stage) == 2

    play(journey)


def test_processes_that_end_at_once_are_not_held_up_by_a_small_quota(play):
    async def journey(stage: Stage) -> None:
        limited(stage, 3)
        await stage.deploy(QUICK)
        for _ in range(12):
            await stage.start("quick")
        assert await open_now(stage) == 0

    play(journey)


def test_a_start_that_fails_takes_no_place(play):
    async def journey(stage: Stage) -> None:
        limited(stage, 2)
        await stage.deploy({**WAITS, "data": {"input": {"type": "object", "required": ["a"]}}})
        await stage.deploy({**WAITS, "code": "takes"})
        id = await stage.start("takes", id="00000000-0000-4000-8000-000000000001")
        for _ in range(5):
            assert isinstance(await tried(stage), Invalid)
            error = await tried(stage, "takes", id=id, input={"other": 1})
            assert isinstance(error, PenstockError)
            assert error.code == "already_exists"
        assert isinstance(await tried(stage, "takes"), str)
        assert isinstance(await tried(stage, "takes"), LimitExceeded)

    play(journey)


def test_a_repeat_gets_its_first_answer_though_the_tenant_is_full(play):
    async def journey(stage: Stage) -> None:
        limited(stage, 2)
        await stage.deploy(WAITS)
        chosen = "00000000-0000-4000-8000-00000000000a"
        first = [await stage.start("waits", key="k"), await stage.start("waits", id=chosen)]
        assert isinstance(await tried(stage), LimitExceeded)
        assert isinstance(await tried(stage, key="another"), LimitExceeded)
        for _ in range(3):
            assert [await stage.start("waits", key="k"), await stage.start("waits", id=chosen)] == first
        assert await open_now(stage) == 2

    play(journey)


def test_what_is_no_start_at_a_door_counts_and_is_not_refused(play):
    async def journey(stage: Stage) -> None:
        limited(stage, 3)
        await stage.deploy(WAITS)
        await stage.deploy({"code": "parent", "nodes": {"sub": {"kind": "call", "definition": "waits"}}})
        await stage.deploy(TOLD)
        await stage.start("parent")

        async def both() -> bool:
            return await open_now(stage) == 2

        await stage.until(both)
        for n in range(3):
            await stage.publish("begin", "", n)

        async def all_there() -> bool:
            return await open_now(stage) == 5

        await stage.until(all_there)
        stage.ctx.limits._rooms.clear()
        assert isinstance(await tried(stage), LimitExceeded)

    play(journey)


def test_a_quota_that_is_raised_counts_at_once_and_a_lower_one_refuses(play):
    async def journey(stage: Stage) -> None:
        limited(stage, 1)
        await stage.deploy(WAITS)
        await stage.start("waits")
        assert isinstance(await tried(stage), LimitExceeded)
        limited(stage, 2)
        await stage.start("waits")
        limited(stage, 0)
        assert isinstance(await tried(stage), LimitExceeded)

    play(journey)


def test_another_tenants_processes_are_not_counted(play):
    async def journey(stage: Stage) -> None:
        limited(stage, 1)
        await stage.deploy(WAITS)
        other = (await people.seed(stage.ctx, "other", "Other", [])).tenant
        stage.actor, ours = Actor(tenant=other, principal="app:o", kind=stage.actor.kind), stage.actor
        await stage.deploy(WAITS)
        for _ in range(5):
            await stage.start("waits")
        stage.actor = ours
        await stage.start("waits")
        assert isinstance(await tried(stage), LimitExceeded)

    play(journey)


def test_a_start_that_fails_gives_back_no_place_that_was_never_there(play):
    """More are open than may be: a quota that was lowered while a start was on its way."""

    async def journey(stage: Stage) -> None:
        limited(stage, 5)
        await stage.deploy(WAITS)
        for _ in range(3):
            await stage.start("waits")
        with await stage.ctx.limits.place(stage.actor.tenant, repeatable=False):
            limited(stage, 2)
            assert isinstance(await tried(stage), LimitExceeded)
        assert isinstance(await tried(stage), LimitExceeded)
        assert await open_now(stage) == 3

    play(journey)


def test_a_start_that_fails_while_others_are_counted_lets_nobody_in_before_the_count(play):

    async def journey(stage: Stage) -> None:
        limited(stage, 5)
        await stage.deploy(WAITS)
        for _ in range(3):
            await stage.start("waits")
        limits = stage.ctx.limits
        async with contextlib.AsyncExitStack() as stack:
            with await limits.place(stage.actor.tenant, repeatable=False):
                limited(stage, 2)
                counting = asyncio.create_task(tried(stage))
                while not limits._rooms[stage.tid].lock.locked():
                    await asyncio.sleep(0)
            with pytest.raises(LimitExceeded):
                stack.enter_context(await limits.place(stage.actor.tenant, repeatable=False))
            assert isinstance(await counting, LimitExceeded)

    play(journey)


@pytest.mark.postgres
def test_several_nodes_share_the_room_and_exceed_it_by_their_parts_at_most(postgres_url):
    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            stages = [
                await stack.enter_async_context(Stage.open(postgres_url, node)) for node in ("one", "two", "three")
            ]
            for stage in stages:
                limited(stage, 40)
            await stages[0].deploy(WAITS)
            for stage in stages:  # a node that has written nothing yet is not counted
                await stage.start("waits")
            found = await asyncio.gather(*(tried(stage) for _ in range(60) for stage in stages))
            made = sum(isinstance(each, str) for each in found) + len(stages)
            assert 40 <= made <= 40 + 2 * (40 // quotas.PARTS)
            assert made == await open_now(stages[0])

    asyncio.run(main())
