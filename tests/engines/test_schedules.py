"""Schedules: each due time exactly once, on both databases; what was missed, what overlaps, what fails."""

import asyncio
import json

import pytest

from engines.stage import Stage, gathered, graph, job
from penstock.engines import schedules as engine
from penstock.errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound, Stale, WrongState
from penstock.identity.model import Kind
from penstock.operations import schedules
from penstock.operations.schedules import NewSchedule
from penstock.store import definitions as stored

DAY = 86_400_000
ECHO = graph("echo", {"a": job("t")}, output="${input}", permissions={"manager": ["group:boss"]})


async def make(stage, actor=None, **more):
    wanted = NewSchedule(**{"definition": "echo", "id": "s", "every": "P1D", **more})
    return await schedules.create(stage.ctx, actor or stage.actor, wanted)


async def get(stage, id="s"):
    return await schedules.get(stage.ctx, stage.actor, id)


async def age(stage, days, late, id="s"):
    """As if the schedule had been made so many days ago, and nobody had looked since; the last time is `late` ms ago."""
    now = await stage.store.submit_async(lambda tx: tx.now)
    born = now - days * DAY - late
    await stage.edit(
        "UPDATE schedules SET created_at = ?, due_at = ?, fires_at = ? WHERE id = ?", born, born + DAY, born + DAY, id
    )
    return [born + n * DAY for n in range(1, days + 1)]


async def look(stage):
    """Until nothing is due any more."""
    while await stage.platform.scheduler.look() == engine.AGAIN:
        pass


async def started(stage):
    return await stage.rows("SELECT id, created_by, status FROM processes ORDER BY pid")


async def journal(stage, type):
    found = await stage.rows("SELECT actor, subject, data FROM journal WHERE type = ? ORDER BY jid", type)
    return [(actor, subject, json.loads(data)) for actor, subject, data in found]


def test_a_due_time_starts_one_process_in_the_creators_name(play):
    async def journey(stage):
        await stage.deploy(ECHO)
        await make(stage, input={"x": 1})
        [due] = await age(stage, 1, 500)
        await look(stage)
        await look(stage)
        [(id, by, _)] = await started(stage)
        seen = await get(stage)
        assert (by, seen.last_process, seen.last_due, seen.next) == ("app:test", id, due, due + DAY)
        row = await stage.store.async_read(lambda read: engine.schedules.get(read, stage.tid, "s"))
        assert id == engine.process_id(stage.actor.tenant.id, row, due)
        assert (await stage.show(id)).input == {"x": 1}
        [(actor,)] = await stage.rows("SELECT actor FROM history WHERE seq = 1")
        assert actor == "system"

    play(journey, running=False)


@pytest.mark.parametrize(
    ("rule", "late", "expected"),
    [
        ("all", 500, [1, 2, 3, 4, 5]),
        ("all", 600_000, [1, 2, 3, 4, 5]),
        ("last", 500, [5]),
        ("last", 600_000, [5]),
        ("none", 500, [5]),
        ("none", 600_000, []),
    ],
)
def test_missed_times_are_made_up_for_as_the_rule_says(play, rule, late, expected):
    async def journey(stage):
        await stage.deploy(ECHO)
        await make(stage, catch_up=rule)
        times = await age(stage, 5, late)
        row = await stage.store.async_read(lambda read: engine.schedules.get(read, stage.tid, "s"))
        await look(stage)
        wanted = [engine.process_id(stage.actor.tenant.id, row, times[n - 1]) for n in expected]
        assert [id for id, _, _ in await started(stage)] == wanted
        assert (await get(stage)).next == times[-1] + DAY
        passed = await journal(stage, "schedule.missed")
        assert len(passed) == (0 if len(expected) == 5 else 1)

    play(journey, running=False)


def test_no_more_than_the_limit_is_made_up_for_and_the_latest_count(play):
    async def journey(stage):
        await stage.deploy(ECHO)
        await make(stage, catch_up="all", catch_up_limit=2)
        times = await age(stage, 6, 600_000)
        await look(stage)
        assert len(await started(stage)) == 2
        [(_, _, data)] = await journal(stage, "schedule.missed")
        assert data == {"from": times[0], "to": times[4]}

    play(journey, running=False)


def test_overlap_skip_lets_times_pass_while_the_last_process_runs(play):
    async def journey(stage):
        await stage.deploy(ECHO)
        await make(stage, catch_up="all", overlap="skip")
        await age(stage, 3, 500)
        await look(stage)
        [(id, _, _)] = await started(stage)
        assert (await get(stage)).skipped == 2
        await stage.do("cancel", id)
        await age(stage, 1, 400)
        await look(stage)
        assert len(await started(stage)) == 2

    play(journey, running=False)


def test_a_start_that_fails_is_noted_and_the_next_times_come(play):
    async def journey(stage):
        await stage.deploy(ECHO)
        await make(stage, catch_up="all", input={"x": "text"})
        picky = {"input": {"type": "object", "properties": {"x": {"type": "integer"}}}}
        await stage.deploy({**ECHO, "data": picky})
        times = await age(stage, 3, 500)
        await look(stage)
        seen = await get(stage)
        assert (seen.failures, seen.last_due, seen.next, seen.state) == (3, times[-1], times[-1] + DAY, "ACTIVE")
        assert "/input/x" in seen.last_error
        assert len(await journal(stage, "schedule.failed")) == 1
        assert await started(stage) == []
        await stage.deploy(ECHO)
        await age(stage, 1, 500)
        await look(stage)
        seen = await get(stage)
        assert (seen.failures, seen.last_error) == (0, None)
        assert len(await started(stage)) == 1

    play(journey, running=False)


def test_a_retired_definition_does_not_stop_the_schedule(play):
    async def journey(stage):
        await stage.deploy(ECHO)
        await make(stage)

        def retire(tx):
            stored.move(tx, stored.numbered(tx, stage.tid, "echo", 1), "RETIRED")

        await stage.store.submit_async(retire)
        stage.ctx.deployed(stage.tid, "echo")
        await age(stage, 1, 500)
        await look(stage)
        assert "RETIRED" in (await get(stage)).last_error
        with pytest.raises(WrongState):
            await schedules.run(stage.ctx, stage.actor, "s")
        with pytest.raises(WrongState):
            await make(stage, id="other")

    play(journey, running=False)


def test_a_named_version_is_started_though_there_is_a_newer_one(play):
    async def journey(stage):
        await stage.deploy(ECHO)
        await stage.deploy({**ECHO, "output": "${1}"})
        await make(stage, version=1)
        await make(stage, id="newest")
        for id in ("s", "newest"):
            await age(stage, 1, 500, id)
        await look(stage)
        versions = {id: (await stage.show((await get(stage, id)).last_process)).version for id in ("s", "newest")}
        assert versions == {"s": 1, "newest": 2}

    play(journey, running=False)


def test_looks_side_by_side_start_each_time_once(play):
    async def journey(stage):
        await stage.deploy(ECHO)
        for n in range(5):
            await make(stage, id=f"s{n}", catch_up="all")
            await age(stage, 4, 500, f"s{n}")
        await asyncio.gather(*(stage.platform.scheduler.look() for _ in range(8)))
        await look(stage)
        assert len(await started(stage)) == 20
        assert await stage.one("SELECT count(*) FROM schedules WHERE failures > 0") == 0

    play(journey, running=False)


@pytest.mark.postgres
def test_three_nodes_start_each_time_once(postgres_url):
    async def main():
        async with (
            Stage.open(postgres_url, "one", running=False) as one,
            Stage.open(postgres_url, "two", running=False) as two,
            Stage.open(postgres_url, "three", running=False) as three,
        ):
            await one.deploy(ECHO)
            for n in range(8):
                await make(one, id=f"s{n}", catch_up="all")
                await age(one, 6, 500, f"s{n}")
            await asyncio.gather(look(one), look(two), look(three))
            rows = await one.rows("SELECT id, failures, last_due FROM schedules")
            assert len(await started(one)) == 48, rows
            assert await one.one("SELECT count(*) FROM schedules WHERE failures > 0") == 0
            await one.check()

    asyncio.run(main())


def test_a_running_platform_fires_by_itself_and_hears_of_changes(play):
    async def journey(stage):
        await stage.deploy(ECHO)
        made = await make(stage, every="PT1S")

        async def fired():
            return await started(stage)

        await stage.until(fired)
        await schedules.pause(stage.ctx, stage.actor, "s", frozenset({made.revision}))
        assert (await get(stage)).next is None

    play(journey)


def test_jitter_puts_a_start_off_and_no_further(play):
    async def journey(stage):
        await stage.deploy(ECHO)
        await make(stage, jitter=3_600_000)
        fires, due = (await stage.rows("SELECT fires_at, due_at FROM schedules"))[0]
        assert 0 <= fires - due <= 3_600_000
        assert (await get(stage)).next == due

    play(journey, running=False)


def test_the_last_time_ends_the_schedule(play):
    async def journey(stage):
        await stage.deploy(ECHO)
        now = await stage.store.submit_async(lambda tx: tx.now)
        await make(stage, starts_at=now + 50, ends_at=now + 60)
        await stage.edit("UPDATE schedules SET fires_at = 1")
        await asyncio.sleep(0.06)
        await look(stage)
        seen = await get(stage)
        assert (seen.state, seen.next) == ("ENDED", None)
        assert len(await started(stage)) == 1
        with pytest.raises(WrongState):
            await schedules.resume(stage.ctx, stage.actor, "s", None)

    play(journey, running=False)


def test_pause_and_resume_pass_over_the_times_between(play):
    async def journey(stage):
        await stage.deploy(ECHO)
        await make(stage, catch_up="all")
        paused = await schedules.pause(stage.ctx, stage.actor, "s", frozenset({1}))
        assert (paused.state, paused.next, paused.revision) == ("PAUSED", None, 2)
        with pytest.raises(WrongState):
            await schedules.pause(stage.ctx, stage.actor, "s", None)
        now = await stage.store.submit_async(lambda tx: tx.now)
        await stage.edit("UPDATE schedules SET created_at = ?", now - 5 * DAY - 10_000)
        await look(stage)
        resumed = await schedules.resume(stage.ctx, stage.actor, "s", frozenset({2}))
        assert resumed.next > now
        await look(stage)
        assert await started(stage) == []

    play(journey, running=False)


def test_an_update_keeps_the_next_time_unless_the_rule_is_another(play):
    async def journey(stage):
        await stage.deploy(ECHO)
        made = await make(stage)
        same = NewSchedule(definition="echo", every="PT24H", overlap="skip")
        kept = await schedules.update(stage.ctx, stage.actor, "s", same, frozenset({made.revision}))
        assert (kept.next, kept.overlap, kept.revision) == (made.next, "skip", 2)
        other = NewSchedule(definition="echo", cron="0 0 * * *", timezone="Asia/Tokyo")
        with pytest.raises(Stale):
            await schedules.update(stage.ctx, stage.actor, "s", other, frozenset({1}))
        changed = await schedules.update(stage.ctx, stage.actor, "s", other, frozenset({2}))
        assert changed.next % DAY == 15 * 3_600_000
        assert [data["revision"] for _, _, data in await journal(stage, "schedule.updated")] == [2, 3]

    play(journey, running=False)


def test_of_changes_that_race_one_wins(play):
    async def journey(stage):
        await stage.deploy(ECHO)
        await make(stage)
        wanted = [NewSchedule(definition="echo", every=f"PT{n}H") for n in range(1, 9)]
        results = await gathered(
            *(schedules.update(stage.ctx, stage.actor, "s", each, frozenset({1})) for each in wanted)
        )
        assert sum(isinstance(each, Stale) for each in results) == 7
        results = await gathered(*(make(stage, id="new") for _ in range(6)))
        assert sum(isinstance(each, AlreadyExists) for each in results) == 5

    play(journey, running=False)


def test_run_now_is_the_callers_process_and_repeats_under_its_key(play):
    async def journey(stage):
        await stage.deploy(ECHO)
        made = await make(stage, overlap="skip")
        first = await schedules.run(stage.ctx, stage.actor, "s", "key")
        assert await schedules.run(stage.ctx, stage.actor, "s", "key") == first
        second = await schedules.run(stage.ctx, stage.actor, "s")
        assert second != first
        assert len(await started(stage)) == 2
        told = await stage.rows("SELECT subject, data FROM journal WHERE type = 'schedule.run'")
        assert told == [("s", "{}")] * 2, "when the process is erased its id is nowhere"
        seen = await get(stage)
        assert (seen.last_process, seen.next) == (second.process, made.next)

    play(journey, running=False)


def test_only_managers_of_the_definition_change_its_schedules(play):
    async def journey(stage):
        await stage.deploy(ECHO)
        boss, clerk = stage.user("boss@x.y", "boss"), stage.user("clerk@x.y")
        await make(stage, boss)
        with pytest.raises(Forbidden):
            await make(stage, clerk, id="t")
        assert (await schedules.get(stage.ctx, clerk, "s")).created_by == "user:boss@x.y"
        for act in (schedules.pause, schedules.delete):
            with pytest.raises(Forbidden):
                await act(stage.ctx, clerk, "s", None)
        with pytest.raises(Forbidden):
            await schedules.run(stage.ctx, clerk, "s")
        await schedules.delete(stage.ctx, boss, "s", frozenset({1}), "key")
        await schedules.delete(stage.ctx, boss, "s", frozenset({1}), "key")
        with pytest.raises(NotFound):
            await schedules.delete(stage.ctx, boss, "s", None)
        assert clerk.kind is Kind.USER

    play(journey, running=False)


@pytest.mark.parametrize(
    ("wanted", "pointer"),
    [
        ({"cron": "61 * * * *", "every": None}, "/cron"),
        ({"cron": "0 0 * * *"}, ""),
        ({"every": None}, ""),
        ({"every": "P1M"}, "/every"),
        ({"timezone": "Mars/Olympus"}, "/timezone"),
        ({"starts_at": 2_000, "ends_at": 1_000}, "/end"),
        ({"ends_at": 1_000}, "/end"),
        ({"jitter": 3_600_001}, "/jitter"),
        ({"id": "a b"}, "/id"),
        ({"id": "a\nb"}, "/id"),
        ({"cron": "0 0 29 2 MON#5", "every": None, "starts_at": 253_402_214_400_000}, "/cron"),
    ],
)
def test_what_can_never_be_due_is_refused_with_its_place(play, wanted, pointer):
    async def journey(stage):
        await stage.deploy(ECHO)
        with pytest.raises(Invalid) as caught:
            await make(stage, **wanted)
        assert pointer in [problem.pointer for problem in caught.value.problems]
        with pytest.raises(NotFound):
            await get(stage)

    play(journey, running=False)


def test_a_schedule_whose_zone_is_gone_is_paused_and_the_others_go_on(play):
    async def journey(stage):
        await stage.deploy(ECHO)
        for id in ("s", "t"):
            await make(stage, id=id, every=None, cron="* * * * *")
            await stage.edit("UPDATE schedules SET due_at = due_at - 60000, fires_at = 1 WHERE id = ?", id)
        await stage.edit("UPDATE schedules SET timezone = 'Old/Name' WHERE id = 's'")
        await look(stage)
        seen = await get(stage)
        assert (seen.state, seen.next) == ("PAUSED", None)
        assert "Old/Name" in seen.last_error
        with pytest.raises(Conflict):
            await schedules.resume(stage.ctx, stage.actor, "s", None)
        assert (await get(stage, "t")).last_process is not None

    play(journey, running=False)
