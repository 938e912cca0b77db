"""Taking back: visits ended from outside, with their work and the scopes below them; business errors on their way outwards."""

from __future__ import annotations

from collections import deque
from typing import Any

from penstock.core import commands as do
from penstock.core.arming import disarm, disarm_boundaries, waits
from penstock.core.definition import Boundary, Call, Gateway, Http, Item, Job, Message, Robot, ScopeNode, Timer
from penstock.core.events import Failure
from penstock.core.incidents import close_counts, count_incidents, count_retrying, open_incident
from penstock.core.leaving import pass_through
from penstock.core.run import Run
from penstock.core.state import RETRY, TIMEOUT, Active, Phase, Scope, Status, VisitState


def withdraw(run: Run, scope_n: int, n: int, state: VisitState, gone: str | None = None) -> None:
    """End a visit from outside: its work is taken back, its token is gone. `gone` is the timer that fired, if one did."""
    withdraw_work(run, scope_n, n, state, gone)
    end_visit(run, scope_n, n, state, gone)


def end_visit(run: Run, scope_n: int, n: int, state: VisitState, gone: str | None = None) -> None:
    """End a visit whose work is over, without a way on."""
    scope = run.edit(scope_n)
    active = scope.active[n]
    disarm_boundaries(run, scope, n, active, gone)
    close_counts(run, scope_n, active)
    del scope.active[n]
    run.record(n, state=state, ended_at=run.at)


def withdraw_work(
    run: Run, scope_n: int, n: int, state: VisitState = VisitState.CANCELLED, gone: str | None = None
) -> None:
    """Take back what is out for a visit itself: job, item, child, scope, timer, subscriptions. Its boundaries stay armed."""
    active = run.peek(scope_n).active[n]
    if active.phase is Phase.BACKOFF:
        run.commands.append(do.StopTimer(n, RETRY))
    elif active.phase is Phase.RUN:
        _withdraw_running(run, scope_n, n, active, state, gone)


def _withdraw_running(run: Run, scope_n: int, n: int, active: Active, state: VisitState, gone: str | None) -> None:
    node = run.node(active.node)
    match node:
        case Job() | Http() | Robot():
            run.withdrew = True
            close_job(run, n, node, gone)
        case Item():
            run.commands.append(do.CloseItem(n, completed=False))
        case Call():
            run.withdrew = True
            run.commands.append(do.CancelChild(n))
        case ScopeNode():
            _drop_scope(run, scope_n, n, state)
        case Timer() | Message() | Gateway():
            disarm(run, n, waits(run.version.places[active.node], node), gone)
        case _:
            pass


def close_job(run: Run, n: int, node: Job | Http | Robot, gone: str | None = None) -> None:
    """The attempt is over: a late answer is lost, its time runs no longer."""
    run.commands.append(do.CloseJob(n))
    if node.retry.timeout is not None and gone != TIMEOUT:
        run.commands.append(do.StopTimer(n, TIMEOUT))


def _drop_scope(run: Run, scope_n: int, n: int, state: VisitState) -> None:
    """A scope goes with all below it."""
    run.withdrew = True
    inner = run.peek(n)
    count_incidents(run, scope_n, -inner.incidents)
    count_retrying(run, scope_n, -inner.retrying)
    ended = state if state is VisitState.SUPERSEDED else VisitState.CANCELLED
    below = [m for m in run.changed if any(scope.n == n for scope in run.chain(m))]
    for m in below:
        if run.is_born(run.changed[m]):
            _end_all(run, run.changed[m], ended)
    for m in [*below, n]:
        run.forget(m)
    run.queue = deque(entry for entry in run.queue if entry[0] not in run.dropped)
    run.commands.append(do.DropScope(n, ended))


def _end_all(run: Run, scope: Scope, state: VisitState) -> None:
    """End the visits of a scope the store has no row of, so that it could not find them by it."""
    for n, active in scope.active.items():
        disarm_boundaries(run, scope, n, active)
        if not isinstance(run.node(active.node), ScopeNode):
            withdraw_work(run, scope.n, n)
        run.record(n, state=state, ended_at=run.at)


def empty_scope(run: Run, scope_n: int, keep: int) -> None:
    """A terminate end: every token of the scope but that of one visit goes."""
    scope = run.edit(scope_n)
    for n in [m for m in scope.active if m != keep]:
        withdraw(run, scope_n, n, VisitState.CANCELLED)
    scope.waiting = {}
    run.queue = deque(entry for entry in run.queue if entry[0] != scope_n)


def throw(run: Run, scope_n: int, n: int, code: str, message: str, data: Any) -> None:
    """A business error of a visit whose work is over: the nearest boundary outwards takes it, else the caller, else it
    is an incident.
    """
    at_scope, at_visit = scope_n, n
    while True:
        scope = run.peek(at_scope)
        boundary = _catcher(run, scope, scope.active[at_visit].node, code)
        if boundary is not None:
            end_visit(run, scope_n, n, VisitState.THROWN)
            if at_visit != n:
                withdraw(run, at_scope, at_visit, VisitState.THROWN)
            pass_through(run, at_scope, boundary.code, {"code": code, "message": message, "data": data})
            return
        if scope.parent is None:
            break
        at_scope, at_visit = scope.parent, scope.n
        if scope.index is not None:
            each = run.peek(scope.parent)
            assert each.parent is not None
            at_scope, at_visit = each.parent, each.n
    if run.process.called:
        end_visit(run, scope_n, n, VisitState.THROWN)
        run.withdrew = True
        run.commands.append(do.Withdraw(VisitState.CANCELLED))
        run.end_process(Status.TERMINATED, data, code, message)
        return
    failure = Failure(code, message or f"error {code!r} was not caught", permanent=True)
    open_incident(run, scope_n, n, Phase.RUN_FAILED, failure)


def _catcher(run: Run, scope: Scope, node: str, code: str) -> Boundary | None:
    """The boundary of a node that takes an error: one for its very code before one for any."""
    boundaries = run.graph(scope).boundaries.get(node, ())
    for wanted in (code, "*"):
        for boundary in boundaries:
            if boundary.trigger.error == wanted:
                return boundary
    return None
