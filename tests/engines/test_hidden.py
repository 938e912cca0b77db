"""A definition that names viewers: what hangs on its processes is not there for others, and cannot be told from what is not."""

from __future__ import annotations

from uuid import uuid4

import pytest

from engines.stage import graph
from penstock.core.requests import ItemFilter
from penstock.errors import Forbidden, Invalid, NotFound
from penstock.operations import items, reading, schedules, threads
from penstock.operations.schedules import NewSchedule

FLOW = {
    **graph("hidden", {"i": {"kind": "item", "task": "T"}}),
    "tasks": {"T": {"candidates": ["user:can@x.y"]}},
    "permissions": {"viewer": ["group:few"], "initiator": ["user:ini@x.y"], "manager": ["user:man@x.y"]},
}


def test_a_hidden_process_is_as_one_that_is_not_there(play):
    async def journey(stage):
        await stage.deploy(FLOW)
        process = await stage.start("hidden")
        stranger, candidate, viewer = stage.user("str@x.y"), stage.user("can@x.y"), stage.user("v@x.y", "few")

        async def asked(actor, id):
            for ask in (
                items.listed(stage.ctx, actor, ItemFilter(), None, 10, mine=False, process=id),
                items.listed(stage.ctx, actor, ItemFilter(), None, 10, mine=True, process=id),
                threads.listed(stage.ctx, actor, id, None, 10),
            ):
                yield ask

        for id in (process, str(uuid4())):
            async for ask in asked(stranger, id):
                with pytest.raises(NotFound) as refused:
                    await ask
                assert refused.value.details == {"kind": "process", "id": id}
            with pytest.raises(Invalid, match=f"there is no process '{id}'"):
                await reading.parent_of(stage.ctx, stranger, id)
        for actor in (candidate, viewer, stage.actor):
            found = await items.listed(stage.ctx, actor, ItemFilter(), None, 10, mine=False, process=process)
            assert len(found.items) == 1
            assert (await threads.listed(stage.ctx, actor, process, None, 10)).items == []
            assert await reading.parent_of(stage.ctx, actor, process) == await stage.pid(process)

    play(journey)


def test_schedules_are_hidden_with_the_processes_they_start(play):
    async def journey(stage):
        await stage.deploy(FLOW)
        await stage.deploy({**FLOW, "code": "open", "permissions": {}})
        for code in ("hidden", "open"):
            wanted = NewSchedule(definition=code, id=code, every="P1D", input={"secret": code})
            await schedules.create(stage.ctx, stage.actor, wanted)

        async def seen(actor, definition=None):
            return [each.id for each in (await schedules.listed(stage.ctx, actor, (), definition, None, 10)).items]

        stranger = stage.user("str@x.y")
        assert await seen(stranger) == ["open"]
        assert await seen(stranger, "hidden") == []
        for id in ("hidden", "none"):
            for ask in (
                schedules.get(stage.ctx, stranger, id),
                schedules.upcoming(stage.ctx, stranger, id, 3),
                schedules.pause(stage.ctx, stranger, id, None),
                schedules.run(stage.ctx, stranger, id),
                schedules.delete(stage.ctx, stranger, id, None),
            ):
                with pytest.raises(NotFound):
                    await ask
        for actor in (stage.user("v@x.y", "few"), stage.user("ini@x.y"), stage.user("man@x.y"), stage.actor):
            assert await seen(actor) == ["hidden", "open"]
            assert (await schedules.get(stage.ctx, actor, "hidden")).input == {"secret": "hidden"}
        with pytest.raises(Forbidden):
            await schedules.delete(stage.ctx, stage.user("ini@x.y"), "hidden", None)

    play(journey)
