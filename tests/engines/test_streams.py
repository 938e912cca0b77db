"""Event streams tell each caller what the pages show it, by the permissions of now; nobody takes all streams of a node."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engines.stage import Stage, graph, job
from engines.test_items import Cast
from penstock.core.requests import ItemFilter
from penstock.errors import LimitExceeded, NotFound
from penstock.identity.model import Actor, Kind, Tenant
from penstock.operations import channels, items, permissions, reading
from penstock.operations.events import Told, Wanted

BELL = graph("bell", {"s": {"kind": "set", "vars": {"x": 1}}})
"""What everybody sees, at the end."""
TASK = {"T": {"candidates": ["group:staff"]}}
FLOW = ({"t": {"kind": "item", "task": "T"}, "after": job("after")}, ("t", "after"))


class Follower:
    """Takes what a stream tells until the bell rings."""

    def __init__(self, stage: Stage, actor: Actor) -> None:
        self.stage = stage
        self.actor = actor

    async def open(self, after: int | None = None, **wanted: Any) -> Follower:
        self.stream = await self.stage.ctx.streams.open(self.actor, Wanted(**wanted), after)
        self.told: list[Told] = []
        self._task = asyncio.create_task(self._run())
        return self

    async def _run(self) -> None:
        async for batch in self.stream.batches():
            self.told += [each for each in batch if isinstance(each, Told)]

    async def until(self, process: str) -> Follower:
        """Until a process is told of."""
        await self.stage.until(lambda: process in self.processes)
        return self

    async def leave(self) -> Follower:
        self.stream.leave()
        await self._task
        return self

    @property
    def processes(self) -> set[str | None]:
        return {each.event.process for each in self.told}

    def types(self, process: str) -> list[str]:
        return [each.event.type for each in self.told if each.event.process == process]


async def told_of(stage: Stage, actor: Actor, after: int = 0) -> set[str | None]:
    """The processes a stream tells of that begins so far back and goes on until now."""
    bell = await stage.start("bell")
    follower = await Follower(stage, actor).open(after)
    return (await (await follower.until(bell)).leave()).processes


async def shows(stage: Stage, actor: Actor, id: str) -> bool:
    try:
        await reading.get(stage.ctx, actor, id)
    except NotFound:
        return False
    return True


async def item_of(stage: Stage, process: str) -> str:
    page = await items.listed(stage.ctx, stage.actor, ItemFilter(), None, 10, mine=False, process=process)
    return page.items[0].id


def root(stage: Stage) -> Actor:
    return Actor(tenant=stage.actor.tenant, principal="user:root@x.y", kind=Kind.USER, roles=frozenset({"admin"}))


def test_streams_and_pages_agree_who_has_to_do_with_a_process(play):
    async def journey(stage: Stage) -> None:
        cast = await Cast.on(stage)
        await stage.deploy(graph("secret", *FLOW, tasks=TASK, permissions={"viewer": ["group:second"]}))
        await stage.deploy(BELL)
        id = await stage.start("secret")
        item = await item_of(stage, id)
        people = {"ann": cast.ann, "ben": cast.ben, "eve": cast.eve, "sue": stage.user("sue@x.y", "second")}
        live = {name: await Follower(stage, actor).open() for name, actor in people.items()}

        async def seeing() -> set[str]:
            found = {name for name, actor in people.items() if await shows(stage, actor, id)}
            assert found == {name for name, actor in people.items() if id in await told_of(stage, actor)}
            return found

        assert await seeing() == {"ann", "ben", "sue"}
        await items.claim(stage.ctx, cast.ann, item)
        assert await seeing() == {"ann", "sue"}
        await items.delegate(stage.ctx, cast.ann, item, "user:ben@example.com", "please")
        assert await seeing() == {"ann", "ben", "sue"}
        await items.complete(stage.ctx, cast.ben, item, None)
        assert await seeing() == {"ben", "sue"}
        bell = await stage.start("bell")
        for name, follower in live.items():
            await (await follower.until(bell)).leave()
            assert ("ItemCompleted" in follower.types(id)) is (name in {"ben", "sue"})

    play(journey)


def test_mine_tells_a_candidate_that_somebody_else_was_quicker(play):
    async def journey(stage: Stage) -> None:
        cast = await Cast.on(stage)
        await stage.deploy(graph("open", *FLOW, tasks=TASK))
        ben, eve = [await Follower(stage, actor).open(mine=True) for actor in (cast.ben, cast.eve)]
        id = await stage.start("open")
        await ben.until(id)
        item = await item_of(stage, id)
        await items.claim(stage.ctx, cast.ann, item)
        await items.complete(stage.ctx, cast.ann, item, None)
        await stage.work("after")
        await stage.until(lambda: "ItemCompleted" in ben.types(id))
        last = await stage.start("open")
        await ben.until(last)
        assert ben.types(id) == ["Started", "ItemClaimed", "ItemCompleted"]
        assert eve.told == []
        for follower in (ben, eve):
            await follower.leave()

    play(journey)


def test_what_was_missed_is_told_by_the_permissions_of_now(play):
    async def journey(stage: Stage) -> None:
        cast = await Cast.on(stage)
        await stage.deploy(graph("secret", {"j": job("work")}, permissions={"viewer": ["group:staff"]}))
        await stage.deploy(BELL)
        witness = await Follower(stage, stage.actor).open()
        staff = await Follower(stage, cast.ann).open()
        before = staff.stream.position
        id = await stage.start("secret")
        for follower in (witness, staff):
            await follower.until(id)
        assert id in await told_of(stage, cast.ann, before)
        await permissions.put(stage.ctx, root(stage), "secret", {"viewer": ["group:second"]}, None)
        assert id not in await told_of(stage, cast.ann, before)
        assert id in await told_of(stage, stage.actor, before)
        assert id in await told_of(stage, stage.user("sue@x.y", "second"), before)
        for follower in (witness, staff):
            await follower.leave()

    play(journey)


def test_nobody_takes_all_streams_of_a_node(play, monkeypatch):
    monkeypatch.setattr(channels, "MOST", 8)
    monkeypatch.setattr(channels, "MOST_OF_TENANT", 5)
    monkeypatch.setattr(channels, "MOST_OF_USER", 2)

    async def journey(stage: Stage) -> None:
        async def open(actor: Actor, *, refused: str | None = None) -> Any:
            if refused is None:
                return await stage.ctx.streams.open(actor, Wanted(), None)
            with pytest.raises(LimitExceeded, match=refused):
                await stage.ctx.streams.open(actor, Wanted(), None)
            return None

        ann, ben = stage.user("ann@x.y"), stage.user("ben@x.y")
        streams = [await open(ann), await open(ann)]
        await open(ann, refused="a user may have 2 event streams")
        streams += [await open(stage.actor) for _ in range(3)]
        for actor in (stage.actor, root(stage), ben):
            await open(actor, refused="a tenant may have 5 event streams")
        elsewhere = Actor(tenant=Tenant(tid=99, id="x", code="x"), principal="app:x", kind=Kind.APPLICATION)
        others = [await open(elsewhere) for _ in range(3)]
        await open(elsewhere, refused="too many event streams")
        others.pop().leave()
        for stream in streams[:3]:
            stream.leave()
            stream.leave()
        streams = [*streams[3:], await open(root(stage)), await open(ann), await open(ann)]
        for stream in (*streams, *others):
            stream.leave()
        assert stage.ctx.streams.open_count == 0
        streams = [await open(stage.actor) for _ in range(5)]
        for stream in streams:
            stream.leave()

    play(journey)
