"""Timers fire when they are due, in their order, and never twice."""

import asyncio
import time

from engines.stage import Stage, graph, job, scope
from penstock.core.state import RETRY
from penstock.engines import loops
from penstock.errors import Unavailable

SLEEP = graph("sleep", {"t": {"kind": "timer", "after": "${input.after}"}, "w": job("w", input="${input}")}, ("t", "w"))


def test_a_timer_fires_when_it_is_due_and_a_later_one_does_not_hide_it(play):
    async def journey(stage):
        await stage.deploy(SLEEP)
        await stage.start("sleep", {"after": "PT1H"})
        await stage.quiet()
        begun = time.monotonic()
        id = await stage.start("sleep", {"after": "PT0.15S"})
        taken = await stage.take("w")
        assert 0.14 < time.monotonic() - begun < 5
        assert taken.process_id == id
        await stage.complete(taken)
        assert await stage.one("SELECT count(*) FROM timers") == 1

    play(journey)


def test_a_timer_started_while_the_loop_looks_is_not_forgotten(play):
    """The look has seen only the timer of tomorrow; the new one is started before the look's answer arrives."""

    async def journey(stage):
        await stage.deploy(SLEEP)
        await stage.start("sleep", {"after": "P1D"})
        unit, started = stage.loops._unit, []

        async def looking(work, keys=(), *, low=False):
            found = await unit(work, keys, low=low)
            if work is loops._look and len(started) < 5:
                started.append(await stage.start("sleep", {"after": "PT0.05S"}))
            return found

        stage.loops._unit = looking
        for i in range(1, 6):
            stage.hurry()
            taken = await stage.take("w")
            assert taken.process_id == started[i - 1]
            await stage.complete(taken)

    play(journey)


def test_timers_fire_in_the_order_in_which_they_are_due(play):
    async def journey(stage):
        await stage.deploy(SLEEP)
        ids = [await stage.start("sleep", {"after": f"PT{3600 - i}S"}) for i in range(50)]
        await stage.edit("UPDATE timers SET due_at = due_at - 3600000")
        await stage.until(lambda: _fired(stage, 50))
        order = await stage.rows("SELECT pid FROM history WHERE type = 'TimerFired' ORDER BY feed, at, pid")
        if stage.store.dialect == "sqlite":  # feed numbers of PostgreSQL come later
            assert [pid for (pid,) in order] == [await stage.pid(id) for id in reversed(ids)]
        await stage.work("w", count=50)

    play(journey)


async def _fired(stage, count):
    return await stage.one("SELECT count(*) FROM history WHERE type = 'TimerFired'") == count


def test_thousands_due_at_once(play):
    body = scope({"t": {"kind": "timer", "after": "PT1H"}}, for_each="${input.list}", **{"as": "x"})

    async def journey(stage):
        await stage.deploy(graph("many", {"all": body}))
        ids = [await stage.start("many", {"list": list(range(300))}) for _ in range(10)]
        await stage.until(lambda: _count(stage, 3000))
        assert await stage.overdue() == 3000
        for id in ids:
            await stage.completed(id)

    async def _count(stage, count):
        return await stage.one("SELECT count(*) FROM timers") == count

    play(journey)


def test_a_timer_that_was_withdrawn_does_not_fire(play):
    document = graph("w", {"w": job("w"), "b": {"kind": "boundary", "attached_to": "w", "timer": "PT1H"}, "x": job("x")},
                     ("b", "x"))  # fmt: skip

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("w")
        await stage.work("w")
        assert await stage.overdue() == 0
        await stage.completed(id)

    play(journey)


def test_what_was_due_while_nobody_ran_fires_when_somebody_does(url):
    async def before():
        async with Stage.open(url) as stage:
            await stage.deploy(SLEEP)
            await asyncio.gather(*(stage.start("sleep", {"after": "PT1H"}) for _ in range(250)))
            await stage.platform.store.submit_async(lambda tx: tx.execute("UPDATE timers SET due_at = 1"))

    async def after():
        async with Stage.open(url) as stage:
            await stage.work("w", count=250)
            await stage.check()

    asyncio.run(before())
    asyncio.run(after())


def test_a_timer_the_database_had_no_time_for_comes_again(play):
    async def journey(stage):
        await stage.deploy(SLEEP)
        await stage.start("sleep", {"after": "P1D"})
        fire, refused = stage.engine.fire_timer, []

        def refusing(tx, pid, n, purpose):
            if not refused:
                refused.append(pid)
                raise Unavailable("not now")
            fire(tx, pid, n, purpose)

        stage.engine.fire_timer = refusing
        id = await stage.start("sleep", {"after": "PT0.01S"})
        await stage.work("w")
        await stage.completed(id)
        assert refused

    play(journey)


def test_a_poisonous_timer_does_not_stand_in_the_way(play, caplog):
    async def journey(stage):
        await stage.deploy(SLEEP)
        bad = await stage.pid(await stage.start("sleep", {"after": "PT0.01S"}))
        fire = stage.engine.fire_timer
        failed = []

        def poisonous(tx, pid, n, purpose):
            if pid == bad:
                failed.append(pid)
                raise ZeroDivisionError("poison")
            fire(tx, pid, n, purpose)

        stage.engine.fire_timer = poisonous
        await stage.edit("UPDATE timers SET due_at = 1")
        await stage.until(lambda: failed)
        await stage.until(lambda: _put_off(stage))
        await stage.start("sleep", {"after": "PT0.01S"})
        await stage.work("w")
        assert len(failed) == 1
        stage.engine.fire_timer = fire
        await stage.overdue()
        await stage.work("w")

    async def _put_off(stage):
        return await stage.one("SELECT min(due_at) FROM timers") > time.time() * 1000

    play(journey)


def test_the_clock_is_the_databases(play):
    """The loops' own clock is an hour slow or fast: timers fire all the same."""

    async def journey(stage):
        await stage.deploy(SLEEP)
        for skew in (3_600_000, -3_600_000):
            stage.loops._skew = skew
            await stage.start("sleep", {"after": "PT0.05S"})
            stage.hurry()
            await stage.work("w")

    play(journey)


def test_retries_wait_in_timers(play):
    from penstock.core.events import Failure

    document = graph("r", {"w": job("w", retry={"max_attempts": 3, "delay": "PT0.02S", "jitter": 0})})

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("r")
        await stage.fail(await stage.take("w"), Failure("X", "x"))
        assert await stage.one("SELECT purpose FROM timers") == RETRY
        await stage.fail(await stage.take("w"), Failure("X", "x"))
        await stage.work("w")
        await stage.completed(id)

    play(journey)
