"""What a step costs in statements and rows: counted, so that no change makes it dearer unseen. Nothing here is timed."""

import asyncio

import pytest

STEPS = {
    "code": "steps",
    "driver": "graph",
    "nodes": {name: {"kind": "job", "topic": name, "input": {"n": "${input.n}"}} for name in "abc"},
    "flows": [{"from": "a", "to": "b"}, {"from": "b", "to": "c"}],
}

# Of one call alone, the transaction's own statements included. PostgreSQL's: BEGIN, the node's number, the locks, COMMIT.
ROWS = {"start": 7, "complete": 7, "last": 6}
"""start: process, history, scope, data, visit, job, who began it. complete: process, history, scope, two visits, the job that goes
and the one that comes. last: process, history, scope, visit, job, when it ended."""
STATEMENTS = {
    "sqlite": {"start": 9, "complete": 10, "last": 9},
    "postgresql": {"start": 10, "complete": 12, "last": 11},
}


@pytest.fixture
def costs(play):
    """Rows and statements of each call of a process of three jobs, whose worker waits."""

    async def journey(stage):
        await stage.deploy(STEPS)

        async def cost(call):
            await stage.quiet()
            before = stage.store.stats.as_dict()
            result = await call
            after = stage.store.stats.as_dict()
            return result, [after[name] - before[name] for name in ("rows", "statements")]

        async def once():
            found = {}
            polls = [asyncio.create_task(stage.poll(topic)) for topic in "abc"]
            await stage.until(lambda: all(stage.engine.dispatcher.waiting(f"{stage.tid}/{t}") for t in "abc"))
            _, found["start"] = await cost(stage.start("steps", {"n": 1}))
            for poll, name in zip(polls, ("complete", "again", "last"), strict=True):
                [taken] = await poll
                _, found[name] = await cost(stage.complete(taken, {"n": 1}))
            return found

        await once()  # what is read once and remembered is read here
        return await once()

    return play(journey, running=False)  # no loop writes beside it


def test_a_step_writes_no_more_rows_and_statements_than_it_must(costs, dialect):
    assert costs["again"] == costs["complete"]
    for name, most in ROWS.items():
        rows, statements = costs[name]
        assert rows <= most, (name, costs)
        assert statements <= STATEMENTS[dialect][name], (name, costs)


def test_a_group_of_steps_costs_hardly_more_statements_than_one(play, dialect):
    async def journey(stage):
        await stage.deploy(STEPS)

        async def completed(count):
            for _ in range(count):
                await stage.start("steps", {"n": 1})
            taken = await stage.poll("a", max=count)
            assert len(taken) == count
            await stage.quiet()
            before = stage.store.stats.as_dict()
            await asyncio.gather(*(stage.complete(each, {"n": 1}) for each in taken))
            after = stage.store.stats.as_dict()
            return after["statements"] - before["statements"], after["groups"] - before["groups"]

        await completed(2)
        statements, groups = await completed(64)
        # SQLite writes a table's rows in portions of a few sizes
        most = {"sqlite": 40, "postgresql": 14}[dialect]
        assert statements <= most * groups, (statements, groups)

    play(journey, running=False)
