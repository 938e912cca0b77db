"""What people do to a process: retry, debug, skip, restart, terminate."""

from __future__ import annotations

from typing import Any

from penstock.core import commands as do
from penstock.core import events as ev
from penstock.core.addressing import Refused, active_of, attempt_of, scope_of
from penstock.core.answers import occur
from penstock.core.arming import waits
from penstock.core.definition import Boundary, Call, Driver, Gateway, Http, Item, Job, Robot
from penstock.core.entering import WORKED, begin, begin_with, offer_job
from penstock.core.incidents import new_attempt
from penstock.core.joins import drop_stuck, take_waiting
from penstock.core.leaving import complete, leave_again
from penstock.core.run import Run
from penstock.core.state import FAILED_PHASES, ROOT, TERMINATION, Active, Phase, Status, VisitState
from penstock.core.withdrawal import withdraw, withdraw_work

TERMINATION_GRACE = 30_000
"""Milliseconds a terminated process waits for the jobs it told to stop."""


# -- a visit -----------------------------------------------------------------------------------------------------------


def retry(run: Run, event: ev.VisitRetried) -> None:
    """A new attempt of an incident's visit, in place."""
    scope_n, n = event.scope, event.visit
    active = active_of(run, event)
    if active.phase not in FAILED_PHASES:
        raise Refused("stale", f"visit {n} has no incident")
    if active.phase is Phase.STUCK:
        drop_stuck(run, scope_n, n)  # if nothing has changed it is reported again
        return
    if active.phase is Phase.LEAVE_FAILED:
        leave_again(run, scope_n, n)
        return
    new_attempt(run, scope_n, n, retrying=True)
    node = run.node(active.node)
    if active.phase is Phase.RUN_FAILED and isinstance(node, WORKED):
        offer_job(run, scope_n, n, node, run.view.input(n))
    else:
        begin(run, scope_n, n, node)


def debug(run: Run, event: ev.DebugRequested) -> None:
    """Give a visit its input or its result by hand and go on."""
    active = active_of(run, event)
    if event.has_input is event.has_output:
        raise Refused("unknown", "cannot debug: give either an input or an output")
    if active.phase is Phase.STUCK:
        raise Refused("wrong_state", "cannot debug a stuck join: skip it, or restart from a node")
    if event.has_output:
        _end_by_hand(run, event, event.output, VisitState.COMPLETED)
    else:
        _begin_by_hand(run, event, active)


def skip(run: Run, event: ev.SkipRequested) -> None:
    """End a visit with this output, its work undone."""
    active = active_of(run, event)
    if active.phase is Phase.STUCK:
        take_waiting(run, event.scope, active.node)
    _end_by_hand(run, event, event.output, VisitState.SKIPPED)


def _end_by_hand(run: Run, event: ev.DebugRequested | ev.SkipRequested, output: Any, state: VisitState) -> None:
    active = active_of(run, event)
    node = run.node(active.node)
    if isinstance(node, Gateway) and active.phase is not Phase.STUCK:
        targets = [purpose for purpose, _ in waits(run.version.places[node.code], node)]
        if targets and output not in targets:
            names = ", ".join(targets)
            raise Refused("unknown", f"an event gateway goes on by one of its events: give as output one of {names}")
        if targets:
            occur(run, event.scope, event.visit, output, None, state=state)
            return
    withdraw_work(run, event.scope, event.visit)
    complete(run, event.scope, event.visit, output, state)


def _begin_by_hand(run: Run, event: ev.DebugRequested, active: Active) -> None:
    scope_n, n = event.scope, event.visit
    node = run.node(active.node)
    takes = isinstance(node, Job | Http | Robot | Item) or (isinstance(node, Call) and active.phase in FAILED_PHASES)
    if not takes or active.phase is Phase.LEAVE_FAILED:
        raise Refused(
            "wrong_state", f"cannot debug with an input: {active.node!r}, of kind {node.kind}, takes none now"
        )
    assert isinstance(node, Job | Http | Robot | Item | Call)
    withdraw_work(run, scope_n, n)
    new_attempt(run, scope_n, n, retrying=active.retrying)
    begin_with(run, scope_n, n, node, event.input)


# -- a scope -----------------------------------------------------------------------------------------------------------


def restart(run: Run, event: ev.RestartRequested) -> None:
    """What stands at or after the node in its scope is withdrawn, joins there are emptied, one new token is put there."""
    reached = _restartable(run, event)
    scope = run.edit(event.scope)
    first = run.process.next_n
    for n in [n for n, active in scope.active.items() if active.node in reached]:
        if scope.active[n].phase is Phase.STUCK:
            drop_stuck(run, event.scope, n)
        else:
            withdraw(run, event.scope, n, VisitState.SUPERSEDED)
    scope.waiting = {code: flows for code, flows in scope.waiting.items() if code not in reached}
    scope.done = {code: n for code, n in scope.done.items() if code not in reached}
    run.commands.append(do.SupersedeVisits(event.scope, tuple(sorted(reached)), first))
    run.enqueue(event.scope, event.node)


def _restartable(run: Run, event: ev.RestartRequested) -> frozenset[str]:
    """The node and all that lies after it."""
    if run.version.driver is not Driver.GRAPH:
        raise Refused("wrong_state", f"cannot restart: the driver {run.version.driver} moves this process")
    scope = scope_of(run, event.scope)
    graph = None if scope.each is not None else run.graph(scope)
    if graph is None or event.node not in graph.nodes:
        raise Refused("unknown", f"cannot restart: scope {event.scope} has no node {event.node!r}")
    if isinstance(graph.nodes[event.node], Boundary):
        raise Refused("unknown", f"cannot restart: {event.node!r} is a boundary, no token can start there")
    if scope.index is not None and scope.parent is not None:
        each = run.peek(scope.parent).each
        if each is not None and scope.index >= each.next:
            raise Refused("stale", f"cannot restart: element {scope.index} has not been started")
    return graph.after[event.node] | {event.node}


# -- the process -------------------------------------------------------------------------------------------------------


def terminate(run: Run, event: ev.TerminateRequested) -> None:
    """Leased jobs are told to stop; the process ends when all have answered, or when the grace is over."""
    if event.running <= 0:
        _terminated(run)
        return
    deadline = run.at + TERMINATION_GRACE
    run.commands.append(do.TellJobs(deadline))
    run.commands.append(do.StartTimer(0, ROOT, TERMINATION, deadline))
    run.process.status = Status.TERMINATING
    run.process.running = event.running


def terminating(run: Run, event: ev.AnyEvent) -> None:
    """What still counts while the process waits for the jobs it told to stop."""
    if isinstance(event, ev.TerminationTimedOut):
        _terminated(run)
        return
    if not isinstance(event, ev.JobCompleted | ev.JobFailed | ev.ErrorThrown | ev.JobReturned):
        raise Refused("wrong_state", "the process is TERMINATING")
    attempt_of(run, event)
    del run.edit(event.scope).active[event.visit]
    run.commands.append(do.CloseJob(event.visit))
    run.record(event.visit, state=VisitState.CANCELLED, ended_at=run.at)
    run.process.running -= 1
    if run.process.running <= 0:
        _terminated(run)


def _terminated(run: Run) -> None:
    run.commands.append(do.Withdraw(VisitState.CANCELLED))
    run.end_process(Status.TERMINATED)
