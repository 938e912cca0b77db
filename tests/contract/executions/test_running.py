"""Executions: who is in the queue when, when they are over, what a failure does, and what stays as it was."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from contract.executions.door import Drawn, working
from penstock.client import Client
from penstock.worker import Job, Worker
from support.server import until


def test_a_diamonds_join_runs_once(caller):
    """With a real worker, all at once, many times."""
    drawn = Drawn(
        "t>a a>b a>c b>d c>d d>e", a={"n": 1}, d={"text": "${not.an.expression} $${nor} $", "deep": [{"x": None}]}
    )
    workflow = caller.make(drawn)
    runs: dict[str, list[str]] = {}
    inputs = {}
    worker = Worker(Client(caller.url, token=caller.token), wait=1, grace=2)

    def register(name):
        @worker.job(drawn.subjects[name])
        def work(job: Job):
            runs.setdefault(str(job.process), []).append(name)
            inputs[name] = job.input

    def finished(id):
        return caller.execution(workflow, id)["data"]["finished"]

    for name in "abcde":
        register(name)
    with working(worker):
        ids = [caller.start(workflow)["data"]["id"] for _ in range(10)]
        for id in ids:
            until(partial(finished, id))
    for id in ids:
        assert sorted(runs[id]) == ["a", "b", "c", "d", "e"]
        assert runs[id][0] == "a"
        assert runs[id][3:] == ["d", "e"]
        assert caller.execution(workflow, id)["data"]["executionQueue"] == []
    assert inputs["a"] == {"n": 1}
    assert inputs["d"] == {"text": "${not.an.expression} $${nor} $", "deep": [{"x": None}]}


def test_the_queue_follows_the_work(caller):
    drawn = Drawn("t>a t>b a>c b>c t>c")
    workflow = caller.make(drawn)
    started = caller.start(workflow)
    id = started["data"]["id"]
    assert started == caller.execution(workflow, id)
    assert caller.queue(drawn, workflow, id) == ["a", "b"]
    job = caller.native.take(drawn.subjects["a"])
    assert caller.queue(drawn, workflow, id) == ["a", "b"], "what is being done stays in the queue"
    caller.native.finish(job)
    assert caller.queue(drawn, workflow, id) == ["b"]
    caller.work(drawn, "b")
    assert caller.queue(drawn, workflow, id) == ["c"]
    caller.work(drawn, "c")
    over = caller.execution(workflow, id)
    assert over["data"]["finished"] > over["data"]["created"]
    assert over["meta"]["info"] == {}
    assert caller.execution(workflow, id) == over


def test_a_workflow_of_triggers_alone_is_over_at_once(caller):
    data = caller.start(caller.make(Drawn("", "t", "t2")))["data"]
    assert data["executionQueue"] == []
    assert data["finished"] is not None
    assert [task["isTrigger"] for task in data["tasks"]] == [True, True]


def test_queue_and_end_are_of_one_moment(caller):
    """Read again and again while workers complete: an empty queue and an end come together, and the end stays."""
    drawn = Drawn("t>a t>b t>c a>d b>d c>d d>e d>f e>g f>g")
    workflow = caller.make(drawn)
    order = ["a", "b", "c", "d", "e", "f", "g"]
    for _ in range(6):
        id = caller.start(workflow)["data"]["id"]
        seen = []

        def look(id=id, seen=seen):
            while not seen or seen[-1]["finished"] is None:
                seen.append(caller.execution(workflow, id)["data"])

        readers = [threading.Thread(target=look) for _ in range(3)]
        for each in readers:
            each.start()
        for name in order:
            caller.work(drawn, name)
        for each in readers:
            each.join(20)
        for data in seen:
            assert (data["finished"] is None) == bool(data["executionQueue"]), data
        assert len({data["finished"] for data in seen if data["finished"]}) == 1


@pytest.mark.parametrize("how", ["fail", "throw"])
def test_what_comes_after_a_failure_is_not_queued_and_the_rest_goes_on(caller, how):
    drawn = Drawn("t>a t>b a>c b>d c>e d>e")
    workflow = caller.make(drawn)
    id = caller.start(workflow)["data"]["id"]
    job = caller.native.take(drawn.subjects["a"])
    if how == "fail":
        caller.native.fail(job, type="Broken", message="it broke")
    else:
        caller.native.post(
            f"/jobs/{job['id']}/throw", {"lease": job["lease"], "code": "BROKEN", "message": "it broke"}, 204
        )
    answer = caller.execution(workflow, id)
    assert caller.queue(drawn, workflow, id) == ["b"]
    assert answer["data"]["finished"] is None
    assert answer["meta"]["info"]["status"] == "FAILED"
    caller.work(drawn, "b")
    caller.work(drawn, "d")
    over = caller.execution(workflow, id)
    assert over["data"]["finished"] is not None
    assert over["data"]["executionQueue"] == []
    ((incident),) = over["meta"]["info"]["incidents"]
    assert incident["taskId"] == drawn.ids["a"]
    assert "it broke" in incident["message"]
    told = caller.call("GET", caller.executions(workflow))["meta"]["info"]["executions"]
    assert told == {id: over["meta"]["info"]}
    assert not caller.native.poll(drawn.subjects["c"], drawn.subjects["e"])


def test_an_operators_retry_takes_a_failed_execution_up_again(caller):
    drawn = Drawn("t>a a>b")
    workflow = caller.make(drawn)
    id = caller.start(workflow)["data"]["id"]
    caller.native.fail(caller.native.take(drawn.subjects["a"]))
    assert caller.execution(workflow, id)["data"]["finished"] is not None
    caller.native.post(f"/processes/{id}/retry")
    assert caller.execution(workflow, id)["data"]["finished"] is None
    caller.work(drawn, "a")
    caller.work(drawn, "b")
    over = caller.execution(workflow, id)
    assert over["data"]["finished"] is not None
    assert over["meta"]["info"] == {}


def test_every_end_sets_finished_and_says_how(caller):
    workflow = caller.make(Drawn("t>a"))
    for command, status in (("cancel", "CANCELLED"), ("terminate", "TERMINATED")):
        id = caller.start(workflow)["data"]["id"]
        caller.native.post(f"/processes/{id}/{command}", {})
        over = caller.execution(workflow, id)
        assert over["data"]["finished"] is not None
        assert over["data"]["executionQueue"] == []
        assert over["meta"]["info"] == {"status": status, "incidents": []}


def test_tasks_are_those_of_the_version_that_was_started(caller):
    before, after = Drawn("t>a"), Drawn("t>x x>y")
    workflow = caller.make(before)
    id = caller.start(workflow)["data"]["id"]
    put = caller.call("PUT", f"{caller.workflows}/{workflow}", {"data": after.data})["data"]
    assert (put["id"], put["version"]) == (workflow, 2)
    assert caller.call("PUT", f"{caller.workflows}/{workflow}", {"data": after.data})["data"] == put
    assert caller.execution(workflow, id)["data"]["tasks"] == before.data["tasks"]
    assert caller.start(workflow)["data"]["tasks"] == after.data["tasks"]
    listed = caller.call("GET", caller.executions(workflow))["data"]
    assert [each["tasks"] for each in listed] == [after.data["tasks"], before.data["tasks"]]


def test_lists_go_by_pages(caller):
    workflow = caller.make(Drawn("t>a"))
    ids = [caller.start(workflow)["data"]["id"] for _ in range(5)]
    found, path = [], f"{caller.executions(workflow)}?limit=2"
    cursor = ""
    while cursor is not None:
        answer = caller.call("GET", path + (f"&cursor={cursor}" if cursor else ""))
        found += [each["id"] for each in answer["data"]]
        cursor = answer["meta"]["info"]["next"]
    assert found == ids[::-1]
    assert workflow in [each["id"] for each in caller.call("GET", f"{caller.workflows}?limit=200")["data"]]


def test_any_definition_runs_here(caller):
    """A native definition with an implicit start, a scope and an item: its places are tasks, its open work is the queue."""
    code = caller.native.deploy(
        {
            "both": {"kind": "gateway", "gateway": "parallel"},
            "look": {"kind": "item", "task": "LOOK"},
            "each": {
                "kind": "scope",
                "for_each": [1, 2],
                "nodes": {"inner": {"kind": "job", "topic": "x.inner"}},
                "flows": [],
            },
        },
        [{"from": "both", "to": "look"}, {"from": "both", "to": "each"}],
        tasks={"LOOK": {"name": "Look", "candidates": ["group:staff"]}},
    )
    workflow = caller.native.get(f"/definitions/{code}")["id"]
    data = caller.start(workflow)["data"]
    names = {task["id"]: task["name"] for task in data["tasks"]}
    assert list(names.values()) == ["Start", "both", "look", "each", "inner"]
    assert [names[entry["taskId"]] for entry in data["executionQueue"]] == ["look", "inner", "inner"]
    edges = [(names[edge["parent"]], names[edge["child"]]) for edge in data["tasksHierarchy"]]
    assert edges == [("Start", "both"), ("each", "inner"), ("both", "look"), ("both", "each")]
    assert caller.call("GET", f"{caller.workflows}/{workflow}")["data"]["tasks"] == data["tasks"]
