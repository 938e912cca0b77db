"""What people do: retry, debug, skip, restart, suspend and resume, terminate, cancel."""

import pytest

from penstock.core import commands as do
from penstock.core import events as ev
from penstock.core.decider import Rejected
from penstock.core.interventions import TERMINATION_GRACE
from penstock.core.state import Phase, Status
from support.harness import Harness, Refused


def play(text, input=None, **members):
    return Harness(text).start(input, **members)


# -- incidents of every phase ------------------------------------------------------------------------------------------

ENTER = "nodes: {a: {kind: job, topic: t, input: '${input.x}'}, b: {kind: job, topic: t, input: '${a}'}}\nflows: [{from: a, to: b}]"
RUN = "nodes: {a: {kind: job, topic: t}, b: {kind: job, topic: t, input: '${a}'}}\nflows: [{from: a, to: b}]"
LEAVE = (
    "nodes: {a: {kind: job, topic: t}, b: {kind: job, topic: t, input: '${a}'}}\nflows: [{from: a, to: b, if: 'a.ok'}]"
)
STUCK = """
nodes: {s: {kind: gateway, gateway: exclusive}, x: {kind: set, vars: {v: 1}}, y: {kind: set, vars: {v: 1}},
        a: {kind: gateway, gateway: parallel}, b: {kind: job, topic: t, input: "${a}"}}
flows: [{from: s, to: x}, {from: s, to: y}, {from: x, to: a}, {from: y, to: a}, {from: a, to: b}]
"""


def with_incident(phase):
    if phase is Phase.ENTER_FAILED:
        h = play(ENTER, {})
    elif phase is Phase.RUN_FAILED:
        h = play(RUN).fail("a", permanent=True)
    elif phase is Phase.LEAVE_FAILED:
        h = play(LEAVE).complete("a", {"ok": 0})
    else:
        h = play(STUCK)
    assert h.phase("a") is phase
    assert h.status is Status.FAILED
    assert h.process.incidents == 1
    return h


@pytest.mark.parametrize("phase", [Phase.ENTER_FAILED, Phase.RUN_FAILED, Phase.LEAVE_FAILED, Phase.STUCK])
def test_skip_ends_the_visit_with_the_given_output(phase):
    h = with_incident(phase)
    if phase is Phase.LEAVE_FAILED:
        h.skip("a", {"ok": True})
        assert h.jobs[h.at("b")[0]].input == {"ok": True}
    else:
        h.skip("a", 42)
        assert h.jobs[h.at("b")[0]].input == 42
    assert h.row("a")["state"] == "SKIPPED"
    assert h.row("a")["failure"] is None
    assert h.status is Status.RUNNING
    assert h.complete("b").status is Status.COMPLETED


def test_skip_with_nothing_takes_an_earlier_output_away():
    h = with_incident(Phase.LEAVE_FAILED)
    assert h.row("a")["output"] == {"ok": 0}
    h.skip("a")
    assert h.row("a")["output"] is None


@pytest.mark.parametrize("phase", [Phase.ENTER_FAILED, Phase.RUN_FAILED, Phase.LEAVE_FAILED])
def test_debug_with_an_output_completes_the_visit(phase):
    h = with_incident(phase).debug("a", output={"ok": True})
    assert h.jobs[h.at("b")[0]].input == {"ok": True}
    assert h.row("a")["state"] == "COMPLETED"
    assert h.status is Status.RUNNING


@pytest.mark.parametrize("phase", [Phase.ENTER_FAILED, Phase.RUN_FAILED])
def test_debug_with_an_input_begins_a_new_attempt(phase):
    h = with_incident(phase).debug("a", input={"given": 1})
    assert h.jobs[1] == do.OpenJob(1, 0, "a", "t", 2, {"given": 1})
    assert h.row("a")["input"] == {"given": 1}
    assert h.status is Status.RUNNING
    h.fail("a").fire("a", "@retry")
    assert h.jobs[1].input == {"given": 1}


@pytest.mark.parametrize(
    ("phase", "given"), [(Phase.LEAVE_FAILED, "input"), (Phase.STUCK, "input"), (Phase.STUCK, "output")]
)
def test_debug_is_refused_where_it_has_no_meaning(phase, given):
    h = with_incident(phase)
    with pytest.raises(Refused, match="cannot debug"):
        h.debug("a", **{given: 1})


def test_retry_of_every_phase():
    h = with_incident(Phase.ENTER_FAILED)
    h.retry()
    assert h.status is Status.FAILED
    assert h.row("a")["attempt"] == 2
    h.data_["input"] = {"x": 5}
    h.retry()
    assert h.status is Status.RETRYING
    assert h.jobs[1] == do.OpenJob(1, 0, "a", "t", 3, 5)
    assert h.process.retries == 2
    assert h.complete("a", 1).status is Status.RUNNING
    h = with_incident(Phase.RUN_FAILED).retry()
    assert h.status is Status.RETRYING
    assert h.jobs[1].attempt == 2
    assert h.complete("a").status is Status.RUNNING
    h = with_incident(Phase.LEAVE_FAILED)
    h.visits[1]["output"] = {"ok": True}
    assert h.retry().status is Status.RUNNING
    assert h.at("b")
    h = with_incident(Phase.STUCK)
    first = h.at("a")
    h.retry()
    assert h.status is Status.FAILED
    assert h.at("a") != first
    assert h.row(first[0])["state"] == "SUPERSEDED"


def test_retry_of_several_incidents_at_once_and_retrying_until_the_last_has_ended():
    h = play(
        "nodes: {a: {kind: job, topic: t}, b: {kind: job, topic: t}, c: {kind: job, topic: t}, d: {kind: job, topic: t}}"
    )
    h.fail("a", permanent=True).fail("b", permanent=True).complete("c")
    assert h.process.incidents == 2
    h.retry()
    assert (h.status, h.process.retrying) == (Status.RETRYING, 2)
    assert len(h.states()) == 4  # nothing finished runs again
    h.complete("a")
    assert h.status is Status.RETRYING
    h.fail("b", permanent=True)
    assert h.status is Status.FAILED
    assert h.process.retrying == 0
    h.retry().complete("b")
    assert h.status is Status.RUNNING
    assert h.complete("d").status is Status.COMPLETED


def test_retry_is_legal_only_with_an_incident():
    h = play(RUN)
    with pytest.raises(Refused, match="cannot retry: the process is RUNNING"):
        h.retry()
    h.fail("a", permanent=True).retry()
    with pytest.raises(Refused, match="cannot retry: the process is RETRYING"):
        h.retry()


def test_scope_that_was_retried_is_retrying_until_it_ends():
    h = play(
        "nodes: {s: {kind: scope, for_each: '${input.x}', as: e, nodes: {i: {kind: job, topic: t}}}, z: {kind: job, topic: t}}",
        {},
    )
    h.data_["input"] = {"x": [1, 2]}
    h.retry()
    assert h.status is Status.RETRYING
    h.complete("i")
    assert h.status is Status.RETRYING
    assert h.complete("i").status is Status.RUNNING


# -- debug and skip of what runs ---------------------------------------------------------------------------------------

RUNNING = {
    "job": "{kind: job, topic: t, retry: {timeout: PT1H}}",
    "http": "{kind: http, url: 'http://x'}",
    "robot": "{kind: robot, robot: R}",
    "item": "{kind: item, task: T}",
    "timer": "{kind: timer, after: PT1H}",
    "message": "{kind: message, message: M}",
    "call": "{kind: call, definition: d}",
    "scope": "{kind: scope, nodes: {i: {kind: item, task: T}}}",
    "for_each": "{kind: scope, for_each: '${[1, 2]}', as: e, nodes: {i: {kind: job, topic: t}}}",
}


def running(kind):
    return play(
        f"tasks: {{T: {{}}}}\nnodes: {{a: {RUNNING[kind]}, b: {{kind: job, topic: t, input: '${{a}}'}}}}\nflows: [{{from: a, to: b}}]"
    )


@pytest.mark.parametrize("kind", RUNNING)
@pytest.mark.parametrize("by", ["skip", "debug"])
def test_what_runs_can_be_ended_by_hand_and_its_work_is_withdrawn(kind, by):
    h = running(kind)
    if by == "skip":
        h.skip("a", 7)
    else:
        h.debug("a", output=7)
    assert [job.input for job in h.jobs.values()] == [7]
    assert not any((h.items, h.timers, h.subscriptions, h.children))
    assert list(h.scopes) == [0]
    assert h.row("a")["state"] == ("SKIPPED" if by == "skip" else "COMPLETED")
    assert not [row for row in h.visits.values() if row["node"] == "i" and row["state"] != "CANCELLED"]


@pytest.mark.parametrize("kind", ["job", "http", "robot", "item"])
def test_debug_with_an_input_takes_the_work_back_and_gives_it_out_anew(kind):
    h = running(kind).debug("a", input={"by": "hand"})
    out = h.items[1].data if kind == "item" else h.jobs[1].input
    assert out == {"by": "hand"}
    assert h.row("a")["attempt"] == 2
    assert h.complete("a").at("b")


def test_debug_with_an_input_in_backoff_stops_the_retry():
    h = running("job").fail("a").debug("a", input=1)
    assert set(h.timers) == {(1, "@timeout")}
    assert h.jobs[1].attempt == 2


def test_debug_with_an_input_arms_boundaries_that_were_not():
    text = """
    nodes: {a: {kind: job, topic: t, input: "${input.x}"}, b: {kind: boundary, attached_to: a, timer: "${input.wait}"}}
    """
    h = play(text, {"wait": "PT1H"}).debug("a", input=1)
    assert set(h.timers) == {(1, "b")}
    h = play(text, {}).debug("a", input=1)
    assert h.phase("a") is Phase.ENTER_FAILED
    assert not h.jobs
    assert h.status is Status.FAILED


def test_debug_of_a_call_with_an_incident_takes_an_input():
    h = running("call")
    h.child_ended("a", "CANCELLED").debug("a", input=3)
    assert h.children == {1: do.StartChild(1, 0, "d", 3)}


def test_debug_keeps_a_round_of_retries_going():
    h = play(RUN).fail("a", permanent=True).retry().debug("a", input=1)
    assert h.status is Status.RETRYING
    assert h.complete("a").status is Status.RUNNING


# -- suspend and resume ------------------------------------------------------------------------------------------------


def test_what_comes_while_suspended_is_kept_and_applied_in_its_order():
    h = play(
        """
        tasks: {T: {}}
        nodes:
          a: {kind: job, topic: t}
          i: {kind: item, task: T}
          m: {kind: message, message: M}
          w: {kind: timer, after: PT1H}
          b: {kind: boundary, attached_to: a, timer: PT1M}
          after: {kind: job, topic: u}
        flows: [{from: a, to: after}, {from: i, to: after}, {from: m, to: after}, {from: w, to: after}, {from: b, to: after}]
        """
    ).suspend()
    assert h.held
    h.complete("a", 1)
    assert not h.jobs  # a late answer to it is lost
    h.fire("a", "b")
    h.complete("i", 2).message("M", 3).fire("w")
    assert len(h.kept) == 5
    assert h.status is Status.SUSPENDED
    assert [state for _, state in h.states()] == ["OPEN"] * 4
    h.resume()
    assert not h.kept
    assert [node for node, _ in h.states()] == ["a", "i", "m", "w", "after", "after", "after", "after"]
    assert dict(h.states())["a"] == "COMPLETED"  # the boundary came too late
    assert h.status is Status.RUNNING


def test_failures_kept_while_suspended_are_counted_at_resume():
    h = play(RUN).suspend().fail("a", permanent=True)
    assert h.status is Status.SUSPENDED
    assert h.process.incidents == 0
    assert h.resume().status is Status.FAILED
    h.suspend()
    assert h.status is Status.SUSPENDED
    assert h.resume().status is Status.FAILED


def test_resume_is_retrying_again():
    h = play(RUN).fail("a", permanent=True).retry().suspend().resume()
    assert h.status is Status.RETRYING


def test_items_can_be_claimed_while_suspended():
    h = running("item").suspend().claim("a")
    assert h.owners


def test_cancel_and_terminate_while_suspended_drop_what_was_kept():
    for end in ("cancel", "terminate"):
        h = play(RUN).suspend().complete("a")
        assert h.kept
        getattr(h, end)()
        assert not h.kept


# -- terminate ---------------------------------------------------------------------------------------------------------

MANY = """
tasks: {T: {}}
nodes: {a: {kind: job, topic: t}, b: {kind: job, topic: t}, c: {kind: item, task: T}, d: {kind: timer, after: PT1H},
        s: {kind: scope, nodes: {i: {kind: job, topic: t}}}, k: {kind: call, definition: d}}
"""


def test_terminate_without_running_jobs_ends_at_once():
    h = play(MANY).terminate(running=0)
    assert h.status is Status.TERMINATED
    assert h.ended == do.EndProcess("TERMINATED")


def test_terminate_tells_jobs_and_ends_when_all_have_answered():
    h = play(MANY)
    h.terminate(running=3)
    assert (h.status, h.process.running, h.told) == (Status.TERMINATING, 3, True)
    assert h.timers == {(0, "@terminate"): do.StartTimer(0, 0, "@terminate", h.now + TERMINATION_GRACE)}
    assert sorted(row["node"] for row in h.visits.values() if row["state"] == "OPEN") == ["a", "b", "i"]
    h.complete("a", 1)
    assert h.row("a")["state"] == "CANCELLED"
    assert isinstance(h.apply(ev.JobCompleted(at=h.now, scope=0, visit=1, attempt=1)), Rejected)
    assert h.process.running == 2
    h.fail("b")
    scope, n = h.find("i")
    h.apply(ev.JobReturned(at=h.now, scope=scope, visit=n, attempt=1))
    assert h.status is Status.TERMINATED


def test_terminating_process_does_not_go_on_where_a_scope_is_empty():
    h = play(
        "nodes: {s: {kind: scope, nodes: {i: {kind: job, topic: t}}}, z: {kind: job, topic: t}, b: {kind: job, topic: t}}\nflows: [{from: s, to: z}]"
    )
    h.terminate(running=2).complete("i")
    assert (h.status, h.at("z"), list(h.jobs)) == (Status.TERMINATING, [], [2])
    assert h.complete("b").status is Status.TERMINATED


def test_terminate_ends_after_its_grace_whatever_runs_and_later_answers_are_refused():
    h = play(MANY).terminate(running=3)
    h.complete("a")
    h.wait(TERMINATION_GRACE - 1)
    assert h.status is Status.TERMINATING
    h.wait(1)
    assert h.status is Status.TERMINATED
    answer = h.apply(ev.JobCompleted(at=h.now, scope=0, visit=2, attempt=1))
    assert answer == Rejected("wrong_state", "the process has ended: it is TERMINATED")


@pytest.mark.parametrize("attempt", [0, 2])
def test_terminating_counts_only_answers_of_the_present_attempt(attempt):
    h = play(MANY).terminate(running=1)
    assert isinstance(h.apply(ev.JobReturned(at=h.now, scope=0, visit=1, attempt=attempt)), Rejected)
    assert h.process.running == 1


def test_commands_are_refused_while_terminating():
    h = play(MANY).terminate(running=1)
    for command in (h.cancel, h.terminate, h.suspend, h.resume, lambda: h.skip("c"), lambda: h.restart("a")):
        with pytest.raises(Refused, match="the process is TERMINATING"):
            command()


# -- restart -----------------------------------------------------------------------------------------------------------

LINE = """
nodes:
  a: {kind: job, topic: t}
  b: {kind: job, topic: t}
  x: {kind: job, topic: t}
  y: {kind: job, topic: t}
  j: {kind: job, topic: t, join: all}
  late: {kind: boundary, attached_to: x, timer: PT1H, interrupting: false}
  l: {kind: job, topic: t}
flows: [{from: a, to: b}, {from: b, to: x}, {from: b, to: y}, {from: x, to: j}, {from: y, to: j}, {from: late, to: l}]
"""


def test_restart_withdraws_what_is_at_or_after_the_node_and_empties_joins():
    h = play(LINE).complete("a", 1).complete("b", 2).complete("y", 3)
    h.fire("x", "late")
    assert h.peek().waiting == {"j": {4: 1}}
    h.restart("b")
    assert h.peek().waiting == {}
    assert [active.node for _, _, active in h.active()] == ["b"]
    assert h.peek().done == {"a": 1}
    states = {n: (row["node"], row["state"].value) for n, row in h.visits.items()}
    assert states[1] == ("a", "COMPLETED")
    assert {state for n, (_, state) in states.items() if n > 1 and n != max(states)} == {"SUPERSEDED"}
    h.complete("b").complete("x").complete("y").complete("j")
    assert h.status is Status.COMPLETED


def test_restart_leaves_tokens_before_the_node_alone():
    h = play(LINE)
    h.restart("x")
    assert [active.node for _, _, active in h.active()] == ["a", "x"]


def test_restart_at_a_node_that_does_not_wait_supersedes_only_what_was_before():
    h = play("nodes: {a: {kind: set, vars: {x: 1}}, b: {kind: job, topic: t}}\nflows: [{from: a, to: b}]")
    h.restart("a")
    assert h.states() == [("a", "SUPERSEDED"), ("b", "SUPERSEDED"), ("a", "COMPLETED"), ("b", "OPEN")]


def test_restart_at_a_join_needs_no_tokens():
    h = play(LINE).complete("a").complete("b").restart("j")
    assert [active.node for _, _, active in h.active()] == ["x", "y", "j"]


def test_restart_takes_incidents_and_stuck_joins_with_it():
    h = with_incident(Phase.STUCK).restart("x")
    assert h.process.incidents == 1  # y is still missing
    h = with_incident(Phase.RUN_FAILED).restart("a")
    assert h.status is Status.RUNNING
    assert h.row("a")["attempt"] == 1


def test_restart_withdraws_scopes_with_all_below():
    h = play(
        """
        nodes: {a: {kind: job, topic: t}, s: {kind: scope, for_each: "${[1, 2]}", as: e, nodes: {
          i: {kind: job, topic: t}, r: {kind: scope, nodes: {k: {kind: job, topic: t}}}}, flows: [{from: i, to: r}]}}
        flows: [{from: a, to: s}]
        """
    ).complete("a")
    h.complete("i")
    h.fail("k", permanent=True)
    h.restart("a")
    assert h.status is Status.RUNNING
    assert list(h.scopes) == [0]
    assert {row["state"].value for row in h.visits.values() if row["node"] in "srk"} == {"SUPERSEDED"}


def test_restart_inside_a_scope_and_inside_an_element():
    h = play(
        """
        nodes: {s: {kind: scope, for_each: "${[1, 2]}", as: e, nodes: {
          i: {kind: job, topic: t}, k: {kind: job, topic: t}}, flows: [{from: i, to: k}]}}
        """
    )
    scope, _ = h.find("i")
    h.complete("i")
    assert h.find("k")[0] == scope
    h.restart("i", scope)
    assert [(m, active.node) for _, m, active in h.active() if m == scope] == [(scope, "i")]
    h.complete("i").complete("i").complete("k").complete("k")
    assert h.status is Status.COMPLETED


def test_restart_of_a_loop_restarts_what_lies_before_in_the_loop_too():
    h = play(
        "nodes: {s: {kind: start}, a: {kind: job, topic: t}, b: {kind: job, topic: t}}\nflows: [{from: s, to: a}, {from: a, to: b}, {from: b, to: a}]"
    )
    h.complete("a").restart("b")
    assert [active.node for _, _, active in h.active()] == ["b"]


# -- cancel ------------------------------------------------------------------------------------------------------------


def test_cancel_withdraws_everything():
    h = play(MANY).cancel()
    assert h.ended == do.EndProcess("CANCELLED")
    assert {state for _, state in h.states()} == {"CANCELLED"}


def test_a_race_of_two_commands_has_one_winner():
    h = play(RUN).cancel()
    with pytest.raises(Refused, match="cannot terminate: the process is CANCELLED"):
        h.terminate()
