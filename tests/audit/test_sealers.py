"""Several nodes on one PostgreSQL: one seals, another steps in."""

import asyncio

import pytest

from audit.test_tampering import verify
from engines.stage import Stage, graph
from penstock.audit import sealing
from penstock.audit.digests import Leaf, pack, unpack
from penstock.store import feed, seals

pytestmark = pytest.mark.postgres
SET = graph("s", {"s": {"kind": "set", "vars": {"x": 1}}})


async def chain(stage):
    return await stage.store.async_read(lambda read: seals.after(read, stage.tid, 0, 1000))


def test_nodes_that_seal_at_once_make_one_chain(postgres_url):
    async def main():
        async with Stage.open(postgres_url, "a", running=False) as a, Stage.open(postgres_url, "b", running=False) as b:
            await a.deploy(SET)
            for _ in range(10):
                await asyncio.gather(a.start("s"), b.start("s"))
                await a.check()
                for stage in (a, b):
                    stage.platform.sealer._mine = True
                made = await asyncio.gather(a.platform.sealer.turn(), b.platform.sealer.turn())
                assert sum(made) == 1
            assert verify(postgres_url, a).found == 0
            assert verify(postgres_url, a).unsealed == 0

    asyncio.run(main())


def test_a_node_leaves_the_sealing_to_the_one_that_does_it_and_steps_in_when_nobody_does(postgres_url, monkeypatch):
    monkeypatch.setattr(sealing, "PATIENCE", 0.3)

    async def main():
        async with Stage.open(postgres_url, "a", running=False) as a, Stage.open(postgres_url, "b", running=False) as b:
            first, second = a.platform.sealer, b.platform.sealer
            await a.deploy(SET)
            await a.store.submit_async(lambda tx: feed.number(tx, 100))
            assert await first.turn() == 0  # perhaps somebody else does
            await asyncio.sleep(0.35)
            assert await first.turn() == 1
            for _ in range(3):
                await a.start("s")
                await a.store.submit_async(lambda tx: feed.number(tx, 100))
                assert await second.turn() == 0
                assert await first.turn() == 1
            # the first is gone
            await b.start("s")
            await b.store.submit_async(lambda tx: feed.number(tx, 100))
            assert await second.turn() == 0
            await asyncio.sleep(0.35)
            assert await second.turn() == 1
            await b.start("s")
            await b.store.submit_async(lambda tx: feed.number(tx, 100))
            assert await second.turn() == 1
            # and comes back: it waits as long as somebody else seals
            await b.start("s")
            await b.store.submit_async(lambda tx: feed.number(tx, 100))
            assert await first.turn() + await second.turn() == 1
            assert verify(postgres_url, a).found == 0
            assert len(await chain(a)) == 7

    asyncio.run(main())


def test_leaves_are_packed_and_read_as_they_were():
    leaves = [Leaf(feed, bytes([feed % 251]) * 32) for feed in (1, 2, 130, 131, 20_000, 3_000_000_000, 2**53)]
    assert unpack(pack(leaves)) == leaves
    assert unpack("") == []
    whole = pack(leaves)
    for text in ("no!", whole[:-4], whole[4:], "gICAgICAgICAgICA"):
        with pytest.raises(ValueError, match="leaves"):
            unpack(text)
