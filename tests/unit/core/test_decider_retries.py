"""Technical failures: tried again by the node's policy, then an incident; attempts have an end of their time."""

import pytest

from penstock.core import commands as do
from penstock.core import events as ev
from penstock.core.decider import Rejected
from penstock.core.state import Phase, Status
from support.harness import Harness


def job(retry="", kind="kind: job, topic: t", rest=""):
    text = f", retry: {{{retry}}}" if retry else ""
    return Harness(f"nodes: {{a: {{{kind}{text}}}, {rest}}}").start()


@pytest.mark.parametrize("kind", ["kind: job, topic: t", "kind: http, url: 'http://x'", "kind: robot, robot: R"])
def test_failed_attempts_are_repeated_until_they_are_used_up(kind):
    h = job("max_attempts: 3, delay: PT1S, factor: 2, jitter: 0", kind)
    for attempt, delay in ((1, 1_000), (2, 2_000)):
        h.fail("a")
        assert h.status is Status.RUNNING
        assert h.phase("a") is Phase.BACKOFF
        assert h.row("a")["failure"].type == "Broken"
        assert not h.jobs
        assert h.timers == {(1, "@retry"): do.StartTimer(1, 0, "@retry", h.now + delay, attempt)}
        h.fire("a", "@retry")
        assert h.jobs[1].attempt == attempt + 1
        assert h.row("a")["attempt"] == attempt + 1
    h.fail("a")
    assert h.status is Status.FAILED
    assert h.phase("a") is Phase.RUN_FAILED
    assert h.published[-1].kind == "incident.opened"
    assert h.published[-1].data["failure"]["type"] == "Broken"


def test_completed_after_a_failure_has_no_failure():
    h = job("max_attempts: 3")
    h.fail("a").fire("a", "@retry").complete("a", 1)
    assert h.row("a")["failure"] is None
    assert h.row("a")["attempt"] == 2


def test_delay_is_bounded_by_jitter_and_cap():
    h = job("max_attempts: 100, delay: PT1S, factor: 3, cap: PT20S, jitter: 0.5")
    for wanted in (1_000, 3_000, 9_000, 20_000, 20_000):
        h.fail("a")
        wait = h.timers[1, "@retry"].due_at - h.now
        assert wanted / 2 < wait <= wanted
        h.fire("a", "@retry")


def test_permanent_failure_is_an_incident_at_once():
    h = job("max_attempts: 9").fail("a", permanent=True)
    assert h.status is Status.FAILED
    assert not h.timers


@pytest.mark.parametrize(("delay", "wait"), [(0, 0), (77, 77), (-5, 0)])
def test_delay_of_the_worker_overrules_the_policys(delay, wait):
    h = job().fail("a", delay=delay)
    assert h.timers[1, "@retry"].due_at == h.now + wait


def test_input_stays_the_same_in_every_attempt():
    h = Harness("nodes: {a: {kind: job, topic: t, input: '${input.x}'}}").start({"x": 1})
    h.data_["input"] = {"x": 2}
    h.fail("a").fire("a", "@retry")
    assert h.jobs[1].input == 1


def test_attempt_that_takes_too_long_fails():
    h = job("max_attempts: 2, timeout: PT10S, delay: PT1S, jitter: 0")
    assert h.jobs[1].timeout == 10_000
    h.fire("a", "@timeout")
    assert h.phase("a") is Phase.BACKOFF
    assert h.row("a")["failure"].type == "Timeout"
    assert not h.jobs
    h.fire("a", "@retry")
    assert h.timers[1, "@timeout"] == do.StartTimer(1, 0, "@timeout", h.now + 10_000, 2)
    h.fire("a", "@timeout")
    assert h.status is Status.FAILED
    h.retry()
    assert h.timers[1, "@timeout"].attempt == 3
    h.complete("a")
    assert h.status is Status.COMPLETED


@pytest.mark.parametrize("end", ["complete", "fail", "throw"])
def test_time_of_an_attempt_is_over_with_its_answer(end):
    h = job("timeout: PT10S", rest="k: {kind: job, topic: t}")
    {"complete": h.complete, "fail": h.fail, "throw": lambda node: h.throw(node, "E")}[end]("a")
    assert (1, "@timeout") not in h.timers


def test_answers_of_earlier_attempts_are_stale():
    h = job("max_attempts: 5")
    h.fail("a").fire("a", "@retry")
    for event in (
        ev.JobCompleted(at=1, scope=0, visit=1, attempt=1),
        ev.JobFailed(at=1, scope=0, visit=1, attempt=1, failure=ev.Failure("F", "")),
        ev.ErrorThrown(at=1, scope=0, visit=1, attempt=1, code="E"),
        ev.TimerFired(at=1, scope=0, visit=1, attempt=1, purpose="@retry"),
        ev.TimerFired(at=1, scope=0, visit=1, attempt=1, purpose="@timeout"),
    ):
        assert isinstance(h.apply(event), Rejected)


def test_answer_in_backoff_is_stale():
    h = job().fail("a")
    answer = h.apply(ev.JobCompleted(at=1, scope=0, visit=1, attempt=1))
    assert answer == Rejected("stale", "visit 1 does not wait for an answer")


def test_policy_counts_anew_after_a_retry_command_attempts_go_on():
    h = job("max_attempts: 2, delay: PT1S, jitter: 0")
    h.fail("a").fire("a", "@retry").fail("a")
    assert h.status is Status.FAILED
    h.retry()
    assert h.jobs[1].attempt == 3
    h.fail("a")
    assert h.phase("a") is Phase.BACKOFF
    assert h.timers[1, "@retry"] == do.StartTimer(1, 0, "@retry", h.now + 1_000, 3)
    assert h.status is Status.RETRYING
    h.fire("a", "@retry").fail("a")
    assert h.status is Status.FAILED


def test_delays_differ_by_process_but_not_by_run():
    waits = set()
    for process_id in ("p", "q", "p"):
        h = Harness(
            "nodes: {a: {kind: job, topic: t, retry: {delay: PT1H, cap: PT1H, jitter: 1}}}", process_id=process_id
        )
        h.start().fail("a")
        waits.add(h.timers[1, "@retry"].due_at)
    assert len(waits) == 2
