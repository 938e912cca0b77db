"""Graphs in motion: jobs in a row, for_each, boundaries, gateways, retries."""

from engines.stage import graph, job


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
