"""Incidents: visits that cannot go on by themselves, and visits re-armed by a retry; both are counted up to the root."""

from __future__ import annotations

from copy import copy
from typing import Any

import msgspec

from penstock.core import commands as do
from penstock.core.events import Failure
from penstock.core.run import Run
from penstock.core.state import FAILED_PHASES, Active, Phase, Scope, VisitState


def change(scope: Scope, n: int, **members: Any) -> Active:
    """Members of an active visit change. `scope` must be one that may be changed."""
    active = copy(scope.active[n])
    for name, value in members.items():
        setattr(active, name, value)
    scope.active[n] = active
    return active


def open_incident(run: Run, scope_n: int, n: int, phase: Phase, failure: Failure) -> None:
    """The visit, which has none, cannot go on by itself; its token stays with it until a command."""
    scope = run.edit(scope_n)
    active = scope.active[n]
    count_incidents(run, scope_n, 1)
    if active.retrying:
        count_retrying(run, scope_n, -1)
    change(scope, n, phase=phase, retrying=False)
    run.record(n, state=VisitState.FAILED, failure=failure, ended_at=None)
    data = {"visit": n, "node": active.node, "failure": msgspec.to_builtins(failure)}
    run.commands.append(do.Publish("incident.opened", data))


def new_attempt(run: Run, scope_n: int, n: int, *, retrying: bool) -> Active:
    """A visit's work begins once more by a command, whether it has an incident or not."""
    scope = run.edit(scope_n)
    active = scope.active[n]
    if active.phase in FAILED_PHASES:
        count_incidents(run, scope_n, -1)
    if retrying != active.retrying:
        count_retrying(run, scope_n, 1 if retrying else -1)
    attempt = active.attempt + 1
    run.record(n, state=VisitState.OPEN, failure=None, attempt=attempt)
    return change(scope, n, phase=Phase.RUN, attempt=attempt, tries=1, retrying=retrying)


def close_counts(run: Run, scope_n: int, active: Active) -> None:
    """The visit is over, and with it its incident and its place in a round of retries."""
    if active.phase in FAILED_PHASES:
        count_incidents(run, scope_n, -1)
    if active.retrying:
        count_retrying(run, scope_n, -1)


def count_incidents(run: Run, scope_n: int, by: int) -> None:
    if not by:
        return
    run.process.incidents += by
    n: int | None = scope_n
    while n is not None:
        scope = run.edit(n)
        before = scope.incidents
        scope.incidents += by
        if scope.index is not None and (before > 0) != (scope.incidents > 0):
            _count_element(run, scope, 1 if scope.incidents > 0 else -1)
        n = scope.parent


def _count_element(run: Run, element: Scope, by: int) -> None:
    assert element.parent is not None
    outer = run.edit(element.parent)
    assert outer.each is not None
    outer.each = copy(outer.each)
    outer.each.failed += by


def count_retrying(run: Run, scope_n: int, by: int) -> None:
    if not by:
        return
    run.process.retrying += by
    n: int | None = scope_n
    while n is not None:
        scope = run.edit(n)
        scope.retrying += by
        n = scope.parent
