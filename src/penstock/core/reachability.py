"""The tables of a graph: who follows whom, what can still be reached, which flows a token can still arrive by.

Boundaries count as successors of the node they are attached to, so a table that says what lies after a node
includes its boundaries and what lies after them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from penstock.core.definition import AnyNode, Boundary, Flow, Graph, Join, Start

Successors = Mapping[str, list[str]]


def build_graph(nodes: dict[str, AnyNode], flows: tuple[Flow, ...]) -> Graph:
    """`nodes` and `flows` must fit: no flow from or to a node that is not there."""
    outgoing: dict[str, list[Flow]] = {code: [] for code in nodes}
    incoming: dict[str, list[Flow]] = {code: [] for code in nodes}
    for flow in flows:
        outgoing[flow.source].append(flow)
        incoming[flow.target].append(flow)
    boundaries: dict[str, list[Boundary]] = {}
    for node in nodes.values():
        if isinstance(node, Boundary) and node.attached_to in nodes:
            boundaries.setdefault(node.attached_to, []).append(node)
    successors = successors_of(nodes, flows)
    return Graph(
        nodes=nodes,
        flows=flows,
        starts=_starts(nodes, incoming),
        outgoing={code: tuple(each) for code, each in outgoing.items()},
        incoming={code: tuple(each) for code, each in incoming.items()},
        boundaries={code: tuple(each) for code, each in boundaries.items()},
        after=closure(successors),
        arrivals={code: _arrivals(code, incoming[code], successors) for code in nodes if _is_inclusive(nodes[code])},
    )


def successors_of(nodes: Mapping[str, AnyNode], flows: Iterable[Flow]) -> Successors:
    """By one flow, or from a node to its boundaries."""
    found: dict[str, list[str]] = {code: [] for code in nodes}
    for node in nodes.values():
        if isinstance(node, Boundary) and node.attached_to in nodes:
            found[node.attached_to].append(node.code)
    for flow in flows:
        found[flow.source].append(flow.target)
    return found


def reachable(begin: Iterable[str], successors: Successors) -> set[str]:
    """`begin` and all that can be reached from it."""
    todo = list(begin)
    found = set(todo)
    while todo:
        for code in successors[todo.pop()]:
            if code not in found:
                found.add(code)
                todo.append(code)
    return found


def _starts(nodes: dict[str, AnyNode], incoming: Mapping[str, list[Flow]]) -> tuple[str, ...]:
    plain = tuple(code for code, node in nodes.items() if isinstance(node, Start) and node.message is None)
    if plain:
        return plain
    return tuple(code for code, node in nodes.items() if not isinstance(node, (Start, Boundary)) and not incoming[code])


def _is_inclusive(node: AnyNode) -> bool:
    return node.join is Join.INCLUSIVE


def closure(successors: Successors) -> dict[str, frozenset[str]]:
    """What can be reached from each by one step or more; equal sets are one object."""
    codes = list(successors)
    bit = {code: 1 << index for index, code in enumerate(codes)}
    reach = dict.fromkeys(codes, 0)
    # Repeated until nothing changes: few rounds, since it goes against the order in which flows are written.
    changed = True
    while changed:
        changed = False
        for code in reversed(codes):
            now = reach[code]
            for each in successors[code]:
                now |= bit[each] | reach[each]
            if now != reach[code]:
                reach[code] = now
                changed = True
    shared: dict[int, frozenset[str]] = {}
    for bits in reach.values():
        if bits not in shared:
            shared[bits] = frozenset(code for code in codes if bits & bit[code])
    return {code: shared[bits] for code, bits in reach.items()}


def _arrivals(join: str, flows: list[Flow], successors: Successors) -> dict[str, frozenset[int]]:
    """Node -> indexes of the join's incoming flows it can reach without passing the join; nodes with none are left out."""
    before: dict[str, list[str]] = {code: [] for code in successors}
    for code, targets in successors.items():
        for target in targets:
            if join not in (code, target):
                before[target].append(code)
    found: dict[str, set[int]] = {}
    for flow in flows:
        if flow.source == join:
            continue
        for code in reachable([flow.source], before):
            found.setdefault(code, set()).add(flow.index)
    return {code: frozenset(indexes) for code, indexes in found.items()}
