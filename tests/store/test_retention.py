"""What is old goes, whole; nothing else does."""

import asyncio

from engines.stage import Stage, graph, job
from penstock.engines import retention
from penstock.operations import drafts, items, threads, values
from penstock.store import outbox, search, tables
from penstock.store import retention as stored
from penstock.store.rows import SEARCH

DAY = 24 * 3600 * 1000
TABLES = [table for table in tables.metadata.sorted_tables if "pid" in table.columns and table.name != "outbox"]

FULL = graph(
    "full",
    {
        "n": {"kind": "item", "task": "T", "type": "message"},
        "i": {"kind": "item", "task": "T"},
        "c": {"kind": "call", "definition": "child"},
        "m": {"kind": "message", "message": "m", "key": "${input.k}"},
        "w": job("w"),
    },
    ("n", "i"),
    ("i", "c"),
    ("c", "m"),
    ("m", "w"),
    search=["metadata.name", "input.k"],
    tasks={"T": {"candidates": ["group:g"]}},
    output={"m": "${m}"},
)


async def made(stage):
    """A process that ended with something in every table, and one that stands in its midst."""
    ann = stage.user("ann@example.com", "g")
    ids = []
    for ends in (True, False):
        id = await stage.start("full", {"k": len(ids)}, metadata={"name": f"n{len(ids)}"})
        owner = await values.process(stage.ctx, stage.actor, id)
        await values.put(stage.ctx, stage.actor, owner, "v", 1)
        [item] = await stage.inbox(ann, of_pid=await stage.pid(id), kinds=("TASK",))
        await items.claim(stage.ctx, ann, item.id)
        await drafts.save(stage.ctx, ann, item.id, {"half": "done"}, None)
        await drafts.write_log(stage.ctx, ann, item.id, "info", "at work")
        await threads.begin(stage.ctx, stage.actor, id, "why", [], "because")
        if ends:
            await items.complete(stage.ctx, ann, item.id, {})
            await stage.work("child")
            await stage.publish("m", str(len(ids)), "hello")
            await stage.work("w")
            await stage.completed(id)
        ids.append(id)
    return ids


def ended_earlier(tx, by):
    """Every process that has ended did so earlier."""
    for pid, tid, created_at, ended_at in tx.select(
        "SELECT pid, tid, created_at, ended_at FROM processes WHERE ended_at IS NOT NULL"
    ):
        tx.delete(SEARCH, (tid, search.ENDED, search.time_key(ended_at), created_at, pid))
        search.ended(tx, tid, pid, created_at, ended_at - by)
    tx.execute("UPDATE processes SET ended_at = ended_at - ? WHERE ended_at IS NOT NULL", (by,))


async def content(stage, pids=None):
    """Every row of every table that has to do with processes, or those of some."""
    found = {}
    for table in TABLES:
        rows = await stage.rows(f"SELECT * FROM {table.name}")
        at = list(table.columns.keys()).index("pid")
        found[table.name] = sorted(str(row) for row in rows if pids is None or row[at] in pids)
    return found


def test_an_old_process_goes_with_everything_and_nothing_else(url):
    async def main():
        async with Stage.open(url) as stage:
            await stage.deploy(graph("child", {"w": job("child")}))
            await stage.deploy(FULL)
            await stage.store.submit_async(lambda tx: outbox.add_receiver(tx, stage.tid, "hook"))
            old = await made(stage)
            await stage.store.submit_async(lambda tx: ended_earlier(tx, 10 * DAY))
            young = await made(stage)
            await stage.check()
            await stage.sealed()
            now = await stage.store.submit_async(lambda tx: tx.now)
            gone = {pid for (pid,) in await stage.rows("SELECT pid FROM processes WHERE ended_at < ?", now - 9 * DAY)}
            assert len(gone) == 2  # with its child
            every = {pid for (pid,) in await stage.rows("SELECT pid FROM processes")}
            before = await content(stage, every - gone)
            waiting = await stage.one("SELECT count(*) FROM outbox")
            assert await retention.clean(stage.store, 30, now) == 0
            assert await content(stage, every - gone) == before
            assert await retention.clean(stage.store, 7, now) == 2
            assert await content(stage, gone) == {table.name: [] for table in TABLES}
            assert await content(stage) == before
            assert await stage.one("SELECT count(*) FROM outbox") == waiting
            assert await stage.search(("metadata.name", "n0")) == [young[0]]
            assert old[0] not in await stage.search()
            await stage.check() if stage.store.dialect == "sqlite" else None

    asyncio.run(main())


def test_it_goes_in_chunks_that_leave_room_for_others(url, monkeypatch):
    monkeypatch.setattr(retention, "CHUNK", 10)
    units: list = []

    async def main():
        async with Stage.open(url) as stage:
            await stage.deploy(graph("s", {"s": {"kind": "set", "vars": {"x": 1}}}))
            await asyncio.gather(*(stage.start("s") for _ in range(45)))
            await stage.edit("UPDATE processes SET ended_at = 1 WHERE pid % 3 > 0")
            await stage.sealed()
            remove = stored.remove

            def counted(tx, pids):
                units.append(len(pids))
                return remove(tx, pids)

            monkeypatch.setattr(retention.retention, "remove", counted)
            now = await stage.store.submit_async(lambda tx: tx.now)
            removed = await retention.clean(stage.store, 1, now)
            assert removed == 45 - await stage.one("SELECT count(*) FROM processes")
            assert sum(units) == removed
            assert max(units) == 10
            assert await stage.one("SELECT count(*) FROM processes WHERE ended_at = 1") == 0

    asyncio.run(main())


def test_messages_that_expired_go(url):
    async def main():
        async with Stage.open(url) as stage:
            for i in range(5):
                await stage.publish("m", "", i, ttl=60 if i else 0.001)
            now = await stage.store.submit_async(lambda tx: tx.now)
            await retention.clean(stage.store, None, now + 1000)
            assert await stage.one("SELECT count(*) FROM messages") == 4

    asyncio.run(main())
