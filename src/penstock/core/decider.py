"""The decider: what a process does next.

Theory of operation
-------------------
`step(version, process, view, event)` is a pure function. It takes the compiled version, the thin row of the process, a view
to look its scopes and outputs up, and one event; it answers with a `Step` (what changed, and commands for the engine) or a
`Rejected` (why not), in which case nothing changed. No I/O, no clock, no randomness: time is `event.at`, never less than the time
of the last event; numbers come from the process's counter; jitter is a hash.

A process is a tree of scopes. A scope holds tokens: each is at an *active visit* or waits at a join. An event names a visit by
its scope and number; an event for a visit that is not active any more is *stale* and rejected, which is what makes late and
repeated answers harmless. Handling an event ends, fails or re-arms a visit; then `Run.settle` moves every token as far as it
goes: nodes that need nobody (gateways, `set`, starts, ends) run through, the others open a job, an item, a timer, a
subscription, a child or a scope and wait.

There are three kinds of trouble, and they do not mix:

* a technical failure of a job is tried again by its node's policy, then becomes an *incident*;
* a business error (`throw`) goes outwards to the nearest boundary that takes it, else becomes an incident;
* an expression that fails, a gateway without a way on, a join that can never be complete: an incident on that node at once.

An incident is a visit that keeps its token in one of the failed phases; the process is FAILED while there is one, and its other
tokens go on. Commands (retry, debug, skip, restart) take it up in place.

The state of the process as a whole is derived after each event: ended, TERMINATING and SUSPENDED are set by commands; else
FAILED while an incident is open, RETRYING while a re-armed visit has not ended, RUNNING otherwise. While SUSPENDED every
answer, message and due timer is kept as it is (`KeepEvent`) and applied at resume. While TERMINATING only the returns of the
jobs that were told to stop count.

`LEGAL` is the whole table of commands by state. The semantics of nodes, flows and joins are BPMN 2.0's (chapter 13).
"""

from __future__ import annotations

from typing import Any, NamedTuple, assert_never

from penstock.core import commands as do
from penstock.core import events as ev
from penstock.core.definition import (
    Boundary,
    Driver,
    Gateway,
    GatewayKind,
    Http,
    Item,
    Job,
    Robot,
    Version,
)
from penstock.core.retry import backoff, exhausted
from penstock.core.run import Run, View
from penstock.core.state import ENDED, FAILED_PHASES, ROOT, Active, Phase, Process, Scope, Status, VisitState

TERMINATION_GRACE = 30_000
"""Milliseconds a terminated process waits for the jobs it told to stop."""

TERMINATE_TIMER = "terminate"
"""Purpose of that timer; its visit is 0."""

_MOVING = frozenset({Status.RUNNING, Status.FAILED, Status.RETRYING})
_OPEN = _MOVING | {Status.SUSPENDED}

LEGAL: dict[type[ev.Event], tuple[str, frozenset[Status]]] = {
    ev.CompleteRequested: ("complete", _MOVING),
    ev.CancelRequested: ("cancel", _OPEN),
    ev.TerminateRequested: ("terminate", _OPEN),
    ev.SuspendRequested: ("suspend", _MOVING),
    ev.ResumeRequested: ("resume", frozenset({Status.SUSPENDED})),
    ev.RetryRequested: ("retry", frozenset({Status.FAILED})),
    ev.VisitRetried: ("retry", frozenset({Status.FAILED, Status.RETRYING})),
    ev.DebugRequested: ("debug", _MOVING),
    ev.SkipRequested: ("skip", _MOVING),
    ev.RestartRequested: ("restart", _MOVING),
    ev.Migrated: ("migrate", _OPEN),
    ev.ItemClaimed: ("claim", _OPEN),
}
"""Event of a command -> its name and the states it is legal in. Every other event is an answer, a timer or a message."""


class Rejected(NamedTuple):
    """The event is not legal here and changed nothing. `code` is "wrong_state", "stale" or "unknown"."""

    code: str
    message: str


class Step(NamedTuple):
    """What an event did. `scopes` maps number -> new scope; dropped ones are named by `DropScope` commands."""

    process: Process
    scopes: dict[int, Scope]
    visits: list[do.Command]
    commands: list[do.Command]


class _Refused(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.rejected = Rejected(code, message)


def start(version: Version, view: View, event: ev.Started) -> Step:
    """The first step of a process."""
    run = Run(version, Process(called=event.called), view, event.at)
    run.changed[ROOT] = Scope(n=ROOT)
    for name in ("input", "metadata", "entity"):
        if getattr(event, name) is not None:
            run.set_data(name, getattr(event, name))
    run.commands.append(do.Publish("process.started", {}))
    if version.driver is Driver.GRAPH:
        if event.start is not None:
            run.pass_through(ROOT, event.start, event.payload)
        else:
            for code in version.root.starts:
                run.enqueue(ROOT, code)
        run.settle()
    return _finish(run)


def step(version: Version, process: Process, view: View, event: ev.AnyEvent) -> Step | Rejected:
    """Apply one event. Never raises for a legal process, whatever the event."""
    try:
        return _step(version, process, view, event)
    except _Refused as refused:
        return refused.rejected


def _step(version: Version, process: Process, view: View, event: ev.AnyEvent) -> Step:
    status = process.status
    legal = LEGAL.get(type(event))
    if legal is not None and status not in legal[1]:
        raise _Refused("wrong_state", f"cannot {legal[0]}: the process is {status}")
    if status in ENDED:
        raise _Refused("wrong_state", f"the process has ended: it is {status}")
    run = Run(version, process, view, max(event.at, process.at))
    if status is Status.TERMINATING:
        _terminating(run, event)
    elif status is Status.SUSPENDED and legal is None:
        _require_active(run, event)
        run.commands.append(do.KeepEvent(event))
    else:
        _handle(run, event)
        run.settle()
    return _finish(run)


def _finish(run: Run) -> Step:
    process = run.process
    if process.status in _MOVING:
        process.status = (
            Status.FAILED if process.incidents else Status.RETRYING if process.retrying else Status.RUNNING
        )
    return Step(process, run.changed, run.visit_commands(), run.commands)


def _handle(run: Run, event: ev.AnyEvent) -> None:
    match event:
        case ev.Started():
            raise _Refused("wrong_state", "the process has started already")
        case ev.JobCompleted():
            _job_completed(run, event)
        case ev.JobFailed():
            _job_failed(run, event)
        case ev.ErrorThrown():
            _error_thrown(run, event)
        case ev.JobReturned() | ev.TerminationTimedOut():
            raise _Refused("stale", "the process is not being terminated")
        case ev.ItemClaimed():
            _active(run, event, Item)
            run.commands.append(do.ClaimItem(event.visit, event.owner))
        case ev.ItemCompleted():
            _active(run, event, Item)
            run.commands.append(do.CloseItem(event.visit, completed=True, output=event.output))
            run.complete(event.scope, event.visit, event.output)
        case ev.TimerFired():
            _timer_fired(run, event)
        case ev.MessageArrived():
            _occurred(run, event.scope, event.visit, event.purpose, event.payload)
        case ev.ChildEnded():
            _child_ended(run, event)
        case ev.ElementsDue():
            if _scope(run, event.scope).each is None:
                raise _Refused("unknown", f"scope {event.scope} is no for_each")
            run.start_elements(event.scope)
        case ev.CompleteRequested():
            _complete_requested(run, event)
        case ev.CancelRequested():
            run.commands.append(do.Withdraw(VisitState.CANCELLED))
            run.end_process(Status.CANCELLED)
        case ev.TerminateRequested():
            _terminate(run, event)
        case ev.SuspendRequested():
            run.process.status = Status.SUSPENDED
            run.commands.append(do.HoldJobs())
            run.commands.append(do.Publish("process.suspended", {}))
        case ev.ResumeRequested():
            run.process.status = Status.RUNNING
            run.commands.append(do.ReleaseJobs())
            run.commands.append(do.Publish("process.resumed", {}))
        case ev.RetryRequested():
            run.process.retries += 1
        case ev.VisitRetried():
            _visit_retried(run, event)
        case ev.DebugRequested():
            _debug(run, event)
        case ev.SkipRequested():
            _skip(run, event)
        case ev.RestartRequested():
            _restart(run, event)
        case ev.Migrated():
            raise _Refused("wrong_state", "a migration is applied by core.migration")
        case _:
            assert_never(event)


# -- finding what an event is about ----------------------------------------------------------------------------


def _scope(run: Run, n: int) -> Scope:
    try:
        return run.peek(n)
    except KeyError:
        raise _Refused("stale", f"scope {n} is not open") from None


def _active(run: Run, event: ev.VisitEvent, *kinds: type) -> Active:
    """The active visit an event is for. Refused when it is not there, or not of these kinds of node."""
    active = _scope(run, event.scope).active.get(event.visit)
    if active is None:
        raise _Refused("stale", f"visit {event.visit} is not open")
    if kinds and not isinstance(run.node(active.node), kinds):
        raise _Refused("unknown", f"visit {event.visit} is at {active.node!r}, which is of another kind")
    if kinds and active.phase is not Phase.RUN:
        raise _Refused("stale", f"visit {event.visit} is not waiting for this")
    return active


def _attempt(run: Run, event: ev.JobCompleted | ev.JobFailed | ev.ErrorThrown) -> Active:
    active = _active(run, event, Job, Http, Robot)
    if active.attempt != event.attempt:
        raise _Refused("stale", f"attempt {event.attempt} of visit {event.visit} is over")
    return active


def _require_active(run: Run, event: ev.AnyEvent) -> None:
    """What is kept while suspended must at least be for something that is open."""
    if isinstance(event, ev.JobCompleted | ev.JobFailed | ev.ErrorThrown):
        _attempt(run, event)
        run.commands.append(do.CloseJob(event.visit))
    elif isinstance(event, ev.ElementsDue):
        _scope(run, event.scope)
    elif isinstance(event, ev.VisitEvent):
        _active(run, event)
        if isinstance(event, ev.ItemCompleted):
            _active(run, event, Item)
            run.commands.append(do.CloseItem(event.visit, completed=True, output=event.output))
    else:
        raise _Refused("wrong_state", "the process is SUSPENDED")


# -- jobs --------------------------------------------------------------------------------------------------------


def _job_completed(run: Run, event: ev.JobCompleted) -> None:
    _attempt(run, event)
    run.commands.append(do.CloseJob(event.visit))
    run.complete(event.scope, event.visit, event.output)


def _job_failed(run: Run, event: ev.JobFailed) -> None:
    active = _attempt(run, event)
    run.commands.append(do.CloseJob(event.visit))
    _attempt_failed(run, event.scope, event.visit, active, event.failure, event.delay)


def _attempt_failed(run: Run, scope_n: int, n: int, active: Active, failure: ev.Failure, delay: int | None) -> None:
    node = run.node(active.node)
    assert isinstance(node, Job | Http | Robot)
    if node.retry.timeout is not None:
        run.commands.append(do.StopTimer(n, "timeout"))
    if failure.permanent or exhausted(node.retry, active.tries):
        run.incident(scope_n, n, Phase.RUN_FAILED, failure)
        return
    wait = backoff(node.retry, run.view.process_id, n, active.attempt, active.tries) if delay is None else delay
    run.record(n, failure=failure)
    run.change(scope_n, n, phase=Phase.BACKOFF, armed=True)
    run.commands.append(do.StartTimer(n, scope_n, "retry", run.at + wait, active.attempt))


def _error_thrown(run: Run, event: ev.ErrorThrown) -> None:
    _attempt(run, event)
    run.commands.append(do.CloseJob(event.visit))
    run.change(event.scope, event.visit, phase=Phase.BACKOFF)  # its job is closed: nothing more to withdraw
    run.throw(event.scope, event.visit, event.code, event.message, event.data)


def _new_attempt(run: Run, scope_n: int, n: int, active: Active) -> None:
    """The next attempt of a job by the node's own policy."""
    node = run.node(active.node)
    assert isinstance(node, Job | Http | Robot)
    again = run.change(scope_n, n, phase=Phase.RUN, attempt=active.attempt + 1, tries=active.tries + 1)
    run.record(n, attempt=again.attempt)
    run.offer_job(scope_n, n, again, node, run.view.input(n))


# -- timers, messages, children -----------------------------------------------------------------------------------


def _timer_fired(run: Run, event: ev.TimerFired) -> None:
    active = _active(run, event)
    if event.purpose == "retry":
        if active.phase is not Phase.BACKOFF or active.attempt != event.attempt:
            raise _Refused("stale", "this retry is over")
        _new_attempt(run, event.scope, event.visit, active)
    elif event.purpose == "timeout":
        if active.phase is not Phase.RUN or active.attempt != event.attempt:
            raise _Refused("stale", "this attempt is over")
        run.commands.append(do.CloseJob(event.visit))
        failure = ev.Failure("Timeout", "the attempt took longer than its node allows")
        _attempt_failed(run, event.scope, event.visit, active, failure, None)
    else:
        _occurred(run, event.scope, event.visit, event.purpose, None)


def _occurred(run: Run, scope_n: int, n: int, purpose: str, output: Any) -> None:
    """What a visit waited for came: its own timer or message, one of an event gateway's, or a boundary's."""
    scope = _scope(run, scope_n)
    active = scope.active.get(n)
    if active is None:
        raise _Refused("stale", f"visit {n} is not open")
    if purpose == "node":
        if active.phase is not Phase.RUN:
            raise _Refused("stale", f"visit {n} does not wait")
        run.complete(scope_n, n, output)
        return
    target = run.graph(scope).nodes.get(purpose)
    if isinstance(target, Boundary) and target.attached_to == active.node:
        if target.interrupting:
            run.withdraw(scope_n, n, VisitState.CANCELLED)
        run.pass_through(scope_n, purpose, output)
        return
    node = run.node(active.node)
    if target is None or not isinstance(node, Gateway) or node.gateway is not GatewayKind.EVENT:
        raise _Refused("stale", f"visit {n} does not wait for {purpose!r}")
    run.withdraw(scope_n, n, VisitState.COMPLETED)
    run.pass_through(scope_n, purpose, output)


def _child_ended(run: Run, event: ev.ChildEnded) -> None:
    active = _active(run, event)
    if active.phase is not Phase.RUN:
        raise _Refused("stale", f"visit {event.visit} waits for no child")
    if event.status == Status.COMPLETED:
        run.complete(event.scope, event.visit, event.output)
        return
    run.change(event.scope, event.visit, phase=Phase.BACKOFF)  # the child is gone: nothing to withdraw
    if event.code is not None:
        run.throw(event.scope, event.visit, event.code, event.message, event.output)
        return
    failure = ev.Failure(f"Child{event.status.title()}", event.message or f"the called process is {event.status}", True)
    run.incident(event.scope, event.visit, Phase.RUN_FAILED, failure)


# -- commands on the process ---------------------------------------------------------------------------------------


def _complete_requested(run: Run, event: ev.CompleteRequested) -> None:
    if run.version.driver is Driver.GRAPH:
        raise _Refused("wrong_state", "cannot complete: the graph of the definition decides when this process is over")
    run.commands.append(do.Withdraw(VisitState.CANCELLED))
    run.end_process(Status.COMPLETED, event.output)


def _terminate(run: Run, event: ev.TerminateRequested) -> None:
    if not event.running:
        run.commands.append(do.Withdraw(VisitState.CANCELLED))
        run.end_process(Status.TERMINATED)
        return
    deadline = run.at + TERMINATION_GRACE
    run.commands.append(do.TellJobs(deadline))
    run.commands.append(do.StartTimer(0, ROOT, TERMINATE_TIMER, deadline))
    run.process.status = Status.TERMINATING
    run.process.running = event.running
    run.process.incidents = run.process.retrying = 0


def _terminating(run: Run, event: ev.AnyEvent) -> None:
    if isinstance(event, ev.JobCompleted | ev.JobFailed | ev.ErrorThrown | ev.JobReturned):
        run.commands.append(do.CloseJob(event.visit))
        run.record(event.visit, state=VisitState.CANCELLED, ended_at=run.at)
        run.process.running -= 1
        if run.process.running > 0:
            return
    elif not isinstance(event, ev.TerminationTimedOut):
        raise _Refused("wrong_state", "the process is TERMINATING")
    run.commands.append(do.Withdraw(VisitState.CANCELLED))
    run.end_process(Status.TERMINATED)


def _visit_retried(run: Run, event: ev.VisitRetried) -> None:
    scope_n, n = event.scope, event.visit
    active = _active(run, event)
    if active.phase not in FAILED_PHASES:
        raise _Refused("stale", f"visit {n} has no incident")
    if active.phase is Phase.STUCK:
        run.drop_stuck(scope_n, n)
        return
    again = run.resolve(scope_n, n, retrying=True)
    node = run.node(active.node)
    if active.phase is Phase.LEAVE_FAILED:
        run.leave_again(scope_n, n)
    elif active.phase is Phase.RUN_FAILED and isinstance(node, Job | Http | Robot):
        run.offer_job(scope_n, n, again, node, run.view.input(n))
    else:
        run.begin_again(scope_n, n, node)


def _debug(run: Run, event: ev.DebugRequested) -> None:
    scope_n, n = event.scope, event.visit
    active = _active(run, event)
    if active.phase is Phase.STUCK:
        raise _Refused("wrong_state", "a stuck join has neither input nor result; skip it, or restart from a node")
    node = run.node(active.node)
    if event.has_output:
        run.withdraw_work(scope_n, n, active)
        run.complete(scope_n, n, event.output)
        return
    if not isinstance(node, Job | Http | Robot | Item) or active.phase is Phase.LEAVE_FAILED:
        raise _Refused("wrong_state", f"cannot debug with an input: {active.node!r} is a {node.kind} that takes none")
    run.withdraw_work(scope_n, n, active)
    if active.phase is Phase.BACKOFF:
        run.commands.append(do.StopTimer(n, "retry"))
    elif active.armed:
        run.commands.append(do.StopTimer(n, "timeout"))
    if active.phase in FAILED_PHASES:
        run.resolve(scope_n, n, retrying=False)
    else:
        run.change(scope_n, n, phase=Phase.RUN, attempt=active.attempt + 1, tries=1)
        run.record(n, attempt=active.attempt + 1)
    if isinstance(node, Item):
        run.open_item(scope_n, n, node, event.input)
    else:
        run.open_job(scope_n, n, node, event.input)


def _skip(run: Run, event: ev.SkipRequested) -> None:
    scope_n, n = event.scope, event.visit
    active = _active(run, event)
    if active.phase is Phase.STUCK:
        run.take_waiting(scope_n, active.node)
    run.withdraw_work(scope_n, n, active)
    run.complete(scope_n, n, event.output, VisitState.SKIPPED)


def _restart(run: Run, event: ev.RestartRequested) -> None:
    scope = _scope(run, event.scope)
    graph = None if scope.each is not None else run.graph(scope)
    if graph is None or event.node not in graph.nodes:
        raise _Refused("unknown", f"scope {event.scope} has no node {event.node!r}")
    if isinstance(graph.nodes[event.node], Boundary):
        raise _Refused("unknown", f"{event.node!r} is a boundary: a token cannot start there")
    reached = graph.after[event.node] | {event.node}
    scope = run.edit(event.scope)
    for n in [n for n, active in scope.active.items() if active.node in reached]:
        if scope.active[n].phase is Phase.STUCK:
            run.drop_stuck(event.scope, n)
        else:
            run.withdraw(event.scope, n, VisitState.SUPERSEDED)
    for code in [code for code in scope.waiting if code in reached]:
        del scope.waiting[code]
    overtaken = [code for code in scope.done if code in reached]
    for code in overtaken:
        del scope.done[code]
    run.commands.append(do.SupersedeVisits(event.scope, tuple(sorted(reached))))
    run.enqueue(event.scope, event.node)
