"""Boundaries: armed with their node, by timer, error, message or signal, interrupting or not; errors on their way outwards."""

import pytest

from penstock.core import commands as do
from penstock.core.decider import Rejected
from penstock.core.events import TimerFired
from penstock.core.state import Phase, Status
from support.harness import Harness

HOSTS = {
    "job": "{kind: job, topic: t}",
    "http": "{kind: http, url: 'http://x'}",
    "robot": "{kind: robot, robot: R}",
    "item": "{kind: item, task: T}",
    "timer": "{kind: timer, after: P1D}",
    "message": "{kind: message, message: X}",
    "call": "{kind: call, definition: d}",
    "scope": "{kind: scope, nodes: {i: {kind: job, topic: t}, j: {kind: item, task: T}}}",
    "for_each": "{kind: scope, for_each: '${[1, 2, 3]}', as: e, limit: 2, nodes: {i: {kind: job, topic: t}}}",
}
TRIGGERS = {
    "timer": ("timer: PT1H", lambda h: h.fire("a", "b"), None),
    "until": ("until: '2026-01-01T00:00:00Z'", lambda h: h.fire("a", "b"), None),
    "message": ("message: M, key: '${input.k}'", lambda h: h.message("M", {"p": 1}, "key"), {"p": 1}),
    "signal": ("signal: S", lambda h: h.signal("S", 7), 7),
}


def play(host, trigger, *, interrupting=True, **members):
    return Harness(
        f"""
        tasks: {{T: {{}}}}
        nodes:
          a: {host}
          b: {{kind: boundary, attached_to: a, {trigger}{"" if interrupting else ", interrupting: false"}}}
          x: {{kind: job, topic: t}}
          y: {{kind: job, topic: t}}
        flows: [{{from: a, to: x}}, {{from: b, to: y}}]
        """
    ).start({"k": "key"}, **members)


def nothing_is_out(h):
    return not any((h.jobs, h.items, h.timers, h.subscriptions, h.children, h.inbox))


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_interrupting_boundary_withdraws_its_node(host, trigger):
    text, act, output = TRIGGERS[trigger]
    h = play(HOSTS[host], text)
    act(h)
    assert h.row("a")["state"] == "CANCELLED"
    assert h.row("b")["state"] == "COMPLETED"
    assert h.row("b").get("output") == output
    assert [active.node for _, _, active in h.active()] == ["y"]
    assert h.complete("y").status is Status.COMPLETED
    assert nothing_is_out(h)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_boundary_that_does_not_interrupt_adds_a_token(host, trigger):
    text, act, output = TRIGGERS[trigger]
    h = play(HOSTS[host], text, interrupting=False)
    act(h)
    assert h.row("a")["state"] == "OPEN"
    assert h.row("b").get("output") == output
    assert h.at("y")
    if trigger in ("message", "signal"):
        act(h)
        assert len(h.at("y")) == 2
    h.skip("a")
    assert h.at("x")
    assert not h.timers
    assert not h.subscriptions


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_boundary_is_disarmed_when_its_node_is_done(host, trigger):
    text, _, _ = TRIGGERS[trigger]
    h = play(HOSTS[host], text)
    armed = set(h.timers) | set(h.subscriptions)
    assert (1, "b") in armed
    h.skip("a", {"by": "hand"})
    assert not h.timers
    assert not h.subscriptions
    assert h.complete("x").status is Status.COMPLETED


def test_only_what_is_armed_is_stopped_and_each_by_its_name():
    h = play("{kind: job, topic: t, retry: {timeout: PT1H}}", "timer: PT2H")
    h.complete("a")
    stops = [c for c in h.last.commands if isinstance(c, do.StopTimer | do.Unsubscribe)]
    assert stops == [do.StopTimer(1, "@timeout"), do.StopTimer(1, "b")]
    h.complete("x")
    assert not [c for c in h.last.commands if isinstance(c, do.StopTimer | do.Unsubscribe)]


@pytest.mark.parametrize("code", ["timeout", "retry", "node", "own", "terminate"])
def test_boundary_may_have_any_code(code):
    h = Harness(
        f"""
        nodes:
          a: {{kind: job, topic: t, retry: {{timeout: PT3H, delay: PT4H, cap: PT4H}}}}
          {code}: {{kind: boundary, attached_to: a, timer: PT1H}}
          y: {{kind: job, topic: t}}
        flows: [{{from: {code}, to: y}}]
        """
    ).start()
    h.fail("a").fire("a", code)
    assert h.at("y")
    assert nothing_is_out(h.complete("y"))


def test_message_boundary_that_cannot_listen_again_is_an_incident_on_the_boundary():
    h = play("{kind: job, topic: t}", "message: M, key: '${input.k}'", interrupting=False)
    h.data_["input"] = {}
    h.message("M", {"p": 1}, "key")
    assert h.row("b")["state"] == "FAILED"
    assert "b waits for no further message: input.k" in h.row("b")["failure"].message
    assert h.phase("b") is Phase.LEAVE_FAILED
    h.retry()
    assert h.row("b")["output"] == {"p": 1}
    assert h.at("y")
    assert h.at("a")


def test_boundary_of_a_visit_with_an_incident_still_waits():
    h = play("{kind: job, topic: t}", "timer: PT1H")
    h.fail("a", permanent=True)
    assert h.status is Status.FAILED
    h.fire("a", "b")
    assert h.status is Status.RUNNING
    assert h.at("y")


@pytest.mark.parametrize("phase", [Phase.ENTER_FAILED, Phase.LEAVE_FAILED])
def test_boundary_of_a_visit_whose_work_is_not_out_does_not_wait(phase):
    h = Harness(
        """
        nodes: {a: {kind: job, topic: t, input: "${input.x}"}, b: {kind: boundary, attached_to: a, timer: PT1H}, z: {kind: job, topic: t}}
        flows: [{from: a, to: z, if: "false"}]
        """
    ).start({"x": 1} if phase is Phase.LEAVE_FAILED else {})
    if phase is Phase.LEAVE_FAILED:
        h.complete("a")
    assert h.phase("a") is phase
    answer = h.apply(TimerFired(at=h.now, scope=0, visit=1, purpose="b"))
    assert answer == Rejected("stale", "visit 1 does not wait for 'b'")


def test_boundary_of_a_visit_in_backoff_withdraws_the_retry():
    h = play("{kind: job, topic: t}", "timer: PT1H")
    h.fail("a", delay=10**9).fire("a", "b")
    assert nothing_is_out(h.complete("y"))


# -- errors ------------------------------------------------------------------------------------------------------------

NESTED = """
nodes:
  o: {kind: scope, nodes: {
    l: {kind: scope, for_each: "${[1, 2]}", as: e, nodes: {
      s: {kind: scope, nodes: {
        a: {kind: job, topic: t}, other: {kind: job, topic: t}, %s
      }, flows: [%s]}, beside: {kind: job, topic: t}, %s
    }, flows: [%s]}, %s
  }, flows: [%s]}
  %s
  caught: {kind: job, topic: t, input: "${c}"}
flows: [{from: c, to: caught}]
"""


def nested(level):
    """The boundary `c` for ERR at one of the levels a, s, l, o around the job `a`."""
    boundary = (
        f"c: {{kind: boundary, attached_to: {level}, error: ERR}}, take: {{kind: job, topic: t, input: '${{c.data}}'}}"
    )
    flow = "{from: c, to: take}"
    slots = []
    for each in "asl":
        slots += [boundary, flow] if each == level else ["", ""]
    if level == "o":
        text = NESTED % (*slots, "c: {kind: boundary, attached_to: o, error: ERR}")
    else:
        text = NESTED % (*slots, "")
        text = text[: text.index("  caught")]
    return Harness(text).start()


# what stays of the two elements, each with scope s, jobs a, other, beside; besides the boundary's own job
LEFT = {
    "a": ["a", "beside", "beside", "l", "o", "other", "other", "s", "s"],
    "s": ["a", "beside", "beside", "l", "o", "other", "s"],
    "l": ["o"],
    "o": [],
}


@pytest.mark.parametrize("level", LEFT)
def test_error_goes_to_the_nearest_boundary_outwards(level):
    h = nested(level)
    thrown = h.at("a")[0]
    h.throw("a", "ERR", "went wrong", {"d": 5})
    assert h.row(thrown)["state"] == "THROWN"
    assert sorted(active.node for _, _, active in h.active() if active.node not in ("take", "caught")) == LEFT[level]
    assert h.row("c")["output"] == {"code": "ERR", "message": "went wrong", "data": {"d": 5}}
    job = next(job for job in h.jobs.values() if job.node in ("take", "caught"))
    assert job.input in ({"d": 5}, h.row("c")["output"])
    while h.jobs:
        h.complete(next(iter(h.jobs)))
    assert h.status is Status.COMPLETED


@pytest.mark.parametrize(
    ("boundaries", "code", "taken"),
    [
        ("b: {kind: boundary, attached_to: a, error: '*'}, c: {kind: boundary, attached_to: a, error: E1}", "E1", "c"),
        ("b: {kind: boundary, attached_to: a, error: '*'}, c: {kind: boundary, attached_to: a, error: E1}", "E2", "b"),
        ("b: {kind: boundary, attached_to: a, error: E1}, c: {kind: boundary, attached_to: a, error: E2}", "E2", "c"),
    ],
)
def test_boundary_for_the_very_code_goes_before_the_one_for_any(boundaries, code, taken):
    h = Harness(f"nodes: {{a: {{kind: job, topic: t}}, {boundaries}}}").start().throw("a", code)
    assert h.row(taken)["state"] == "COMPLETED"
    assert h.status is Status.COMPLETED


def test_short_forms_are_boundaries():
    h = Harness(
        """
        nodes:
          a: {kind: job, topic: t, on_error: {E: x}, on_timeout: {after: PT1H, to: y, interrupting: false}}
          x: {kind: job, topic: t}
          y: {kind: job, topic: t}
        """
    ).start()
    h.wait(3_600_000)
    assert h.at("y")
    h.throw("a", "E")
    assert h.at("x")


def test_uncaught_error_is_an_incident_and_its_retry_offers_the_job_again():
    h = Harness("nodes: {a: {kind: job, topic: t, retry: {timeout: PT1H}}}").start()
    h.throw("a", "E", "no way")
    failure = h.row("a")["failure"]
    assert (failure.type, failure.message, failure.permanent) == ("E", "no way", True)
    assert h.phase("a") is Phase.RUN_FAILED
    assert not h.timers
    h.retry()
    assert h.jobs[1].attempt == 2
    assert h.complete("a").status is Status.COMPLETED


def test_error_that_leaves_a_called_process_ends_it_and_is_thrown_at_the_call():
    child = Harness(
        "nodes: {s: {kind: scope, nodes: {a: {kind: job, topic: t}, i: {kind: job, topic: t}}}, z: {kind: job, topic: t}}"
    ).start(called=True)
    child.throw("a", "E", "text", {"d": 1})
    assert child.status is Status.TERMINATED
    assert child.ended == do.EndProcess("TERMINATED", {"d": 1}, "E", "text")
    assert dict(child.states()) == {"s": "CANCELLED", "a": "THROWN", "i": "CANCELLED", "z": "CANCELLED"}
    parent = play("{kind: call, definition: d}", "error: E")
    ended = child.ended
    parent.child_ended("a", ended.status, output=ended.output, code=ended.code, message=ended.message)
    assert parent.row("b")["output"] == {"code": "E", "message": "text", "data": {"d": 1}}
    assert parent.at("y")


def test_error_of_a_called_process_that_nobody_takes_is_an_incident_on_the_call():
    h = play("{kind: call, definition: d}", "error: OTHER")
    h.child_ended("a", "TERMINATED", code="E", message="text")
    assert h.row("a")["failure"].type == "E"
    assert h.status is Status.FAILED


def test_error_end_in_a_scope_is_taken_by_the_scopes_boundary():
    h = Harness(
        """
        nodes:
          s: {kind: scope, nodes: {a: {kind: job, topic: t}, e: {kind: end, end: error, error: E}, b: {kind: job, topic: t}},
              flows: [{from: a, to: e}]}
          c: {kind: boundary, attached_to: s, error: E}
          y: {kind: job, topic: t}
        flows: [{from: c, to: y}]
        """
    ).start()
    h.complete("a")
    assert dict(h.states()) == {
        "s": "THROWN",
        "a": "COMPLETED",
        "b": "CANCELLED",
        "e": "THROWN",
        "c": "COMPLETED",
        "y": "OPEN",
    }


def test_error_in_the_step_that_opened_the_scope_leaves_nothing_behind():
    h = Harness(
        """
        nodes:
          s: {kind: scope, for_each: "${[1, 2]}", as: e, nodes: {
            j: {kind: job, topic: t}, c: {kind: call, definition: d}, t: {kind: timer, after: PT1H},
            l: {kind: scope, for_each: "${[1, 2]}", as: f, nodes: {
              k: {kind: job, topic: t, retry: {timeout: PT1H}}, m: {kind: message, message: M}, x: {kind: end, end: error, error: E}}}}}
          b: {kind: boundary, attached_to: s, error: E}
        """
    ).start()
    assert h.status is Status.COMPLETED
    assert not [
        c for c in h.last.commands if isinstance(c, do.OpenJob | do.StartChild | do.CreateElements | do.DropScope)
    ]
