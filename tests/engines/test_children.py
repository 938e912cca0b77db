"""Processes that call others."""

import pytest

from engines.stage import ONCE, graph, job
from penstock.errors import WrongState

CHILD = graph("child", {"w": job("child", input="${input}")}, output="${w}")


def calling(code="caller", definition="child", **more):
    return graph(
        code,
        {
            "c": {"kind": "call", "definition": definition, "input": {"from": "${input.n}"}, **more},
            "after": job("after"),
        },
        ("c", "after"),
    )


async def child_of(stage, id):
    pid = await stage.pid(id)
    return await stage.until(lambda: _child(stage, pid))


async def _child(stage, pid):
    found = await stage.rows("SELECT id FROM processes WHERE parent_pid = ? AND seq > 0", pid)
    return found[0][0] if found else None


def test_a_child_starts_and_its_output_comes_back(play):
    async def journey(stage):
        await stage.deploy(CHILD)
        await stage.deploy({**calling(), "output": "${c}"})
        ids = [await stage.start("caller", {"n": n}) for n in range(30)]
        await stage.work("child", output=lambda taken: taken.input["from"] * 2, count=30)
        await stage.work("after", count=30)
        assert [await stage.completed(id) for id in ids] == [n * 2 for n in range(30)]
        child = await child_of(stage, ids[3])
        found = await stage.show(child)
        assert found.parent.id == ids[3]
        assert found.created_by == stage.actor.principal

    play(journey)


def test_a_childs_error_is_caught_by_its_caller(play):
    child = graph("child", {"w": job("child"), "e": {"kind": "end", "end": "error", "error": "E"}}, ("w", "e"))
    caller = calling()
    caller["nodes"]["b"] = {"kind": "boundary", "attached_to": "c", "error": "E"}
    caller["nodes"]["caught"] = job("caught")
    caller["flows"].append({"from": "b", "to": "caught"})

    async def journey(stage):
        await stage.deploy(child)
        await stage.deploy(caller)
        id = await stage.start("caller", {"n": 1})
        await stage.work("child")
        await stage.work("caught")
        await stage.completed(id)
        assert await stage.status(await child_of(stage, id)) == "TERMINATED"

    play(journey)


def test_a_child_that_is_cancelled_is_an_incident_of_its_caller(play):
    async def journey(stage):
        await stage.deploy(CHILD)
        await stage.deploy(calling())
        id = await stage.start("caller", {"n": 1})
        await stage.do("cancel", await child_of(stage, id))
        await stage.reached(id, "FAILED")
        [visit] = await stage.visits(id, "c")
        assert visit.failure["type"] == "ChildCancelled"
        await stage.do("retry", id)  # another child
        await stage.work("child")
        await stage.work("after")
        await stage.completed(id)

    play(journey)


@pytest.mark.parametrize("how", ["cancel", "terminate", "skip", "boundary", "drop"])
def test_a_caller_that_goes_on_cancels_its_child(play, how):
    caller = calling()
    caller["nodes"]["b"] = {"kind": "boundary", "attached_to": "c", "message": "m"}
    caller["flows"].append({"from": "b", "to": "after"})
    if how == "drop":
        inner = {"kind": "scope", "nodes": {"c2": caller["nodes"]["c"]}}
        caller["nodes"]["c"] = inner

    async def journey(stage):
        await stage.deploy(CHILD)
        await stage.deploy(caller)
        id = await stage.start("caller", {"n": 1})
        child = await child_of(stage, id)
        if how == "skip":
            await stage.skip(id, "c")
        elif how in ("boundary", "drop"):
            await stage.publish("m")
        else:
            await stage.do(how, id)
        await stage.reached(child, "CANCELLED")
        if how in ("skip", "boundary", "drop"):
            await stage.work("after")
            await stage.completed(id)

    play(journey)


def test_a_child_cancelled_before_it_began_never_works(play):
    """The caller starts and cancels it before its first event was applied."""

    async def journey(stage):
        await stage.deploy(CHILD)
        await stage.deploy(calling())
        wake, stage.loops.wake = stage.loops.wake, lambda pid, most=16: None
        id = await stage.start("caller", {"n": 1})
        pid = await stage.pid(id)
        child = await stage.one("SELECT id FROM processes WHERE parent_pid = ?", pid)
        await stage.do("cancel", id)
        assert (await stage.show(child)).seq == 0
        stage.loops.wake = wake
        stage.loops.wake(await stage.pid(child))
        await stage.reached(child, "CANCELLED")
        assert await stage.poll("child", wait=0) == []

    play(journey)


def test_a_command_may_come_before_a_childs_first_event(play):
    async def journey(stage):
        await stage.deploy(CHILD)
        await stage.deploy(calling())
        wake, stage.loops.wake = stage.loops.wake, lambda pid, most=16: None
        ids = [await stage.start("caller", {"n": n}) for n in range(3)]
        children = [await stage.one("SELECT id FROM processes WHERE parent_pid = ?", await stage.pid(id)) for id in ids]
        assert (await stage.do("suspend", children[0])).status == "SUSPENDED"
        assert (await stage.do("cancel", children[1])).status == "CANCELLED"
        with pytest.raises(WrongState):
            await stage.do("resume", children[2])
        stage.loops.wake = wake
        for id in (*ids, *children):
            stage.loops.wake(await stage.pid(id))
        await stage.reached(ids[1], "FAILED")
        await stage.do("resume", children[0])
        await stage.work("child", count=2)
        await stage.work("after", count=2)

    play(journey)


def test_a_definition_that_calls_itself_stops_fifty_deep(play):
    async def journey(stage):
        await stage.deploy(graph("self", {"c": {"kind": "call", "definition": "self"}}))
        await stage.start("self")
        await stage.until(lambda: _failed(stage))
        await stage.quiet()
        assert await stage.one("SELECT count(*) FROM processes") == 51
        assert await stage.one("SELECT max(depth) FROM processes") == 50
        assert await stage.one("SELECT count(*) FROM processes WHERE status = 'FAILED'") == 1
        top = await stage.one("SELECT id FROM processes WHERE depth = 0")
        await stage.do("cancel", top)
        await stage.until(lambda: _ended(stage))

    async def _failed(stage):
        return await stage.one("SELECT count(*) FROM processes WHERE status = 'FAILED'")

    async def _ended(stage):
        return await stage.one("SELECT count(*) FROM processes WHERE ended_at IS NULL") == 0

    play(journey)


def test_an_unknown_definition_is_an_incident_until_it_is_there(play):
    async def journey(stage):
        await stage.deploy({**calling(definition="nobody"), "output": "${c}"})
        id = await stage.start("caller", {"n": 1})
        await stage.reached(id, "FAILED")
        [visit] = await stage.visits(id, "c")
        assert "nobody" in visit.failure["message"]
        await stage.deploy({**CHILD, "code": "nobody"})
        await stage.do("retry", id)
        await stage.work("child", output=lambda _: 5)
        await stage.work("after")
        assert await stage.completed(id) == 5

    play(journey)


def test_a_child_runs_the_latest_version_of_its_definition(play):
    async def journey(stage):
        await stage.deploy(graph("child", {"w": job("old")}))
        await stage.deploy(calling())
        await stage.start("caller", {"n": 1})
        await stage.work("old")
        await stage.deploy(graph("child", {"w": job("new")}))
        await stage.start("caller", {"n": 1})
        await stage.work("new")
        await stage.work("after", count=2)

    play(journey)


def test_a_hundred_children_of_one_process(play):
    body = {
        "kind": "scope",
        "for_each": "${input.list}",
        "as": "x",
        "output": "${c}",
        "nodes": {"c": {"kind": "call", "definition": "child", "input": {"from": "${vars.x}"}}},
    }

    async def journey(stage):
        await stage.deploy(CHILD)
        await stage.deploy(graph("many", {"all": body}, output="${all}"))
        id = await stage.start("many", {"list": list(range(100))})
        await stage.work("child", output=lambda taken: taken.input["from"], count=100)
        assert await stage.completed(id) == list(range(100))

    play(journey)


def test_a_failed_child_is_not_the_callers_failure(play):
    child = graph("child", {"w": job("child", retry=ONCE)})

    async def journey(stage):
        await stage.deploy(child)
        await stage.deploy(calling())
        id = await stage.start("caller", {"n": 1})
        await stage.throw(await stage.take("child"), "OOPS")
        found = await stage.reached(id, "FAILED")  # a called process with an error nobody catches ends
        assert found.incidents == 1
        assert await stage.status(await child_of(stage, id)) == "TERMINATED"

    play(journey)
