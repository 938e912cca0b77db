"""What people do to processes, and what everyone sees of them."""

import asyncio

import pytest

from engines.stage import ONCE, gathered, graph, job, scope
from penstock.core.events import Failure
from penstock.errors import AlreadyExists, Conflict, Forbidden, Invalid, LeaseLost, NotFound, WrongState
from penstock.operations import items, jobs, values
from penstock.operations.commands import Commands
from penstock.operations.jobs import Extend, job_id

LINE = graph("line", {"a": job("a"), "b": job("b"), "c": job("c")}, ("a", "b"), ("b", "c"))


# -- suspend and resume ------------------------------------------------------------------------------------------------


def test_what_comes_while_suspended_is_applied_at_resume_in_order(play):
    nodes = {
        "s": {"kind": "gateway", "gateway": "parallel"},
        "w": job("w"),
        "x": job("x"),
        "t": {"kind": "timer", "after": "PT1H"},
        "m": {"kind": "message", "message": "m"},
        "i": {"kind": "item", "task": "T"},
        "c": {"kind": "call", "definition": "child"},
        "done": job("done", input={"n": "${input.n}"}),
    }
    flows = [("s", name) for name in ("w", "x", "t", "m", "i", "c")]
    flows += [(name, "done") for name in ("w", "t", "m", "i", "c")]
    document = graph("all", nodes, *flows, tasks={"T": {}})

    async def journey(stage):
        await stage.deploy(graph("child", {"w": job("child")}))
        await stage.deploy(document)
        id = await stage.start("all", {"n": 1})
        taken = await stage.take("w")
        child = await stage.take("child")
        assert (await stage.do("suspend", id)).status == "SUSPENDED"
        assert await stage.poll("x", wait=0) == []
        with pytest.raises(WrongState, match="SUSPENDED"):
            await stage.do("suspend", id)
        with pytest.raises(WrongState, match="SUSPENDED"):
            await stage.skip(id, "x")

        async def kept(count):
            return await stage.one("SELECT count(*) FROM inbox WHERE kept = 1") == count

        me = stage.user("ann@example.com")
        [item] = await stage.inbox(me)
        await stage.publish("m", "", "hello")
        await stage.until(lambda: kept(1))
        await stage.complete(taken, 1)
        with pytest.raises(LeaseLost):
            await stage.complete(taken, 2)
        await items.complete(stage.ctx, me, item.id, {"ok": True})
        with pytest.raises(WrongState):
            await items.complete(stage.ctx, me, item.id, {"ok": True})
        await stage.overdue()
        await stage.until(lambda: kept(4))
        await stage.complete(child, 3)
        await stage.until(lambda: kept(5))
        assert await stage.inbox(me) == []
        await stage.check()
        order = [entry for entry in await stage.events(id) if entry not in ("Started", "ItemClaimed")]
        await stage.do("resume", id)
        await stage.work("done", count=5)
        await stage.work("x")
        await stage.completed(id)
        again = await stage.events(id)
        applied = again[again.index("ResumeRequested") + 1 :][:5]
        assert applied == [event for event in order if event != "SuspendRequested"]
        assert applied == ["MessageArrived", "JobCompleted", "ItemCompleted", "TimerFired", "ChildEnded"]

    play(journey)


def test_held_jobs_are_offered_again_to_those_who_wait(play):
    async def journey(stage):
        await stage.deploy(LINE)
        ids = [await stage.start("line") for _ in range(5)]
        for id in ids:
            await stage.do("suspend", id)
        polls = [asyncio.create_task(stage.poll("a")) for _ in ids]
        await stage.until(lambda: stage.engine.dispatcher.waiting(f"{stage.tid}/a") == 5)
        await asyncio.gather(*(stage.do("resume", id) for id in ids))
        taken = [one for poll in polls for one in await poll]
        assert {one.process_id for one in taken} == set(ids)
        for id in ids:
            await stage.do("cancel", id)

    play(journey)


def test_suspended_in_the_midst_of_a_for_each(play):
    body = scope({"w": job("w", input="${vars.x}")}, for_each="${input.list}", output="${w}", **{"as": "x"})

    async def journey(stage):
        await stage.deploy(graph("each", {"all": body}, output="${all}"))
        id = await stage.start("each", {"list": list(range(200))})
        taken = await stage.poll("w", max=10)
        await stage.do("suspend", id)
        await stage.quiet()
        for one in taken:
            await stage.complete(one, one.input)
        await stage.check()
        await stage.do("resume", id)
        await stage.work("w", output=lambda one: one.input, count=190)
        assert await stage.completed(id) == list(range(200))

    play(journey)


# -- terminate and cancel ------------------------------------------------------------------------------------------------


def test_terminate_tells_leased_jobs_and_waits_for_them(play):
    nodes = {"s": {"kind": "gateway", "gateway": "parallel"}, "w": job("w"), "x": job("x"), "y": job("y"),
             "i": {"kind": "item", "task": "T"}, "t": {"kind": "timer", "after": "PT1H"}}  # fmt: skip
    document = graph("t", nodes, *(("s", name) for name in "wxyit"), tasks={"T": {}})

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("t")
        w, x = await stage.take("w"), await stage.take("x")
        found = await stage.do("terminate", id)
        assert found.status == "TERMINATING"
        assert await stage.poll("y", wait=0) == []
        assert await stage.inbox(stage.user("ann@example.com")) == []
        await stage.check()
        told = await jobs.extend(
            stage.ctx,
            stage.actor,
            [Extend(id=job_id(id, one.visit), lease=one.lease, seconds=60) for one in (w, x)],
        )
        assert [one.value.cancel for one in told] == [True, True]
        with pytest.raises(WrongState, match="TERMINATING"):
            await stage.do("suspend", id)
        await stage.complete(w)
        assert await stage.status(id) == "TERMINATING"
        await stage.fail(x, Failure("Stopped", "told to"))
        await stage.reached(id, "TERMINATED")
        with pytest.raises(WrongState, match="TERMINATED"):
            await stage.do("cancel", id)

    play(journey)


@pytest.mark.parametrize("how", ["time", "lease", "vanished"])
def test_terminate_ends_without_an_answer(play, how):
    async def journey(stage):
        await stage.deploy(LINE)
        id = await stage.start("line")
        taken = await stage.take("a")
        assert (await stage.do("terminate", id)).status == "TERMINATING"
        if how == "time":
            await stage.overdue()
        elif how == "lease":
            await stage.lapse()
        else:
            stage.engine.signals.give_back(await stage.pid(id), taken.visit, taken.lease)
        await stage.reached(id, "TERMINATED")
        with pytest.raises(LeaseLost):
            await stage.complete(taken)

    play(journey)


def test_terminate_without_leased_jobs_is_over_at_once(play):
    async def journey(stage):
        await stage.deploy(LINE)
        id = await stage.start("line")
        assert (await stage.do("terminate", id)).status == "TERMINATED"

    play(journey)


def test_of_commands_that_race_one_wins(play):
    async def journey(stage):
        await stage.deploy(LINE)
        for _ in range(10):
            id = await stage.start("line")
            results = await gathered(
                *(stage.do(command, id) for command in ("cancel", "terminate", "cancel", "terminate"))
            )
            assert [isinstance(result, WrongState) for result in results].count(False) == 1

    play(journey)


# -- restart, debug, skip, migrate ---------------------------------------------------------------------------------------


def test_restart_from_a_node(play):
    nodes = {"s": {"kind": "gateway", "gateway": "parallel"}, "a": job("a"), "b": job("b"),
             "j": {"kind": "gateway", "gateway": "parallel"}, "c": job("c")}  # fmt: skip
    document = graph("r", nodes, ("s", "a"), ("s", "b"), ("a", "j"), ("b", "j"), ("j", "c"))

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("r")
        await stage.work("a")
        await stage.work("b")
        old = await stage.take("c")
        await stage.do("restart", id, "a", None)
        with pytest.raises(LeaseLost):
            await stage.complete(old)
        states = {(visit.node, visit.state) for visit in await stage.visits(id)}
        assert ("a", "SUPERSEDED") in states
        assert ("b", "COMPLETED") in states
        await stage.work("a")
        assert await stage.poll("c", wait=0) == []  # the join waits for b's token, which was spent
        await stage.reached(id, "FAILED")
        await stage.skip(id, "j")
        await stage.work("c")
        await stage.completed(id)

    play(journey)


def test_restart_inside_a_scope_and_of_a_for_each(play):
    inner = scope({"x": job("x"), "y": job("y")}, ("x", "y"), for_each="${input.list}", **{"as": "e"})
    document = graph("rs", {"a": job("a"), "in1": inner, "z": job("z")}, ("a", "in1"), ("in1", "z"))

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("rs", {"list": list(range(100))})
        await stage.work("a")
        await stage.work("x", count=30)
        [y, *_] = await stage.poll("y", max=5)
        element = await stage.one("SELECT scope FROM visits WHERE n = ?", y.visit)
        await stage.do("restart", id, "x", element)
        await stage.check()
        await stage.do("restart", id, "in1", None)
        await stage.quiet()
        await stage.check()
        await stage.work("x", count=100)
        await stage.work("y", count=100)
        await stage.work("z")
        await stage.completed(id)

    play(journey)


def test_debug_and_skip(play):
    async def journey(stage):
        await stage.deploy(
            graph("d", {"a": job("a", input="${input.missing.x}", retry=ONCE), "b": job("b", input="${a}")}, ("a", "b"))
        )
        id = await stage.start("d", {})
        await stage.reached(id, "FAILED")
        await stage.do("debug", id, Commands(node="a"), {"input": {"by": "hand"}})
        taken = await stage.take("a")
        assert taken.input == {"by": "hand"}
        await stage.fail(taken, Failure("X", "x", permanent=True))
        await stage.do("debug", id, Commands(node="a"), {"output": {"result": 1}})
        taken = await stage.take("b")
        assert taken.input == {"result": 1}
        with pytest.raises(Invalid):
            await stage.skip(id, "a")
        await stage.skip(id, "b", 3)
        with pytest.raises(LeaseLost):
            await stage.complete(taken)
        await stage.completed(id)

    play(journey)


def test_migrate(play):
    old = graph("mig", {"a": job("a"), "b": job("b")}, ("a", "b"), search=["metadata.x"])
    new = graph(
        "mig",
        {"a2": job("a"), "late": {"kind": "boundary", "attached_to": "a2", "timer": "PT1H", "interrupting": False},
         "l": job("l"), "b2": job("b2")},
        ("a2", "b2"), ("late", "l"),
        search=["metadata.y"],
    )  # fmt: skip

    async def journey(stage):
        await stage.deploy(old)
        id = await stage.start("mig", metadata={"x": "one", "y": "two"})
        assert await stage.search(("metadata.x", "one")) == [id]
        taken = await stage.take("a")
        await stage.deploy(new)
        dry = await stage.do("migrate", id, 2, {}, dry_run=True)
        assert [problem.code for problem in dry.problems] == ["no_place"]
        with pytest.raises(Invalid):
            await stage.do("migrate", id, 2, {}, dry_run=False)
        assert (await stage.show(id)).version == 1
        await stage.check()
        moved = await stage.do("migrate", id, 2, {"a": "a2", "b": "b2"}, dry_run=False)
        assert moved.process.version == 2
        stage.began[await stage.pid(id)] = 1
        assert await stage.search(("metadata.x", "one"), definition="mig") == []
        assert await stage.search(("metadata.y", "two")) == [id]
        await stage.check()
        await stage.overdue()
        await stage.work("l")
        await stage.complete(taken)
        await stage.work("b2")
        await stage.completed(id)
        assert [visit.node for visit in await stage.visits(id)] == ["a2", "late", "l", "b2"]

    play(journey)


# -- search, items, keys, values -----------------------------------------------------------------------------------------


def test_search_follows_metadata(play):
    document = graph(
        "find",
        {"a": job("a"), "s": {"kind": "set", "metadata": {"customer": "${a.name}", "vip": True}}, "b": job("b")},
        ("a", "s"),
        ("s", "b"),
        search=["metadata.customer", "metadata.vip", "input.number", "metadata.deep.er"],
    )

    async def journey(stage):
        await stage.deploy(document)
        ids = [
            await stage.start("find", {"number": n / 2}, metadata={"customer": "old", "deep": {"er": n}})
            for n in range(4)
        ]
        assert await stage.search(("metadata.customer", "old")) == ids
        assert await stage.search(("metadata.customer", "o", "prefix"), ("", "ol", "prefix")) == ids
        assert await stage.search(("input.number", "0.5")) == [ids[1]]
        assert await stage.search(("input.number", "1")) == [ids[2]]
        assert await stage.search(("metadata.deep.er", "3"), definition="find") == [ids[3]]
        taken = await stage.take("a")
        await stage.complete(taken, {"name": "new"})
        assert await stage.search(("metadata.customer", "new"), ("metadata.vip", "true")) == [taken.process_id]
        assert len(await stage.search(("metadata.customer", "old"))) == 3
        await stage.do("cancel", taken.process_id)
        assert await stage.search(("metadata.customer", "new")) == [taken.process_id]

    play(journey)


def test_grants_of_an_item_follow_its_claim_and_its_end(play):
    tasks = {"T": {"candidates": ["group:staff", "user:ben@example.com", "role:starter"]}}
    document = graph("i", {"t": {"kind": "item", "task": "T", "input": {"a": 1}}}, tasks=tasks)

    async def journey(stage):
        await stage.deploy(document)
        ann, ben = stage.user("ann@example.com", "staff"), stage.user("ben@example.com", "staff")
        eve, cat = stage.user("eve@example.com"), stage.user("cat@example.com", "staff")
        id = await stage.start("i")
        for who in (ann, ben, cat):
            [item] = await stage.inbox(who)
        assert await stage.inbox(eve) == []
        assert len(await stage.inbox(stage.actor)) == 1  # it started the process
        with pytest.raises((Forbidden, NotFound)):
            await items.claim(stage.ctx, eve, item.id)
        results = await gathered(*(items.claim(stage.ctx, who, item.id) for who in (ann, ben, cat)))
        assert sum(isinstance(result, WrongState) for result in results) == 2
        owner = next(
            who for who, result in zip((ann, ben, cat), results, strict=True) if not isinstance(result, Exception)
        )
        assert [len(await stage.inbox(who)) for who in (ann, ben, cat)] == [
            int(who is owner) for who in (ann, ben, cat)
        ]
        assert await stage.rows("SELECT grantee FROM item_grants") == [(owner.principal,)]
        await stage.check()
        await items.complete(stage.ctx, owner, item.id, {"done": 1})
        assert await stage.inbox(owner) == []
        await stage.completed(id)
        for command in ("cancel", "terminate"):
            id = await stage.start("i")
            await stage.do(command, id)
            assert await stage.inbox(ann) == []

    play(journey)


def test_an_item_that_is_done_without_a_claim(play):
    document = graph("i", {"t": {"kind": "item", "task": "T"}}, tasks={"T": {"candidates": ["group:staff"]}})

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("i")
        ann = stage.user("ann@example.com", "staff")
        [item] = await stage.inbox(ann)
        done = await asyncio.gather(
            *(items.complete(stage.ctx, ann, item.id, {"n": n}, "key") for n in (1, 1, 1)), return_exceptions=True
        )
        assert [one.state for one in done] == ["COMPLETED"] * 3
        await stage.completed(id)
        found = await items.get(stage.ctx, ann, item.id)
        assert (found.owner, found.ended_by, found.output) == (ann.principal, ann.principal, {"n": 1})

    play(journey)


def test_a_key_makes_a_request_count_once(play):
    async def journey(stage):
        await stage.deploy(LINE)
        ids = await asyncio.gather(*(stage.start("line", {"n": 1}, key="k") for _ in range(8)))
        assert len(set(ids)) == 1
        with pytest.raises(Conflict):
            await stage.start("line", {"n": 2}, key="k")
        other = await stage.start("line", {"n": 2}, key="k2")
        assert other != ids[0]
        first = await stage.do("suspend", other, "s")
        await stage.do("resume", other, "r")
        again = await stage.do("suspend", other, "s")
        assert again == first
        assert await stage.status(other) == "RUNNING"
        with pytest.raises(WrongState):
            await stage.do("resume", other, "r2")
        await stage.do("suspend", other)
        assert (await stage.do("resume", other, "r2")).status == "RUNNING"  # a refusal is not kept
        with pytest.raises(Conflict):
            await stage.do("resume", ids[0], "r2")

    play(journey)


def test_an_id_chosen_by_the_caller_counts_once(play):
    id = "0d9f4c3e-6c1a-4b1e-9a51-0f8d6d3c2b1a"

    async def journey(stage):
        await stage.deploy(LINE)
        await stage.deploy({**LINE, "code": "other"})
        ids = await asyncio.gather(*(stage.start("line", id=id) for _ in range(8)))
        assert set(ids) == {id}
        with pytest.raises(AlreadyExists):
            await stage.start("other", id=id)

    play(journey)


def test_values_count_exactly(play):
    async def journey(stage):
        await stage.deploy(LINE)
        id = await stage.start("line")
        owner = await values.process(stage.ctx, stage.actor, id)
        shared = await values.definition(stage.ctx, stage.actor, "line")
        for each in (owner, shared):
            await asyncio.gather(*(values.increment(stage.ctx, stage.actor, each, "n") for _ in range(50)))
            assert (await values.get(stage.ctx, stage.actor, each, "n")).value == 50
        taken = await stage.take("a")
        await stage.complete(taken, values={"v": [1]}, increments=["n"])
        with pytest.raises(LeaseLost):
            await stage.complete(taken, increments=["n"])
        assert (await values.get(stage.ctx, stage.actor, owner, "n")).value == 51
        await values.put(stage.ctx, stage.actor, owner, "text", "x")
        taken = await stage.take("b")
        with pytest.raises(Conflict):
            await stage.complete(taken, increments=["n", "text"])
        assert (await values.get(stage.ctx, stage.actor, owner, "n")).value == 51
        assert (await stage.show(id)).seq == 2
        await stage.complete(taken, increments=["n"])

    play(journey)
