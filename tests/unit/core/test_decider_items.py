"""Items: what people do to them, what becomes of the visit, and those that no token waits for."""

import pytest

from penstock.core import commands as do
from penstock.core import events as ev
from penstock.core.loading import load
from penstock.core.state import Status, VisitState
from support.harness import Harness

TASK = """
tasks: {T: {candidates: ["group:a"], due: P1D, priority: 3}}
nodes:
  ask: {kind: item, task: T, input: {x: 1}}
  after: {kind: job, topic: t}
flows: [{from: ask, to: after}]
"""
CAUGHT = """
tasks: {T: {}}
nodes:
  ask: {kind: item, task: T, on_error: {ItemCancelled: instead}}
  after: {kind: job, topic: t}
  instead: {kind: job, topic: other, input: "${ask__error_ItemCancelled}"}
flows: [{from: ask, to: after}]
"""


def told(h, event, **members):
    scope, n = h.find("ask")
    return h.apply(event(at=h.now, actor="user:m@example.com", scope=scope, visit=n, **members))


def test_what_people_do_to_a_task_becomes_commands():
    h = Harness(TASK).start()
    steps = [
        (ev.ItemClaimed, {"owner": "user:x"}, do.ClaimItem(1, "user:x")),
        (ev.ItemDelegated, {"to": "user:y", "note": "please"}, do.DelegateItem(1, "user:y")),
        (ev.ItemUnclaimed, {}, do.UnclaimItem(1)),
        (ev.ItemAssigned, {"to": "group:b"}, do.AssignItem(1, "group:b")),
        (ev.ItemChanged, {"due_at": 9, "priority": -4}, do.ChangeItem(1, 9, -4)),
    ]
    for event, members, command in steps:
        assert told(h, event, **members).commands == [command]
        assert h.status is Status.RUNNING
    h.complete("ask")
    assert h.visits[2]["node"] == "after"


def test_cancelling_is_an_error_that_a_boundary_takes():
    h = Harness(CAUGHT).start()
    step = told(h, ev.ItemCancelled, reason="no longer wanted")
    assert do.CloseItem(1, completed=False, by="user:m@example.com") in step.commands
    assert h.visits[1]["state"] is VisitState.THROWN
    (job,) = h.jobs.values()
    assert (job.topic, job.input["code"], job.input["message"]) == ("other", "ItemCancelled", "no longer wanted")


def test_cancelling_that_nobody_catches_is_an_incident_and_a_retry_asks_again():
    h = Harness(TASK).start()
    told(h, ev.ItemCancelled)
    assert (h.status, h.items) == (Status.FAILED, {})
    assert (h.visits[1]["failure"].type, h.visits[1]["failure"].permanent) == ("ItemCancelled", True)
    h.retry()
    again = h.items[1]
    assert (again.again, again.candidates, again.data) == (True, ("group:a",), {"x": 1})
    h.complete("ask")
    assert h.status is Status.RUNNING


def test_a_cancellation_while_suspended_is_kept_and_applied_at_resume():
    h = Harness(CAUGHT).start()
    h.suspend()
    told(h, ev.ItemCancelled, reason="late")
    assert (h.status, h.items) == (Status.SUSPENDED, {})
    h.resume()
    assert [job.topic for job in h.jobs.values()] == ["other"]


@pytest.mark.parametrize("type", ["message", "thread"])
def test_what_is_not_waited_for_is_shown_and_left(type):
    h = Harness(f"""
tasks: {{T: {{candidates: ["role:everyone"]}}}}
nodes:
  tell: {{kind: item, type: {type}, task: T, input: {{text: hello}}}}
  after: {{kind: job, topic: t}}
flows: [{{from: tell, to: after}}]
""").start()
    assert h.items == {}
    shown = h.left[1]
    assert (shown.kind, shown.waits, shown.data) == (type.upper(), False, {"text": "hello"})
    assert h.visits[1]["state"] is VisitState.COMPLETED
    assert [job.node for job in h.jobs.values()] == ["after"]


@pytest.mark.parametrize("type", ["message", "thread"])
def test_what_is_waited_for_holds_its_token(type):
    h = Harness(f"""
tasks: {{T: {{}}}}
nodes: {{tell: {{kind: item, type: {type}, wait: true, task: T}}}}
""").start()
    assert (h.items[1].kind, h.items[1].waits, h.status) == (type.upper(), True, Status.RUNNING)
    h.complete("tell", "seen")
    assert h.status is Status.COMPLETED


def test_a_thread_takes_a_number_and_no_token():
    h = Harness(TASK).start()
    event = ev.ThreadOpened(at=h.now, actor="user:x@example.com", name="Why?", candidates=("group:b",))
    h.apply(event)
    shown = h.left[2]
    assert (shown.kind, shown.owner, shown.name, shown.candidates) == (
        "THREAD", "user:x@example.com", "Why?", ("group:b",),
    )  # fmt: skip
    assert h.process.next_n == 3
    h.complete("ask")
    h.complete("after")
    assert h.status is Status.COMPLETED


@pytest.mark.parametrize(
    ("members", "pointer", "code"),
    [
        ({"type": "letter"}, "/nodes/a/type", "choice"),
        ({"type": "task", "wait": False}, "/nodes/a/wait", "invalid"),
        ({"wait": "yes"}, "/nodes/a/wait", "type"),
        ({"type": "message", "on_error": "b"}, "/nodes/a/on_error", "attachment"),
        ({"type": 1}, "/nodes/a/type", "choice"),
    ],
)
def test_odd_item_nodes_are_refused_with_their_place(members, pointer, code):
    nodes = {"a": {"kind": "item", "task": "T", **members}, "b": {"kind": "job", "topic": "t"}}
    _, problems = load({"penstock": 1, "code": "d", "tasks": {"T": {}}, "nodes": nodes, "flows": []})
    assert (pointer, code) in [(problem.pointer, problem.code) for problem in problems], problems


def test_a_loop_of_messages_waits_for_nobody():
    nodes = {
        "a": {"kind": "item", "task": "T", "type": "message"},
        "b": {"kind": "set", "vars": {"x": 1}},
        "s": {"kind": "start"},
    }
    flows = [{"from": "s", "to": "a"}, {"from": "a", "to": "b"}, {"from": "b", "to": "a"}]
    _, problems = load({"penstock": 1, "code": "d", "tasks": {"T": {}}, "nodes": nodes, "flows": flows})
    assert [(problem.code, problem.warning) for problem in problems] == [("busy_loop", True)]
