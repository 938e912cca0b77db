"""Timers and subscriptions of visits: of the node itself, of an event gateway's targets, of boundaries.

Each is named by its visit and a purpose, so what to stop follows from the version and where the visit stands; nothing is searched.
"""

from __future__ import annotations

from collections.abc import Iterable

from penstock.core import commands as do
from penstock.core.definition import AnyNode, Gateway, GatewayKind, Graph, Message, Timer, Trigger
from penstock.core.naming import due_at, message_key
from penstock.core.run import Run
from penstock.core.state import OWN, Active, Scope

Armed = tuple[str, Trigger]
"""A purpose and what it waits for."""


def waits(graph: Graph, node: AnyNode) -> list[Armed]:
    """What a visit at this node itself waits for, besides work that is out."""
    if isinstance(node, Timer | Message):
        return [(OWN, _trigger(node))]
    if not isinstance(node, Gateway) or node.gateway is not GatewayKind.EVENT:
        return []
    found: list[Armed] = []
    for flow in graph.outgoing[node.code]:
        target = graph.nodes[flow.target]
        assert isinstance(target, Timer | Message), "checked at deployment"
        found.append((target.code, _trigger(target)))
    return found


def boundary_waits(graph: Graph, code: str) -> list[Armed]:
    """What the boundaries of a node wait for; errors come by themselves."""
    boundaries = graph.boundaries.get(code)
    if not boundaries:
        return []
    return [(boundary.code, boundary.trigger) for boundary in boundaries if boundary.trigger.error is None]


def arms_of(run: Run, scope_n: int, n: int, waited: Iterable[Armed]) -> list[do.Command]:
    """The commands that start these timers and subscriptions. Raises: ExpressionFailed."""
    return [arm_of(run, scope_n, n, purpose, trigger) for purpose, trigger in waited]


def arm_of(run: Run, scope_n: int, n: int, purpose: str, trigger: Trigger) -> do.Command:
    """Raises: ExpressionFailed."""
    if is_timer(trigger):
        return do.StartTimer(n, scope_n, purpose, due_at(run, scope_n, trigger))
    if trigger.signal is not None:
        return do.Subscribe(n, scope_n, purpose, trigger.signal, "", signal=True)
    return do.Subscribe(n, scope_n, purpose, trigger.message or "", message_key(run, scope_n, trigger))


def is_timer(trigger: Trigger) -> bool:
    return trigger.after is not None or trigger.until is not None


def disarm(run: Run, n: int, waited: Iterable[Armed], gone: str | None = None) -> None:
    """Stop these timers and subscriptions but for the one that is `gone`: it fired, or was used up."""
    for purpose, trigger in waited:
        if purpose != gone:
            run.commands.append(do.StopTimer(n, purpose) if is_timer(trigger) else do.Unsubscribe(n, purpose))


def disarm_boundaries(run: Run, scope: Scope, n: int, active: Active, gone: str | None = None) -> None:
    """The visit is over: its boundaries wait no longer."""
    if active.armed:
        disarm(run, n, boundary_waits(run.graph(scope), active.node), gone)


def _trigger(node: Timer | Message) -> Trigger:
    return node.trigger if isinstance(node, Message) else Trigger(after=node.after, until=node.until)
