"""Commands from outside, as the operations make events of them: which visit is meant, and why one is refused."""

from __future__ import annotations

from typing import Any

from penstock.core import events as ev
from penstock.core.decider import Rejected
from penstock.core.state import ENDED, ROOT, VisitState
from penstock.simulation.case import Order
from penstock.simulation.process import Simulated, Visit
from penstock.simulation.world import World


class _Refused(Exception):
    """The command names nothing it could be for."""


def give(world: World, order: Order) -> str:
    """Give a command; why it was refused, "" when it was not."""
    try:
        process = _process(world, order)
        refused = _apply(world, process, order)
    except _Refused as error:
        return str(error)
    return "" if refused is None else refused.message


def _process(world: World, order: Order) -> Simulated:
    if order.of is None:
        return world.processes[0]
    found = [each for each in world.processes if each.version.code == order.of]
    if not found:
        raise _Refused(f"no process of {order.of} has been started")
    return next((each for each in found if each.process.status not in ENDED), found[-1])


def _apply(world: World, process: Simulated, order: Order) -> Rejected | None:
    at = world.now
    match order.do:
        case "retry":
            return _retry(world, process)
        case "suspend":
            return world.apply(process, ev.SuspendRequested(at=at))
        case "resume":
            return world.apply(process, ev.ResumeRequested(at=at))
        case "cancel":
            return world.apply(process, ev.CancelRequested(at=at))
        case "terminate":
            return world.apply(process, ev.TerminateRequested(at=at, running=len(process.in_hand)))
        case "complete":
            return world.apply(process, ev.CompleteRequested(at=at, output=order.output))
        case "restart":
            return world.apply(process, ev.RestartRequested(at=at, scope=_scope(process, order), node=order.node or ""))
        case _:
            return world.apply(process, _at_visit(world, process, order))


def _retry(world: World, process: Simulated) -> Rejected | None:
    refused = world.apply(process, ev.RetryRequested(at=world.now))
    if refused is None:
        for visit in [each for each in process.open.values() if each.state is VisitState.FAILED]:
            # One that went with an earlier one of this round is refused, and that is all right.
            world.apply(process, ev.VisitRetried(at=world.now, scope=visit.scope, visit=visit.n))
    return refused


def _at_visit(world: World, process: Simulated, order: Order) -> ev.SkipRequested | ev.DebugRequested:
    visit = _visit(process, order)
    of: dict[str, Any] = {"at": world.now, "scope": visit.scope, "visit": visit.n}
    if order.do == "skip":
        return ev.SkipRequested(output=order.output, **of)
    if order.has_input:
        return ev.DebugRequested(has_input=True, input=order.input, **of)
    return ev.DebugRequested(has_output=True, output=order.output, **of)


def _visit(process: Simulated, order: Order) -> Visit:
    if order.visit is not None:
        if order.visit not in process.open:
            raise _Refused(f"visit {order.visit} is not open")
        return process.open[order.visit]
    found = process.at(order.node or "")
    if len(found) != 1:
        few = f"no open visit stands at {order.node!r}"
        many = f"{len(found)} open visits stand at {order.node!r}; name the visit by its number"
        raise _Refused(many if found else few)
    return found[0]


def _scope(process: Simulated, order: Order) -> int:
    """The scope in which a node is restarted; `visit` is the number of the visit that opened it."""
    if order.visit is not None:
        return order.visit
    owner = process.version.owners[order.node or ""]
    if not owner:
        return ROOT
    found = process.at(owner)
    if len(found) != 1:
        raise _Refused(f"{len(found)} open scopes have {order.node!r}; name the visit that opened it by its number")
    return found[0].n
