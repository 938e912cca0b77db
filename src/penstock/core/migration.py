"""Move a running process to another version: a plan first, then the changed scopes.

Every open token must have a place in the new version: the node it stands at, mapped by name, of the same kind, in the
same (mapped) scope. Where one has none the migration is refused with the list of all such places. Work that is out
stays out: a job keeps its topic and input, an item its form, until it ends; what follows is the new version's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from penstock.core import commands as do
from penstock.core.definition import Gateway, GatewayKind, Graph, Node, ScopeNode, Version
from penstock.core.events import Migrated
from penstock.core.expression import ExpressionFailed
from penstock.core.run import Run, View
from penstock.core.state import ENDED, Active, Phase, Process, Scope, Status
from penstock.errors import Problem


class Move(NamedTuple):
    """An open visit and where it goes."""

    scope: int
    visit: int
    node: str
    to: str


class Plan(NamedTuple):
    """`problems` empty: the scopes and commands carry it out."""

    moves: list[Move]
    problems: list[Problem]
    process: Process
    scopes: dict[int, Scope]
    visits: list[do.Command]
    commands: list[do.Command]


def plan(old: Version, new: Version, process: Process, view: View, scopes: Iterable[Scope], event: Migrated) -> Plan:
    """Work out the migration of a process whose scopes, all of them, are given."""
    mapping = event.mapping
    moves: list[Move] = []
    problems = [
        Problem(f"/mapping/{code}", f"the new version has no node {to!r}", "unknown_node")
        for code, to in sorted(mapping.items())
        if to not in new.places
    ]
    problems += [
        Problem(f"/mapping/{code}", f"the present version has no node {code!r}", "unknown_node")
        for code in sorted(mapping)
        if code not in old.places
    ]
    if process.status in ENDED or process.status is Status.TERMINATING:
        problems.append(Problem("", f"cannot migrate: the process is {process.status}", "wrong_state"))
    run = Run(new, process, view, max(event.at, process.at))
    if not problems:
        for scope in scopes:
            _move_scope(run, old, new, scope, mapping, moves, problems)
    if not problems:
        _rearm(run, old, moves, problems)
    return Plan(moves, problems, run.process, run.changed, run.visit_commands(), run.commands)


def _move_scope(
    run: Run,
    old: Version,
    new: Version,
    scope: Scope,
    mapping: Mapping[str, str],
    moves: list[Move],
    problems: list[Problem],
) -> None:
    to = mapping.get(scope.node, scope.node)
    old_graph, new_graph = _graph(old, scope.node), _graph(new, to)
    if new_graph is None:
        problems.append(Problem(f"/scopes/{scope.n}", f"scope node {scope.node!r} has no place", "no_place"))
        return
    assert old_graph is not None
    changed = run.edit(scope.n)
    changed.node = to
    for n, active in list(changed.active.items()):
        target = mapping.get(active.node, active.node)
        reason = _refusal(old_graph.nodes[active.node], new_graph, target, active)
        if reason:
            problems.append(Problem(f"/visits/{n}", f"the token at {active.node!r}: {reason}", "no_place"))
            continue
        moves.append(Move(scope.n, n, active.node, target))
        changed.active[n] = msgspec.structs.replace(active, node=target)
    _move_waiting(changed, old_graph, new_graph, mapping, problems)
    changed.done = {mapping.get(code, code): n for code, n in changed.done.items()}


def _move_waiting(
    scope: Scope, old: Graph, new: Graph, mapping: Mapping[str, str], problems: list[Problem]
) -> None:
    """Tokens at joins go along by their flows: same id, or same (mapped) ends."""
    moved: dict[str, dict[int, int]] = {}
    for code, flows in scope.waiting.items():
        target = mapping.get(code, code)
        for index, count in flows.items():
            flow = old.flows[index]
            source = mapping.get(flow.source, flow.source)
            found = [f for f in new.incoming.get(target, ()) if f.source == source]
            same = [f for f in found if f.id == flow.id] or found
            if not same:
                text = f"tokens of flow {flow.id!r} wait at {code!r}: the new version has no such flow"
                problems.append(Problem(f"/scopes/{scope.n}", text, "no_place"))
                continue
            place = moved.setdefault(target, {})
            place[same[0].index] = place.get(same[0].index, 0) + count
    scope.waiting = moved


def _graph(version: Version, code: str) -> Graph | None:
    if not code:
        return version.root
    place = version.places.get(code)
    node = place.nodes[code] if place else None
    return node.graph if isinstance(node, ScopeNode) else None


def _refusal(node: Node, graph: Graph, target: str, active: Active) -> str:
    """Why a token cannot stand at the target; "" when it can."""
    found = graph.nodes.get(target)
    if found is None:
        return f"the new version has no node {target!r} there"
    if found.kind != node.kind:
        return f"{target!r} is a {found.kind}, not a {node.kind}"
    if isinstance(node, ScopeNode) and isinstance(found, ScopeNode):
        if (node.for_each is None) != (found.for_each is None):
            return f"{target!r} differs in for_each"
    if isinstance(found, Gateway) and found.gateway is GatewayKind.EVENT and active.phase is Phase.RUN:
        return "a token that waits at an event gateway cannot be moved"
    return ""


def _rearm(run: Run, old: Version, moves: list[Move], problems: list[Problem]) -> None:
    """Boundaries that came with the new version are armed from now on; those that went are withdrawn."""
    for move in moves:
        before = {b.code: b for b in old.places[move.node].boundaries.get(move.node, ()) if b.trigger.error is None}
        graph = run.version.places[move.to]
        after = {b.code: b for b in graph.boundaries.get(move.to, ()) if b.trigger.error is None}
        for code in sorted(before.keys() - after.keys()):
            run.commands += [do.StopTimer(move.visit, code), do.Unsubscribe(move.visit, code)]
        fresh = sorted(after.keys() - before.keys())
        try:
            arms = [run.arming(move.scope, move.visit, code, after[code].trigger) for code in fresh]
        except ExpressionFailed as error:
            problems.append(Problem(f"/visits/{move.visit}", f"a boundary of {move.to!r}: {error}", "expression"))
            continue
        if arms:
            run.change(move.scope, move.visit, armed=True)
            run.commands += arms
        if move.node != move.to:
            run.commands.append(do.RenameVisit(move.visit, move.to))

