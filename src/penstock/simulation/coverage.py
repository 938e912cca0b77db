"""Which nodes and flows of a definition its cases have taken.

The decider does not tell which flows it took. Three facts do, exactly: which nodes were run, which were left, and what the
conditions gave when they were asked; so each condition of our own copy of a version is one that remembers (`watch`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import msgspec

from penstock.core.definition import Flow, Gateway, GatewayKind, Graph, Version
from penstock.core.expression import Expression


class Trail(msgspec.Struct):
    """What happened in a version, over all its cases."""

    visited: set[str] = set()
    left: set[str] = set()
    """Nodes a token has left by flows."""
    flows: set[str] = set()
    """Ids of flows known to be taken by their conditions."""


class Coverage(msgspec.Struct, frozen=True):
    """Of one definition."""

    definition: str
    nodes: int
    flows: int
    nodes_missed: tuple[str, ...]
    flows_missed: tuple[str, ...]
    """As `from -> to`."""
    tested: bool = True


@dataclass(frozen=True, slots=True)
class _Watched(Expression):
    """A condition that tells what it gave."""

    tell: Callable[[Any], None] = field(compare=False, repr=False)

    def evaluate(self, names: Any) -> Any:
        value = Expression.evaluate(self, names)
        self.tell(value)
        return value


def watch(version: Version) -> Trail:
    """Replace the conditions of a version by ones that remember."""
    trail = Trail()
    for graph in _graphs(version):
        for code, flows in graph.outgoing.items():
            asked = [flow for flow in flows if flow.condition is not None]
            if asked:
                graph.outgoing[code] = _watched(trail, flows, exclusive=_is(graph, code, GatewayKind.EXCLUSIVE))
    return trail


def coverage(version: Version, trail: Trail) -> Coverage:
    nodes = list(version.places)
    flows = [(graph, flow) for graph in _graphs(version) for flow in graph.flows]
    return Coverage(
        definition=version.code,
        nodes=len(nodes),
        flows=len(flows),
        nodes_missed=tuple(code for code in nodes if code not in trail.visited),
        flows_missed=tuple(_named(flow) for graph, flow in flows if not _taken(trail, graph, flow)),
    )


def merged(found: Iterable[Coverage]) -> list[Coverage]:
    """One of each definition: what was taken by cases of any file counts."""
    by_code: dict[str, Coverage] = {}
    for each in found:
        other = by_code.setdefault(each.definition, each)
        nodes = tuple(code for code in each.nodes_missed if code in other.nodes_missed)
        flows = tuple(name for name in each.flows_missed if name in other.flows_missed)
        by_code[each.definition] = msgspec.structs.replace(each, nodes_missed=nodes, flows_missed=flows)
    return list(by_code.values())


def _graphs(version: Version) -> list[Graph]:
    found = {id(graph): graph for graph in (version.root, *version.places.values())}
    return list(found.values())


def _is(graph: Graph, code: str, kind: GatewayKind) -> bool:
    node = graph.nodes[code]
    return isinstance(node, Gateway) and node.gateway is kind


def _watched(trail: Trail, flows: tuple[Flow, ...], *, exclusive: bool) -> tuple[Flow, ...]:
    """One leave of the node asks the conditions in their order: the first begins it, the last without any that held ends
    in what is taken unasked.
    """
    asked = [flow for flow in flows if flow.condition is not None]
    unasked = _unasked(flows, exclusive=exclusive)
    held = False

    def teller(flow: Flow) -> Callable[[Any], None]:
        def tell(value: Any) -> None:
            nonlocal held
            held = (held and flow is not asked[0]) or value is True
            if value is True:
                trail.flows.add(flow.id)
            if not held and (flow is asked[-1] or _comes_first(unasked, asked, flow)):
                trail.flows.update(each.id for each in unasked)

        return tell

    def replaced(flow: Flow) -> Flow:
        if flow.condition is None:
            return flow
        members = {each.name: getattr(flow.condition, each.name) for each in fields(flow.condition)}
        return msgspec.structs.replace(flow, condition=_Watched(**members, tell=teller(flow)))

    return tuple(replaced(flow) for flow in flows)


def _unasked(flows: Iterable[Flow], *, exclusive: bool) -> list[Flow]:
    """What is taken when no condition held: on an exclusive gateway a flow without one comes before the default."""
    free = [flow for flow in flows if flow.condition is None and not flow.default]
    if free:
        return free[:1] if exclusive else []
    return [flow for flow in flows if flow.default]


def _comes_first(unasked: list[Flow], asked: list[Flow], flow: Flow) -> bool:
    """Whether an exclusive gateway takes a flow unasked before it asks the condition after this one."""
    after = asked[asked.index(flow) + 1]
    return bool(unasked) and not unasked[0].default and unasked[0].index < after.index


def _taken(trail: Trail, graph: Graph, flow: Flow) -> bool:
    if _is(graph, flow.source, GatewayKind.EVENT):
        return flow.target in trail.visited
    if flow.id in trail.flows:
        return True
    siblings = graph.outgoing[flow.source]
    if _is(graph, flow.source, GatewayKind.PARALLEL):
        return flow.source in trail.left
    if flow.condition is not None or flow.source not in trail.left:
        return False
    free = [each for each in siblings if not each.default]
    if _is(graph, flow.source, GatewayKind.EXCLUSIVE):
        # Behind a condition it is that one which tells.
        return free[0].id == flow.id if free else True
    return not flow.default or not free


def _named(flow: Flow) -> str:
    condition = "default" if flow.default else "" if flow.condition is None else f"if {flow.condition.source}"
    return f"{flow.source} → {flow.target}" + (f" ({condition})" if condition else "")
