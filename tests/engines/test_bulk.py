"""Bulk operations: what they do to processes, by whose right, and what they tell."""

import asyncio

import pytest

from engines.bulks import LINE, begun, counts, ended, enrolled, failed, registered, results, started, whole
from engines.stage import Stage, graph, job
from penstock.core.requests import Condition, Filter
from penstock.errors import Forbidden, Invalid, NotFound, WrongState
from penstock.identity.model import Actor, Kind
from penstock.operations import bulk, processes
from penstock.operations.bulk import NewBulk


def test_a_filter_is_commanded_whole_and_nothing_else(play):
    async def journey(stage):
        await registered(stage)
        await stage.deploy(LINE)
        ids = await started(stage, 90)
        bad = await failed(stage, 40)
        wanted = Filter(definition="line", statuses=("FAILED",))
        dry = await whole(stage, "cancel", wanted, dry_run=True)
        assert counts(dry) == ("DONE", 40, 40, 0, 0)
        assert {each.process for each in await results(stage, dry)} == bad
        assert {await stage.status(id) for id in bad} == {"FAILED"}

        made = await whole(stage, "cancel", wanted, arguments={"reason": "in bulk"})
        assert counts(made) == ("DONE", 40, 40, 0, 0)
        assert await results(stage, made) == [], "what went well is not listed"
        for id in ids:
            events = await stage.events(id)
            assert events.count("CancelRequested") == (id in bad), events
            assert await stage.status(id) == ("CANCELLED" if id in bad else "RUNNING")
        journal = await stage.rows("SELECT type, actor, kind, subject FROM journal WHERE kind = 'bulk' ORDER BY jid")
        expected = [
            (type, "app:test", "bulk", each.id) for each in (dry, made) for type in ("bulk.started", "bulk.ended")
        ]
        assert journal == expected

    play(journey)


def test_every_command_in_bulk(play):
    async def journey(stage):
        await registered(stage)
        await stage.deploy(LINE)
        await started(stage, 6)
        bad = await failed(stage, 6)
        line = Filter(definition="line")

        async def statuses():
            return {await stage.status(id) for id in bad}

        assert counts(await whole(stage, "retry", line)) == ("DONE", 6, 6, 0, 0)
        assert await statuses() == {"RETRYING"}
        assert counts(await whole(stage, "suspend", line)) == ("DONE", 6, 6, 0, 0)
        assert counts(await whole(stage, "resume", line)) == ("DONE", 6, 6, 0, 0)
        assert counts(await whole(stage, "skip", line, arguments={"node": "a", "output": 1})) == ("DONE", 6, 6, 0, 0)
        skipped = await whole(stage, "skip", line, arguments={"node": "a"})
        assert counts(skipped) == ("DONE", 6, 0, 6, 0), "no visit stands there any more"
        assert {each.problems[0]["pointer"] for each in await results(stage, skipped)} == {"/node"}
        customer = Filter(search=(Condition("metadata.customer", "c0"),))
        assert counts(await whole(stage, "signal", customer, arguments={"name": "go"})) == ("DONE", 3, 3, 0, 0)
        assert counts(await whole(stage, "cancel", customer)) == ("DONE", 3, 3, 0, 0)
        assert counts(await whole(stage, "terminate", line)) == ("DONE", 3, 3, 0, 0)
        assert await statuses() == {"CANCELLED", "TERMINATED"}

    play(journey)


def test_ended_processes_are_deleted_with_all_that_is_theirs(url):
    async def main():
        async with Stage.open(url) as stage:
            await registered(stage)
            await stage.deploy(LINE)
            ids = await started(stage, 6)
            for id in ids[:4]:
                await stage.do("cancel", id)
            customer = Filter(search=(Condition("metadata.customer", "c0"),))
            dry = await whole(stage, "delete", customer, dry_run=True)
            assert counts(dry) == ("DONE", 2, 2, 0, 0)
            assert await stage.one("SELECT count(*) FROM processes") == 6
            assert counts(await whole(stage, "delete", customer)) == ("DONE", 2, 2, 0, 0)
            left = {pid for (pid,) in await stage.rows("SELECT pid FROM processes")}
            assert len(left) == 4
            for table in ("history", "visits", "scopes", "data", "search"):
                assert {pid for (pid,) in await stage.rows(f"SELECT pid FROM {table}")} == left, table
            with pytest.raises(NotFound):
                await stage.show(ids[0])
            told = await stage.rows("SELECT actor, kind, subject, type, data FROM journal")
            (made, _) = (await bulk.listed(stage.ctx, stage.actor, None, 10)).items
            gone = [each[:3] for each in told if each[3] == "process.deleted"]
            assert gone == [("app:test", "bulk", made.id)] * 2
            assert not [each for each in told if ids[0] in str(each) or ids[2] in str(each)], (
                "what is erased is not named"
            )

    asyncio.run(main())


def test_named_processes_are_commanded_and_others_told_of(play):
    async def journey(stage):
        await registered(stage)
        await stage.deploy(LINE)
        ids = await started(stage, 40)
        await stage.do("cancel", ids[3])
        nobody = "00000000-0000-4000-8000-000000000000"
        made = await whole(stage, "cancel", ids=(*ids[:35], nobody))
        assert counts(made) == ("DONE", 36, 34, 0, 2)
        found = {each.process: each.code for each in await results(stage, made, "SKIPPED")}
        assert found == {ids[3]: "wrong_state", nobody: "not_found"}
        assert {await stage.status(id) for id in ids[35:]} == {"RUNNING"}

    play(journey)


def test_the_total_counts_what_the_creator_may_see(play):
    async def journey(stage):
        await registered(stage)
        await stage.deploy(LINE)
        hidden = {"viewer": ["group:board"], "initiator": ["group:risk"]}
        await stage.deploy({**LINE, "code": "closed", "permissions": hidden})
        await enrolled(stage, "eve")
        eve = stage.user("eve@example.com", "risk")
        await started(stage, 2)
        for _ in range(3):
            await stage.start("closed")
        await processes.start(stage.ctx, eve, processes.StartProcess(definition="closed"), None)
        customer = Filter(statuses=("RUNNING",))
        assert counts(await whole(stage, "suspend", customer, dry_run=True)) == ("DONE", 6, 6, 0, 0)
        made = await whole(stage, "suspend", customer, actor=eve, dry_run=True)
        assert counts(made) == ("DONE", 3, 2, 1, 0), "her own is seen, and not for her to suspend"
        none = await whole(stage, "suspend", Filter(definition="closed", created_by="app:test"), actor=eve)
        assert counts(none) == ("DONE", 0, 0, 0, 0)

    play(journey)


def test_the_creators_rights_count_for_each_process(play):
    async def journey(stage):
        await registered(stage)
        await stage.deploy(LINE)
        await stage.deploy({**LINE, "code": "closed", "permissions": {}})
        other = await enrolled(stage, "eve", "max")
        eve, mallory = stage.user("eve@example.com", "risk"), stage.user("max@example.com", "risk")
        mine = await started(stage, 3)
        theirs = [await stage.start("closed") for _ in range(2)]
        made = await whole(stage, "suspend", Filter(created_by="app:test"), actor=eve)
        assert counts(made) == ("DONE", 5, 3, 2, 0)
        refused = await results(stage, made, "FAILED", eve)
        assert {each.process: each.code for each in refused} == dict.fromkeys(theirs, "forbidden")
        assert {await stage.status(id) for id in mine} == {"SUSPENDED"}
        assert {await stage.status(id) for id in theirs} == {"RUNNING"}
        # it is seen by who began it, and by those who see all
        with pytest.raises(NotFound):
            await bulk.get(stage.ctx, mallory, made.id)
        with pytest.raises(NotFound):
            await bulk.cancel(stage.ctx, mallory, made.id)
        stranger = Actor(tenant=other.tenant, principal="app:x", kind=Kind.APPLICATION)
        with pytest.raises(NotFound):
            await bulk.get(stage.ctx, stranger, made.id)
        assert (await bulk.listed(stage.ctx, mallory, None, 10)).items == []
        assert [each.id for each in (await bulk.listed(stage.ctx, eve, None, 10)).items] == [made.id]
        # what is taken away counts at once
        await stage.edit("UPDATE users SET disabled = 1 WHERE email = 'eve@example.com'")
        gone = await begun(stage, "resume", Filter(definition="line"), actor=eve)
        assert (await ended(stage, gone)).state == "FAILED"
        assert {await stage.status(id) for id in mine} == {"SUSPENDED"}

    play(journey)


def test_migration_in_bulk_with_a_dry_run_first(play):
    old = graph("mig", {"a": job("a"), "b": job("b")}, ("a", "b"))
    new = graph("mig", {"a": job("a"), "b2": job("b2")}, ("a", "b2"))

    async def journey(stage):
        await registered(stage)
        await stage.deploy(old)
        ids = [await stage.start("mig") for _ in range(6)]
        stuck = {each.process_id for each in await stage.work("a", count=2)}
        await stage.deploy(new)
        late = await stage.start("mig")
        wanted = Filter(definition="mig")
        before = await stage.rows("SELECT pid, seq, vid FROM processes ORDER BY pid")
        dry = await whole(stage, "migrate", wanted, arguments={"version": 2}, dry_run=True)
        assert counts(dry) == ("DONE", 7, 4, 2, 1)
        assert await stage.rows("SELECT pid, seq, vid FROM processes ORDER BY pid") == before
        told = {each.process: each for each in await results(stage, dry)}
        assert {id for id, each in told.items() if each.outcome == "FAILED"} == stuck
        assert all(told[id].problems[0]["code"] == "no_place" for id in stuck)
        assert all([move["to"] for move in told[id].moves] == ["a"] for id in set(ids) - stuck)
        assert told[late].detail == "the process is at version 2"

        made = await whole(stage, "migrate", wanted, arguments={"version": 2, "mapping": {"b": "b2"}})
        assert counts(made) == ("DONE", 7, 6, 0, 1)
        assert {(await stage.show(id)).version for id in ids} == {2}
        for id in ids:
            stage.began[await stage.pid(id)] = 1
        await stage.work("a", count=5)
        await stage.work("b", count=2)
        await stage.work("b2", count=5)

    play(journey)


def test_processes_that_come_later_are_left_alone(play):
    async def journey(stage):
        await registered(stage)
        await stage.deploy(LINE)
        ids = await started(stage, 3)
        stage.platform.bulk._soon.clear()
        # the operation begins in the past: what is here now came later
        made = await begun(stage, "cancel", Filter(definition="line", created_to=1))
        assert counts(await ended(stage, made)) == ("DONE", 0, 0, 0, 0)
        assert {await stage.status(id) for id in ids} == {"RUNNING"}

    play(journey)


def test_a_cancelled_operation_stops(play, monkeypatch):
    async def journey(stage):
        await registered(stage)
        await stage.deploy(LINE)
        ids = await started(stage, 100)
        made = await begun(stage, "suspend", Filter(definition="line"))
        stopped = await bulk.cancel(stage.ctx, stage.actor, made.id)
        assert stopped.state == "CANCELLED"
        with pytest.raises(WrongState):
            await bulk.cancel(stage.ctx, stage.actor, made.id)
        await asyncio.sleep(0.1)
        last = await bulk.get(stage.ctx, stage.actor, made.id)
        suspended = [id for id in ids if await stage.status(id) == "SUSPENDED"]
        assert len(suspended) == last.done < 100

    monkeypatch.setattr("penstock.operations.bulk_running.CHUNK", 1)
    play(journey)


REFUSED = [
    ({"command": "cancel", "filter": Filter()}, "/filter"),
    ({"command": "cancel", "filter": Filter(definition="nobody")}, "/filter/definition"),
    ({"command": "cancel", "filter": Filter(statuses=("RUNNING", "COMPLETED"))}, "/filter/status/1"),
    ({"command": "delete", "filter": Filter(statuses=("RUNNING",))}, "/filter/status/0"),
    ({"command": "cancel", "filter": Filter(search=(Condition("metadata.x", "1"),))}, "/filter/search/metadata.x"),
    ({"command": "cancel", "ids": ("x",)}, "/ids/0"),
    ({"command": "cancel", "ids": ("0" * 32, "0" * 32)}, "/ids/1"),
    ({"command": "migrate", "filter": Filter(created_from=1), "arguments": {"version": 1}}, "/filter/definition"),
    ({"command": "migrate", "filter": Filter(definition="line"), "arguments": {"version": 9}}, "/arguments/version"),
]


def test_what_cannot_be_done_is_refused_before_it_begins(play):
    async def journey(stage):
        await registered(stage)
        await stage.deploy(LINE)
        for wanted, pointer in REFUSED:
            with pytest.raises(Invalid) as error:
                await bulk.begin(stage.ctx, stage.actor, NewBulk(**wanted))
            assert [problem.pointer for problem in error.value.problems] == [pointer], wanted
        assert await stage.one("SELECT count(*) FROM bulks") == 0
        key = {"command": "cancel", "filter": Filter(definition="line")}
        first = await bulk.begin(stage.ctx, stage.actor, NewBulk(**key), "once")
        assert (await bulk.begin(stage.ctx, stage.actor, NewBulk(**key), "once")).id == first.id
        await ended(stage, first)

    play(journey)


def test_nobody_begins_without_a_right(play):
    async def journey(stage):
        nobody = Actor(tenant=stage.actor.tenant, principal="user:x@example.com", kind=Kind.USER)
        made = await begun(stage, "cancel", ids=("0" * 32,), actor=nobody)
        assert (await ended(stage, made)).state == "FAILED", "nobody of this name is there"
        assert issubclass(Forbidden, Exception)

    play(journey)
