"""A process in the store: guarded by its number, remembered no longer than it is true."""

import asyncio

import pytest
from msgspec import structs

from engines.stage import Stage, graph, job, scope
from penstock.core import events as ev
from penstock.errors import AlreadyExists, StaleSequence
from penstock.store import processes
from penstock.store.rows import HISTORY

LINE = graph("line", {"a": job("a"), "b": job("b")}, ("a", "b"))


def on_stage(url, journey):
    async def main():
        async with Stage.open(url) as stage:
            await journey(stage)
            await stage.check()

    asyncio.run(main())


def test_a_step_from_a_state_that_has_gone_on_is_stale(url):
    async def journey(stage):
        await stage.deploy(LINE)
        id = await stage.start("line")
        pid = await stage.pid(id)

        def twice_from_the_same(tx):
            held = processes.load(tx, pid)
            stage.engine.apply(held, ev.SuspendRequested(at=tx.now))
            stage.engine.apply(held, ev.SuspendRequested(at=tx.now))

        with pytest.raises(StaleSequence):
            await stage.store.submit_async(twice_from_the_same, (pid,))
        assert await stage.status(id) == "RUNNING"
        old = await stage.store.submit_async(lambda tx: processes.load(tx, pid), (pid,))
        await stage.do("suspend", id)

        def from_before(tx):
            stage.engine.apply(structs.replace(old, tx=tx), ev.CancelRequested(at=tx.now))

        # in a group with others, who do not notice
        results = await asyncio.gather(
            *(stage.start("line") for _ in range(3)),
            stage.store.submit_async(from_before, (pid,)),
            *(stage.start("line") for _ in range(3)),
            return_exceptions=True,
        )
        assert isinstance(results[3], StaleSequence)
        assert not [result for i, result in enumerate(results) if i != 3 and isinstance(result, Exception)]
        assert await stage.status(id) == "SUSPENDED"

    on_stage(url, journey)


def test_the_history_is_the_last_guard(url):
    """Even a writer that knows nothing of the guard cannot write a number twice."""

    async def journey(stage):
        await stage.deploy(LINE)
        pid = await stage.pid(await stage.start("line"))

        def again(tx):
            row = tx.get(HISTORY, (pid, 1))
            tx.put(HISTORY, HISTORY.patched(row, {"feed": None}))

        with pytest.raises(AlreadyExists):
            await stage.store.submit_async(again, (pid,))

    on_stage(url, journey)


def test_what_a_failed_group_had_cached_is_forgotten(url):
    body = scope({"w": job("w", input={"a": "${a.n}", "m": "${metadata.m}"})}, for_each="${a.list}", **{"as": "x"})
    document = graph(
        "f", {"a": job("a"), "s": {"kind": "set", "metadata": {"m": "${a.n}"}}, "all": body}, ("a", "s"), ("s", "all")
    )

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("f")
        taken = await stage.take("a")
        pid = await stage.pid(id)

        def doomed(tx):
            """The step is made, and the commit of its group fails."""
            held = processes.load(tx, pid)
            event = ev.JobCompleted(at=tx.now, scope=0, visit=taken.visit, attempt=1, output={"n": 1, "list": [1, 2]})
            stage.engine.apply(held, event)
            row = tx.get(HISTORY, (pid, 1))
            tx.put(HISTORY, HISTORY.patched(row, {"feed": None}))

        for _ in range(3):
            with pytest.raises(AlreadyExists):
                await stage.store.submit_async(doomed, (pid,))
        await stage.complete(taken, {"n": 2, "list": [5]})
        [w] = await stage.poll("w", max=5)
        assert w.input == {"a": 2, "m": 2}
        assert await stage.poll("w", wait=0) == []
        await stage.complete(w)
        await stage.completed(id)

    on_stage(url, journey)


def test_nothing_is_kept_that_keeps_a_unit(store):
    """A cached process does not hold the unit that made it, and with it its group."""

    async def main():
        stage_url = store._address.url
        store.close()
        async with Stage.open(stage_url) as stage:
            await stage.deploy(LINE)
            await stage.start("line")
            cached = [
                value for (kind, _), value in stage.store.writer._kept.cache._objects.items() if kind == "process"
            ]
            assert [held.tx for held in cached] == [None]

    asyncio.run(main())
