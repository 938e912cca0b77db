"""Every event in every state of a process: what is legal, what is refused, and with which words."""

import pytest

from penstock.core import commands as do
from penstock.core import events as ev
from penstock.core.decider import LEGAL, Rejected, Step
from penstock.core.state import Status
from support.harness import Harness

EVERYTHING = """
tasks: {T: {}}
nodes:
  job: {kind: job, topic: t, retry: {timeout: PT1H}}
  bad: {kind: job, topic: t, retry: {max_attempts: 1}}
  item: {kind: item, task: T}
  timer: {kind: timer, after: PT1H}
  message: {kind: message, message: M}
  call: {kind: call, definition: other}
  each: {kind: scope, for_each: "${input.many}", as: one, nodes: {inner: {kind: job, topic: t}}}
  last: {kind: item, task: T}
  end: {kind: end, end: terminate}
flows: [{from: last, to: end}]
"""
MOVING = {"RUNNING", "FAILED", "RETRYING"}
OPEN = MOVING | {"SUSPENDED"}
ENDED = {"TERMINATED", "CANCELLED", "COMPLETED"}
FAILURE = ev.Failure("Broken", "it broke")


def in_state(status: Status) -> Harness:
    h = Harness(EVERYTHING, auto=False).start({"many": list(range(100))})
    if status in (Status.FAILED, Status.RETRYING):
        h.fail("bad")
    match status:
        case Status.RETRYING:
            h.retry()
        case Status.SUSPENDED:
            h.suspend()
        case Status.TERMINATING:
            h.terminate(running=2)
        case Status.TERMINATED:
            h.terminate(running=0)
        case Status.CANCELLED:
            h.cancel()
        case Status.COMPLETED:
            h.complete("last")
    assert h.status is status
    return h


def number(h: Harness, node: str) -> int:
    return next(n for n, row in h.visits.items() if row["node"] == node)


def visit(node):
    return lambda h: {"scope": 0, "visit": number(h, node)}


def failed(h):
    return {"scope": 0, "visit": number(h, "bad")}


def job(h):
    return {**visit("job")(h), "attempt": 1}


# event -> its members in a process of `EVERYTHING`, the states it is accepted in, the command it is
EVENTS = {
    ev.Started: (lambda h: {}, set(), None),
    ev.JobCompleted: (job, OPEN | {"TERMINATING"}, None),
    ev.JobFailed: (lambda h: {**job(h), "failure": FAILURE}, OPEN | {"TERMINATING"}, None),
    ev.ErrorThrown: (lambda h: {**job(h), "code": "X"}, OPEN | {"TERMINATING"}, None),
    ev.JobReturned: (job, {"TERMINATING"}, None),
    ev.ItemClaimed: (lambda h: {**visit("item")(h), "owner": "user:a@example.com"}, OPEN, "claim"),
    ev.ItemUnclaimed: (visit("item"), OPEN, "unclaim"),
    ev.ItemAssigned: (lambda h: {**visit("item")(h), "to": "group:a"}, OPEN, "assign"),
    ev.ItemDelegated: (lambda h: {**visit("item")(h), "to": "user:b@example.com"}, OPEN, "delegate"),
    ev.ItemChanged: (lambda h: {**visit("item")(h), "priority": 3}, OPEN, "change"),
    ev.ItemCompleted: (visit("item"), OPEN, None),
    ev.ItemCancelled: (visit("item"), OPEN, None),
    ev.ThreadOpened: (lambda h: {"name": "About it"}, OPEN, "open a thread"),
    ev.TimerFired: (lambda h: {**visit("timer")(h), "purpose": "@own"}, OPEN, None),
    ev.MessageArrived: (lambda h: {**visit("message")(h), "purpose": "@own", "name": "M"}, OPEN, None),
    ev.ChildEnded: (lambda h: {**visit("call")(h), "status": "COMPLETED"}, OPEN, None),
    ev.ElementsDue: (lambda h: {"scope": number(h, "each")}, OPEN, None),
    ev.CompleteRequested: (lambda h: {}, set(), "complete"),
    ev.CancelRequested: (lambda h: {}, OPEN, "cancel"),
    ev.TerminateRequested: (lambda h: {"running": 1}, OPEN, "terminate"),
    ev.TerminationTimedOut: (lambda h: {}, {"TERMINATING"}, None),
    ev.SuspendRequested: (lambda h: {}, MOVING, "suspend"),
    ev.ResumeRequested: (lambda h: {}, {"SUSPENDED"}, "resume"),
    ev.RetryRequested: (lambda h: {}, {"FAILED"}, "retry"),
    ev.VisitRetried: (failed, {"FAILED"}, "retry"),
    ev.DebugRequested: (lambda h: {**visit("job")(h), "has_output": True}, MOVING, "debug"),
    ev.SkipRequested: (visit("item"), MOVING, "skip"),
    ev.RestartRequested: (lambda h: {"scope": 0, "node": "job"}, MOVING, "restart"),
    ev.Migrated: (lambda h: {"version": 2, "mapping": {}}, set(), "migrate"),
    ev.DocumentLinked: (lambda h: {"document": "d", "name": "n"}, OPEN, "link a document"),
    ev.DocumentUnlinked: (lambda h: {"document": "d", "name": "n"}, OPEN, "unlink a document"),
}


def test_the_table_knows_every_event():
    assert set(EVENTS) == set(ev.AnyEvent.__args__)
    assert {event for event, (_, _, name) in EVENTS.items() if name} == set(LEGAL)


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_event_is_accepted_or_refused_by_state(event, status):
    members, accepted, name = EVENTS[event]
    h = in_state(status)
    answer = h.happen(event(at=h.now, **members(h)))
    if status in accepted:
        assert isinstance(answer, Step)
        return
    assert isinstance(answer, Rejected)
    # a legal command may still be for what is not there
    if name is not None and not (event is ev.VisitRetried and status is Status.RETRYING):
        assert name in answer.message or event is ev.Migrated
    if status not in LEGAL.get(event, ("", {status}))[1] or status in ENDED:
        assert answer.code == "wrong_state"
        assert str(status) in answer.message
        assert event not in LEGAL or answer.message.startswith(f"cannot {name}: ")


@pytest.mark.parametrize(
    "event", [e for e, (_, states, name) in EVENTS.items() if name is None and "SUSPENDED" in states]
)
def test_suspended_keeps_what_would_be_applied(event):
    h = in_state(Status.SUSPENDED)
    before = dict(h.scopes)
    happened = event(at=h.now, **EVENTS[event][0](h))
    step = h.happen(happened)
    assert step.commands[-1] == do.KeepEvent(happened)
    assert h.scopes == before
    assert h.status is Status.SUSPENDED
    h.auto = True
    h.resume()
    h.drain()
    assert not h.kept
    assert h.status in (Status.RUNNING, Status.FAILED)
    assert h.scopes != before


JOB = {"attempt": 1}
# event, members that make it stale or wrong, what the rejection says
STALE = [
    (ev.JobCompleted, {"scope": 0, "visit": 99, **JOB}, "stale", "visit 99 is not open"),
    (ev.JobCompleted, {"scope": 977, "visit": 1, **JOB}, "stale", "scope 977 is not open"),
    (ev.JobCompleted, {"scope": 0, "node": "job", "attempt": 2}, "stale", "attempt 2 of visit"),
    (ev.JobCompleted, {"scope": 0, "node": "item", **JOB}, "unknown", "'item', of kind item"),
    (ev.JobCompleted, {"scope": 0, "node": "bad", **JOB}, "stale", "does not wait for an answer"),
    (ev.JobFailed, {"scope": 0, "node": "job", "attempt": 9, "failure": FAILURE}, "stale", "attempt 9"),
    (ev.ErrorThrown, {"scope": 0, "node": "timer", "code": "X", **JOB}, "unknown", "'timer'"),
    (ev.ItemCompleted, {"scope": 0, "node": "job"}, "unknown", "'job', of kind job"),
    (ev.ItemClaimed, {"scope": 0, "node": "job", "owner": "a"}, "unknown", "'job', of kind job"),
    (ev.TimerFired, {"scope": 0, "node": "timer", "purpose": "@retry"}, "stale", "its timer is over"),
    (ev.TimerFired, {"scope": 0, "node": "timer", "purpose": "late"}, "stale", "does not wait for 'late'"),
    (ev.TimerFired, {"scope": 0, "node": "message", "purpose": "@own"}, "stale", "does not wait for '@own'"),
    (ev.TimerFired, {"scope": 0, "node": "job", "purpose": "@own"}, "stale", "does not wait for '@own'"),
    (ev.TimerFired, {"scope": 0, "node": "job", "purpose": "@retry"}, "stale", "its timer is over"),
    (ev.TimerFired, {"scope": 0, "node": "job", "purpose": "@timeout", "attempt": 2}, "stale", "its timer is over"),
    (ev.TimerFired, {"scope": 0, "node": "bad", "purpose": "@timeout"}, "stale", "its timer is over"),
    (ev.MessageArrived, {"scope": 0, "node": "timer", "purpose": "@own", "name": "M"}, "stale", "does not wait"),
    (ev.MessageArrived, {"scope": 0, "node": "job", "purpose": "@timeout", "name": "M"}, "stale", "is over"),
    (ev.ChildEnded, {"scope": 0, "node": "job", "status": "COMPLETED"}, "unknown", "'job', of kind job"),
    (ev.ElementsDue, {"scope": 0}, "stale", "no elements due"),
    (ev.ElementsDue, {"scope": 955}, "stale", "scope 955 is not open"),
    (ev.JobReturned, {"scope": 0, "node": "job", **JOB}, "stale", "not being terminated"),
    (ev.TerminationTimedOut, {}, "stale", "not being terminated"),
    (ev.VisitRetried, {"scope": 0, "node": "job"}, "stale", "has no incident"),
    (ev.DebugRequested, {"scope": 0, "node": "job"}, "unknown", "either an input or an output"),
    (
        ev.DebugRequested,
        {"scope": 0, "node": "job", "has_input": True, "has_output": True},
        "unknown",
        "either an input or an output",
    ),
    (ev.DebugRequested, {"scope": 0, "node": "timer", "has_input": True}, "wrong_state", "'timer', of kind timer"),
    (ev.DebugRequested, {"scope": 0, "node": "call", "has_input": True}, "wrong_state", "'call', of kind call"),
    (ev.SkipRequested, {"scope": 0, "visit": 99}, "stale", "visit 99 is not open"),
    (ev.RestartRequested, {"scope": 0, "node_code": "nowhere"}, "unknown", "no node 'nowhere'"),
    (ev.RestartRequested, {"scope": 0, "node_code": "inner"}, "unknown", "no node 'inner'"),
    (ev.RestartRequested, {"scope": "each", "node_code": "inner"}, "unknown", "no node 'inner'"),
    (ev.RestartRequested, {"scope": "unstarted", "node_code": "inner"}, "stale", "has not been started"),
    (ev.CompleteRequested, {}, "wrong_state", "cannot complete: the graph decides"),
]


@pytest.mark.parametrize(
    ("event", "members", "code", "text", "suspended"),
    [(*row, False) for row in STALE] + [(*row, True) for row in STALE if row[0] not in LEGAL],
)
def test_stale_or_wrong_event_changes_nothing(event, members, code, text, suspended):
    h = in_state(Status.FAILED)
    if suspended:
        h.suspend()
    members = dict(members)
    if "node" in members:
        members["visit"] = number(h, members.pop("node"))
    if "node_code" in members:
        members["node"] = members.pop("node_code")
    if members.get("scope") == "each":
        members["scope"] = number(h, "each")
    if members.get("scope") == "unstarted":
        members["scope"] = max(h.scopes)
    answer = h.apply(event(at=h.now, **members))
    assert isinstance(answer, Rejected)
    assert answer.code == code
    assert text in answer.message


@pytest.mark.parametrize("status", [Status.TERMINATED, Status.CANCELLED, Status.COMPLETED])
def test_ended_process_is_quiet(status):
    h = in_state(status)
    assert h.peek().active == {}
    assert h.ended == do.EndProcess(status.value)
    assert h.published[-1].kind == f"process.{status.value.lower()}"


def test_time_never_goes_back():
    h = in_state(Status.RUNNING)
    h.apply(ev.ItemCompleted(at=5, scope=0, visit=number(h, "item")))
    assert h.process.at == h.now


# -- driven from outside -----------------------------------------------------------------------------------------------

DRIVEN = [
    {"driver": "client"},
    {"driver": "client", "nodes": {"a": {"kind": "job", "topic": "t"}}},
    {"driver": "code", "temporal": {"workflow_type": "W", "task_queue": "Q"}},
]


@pytest.mark.parametrize("definition", DRIVEN)
def test_process_driven_from_outside_waits_for_its_driver(definition):
    h = Harness(definition).start({"a": 1}, metadata={"m": 1}, entity={"e": 1})
    assert h.status is Status.RUNNING
    assert h.data_ == {"input": {"a": 1}, "metadata": {"m": 1}, "entity": {"e": 1}}
    assert isinstance(h.apply(ev.RestartRequested(at=h.now, scope=0, node="a")), Rejected)
    h.suspend().resume()
    h.apply(ev.CompleteRequested(at=h.now, output={"done": True}))
    assert h.status is Status.COMPLETED
    assert h.ended == do.EndProcess("COMPLETED", {"done": True})
    assert h.data_["output"] == {"done": True}


def test_process_driven_from_outside_completes_only_while_it_moves():
    h = Harness({"driver": "client"}).start().suspend()
    answer = h.apply(ev.CompleteRequested(at=h.now))
    assert answer == Rejected("wrong_state", "cannot complete: the process is SUSPENDED")
