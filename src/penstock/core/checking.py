"""What a definition's graph must obey beyond the form of its members, and which names its expressions may read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from penstock.core.definition import (
    AnyNode,
    Boundary,
    End,
    Flow,
    Gateway,
    GatewayKind,
    Graph,
    Message,
    ScopeNode,
    Start,
    Timer,
)
from penstock.core.members import Source, Use, nearest, shown
from penstock.core.nodes import ATTACHABLE, may_wait
from penstock.core.reachability import closure, reachable, successors_of
from penstock.core.syntax import STANDARD_ROOTS


class Level(msgspec.Struct):
    """One graph on its way, with the pointers of its parts. `flows` are those that fit the nodes."""

    pointer: str
    place: str
    """Code of the scope node, "" for the root."""
    nodes: dict[str, AnyNode] = {}
    node_pointers: dict[str, str] = {}
    flows: list[Flow] = []
    flow_pointers: list[str] = []
    """By a flow's index."""
    loose: bool = False
    """A flow or an attachment does not fit: what is unreachable cannot be told."""


def check_graph(source: Source, level: Level, graph: Graph) -> None:
    _check_boundaries(source, level)
    for flow in level.flows:
        _check_flow(source, level, flow)
    for code, flows in graph.outgoing.items():
        _check_defaults(source, level, flows)
        node = level.nodes[code]
        if isinstance(node, Gateway) and node.gateway is GatewayKind.EVENT:
            _check_event_gateway(source, level, graph, node)
    _check_starts(source, level, graph)
    _check_waits(source, level)


def _check_flow(source: Source, level: Level, flow: Flow) -> None:
    pointer = level.flow_pointers[flow.index]
    origin, target = level.nodes[flow.source], level.nodes[flow.target]
    if isinstance(target, (Boundary, Start)):
        source.problem(pointer, f"no flow can lead into the {target.kind} {target.code!r}", "flow")
    if isinstance(origin, End):
        source.problem(pointer, f"no flow can lead out of the end {origin.code!r}", "flow")
    if isinstance(origin, Gateway) and origin.gateway in (GatewayKind.PARALLEL, GatewayKind.EVENT):
        if flow.condition is not None:
            source.problem(f"{pointer}/if", f"the flows of a {origin.gateway} gateway have no condition", "flow")
        if flow.default:
            source.problem(f"{pointer}/default", f"a {origin.gateway} gateway has no default", "flow")
    if flow.default and flow.condition is not None:
        source.problem(f"{pointer}/if", "a default has no condition: it is taken when no other is", "flow")


def _check_defaults(source: Source, level: Level, flows: tuple[Flow, ...]) -> None:
    for flow in [each for each in flows if each.default][1:]:
        pointer = level.flow_pointers[flow.index]
        source.problem(f"{pointer}/default", f"{flow.source!r} has another default already", "flow")


def _check_event_gateway(source: Source, level: Level, graph: Graph, gateway: Gateway) -> None:
    pointer = level.node_pointers[gateway.code]
    if not graph.outgoing[gateway.code]:
        source.problem(pointer, "an event gateway needs flows to what it waits for", "flow")
    for flow in graph.outgoing[gateway.code]:
        where = level.flow_pointers[flow.index]
        target = level.nodes[flow.target]
        if not isinstance(target, (Message, Timer)):
            source.problem(where, f"an event gateway leads to message and timer nodes, {target.code!r} is none", "flow")
        elif len(graph.incoming[target.code]) > 1:
            source.problem(where, f"{target.code!r} is awaited by an event gateway and may have no other flow", "flow")


def _check_boundaries(source: Source, level: Level) -> None:
    errors: set[tuple[str, str]] = set()
    for node in level.nodes.values():
        if not isinstance(node, Boundary):
            continue
        pointer = level.node_pointers[node.code]
        attached = level.nodes.get(node.attached_to)
        if node.attached_to == node.code:
            source.problem(f"{pointer}/attached_to", "a boundary cannot be attached to itself", "attachment")
            level.loose = True
        elif attached is None:
            near = nearest(node.attached_to, level.nodes)
            if node.attached_to:
                message = f"there is no node {shown(node.attached_to)} in this graph{near}"
                source.problem(f"{pointer}/attached_to", message, "unknown_node")
            level.loose = True
        elif attached.kind not in ATTACHABLE:
            source.problem(f"{pointer}/attached_to", f"a {attached.kind} node can have no boundary", "attachment")
        elif not may_wait(attached):
            message = f"{attached.code!r} is not waited for and can have no boundary; give it wait: true"
            source.problem(f"{pointer}/attached_to", message, "attachment")
        if node.trigger.error is not None:
            if (node.attached_to, node.trigger.error) in errors:
                source.problem(pointer, f"{node.attached_to!r} has another boundary for this error", "duplicate")
            errors.add((node.attached_to, node.trigger.error))


def _check_starts(source: Source, level: Level, graph: Graph) -> None:
    by_message = [code for code, node in level.nodes.items() if isinstance(node, Start) and node.message is not None]
    if level.place:
        for code in by_message:
            pointer = level.node_pointers[code]
            source.problem(f"{pointer}/message", "only the top level can be started by a message", "invalid")
    begin = [*graph.starts, *by_message]
    if not level.nodes or level.loose:
        return
    if not begin:
        source.problem(f"{level.pointer}/nodes", "there is no start: every node has an incoming flow", "no_start")
        return
    found = reachable(begin, successors_of(level.nodes, level.flows))
    for code in level.nodes:
        if code not in found:
            source.problem(level.node_pointers[code], f"no start leads to {code!r}", "unreachable")


def _check_waits(source: Source, level: Level) -> None:
    """Warn of each cycle in which nothing waits."""
    successors: dict[str, list[str]] = {code: [] for code, node in level.nodes.items() if not may_wait(node)}
    for flow in level.flows:
        if flow.source in successors and flow.target in successors:
            successors[flow.source].append(flow.target)
    after = closure(successors)
    told: set[str] = set()
    for code in successors:
        if code in after[code] and code not in told:
            told.update(each for each in after[code] if code in after[each])
            message = f"a loop through {code!r} in which nothing waits"
            source.problem(level.node_pointers[code], message, "busy_loop", warning=True)


def check_names(
    source: Source, uses: Iterable[Use], owners: Mapping[str, str], scopes: Mapping[str, ScopeNode]
) -> frozenset[str]:
    """Notes every name that nothing has; gives the codes of nodes whose output is read."""
    codes: dict[str, list[str]] = {}
    for code, owner in owners.items():
        codes.setdefault(owner, []).append(code)
    visible = {place: _visible(place, codes, owners, scopes) for place in ("", *scopes)}
    read: set[str] = set()
    for use in uses:
        nodes, elements = visible[use.place]
        for name in sorted(use.expression.outputs):
            bare = name in use.expression.roots and name not in STANDARD_ROOTS
            if name in nodes and (name not in elements or name in use.expression.node_reads):
                read.add(name)
            elif bare and name in elements:
                continue
            elif name in owners:
                message = f"the node {name!r} stands in {owners[name]!r} and cannot be seen from here"
                source.problem(use.pointer, message, "unknown_name")
            else:
                known = (*nodes, *elements, *sorted(STANDARD_ROOTS)) if bare else tuple(nodes)
                message = f"nothing is known by the name {shown(name)}{nearest(name, known)}"
                source.problem(use.pointer, message, "unknown_name")
    return frozenset(read)


def _visible(
    place: str, codes: Mapping[str, list[str]], owners: Mapping[str, str], scopes: Mapping[str, ScopeNode]
) -> tuple[dict[str, None], set[str]]:
    """Node codes and element names seen from inside a scope: its own and those of all around it."""
    nodes: dict[str, None] = {}
    elements: set[str] = set()
    around: set[str] = set()
    while place not in around:  # A code that stands twice can make a scope its own owner.
        around.add(place)
        nodes.update(dict.fromkeys(codes.get(place, ())))
        if place:
            scope = scopes[place]
            if scope.for_each is not None:
                elements.add(scope.as_name)
            place = owners[place]
    return nodes, elements
