"""Answers to what is out: jobs, items, timers, messages, children, elements that are due.

`check` says whether an answer still has somebody who waits for it, `apply` lets it have its effect. In between lies nothing, or
the time the process was suspended.
"""

from __future__ import annotations

from copy import copy
from typing import Any, assert_never

from penstock.core import commands as do
from penstock.core import events as ev
from penstock.core.addressing import Refused, active_of, attempt_of, running_of, scope_of
from penstock.core.arming import arm_of, boundary_waits, is_timer, waits
from penstock.core.definition import Boundary, Call, Http, Item, Job, Robot, Trigger
from penstock.core.entering import WORKED, offer_job
from penstock.core.expression import ExpressionFailed
from penstock.core.incidents import change, open_incident
from penstock.core.leaving import complete, pass_through
from penstock.core.retry import backoff, exhausted
from penstock.core.run import Run
from penstock.core.state import OWN, RETRY, TIMEOUT, Active, Phase, Status, VisitState
from penstock.core.withdrawal import close_job, throw, withdraw, withdraw_work

Answer = (
    ev.JobCompleted
    | ev.JobFailed
    | ev.ErrorThrown
    | ev.ItemCompleted
    | ev.ItemCancelled
    | ev.TimerFired
    | ev.MessageArrived
    | ev.ChildEnded
    | ev.ElementsDue
)


def check(run: Run, answer: Answer) -> None:
    """Raises: Refused."""
    match answer:
        case ev.JobCompleted() | ev.JobFailed() | ev.ErrorThrown():
            attempt_of(run, answer)
        case ev.ItemCompleted() | ev.ItemCancelled():
            running_of(run, answer, Item)
        case ev.TimerFired() | ev.MessageArrived():
            _check_occurrence(run, answer)
        case ev.ChildEnded():
            running_of(run, answer, Call)
        case ev.ElementsDue():
            each = scope_of(run, answer.scope).each
            if each is None or not each.due:
                raise Refused("stale", f"scope {answer.scope} has no elements due")
        case _:
            assert_never(answer)


def keep(run: Run, answer: Answer) -> None:
    """The process is suspended: the answer waits, and who gave it is done with it. It has been checked."""
    if isinstance(answer, ev.JobCompleted | ev.JobFailed | ev.ErrorThrown):
        run.commands.append(do.CloseJob(answer.visit))
    elif isinstance(answer, ev.ItemCompleted | ev.ItemCancelled):
        run.commands.append(_closing(answer))
    run.commands.append(do.KeepEvent(answer))


def apply(run: Run, answer: Answer) -> None:
    """The answer has been checked."""
    match answer:
        case ev.JobCompleted():
            _close_job(run, answer)
            complete(run, answer.scope, answer.visit, answer.output)
        case ev.JobFailed():
            _close_job(run, answer)
            _attempt_failed(run, answer, answer.failure, answer.delay)
        case ev.ErrorThrown():
            _close_job(run, answer)
            throw(run, answer.scope, answer.visit, answer.code, answer.message, answer.data)
        case ev.ItemCompleted():
            run.commands.append(_closing(answer))
            complete(run, answer.scope, answer.visit, answer.output)
        case ev.ItemCancelled():
            run.commands.append(_closing(answer))
            throw(run, answer.scope, answer.visit, ITEM_CANCELLED, answer.reason or "the item was cancelled", None)
        case ev.TimerFired():
            _timer_fired(run, answer)
        case ev.MessageArrived():
            gone = None if answer.signal else answer.purpose
            occur(run, answer.scope, answer.visit, answer.purpose, answer.payload, gone)
        case ev.ChildEnded():
            _child_ended(run, answer)
        case ev.ElementsDue():
            _elements_due(run, answer.scope)
        case _:
            assert_never(answer)


# -- jobs --------------------------------------------------------------------------------------------------------------


def _close_job(run: Run, answer: ev.VisitEvent, gone: str | None = None) -> None:
    close_job(run, answer.visit, _worked(run, answer), gone)


def _worked(run: Run, answer: ev.VisitEvent) -> Job | Http | Robot:
    node = run.node(run.peek(answer.scope).active[answer.visit].node)
    assert isinstance(node, WORKED)
    return node


def _attempt_failed(run: Run, answer: ev.VisitEvent, failure: ev.Failure, delay: int | None) -> None:
    """The job is closed; it is tried again by its node's policy, or is an incident."""
    scope_n, n = answer.scope, answer.visit
    active = run.peek(scope_n).active[n]
    policy = _worked(run, answer).retry
    if failure.permanent or exhausted(policy, active.tries):
        open_incident(run, scope_n, n, Phase.RUN_FAILED, failure)
        return
    wait = backoff(policy, run.view.process_id, n, active.attempt, active.tries) if delay is None else max(delay, 0)
    run.record(n, failure=failure)
    change(run.edit(scope_n), n, phase=Phase.BACKOFF)
    run.commands.append(do.StartTimer(n, scope_n, RETRY, run.at + wait, active.attempt))


def _next_attempt(run: Run, answer: ev.TimerFired) -> None:
    scope_n, n = answer.scope, answer.visit
    active = run.peek(scope_n).active[n]
    attempt = active.attempt + 1
    change(run.edit(scope_n), n, phase=Phase.RUN, attempt=attempt, tries=active.tries + 1)
    run.record(n, attempt=attempt)
    offer_job(run, scope_n, n, _worked(run, answer), run.view.input(n))


# -- timers and messages -----------------------------------------------------------------------------------------------


def _check_occurrence(run: Run, answer: ev.TimerFired | ev.MessageArrived) -> None:
    active = active_of(run, answer)
    purpose = answer.purpose
    if purpose in (RETRY, TIMEOUT):
        if not _is_timed(run, active, answer):
            raise Refused("stale", f"visit {answer.visit} has gone on: its timer is over")
        return
    trigger = _awaited(run, answer.scope, answer.visit, purpose)
    if trigger is None or is_timer(trigger) != isinstance(answer, ev.TimerFired):
        raise Refused("stale", f"visit {answer.visit} does not wait for {purpose!r}")


def _is_timed(run: Run, active: Active, answer: ev.TimerFired | ev.MessageArrived) -> bool:
    """Whether the present attempt of a job has this timer."""
    node = run.node(active.node)
    if not isinstance(node, WORKED) or not isinstance(answer, ev.TimerFired) or active.attempt != answer.attempt:
        return False
    if answer.purpose == RETRY:
        return active.phase is Phase.BACKOFF
    return active.phase is Phase.RUN and node.retry.timeout is not None


def _awaited(run: Run, scope_n: int, n: int, purpose: str) -> Trigger | None:
    """What a visit waits for under this purpose."""
    active = run.peek(scope_n).active[n]
    graph = run.version.places[active.node]
    found = waits(graph, graph.nodes[active.node]) if active.phase is Phase.RUN else []
    if active.armed:
        found += boundary_waits(graph, active.node)
    return dict(found).get(purpose)


def _timer_fired(run: Run, answer: ev.TimerFired) -> None:
    if answer.purpose == RETRY:
        _next_attempt(run, answer)
    elif answer.purpose == TIMEOUT:
        _close_job(run, answer, TIMEOUT)
        _attempt_failed(run, answer, ev.Failure("Timeout", "the attempt took longer than its node allows"), None)
    else:
        occur(run, answer.scope, answer.visit, answer.purpose, None, answer.purpose)


def occur(
    run: Run,
    scope_n: int,
    n: int,
    purpose: str,
    output: Any,
    gone: str | None = None,
    state: VisitState = VisitState.COMPLETED,
) -> None:
    """What a visit waited for came: its own timer or message, one of an event gateway's, or a boundary's. `gone` is the
    purpose of the timer or subscription that is used up by it; `state` is how a visit ends that waited for nothing else.
    """
    if purpose == OWN:
        withdraw_work(run, scope_n, n, gone=gone)
        complete(run, scope_n, n, output, state)
        return
    target = run.node(purpose)
    if not isinstance(target, Boundary):
        withdraw(run, scope_n, n, state, gone)
        pass_through(run, scope_n, purpose, output)
    elif target.interrupting:
        withdraw(run, scope_n, n, VisitState.CANCELLED, gone)
        pass_through(run, scope_n, purpose, output)
    else:
        pass_through(run, scope_n, purpose, output, _listen_again(run, scope_n, n, target, gone))


def _listen_again(run: Run, scope_n: int, n: int, boundary: Boundary, gone: str | None) -> ev.Failure | None:
    """A boundary that does not interrupt takes every message, not only the first. Answers why it cannot."""
    if gone is None or boundary.trigger.message is None:
        return None
    try:
        run.commands.append(arm_of(run, scope_n, n, boundary.code, boundary.trigger))
    except ExpressionFailed as error:
        return ev.Failure("ExpressionFailed", f"{boundary.code} waits for no further message: {error}")
    return None


# -- items -------------------------------------------------------------------------------------------------------------

ITEM_CANCELLED = "ItemCancelled"
"""Error code of an item that somebody has cancelled."""


def _closing(answer: ev.ItemCompleted | ev.ItemCancelled) -> do.CloseItem:
    if isinstance(answer, ev.ItemCompleted):
        return do.CloseItem(answer.visit, completed=True, output=answer.output, by=answer.actor)
    return do.CloseItem(answer.visit, completed=False, by=answer.actor)


# -- children and elements ---------------------------------------------------------------------------------------------


def _child_ended(run: Run, answer: ev.ChildEnded) -> None:
    scope_n, n = answer.scope, answer.visit
    if answer.status == Status.COMPLETED:
        complete(run, scope_n, n, answer.output)
    elif answer.code is not None:
        throw(run, scope_n, n, answer.code, answer.message, answer.output)
    else:
        message = answer.message or f"the called process is {answer.status}"
        failure = ev.Failure(f"Child{answer.status.title()}", message, permanent=True)
        open_incident(run, scope_n, n, Phase.RUN_FAILED, failure)


def _elements_due(run: Run, each_n: int) -> None:
    scope = run.edit(each_n)
    assert scope.each is not None
    scope.each = copy(scope.each)
    scope.each.due = False
    run.starting[each_n] = None
