"""Leaving nodes: a visit's work is done, its output is kept, its token goes on along the flows that are taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.core.arming import disarm_boundaries
from penstock.core.definition import AnyNode, Flow, Gateway, GatewayKind
from penstock.core.events import Failure
from penstock.core.expression import ExpressionFailed
from penstock.core.incidents import close_counts, open_incident
from penstock.core.joins import arrive
from penstock.core.naming import is_true
from penstock.core.run import Run
from penstock.core.state import Active, Phase, VisitState


def complete(run: Run, scope_n: int, n: int, output: Any, state: VisitState = VisitState.COMPLETED) -> None:
    """The visit's work is done, or was taken back by the caller: keep its output, let its token go on."""
    scope = run.edit(scope_n)
    active = scope.active[n]
    disarm_boundaries(run, scope, n, active)
    close_counts(run, scope_n, active)
    scope.done[active.node] = n
    run.set_output(n, output)
    run.record(n, state=state, ended_at=run.at)
    if output is not None or active.phase is Phase.LEAVE_FAILED:
        run.record(n, output=output)
    if active.attempt > 1 or active.phase is not Phase.RUN:
        run.record(n, failure=None)
    leave(run, scope_n, n, Active(active.node, attempt=active.attempt, tries=active.tries))


def leave_again(run: Run, scope_n: int, n: int) -> None:
    """After an incident on the way out: the work stands, only the flows are judged anew."""
    active = run.peek(scope_n).active[n]
    close_counts(run, scope_n, active)
    run.record(n, state=VisitState.COMPLETED, failure=None, ended_at=run.at)
    leave(run, scope_n, n, Active(active.node, attempt=active.attempt, tries=active.tries))


def leave(run: Run, scope_n: int, n: int, active: Active) -> None:
    """The token leaves by the flows that are taken; none true and no default is an incident. `active` is at peace."""
    scope = run.edit(scope_n)
    scope.active[n] = active
    try:
        flows = taken(run, scope_n, run.node(active.node))
    except ExpressionFailed as error:
        open_incident(run, scope_n, n, Phase.LEAVE_FAILED, Failure("ExpressionFailed", str(error)))
        return
    if flows is None:
        message = "no outgoing flow's condition is true and there is no default"
        open_incident(run, scope_n, n, Phase.LEAVE_FAILED, Failure("NoFlowTaken", message))
        return
    del scope.active[n]
    run.last[scope_n] = n, active
    for flow in flows:
        arrive(run, scope_n, flow)


def taken(run: Run, scope_n: int, node: AnyNode) -> Sequence[Flow] | None:
    """The flows a token takes when it leaves; None when there is no way on. Raises: ExpressionFailed."""
    outgoing = run.version.places[node.code].outgoing.get(node.code, ())
    kind = node.gateway if isinstance(node, Gateway) else None
    if not outgoing or kind is GatewayKind.PARALLEL:
        return outgoing
    found: list[Flow] = []
    default: Flow | None = None
    for flow in outgoing:
        if flow.default:
            default = flow
        elif is_true(run, scope_n, flow):
            found.append(flow)
            if kind is GatewayKind.EXCLUSIVE:
                break
    if found:
        return found
    return None if default is None else (default,)


def pass_through(run: Run, scope_n: int, code: str, output: Any, failure: Failure | None = None) -> None:
    """A visit that ends as it begins, with this output: a boundary, or what an event gateway waited for. With a failure
    it does not leave yet.
    """
    n = run.open_visit(scope_n, run.node(code))
    if failure is None:
        complete(run, scope_n, n, output)
        return
    run.edit(scope_n).done[code] = n
    run.set_output(n, output)
    run.record(n, output=output)
    open_incident(run, scope_n, n, Phase.LEAVE_FAILED, failure)
