"""Graphs in motion: jobs in a row, for_each, boundaries, gateways, retries."""

import asyncio

import pytest

from engines.stage import ONCE, gathered, graph, job, scope
from penstock.core.events import Failure
from penstock.errors import LeaseLost


def test_three_jobs_in_a_row(play):
    document = graph(
        "line",
        {"a": job("a", input={"x": "${input.x}"}), "b": job("b", input={"x": "${a.y}"}), "c": job("c")},
        ("a", "b"),
        ("b", "c"),
        output={"sum": "${b.z}"},
    )

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("line", {"x": 1})
        a = await stage.take("a")
        assert a.input == {"x": 1}
        await stage.complete(a, {"y": 2})
        b = await stage.take("b")
        assert b.input == {"x": 2}
        await stage.complete(b, {"z": 3})
        await stage.work("c")
        assert await stage.completed(id) == {"sum": 3}
        assert await stage.events(id) == ["Started", "JobCompleted", "JobCompleted", "JobCompleted"]

    play(journey)


# -- for_each --------------------------------------------------------------------------------------------------------


def each(nodes, *flows, code="each", **more):
    """A definition with a for_each over input.list whose outputs are the process's."""
    body = scope(nodes, *flows, for_each="${input.list}", **{"as": "x", **more})
    return graph(code, {"all": body}, output={"all": "${all}"})


def test_for_each_keeps_its_limit_and_collects_outputs_in_order(play):
    document = each({"w": job("w", input="${vars.x}")}, output="${w.double}", limit=20)

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("each", {"list": list(range(500))})
        out: list = []
        while len(out) < 500:
            taken = await stage.poll("w", max=64)
            leased = await stage.one("SELECT count(*) FROM jobs")
            assert leased <= 20
            for one in reversed(taken):
                await stage.complete(one, {"double": one.input * 2})
            out += taken
        assert (await stage.completed(id))["all"] == [2 * x for x in range(500)]
        assert sorted(one.input for one in out) == list(range(500))

    play(journey)


def test_nested_for_each_collects_lists_of_lists(play):
    inner = scope({"w": job("w", input="${vars.y}")}, for_each="${vars.x}", output="${w}", **{"as": "y"})
    document = each({"inner": inner}, output="${inner}")

    async def journey(stage):
        await stage.deploy(document)
        rows = [[10 * i + j for j in range(i)] for i in range(7)]
        id = await stage.start("each", {"list": rows})
        await stage.work("w", output=lambda taken: taken.input + 1, count=sum(map(len, rows)))
        assert (await stage.completed(id))["all"] == [[y + 1 for y in row] for row in rows]

    play(journey)


def test_for_each_whose_elements_need_nobody_is_over_in_its_first_step(play):
    document = each({"s": {"kind": "set", "vars": {"y": "${vars.x + 1}"}}}, output="${vars.y}")

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("each", {"list": [1, 2, 3]})
        assert (await stage.completed(id))["all"] == [2, 3, 4]
        empty = await stage.start("each", {"list": []})
        assert (await stage.completed(empty))["all"] == []

    play(journey)


def test_an_element_costs_the_same_among_ten_and_among_ten_thousand(play):
    through = each(
        {"s": {"kind": "set", "vars": {"y": "${vars.x}"}}, "g": {"kind": "gateway", "gateway": "exclusive"}},
        ("s", "g"),
        code="through",
        output="${vars.y}",
    )
    worked = each({"w": job("w")}, code="worked", limit=100)

    async def journey(stage):
        await stage.deploy(through)
        await stage.deploy(worked)

        async def cost(code, count):
            await stage.quiet()
            before = stage.store.stats.as_dict()
            id = await stage.start(code, {"list": list(range(count))})
            if code == "worked":
                await stage.work("w", count=count)
            await stage.completed(id)
            after = stage.store.stats.as_dict()
            return [(after[name] - before[name]) / count for name in ("rows", "statements")]

        for code, many in (("through", 10_000), ("worked", 600)):
            await cost(code, 10)  # what is made once is made here
            few_rows, few_statements = await cost(code, 10)
            many_rows, many_statements = await cost(code, many)
            # one that is started later than its row is made: the row is read, written once more, and removed
            assert many_rows <= few_rows + 2
            assert many_statements <= few_statements + 1

    play(journey)


def test_cancel_in_the_midst_of_a_big_for_each_leaves_nothing(play):
    body = scope(
        {"a": job("a"), "late": {"kind": "boundary", "attached_to": "a", "timer": "PT1H", "interrupting": False},
         "m": {"kind": "message", "message": "m", "key": "${vars.x}"}},
        ("a", "m"), ("late", "m"),
        for_each="${input.list}", **{"as": "x"},
    )  # fmt: skip
    document = graph("big", {"all": body})

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("big", {"list": list(range(1_000))})
        await stage.work("a", count=300)
        leased = await stage.poll("a", max=10)
        await stage.until(lambda: _started(stage, id))
        await stage.do("cancel", id)
        for table in ("jobs", "timers", "subscriptions"):
            assert await stage.one(f"SELECT count(*) FROM {table}") == 0
        assert await stage.one("SELECT count(*) FROM scopes") == 1
        assert await stage.one("SELECT count(*) FROM visits WHERE state IN ('OPEN', 'FAILED')") == 0
        with pytest.raises(LeaseLost):
            await stage.complete(leased[0])

    async def _started(stage, id):
        return await stage.one("SELECT count(*) FROM inbox") == 0

    play(journey)


def test_an_interrupted_for_each_goes_with_all_below_it(play):
    inner = scope({"w": job("w"), "t": {"kind": "timer", "after": "PT1H"}}, ("w", "t"))
    body = scope({"in": inner}, for_each="${input.list}", **{"as": "x"})
    document = graph(
        "stop",
        {"all": body, "halt": {"kind": "boundary", "attached_to": "all", "message": "halt"}, "after": job("after"),
         "side": job("side")},
        ("halt", "after"),
    )  # fmt: skip

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("stop", {"list": list(range(1_000))})
        await stage.work("w", count=200)
        await stage.quiet()
        await stage.publish("halt")
        await stage.work("after")
        assert await stage.one("SELECT count(*) FROM scopes") == 1
        assert await stage.one("SELECT count(*) FROM jobs") == 1
        assert await stage.one("SELECT count(*) FROM timers") == 0
        await stage.check()
        await stage.work("side")
        await stage.completed(id)

    play(journey)


def test_what_a_scope_opened_goes_with_it_in_the_same_step(play):
    """An error end in the very step that opened the scope: nothing of it may be left."""
    deep = scope({"d": job("d"), "dt": {"kind": "timer", "after": "PT1H"}, "di": {"kind": "item", "task": "T"}})
    inner = scope(
        {
            "w": job("w"),
            "t": {"kind": "timer", "after": "PT1H"},
            "m": {"kind": "message", "message": "m"},
            "i": {"kind": "item", "task": "T"},
            "c": {"kind": "call", "definition": "child"},
            "deep": deep,
            "many": scope({"mj": job("mj")}, for_each="${input.list}", **{"as": "x"}),
            # a few moves later, so that the others have opened what they open
            **{f"p{i}": {"kind": "gateway", "gateway": "exclusive"} for i in range(6)},
            "e": {"kind": "end", "end": "error", "error": "STOP"},
        },
        *((f"p{i}", f"p{i + 1}") for i in range(5)),
        ("p5", "e"),
    )
    document = graph(
        "thrown",
        {"in": inner, "stop": {"kind": "boundary", "attached_to": "in", "error": "STOP"}, "after": job("after")},
        ("stop", "after"),
        tasks={"T": {"candidates": ["group:g"]}},
    )

    async def journey(stage):
        await stage.deploy(graph("child", {"w": job("child")}))
        await stage.deploy(document)
        id = await stage.start("thrown", {"list": list(range(200))})
        for table in ("timers", "subscriptions", "item_grants"):
            assert await stage.one(f"SELECT count(*) FROM {table}") == 0
        await stage.quiet()
        await stage.check()
        await stage.work("after")
        await stage.completed(id)
        assert await stage.poll("w", "d", "mj", "child", wait=0) == []

    play(journey)


# -- boundaries and gateways -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "interrupting"),
    [
        ("error", True),
        *((how, interrupting) for how in ("timer", "message", "signal") for interrupting in (True, False)),
    ],
)
def test_boundaries(play, how, interrupting):
    trigger = {"timer": {"timer": "PT1H"}, "message": {"message": "m", "key": "k"}, "signal": {"signal": "s"},
               "error": {"error": "E1"}}[how]  # fmt: skip
    boundary = {"kind": "boundary", "attached_to": "w", "interrupting": interrupting, **trigger}
    document = graph("b", {"w": job("w"), "b": boundary, "after": job("after"), "end": job("end")},
                     ("w", "end"), ("b", "after"))  # fmt: skip

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("b")
        taken = await stage.take("w")
        if how == "timer":
            assert await stage.overdue() == 1
        elif how == "message":
            await stage.publish("m", "k", {"text": 1})
        elif how == "signal":
            assert await stage.broadcast("s", {"text": 1}) == 1
        else:
            await stage.throw(taken, "E1", {"text": 1})
        await stage.work("after")
        if interrupting:
            with pytest.raises(LeaseLost):
                await stage.complete(taken)
        else:
            await stage.complete(taken)
            await stage.work("end")
        await stage.completed(id)
        state = "COMPLETED" if not interrupting else "THROWN" if how == "error" else "CANCELLED"
        assert [visit.state for visit in await stage.visits(id, "w")] == [state]

    play(journey)


def test_a_boundary_that_does_not_interrupt_takes_every_message(play):
    boundary = {"kind": "boundary", "attached_to": "w", "interrupting": False, "message": "m"}
    document = graph("often", {"w": job("w"), "b": boundary, "after": job("after")}, ("b", "after"))

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("often")
        for i in range(5):
            await stage.publish("m", "", i)
        await stage.work("after", count=5)
        await stage.work("w")
        await stage.completed(id)
        assert [visit.output for visit in await stage.visits(id, "b")] == list(range(5))
        await stage.publish("m")
        await stage.quiet()
        assert await stage.one("SELECT count(*) FROM messages WHERE state = 'KEPT'") == 1

    play(journey)


def test_an_error_nobody_catches_is_an_incident_of_its_own_visit(play):
    document = graph("loose", {"in": scope({"w": job("w")})})

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("loose")
        await stage.throw(await stage.take("w"), "E")
        await stage.reached(id, "FAILED")
        await stage.skip(id, "w", {"by": "hand"})
        await stage.completed(id)

    play(journey)


@pytest.mark.parametrize("winner", ["timer", "message", "signal"])
def test_an_event_gateway_takes_the_first_and_withdraws_the_others(play, winner):
    document = graph(
        "first",
        {
            "g": {"kind": "gateway", "gateway": "event"},
            "t": {"kind": "timer", "after": "PT1H"},
            "m": {"kind": "message", "message": "m", "key": "${input.k}"},
            "s": {"kind": "message", "signal": "s"},
            "after": job("after", input="${input}"),
        },
        ("g", "t"), ("g", "m"), ("g", "s"), ("t", "after"), ("m", "after"), ("s", "after"),
    )  # fmt: skip

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("first", {"k": 7})
        if winner == "timer":
            await stage.overdue()
        elif winner == "message":
            await stage.publish("m", "7", "hello")
        else:
            await stage.broadcast("s", "hello")
        await stage.work("after")
        await stage.completed(id)
        node = {"timer": "t", "message": "m", "signal": "s"}[winner]
        assert [visit.node for visit in await stage.visits(id)] == ["g", node, "after"]

    play(journey)


def test_all_events_of_a_gateway_at_once_take_one_way(play):
    document = graph(
        "race",
        {
            "g": {"kind": "gateway", "gateway": "event"},
            "t": {"kind": "timer", "after": "PT1H"},
            "m": {"kind": "message", "message": "m", "key": "${input.k}"},
            "after": job("after"),
        },
        ("g", "t"), ("g", "m"), ("t", "after"), ("m", "after"),
    )  # fmt: skip

    async def journey(stage):
        await stage.deploy(document)
        ids = [await stage.start("race", {"k": k}) for k in range(20)]
        await asyncio.gather(stage.overdue(), *(stage.publish("m", str(k), k) for k in range(20)))
        await stage.work("after", count=20)
        for id in ids:
            await stage.completed(id)
        await stage.quiet()
        taken = await stage.one("SELECT count(*) FROM visits WHERE node = 'm'")
        kept = await stage.one("SELECT count(*) FROM messages WHERE state = 'KEPT'")
        assert taken + kept == 20

    play(journey)


def test_a_parallel_split_joins_once(play):
    document = graph(
        "par",
        {"s": {"kind": "gateway", "gateway": "parallel"}, "a": job("w"), "b": job("w"), "c": job("w"),
         "j": {"kind": "gateway", "gateway": "parallel"}, "end": job("end")},
        ("s", "a"), ("s", "b"), ("s", "c"), ("a", "j"), ("b", "j"), ("c", "j"), ("j", "end"),
    )  # fmt: skip

    async def journey(stage):
        await stage.deploy(document)
        ids = [await stage.start("par") for _ in range(10)]
        taken = await stage.poll("w", max=64)
        taken += await stage.poll("w", max=64, wait=0)
        assert len(taken) == 30
        await asyncio.gather(*(stage.complete(one) for one in taken))
        await stage.work("end", count=10)
        for id in ids:
            await stage.completed(id)

    play(journey)


# -- failures --------------------------------------------------------------------------------------------------------


def test_a_failure_is_tried_again_by_its_policy_then_is_an_incident(play):
    policy = {"max_attempts": 3, "delay": "PT1H", "factor": 2, "jitter": 0, "cap": "PT9H"}
    document = graph("try", {"w": job("w", retry=policy)})

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("try")
        waits = []
        for attempt in (1, 2, 3):
            taken = await stage.take("w")
            assert (taken.attempt, taken.execution_id % 1000) == (attempt, attempt)
            await stage.fail(taken, Failure("Boom", f"attempt {attempt}"))
            if attempt < 3:
                assert await stage.poll("w", wait=0) == []
                [(due_at, at)] = await stage.rows("SELECT due_at, at FROM timers JOIN processes USING (pid)")
                waits.append((due_at - at) / 3_600_000)
                await stage.overdue()
        assert waits == [1, 2]
        found = await stage.reached(id, "FAILED")
        assert found.incidents == 1
        [visit] = await stage.visits(id)
        assert (visit.state, visit.attempt, visit.failure["message"]) == ("FAILED", 3, "attempt 3")
        await stage.do("retry", id)
        assert await stage.status(id) == "RETRYING"
        taken = await stage.take("w")
        assert taken.attempt == 4
        await stage.complete(taken)
        await stage.completed(id)

    play(journey)


def test_a_worker_may_say_when_to_try_again_and_that_it_is_no_use(play):
    document = graph("try", {"w": job("w", retry={"max_attempts": 5, "delay": "PT1H"})})

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("try")
        await stage.fail(await stage.take("w"), Failure("Soon", "again"), delay=1)
        taken = await stage.take("w")
        await stage.fail(taken, Failure("Never", "no use", permanent=True))
        await stage.reached(id, "FAILED")
        assert await stage.one("SELECT count(*) FROM timers") == 0

    play(journey)


def test_an_attempt_that_takes_too_long_fails(play):
    document = graph("slow", {"w": job("w", retry={**ONCE, "timeout": "PT1H"})})

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("slow")
        taken = await stage.take("w")
        await stage.overdue()
        await stage.reached(id, "FAILED")
        with pytest.raises(LeaseLost):
            await stage.complete(taken)
        [visit] = await stage.visits(id)
        assert visit.failure["type"] == "Timeout"

    play(journey)


def test_three_hundred_incidents_are_retried_in_one_command(play):
    document = each({"w": job("w", input="${vars.x}", retry=ONCE)})

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("each", {"list": list(range(300))})
        failed = 0
        while failed < 300:
            taken = await stage.poll("w", max=64)
            await gathered(*(stage.fail(one, Failure("X", "x")) for one in taken))
            failed += len(taken)
        assert (await stage.reached(id, "FAILED")).incidents == 300
        await stage.check()
        found = await stage.do("retry", id)
        assert (found.status, found.incidents, found.retries) == ("RETRYING", 0, 1)
        await stage.check()
        await stage.work("w", count=300)
        await stage.completed(id)

    play(journey)


def test_a_loop_without_a_wait_stops_with_an_incident(play):
    document = graph("loop", {"a": {"kind": "set", "vars": {"x": 1}}, "b": {"kind": "set", "vars": {"x": 2}}},
                     ("a", "b"), ("b", "a"))  # fmt: skip
    document["nodes"]["start"] = {"kind": "start"}
    document["flows"].append({"from": "start", "to": "a"})

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("loop")
        await stage.reached(id, "FAILED")
        await stage.do("cancel", id)

    play(journey)
