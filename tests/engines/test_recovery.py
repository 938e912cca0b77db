"""kill -9 and what comes after."""

import asyncio
import json

from engines.loaded import CHILD, LOAD, TOPICS
from engines.programs import Program
from engines.stage import Stage, graph, job, scope


async def prepare(url):
    async with Stage.open(url, running=False) as stage:
        await stage.deploy(CHILD)
        await stage.deploy(LOAD)


async def nothing_lost(stage, programs):
    """What was acknowledged is there, once."""
    started = {id for program in programs for (id,) in program.of("S")}
    there = [id for (id,) in await stage.rows("SELECT id FROM processes WHERE parent_pid IS NULL")]
    assert started <= set(there)
    assert len(there) == len(set(there))
    answers = await stage.rows(
        "SELECT p.id, h.visit, h.data FROM history h JOIN processes p ON p.pid = h.pid WHERE h.type = 'JobCompleted'"
    )
    counted: dict = {}
    for id, visit, _ in answers:
        counted[id, visit] = counted.get((id, visit), 0) + 1
    assert set(counted.values()) <= {1}
    acknowledged = [(id, int(visit)) for program in programs for id, visit in program.of("C")]
    assert len(acknowledged) == len(set(acknowledged)), "an answer was taken twice"
    assert set(acknowledged) <= set(counted)
    sent = {id for program in programs for (id,) in program.of("M")}
    kept = {id for (id,) in await stage.rows("SELECT message_id FROM messages")}
    assert sent <= kept


async def finish(stage, programs):
    """Everything goes on to its end."""
    await stage.lapse()
    sent = {id for program in programs for (id,) in program.of("M")}
    unsent = [id for (id,) in await stage.rows("SELECT id FROM processes WHERE parent_pid IS NULL") if id not in sent]
    for id in unsent:
        await stage.publish("m", id, id, id=id)  # one that was not acknowledged may be there: its id says so
    stage.hurry()

    async def open_ones():
        return await stage.one("SELECT count(*) FROM processes WHERE ended_at IS NULL")

    while await open_ones():
        taken = await stage.poll(*TOPICS, max=64, wait=0.2)
        await asyncio.gather(*(stage.complete(one, one.visit) for one in taken))
        failed = await stage.rows("SELECT id FROM processes WHERE status = 'FAILED'")
        assert not failed, failed
    outputs = await stage.rows(
        "SELECT p.id, d.value FROM processes p JOIN data d ON d.pid = p.pid AND d.name = 'output' "
        "WHERE p.parent_pid IS NULL"
    )
    for id, output in outputs:
        assert json.loads(output)["m"] == id


def test_kill_nine_loses_nothing_and_doubles_nothing(url):
    asyncio.run(prepare(url))
    programs = []
    for node, answers in (("first", 40), ("second", 100)):  # the second goes on where the first was killed
        program = Program(url, node)
        programs.append(program)
        try:
            program.wait_for("C", answers)
        finally:
            program.kill()

    async def after():
        async with Stage.open(url, "third") as stage:
            await nothing_lost(stage, programs)
            await finish(stage, programs)
            await nothing_lost(stage, programs)
            await stage.check()

    asyncio.run(after())


def test_a_restart_goes_on_with_what_lay_in_the_inbox(url):
    """The engine never got to apply it: a child that was to start, a message that was paired, elements that are due."""
    body = scope({"e": job("e")}, for_each="${input.list}", **{"as": "x"})
    document = graph(
        "left", {"all": body, "c": {"kind": "call", "definition": "child"}, "m": {"kind": "message", "message": "m"}}
    )

    async def before():
        async with Stage.open(url) as stage:
            await stage.deploy(CHILD)
            await stage.deploy(document)
            stage.loops.wake = lambda pid, most=16: None
            ids = [await stage.start("left", {"list": list(range(70))}) for _ in range(205)]
            for _ in ids[:5]:
                await stage.publish("m")
            await stage.until(lambda: _paired(stage))
            return ids

    async def _paired(stage):
        return await stage.one("SELECT count(*) FROM subscriptions") == 200

    async def after(ids):
        async with Stage.open(url) as stage:
            await stage.work("child", count=205)
            await stage.quiet()
            assert await stage.one("SELECT count(*) FROM jobs") == 205 * 70
            assert await stage.one("SELECT count(*) FROM visits WHERE node = 'm' AND state = 'COMPLETED'") == 5
            await stage.do("cancel", ids[0])

    asyncio.run(after(asyncio.run(before())))
