"""Move a running process to another version: a plan first, then the changed scopes.

Every open token must have a place in the new version: the node it stands at, mapped by name, of the same kind, in the
same (mapped) scope. Where one has none the migration is refused with the list of all such places. Work that is out
stays out: a job keeps its topic and input, an item its form, a timer its time, until it ends; what follows is the new
version's. Boundaries and the events a gateway waits for are armed anew where the new version has others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from typing import NamedTuple

from penstock.core import commands as do
from penstock.core.arming import Armed, arm_of, boundary_waits, disarm, waits
from penstock.core.decider import finish
from penstock.core.definition import (
    AnyNode,
    Flow,
    Gateway,
    GatewayKind,
    Graph,
    Http,
    Item,
    Job,
    Robot,
    ScopeNode,
    Version,
)
from penstock.core.events import Migrated
from penstock.core.expression import ExpressionFailed
from penstock.core.incidents import change
from penstock.core.joins import is_due, report_stuck
from penstock.core.run import Run, View
from penstock.core.state import ENDED, TIMEOUT, Active, Phase, Process, Scope, Status
from penstock.errors import Problem

_ARMED = (Phase.RUN, Phase.BACKOFF, Phase.RUN_FAILED)
"""Where a visit's boundaries wait."""


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


class _Migration:
    """One plan in the making."""

    def __init__(self, old: Version, new: Version, run: Run, mapping: Mapping[str, str]) -> None:
        self.old = old
        self.new = new
        self.run = run
        self.mapping = mapping
        self.moves: list[Move] = []
        self.problems: list[Problem] = []

    def to(self, code: str) -> str:
        return self.mapping.get(code, code)

    def problem(self, pointer: str, message: str, code: str = "no_place") -> None:
        self.problems.append(Problem(pointer, message, code))


def plan(old: Version, new: Version, process: Process, view: View, scopes: Iterable[Scope], event: Migrated) -> Plan:
    """Work out the migration of a process whose scopes, all of them, are given."""
    run = Run(new, process, view, max(event.at, process.at))
    migration = _Migration(old, new, run, event.mapping)
    _check_request(migration, process)
    present = list(scopes) if not migration.problems else []
    for scope in present:
        _move_scope(migration, scope)
    if not migration.problems:
        for move in migration.moves:
            _rearm(migration, move)
    if not migration.problems:
        _judge_waiting(migration, present)
    moves, problems = migration.moves, migration.problems
    if problems:
        return Plan(moves, problems, process, {}, [], [])
    done = finish(run)
    return Plan(moves, problems, done.process, done.scopes, done.visits, done.commands)


def _check_request(migration: _Migration, process: Process) -> None:
    old, new = migration.old, migration.new
    for code, to in sorted(migration.mapping.items()):
        if to not in new.places:
            migration.problem(f"/mapping/{code}", f"the new version has no node {to!r}", "unknown_node")
        if code not in old.places:
            migration.problem(f"/mapping/{code}", f"the present version has no node {code!r}", "unknown_node")
    if process.status in ENDED or process.status is Status.TERMINATING:
        migration.problem("", f"cannot migrate: the process is {process.status}", "wrong_state")
    if old.driver is not new.driver:
        migration.problem("", f"the driver is {new.driver} in the new version, not {old.driver}", "driver")


# -- scopes ------------------------------------------------------------------------------------------------------------


def _move_scope(migration: _Migration, scope: Scope) -> None:
    """Only what changes is written: a for_each may have many elements that have not been started."""
    to = migration.to(scope.node)
    old_graph, new_graph = _graph_of(migration.old, scope.node), _graph_of(migration.new, to)
    if new_graph is None or old_graph is None:
        migration.problem(f"/scopes/{scope.n}", f"scope node {scope.node!r} has no place")
        return
    active = {n: _move_visit(migration, scope, n, each, old_graph, new_graph) for n, each in scope.active.items()}
    waiting = _move_waiting(migration, scope, old_graph, new_graph)
    done = {migration.to(code): n for code, n in scope.done.items()}
    names = _move_vars(migration, scope)
    if (to, active, waiting, done, names) != (scope.node, scope.active, scope.waiting, scope.done, scope.vars):
        changed = migration.run.edit(scope.n)
        changed.node, changed.active, changed.waiting, changed.done, changed.vars = to, active, waiting, done, names


def _graph_of(version: Version, code: str) -> Graph | None:
    """Of a scope node; "" is the root."""
    if not code:
        return version.root
    place = version.places.get(code)
    node = place.nodes[code] if place else None
    return node.graph if isinstance(node, ScopeNode) else None


def _move_visit(migration: _Migration, scope: Scope, n: int, active: Active, old: Graph, new: Graph) -> Active:
    target = migration.to(active.node)
    reason = _refusal(old, new, active, target)
    if reason:
        migration.problem(f"/visits/{n}", f"the token at {active.node!r}: {reason}")
        return active
    migration.moves.append(Move(scope.n, n, active.node, target))
    moved = copy(active)
    moved.node = target
    return moved


def _refusal(old: Graph, new: Graph, active: Active, target: str) -> str:
    """Why a token cannot stand at the target; "" when it can."""
    node, found = old.nodes[active.node], new.nodes.get(target)
    if found is None:
        return f"the new version has no node {target!r} there"
    if found.kind != node.kind:
        return f"{target!r} is a {found.kind}, not a {node.kind}"
    if (
        isinstance(node, ScopeNode)
        and isinstance(found, ScopeNode)
        and (node.for_each is None) != (found.for_each is None)
    ):
        return f"{target!r} differs in for_each"
    if isinstance(node, Item) and isinstance(found, Item) and node.task != found.task and active.phase is Phase.RUN:
        return f"{target!r} shows task {found.task!r}, not {node.task!r}"
    if active.phase is Phase.RUN and _is_event(node) and not _is_event(found):
        return f"{target!r} is a gateway that waits for no event"
    return ""


def _is_event(node: AnyNode) -> bool:
    return isinstance(node, Gateway) and node.gateway is GatewayKind.EVENT


def _move_waiting(migration: _Migration, scope: Scope, old: Graph, new: Graph) -> dict[str, dict[int, int]]:
    """Tokens at joins go along by their flows."""
    moved: dict[str, dict[int, int]] = {}
    for code, flows in scope.waiting.items():
        target = migration.to(code)
        for index, count in flows.items():
            flow = _same_flow(migration, old, new, old.flows[index])
            if flow is None:
                text = f"tokens of flow {old.flows[index].id!r} wait at {code!r}: the new version has no such flow"
                migration.problem(f"/scopes/{scope.n}", text)
                continue
            place = moved.setdefault(target, {})
            place[flow.index] = place.get(flow.index, 0) + count
    return moved


def _same_flow(migration: _Migration, old: Graph, new: Graph, flow: Flow) -> Flow | None:
    """The flow with the same (mapped) ends; of several the one with the same id, else the one in the same place."""
    source, target = migration.to(flow.source), migration.to(flow.target)
    before = [each for each in old.incoming[flow.target] if migration.to(each.source) == source]
    after = [each for each in new.incoming.get(target, ()) if each.source == source]
    same = {each.id: each for each in after if each.id in {one.id for one in before}}
    if flow.id in same:
        return same[flow.id]
    others = [each for each in after if each.id not in same]
    place = [each.id for each in before if each.id not in same].index(flow.id)
    return others[place] if place < len(others) else None


def _move_vars(migration: _Migration, scope: Scope) -> dict[str, object]:
    """An element goes by the name the new version gives it."""
    if scope.index is None:
        return scope.vars
    old, new = migration.old.places[scope.node], migration.new.places[migration.to(scope.node)]
    before, after = old.nodes[scope.node], new.nodes[migration.to(scope.node)]
    assert isinstance(before, ScopeNode)
    assert isinstance(after, ScopeNode)
    return {after.as_name if name == before.as_name else name: value for name, value in scope.vars.items()}


# -- what is out -------------------------------------------------------------------------------------------------------


def _rearm(migration: _Migration, move: Move) -> None:
    """What came with the new version is armed from now on; what went is withdrawn."""
    run = migration.run
    active = run.peek(move.scope).active[move.visit]
    old, new = migration.old.places[move.node], run.version.places[move.to]
    node, found = old.nodes[move.node], new.nodes[move.to]
    before = boundary_waits(old, move.node) if active.armed else []
    after = boundary_waits(new, move.to) if active.phase in _ARMED else []
    armed = bool(after)
    if active.phase is Phase.RUN and _is_event(node):
        before, after = before + waits(old, node), after + waits(new, found)
    disarm(run, move.visit, [each for each in before if each not in after])
    _arm(migration, move, [each for each in after if each not in before])
    if armed is not active.armed:
        change(run.edit(move.scope), move.visit, armed=armed)
    if active.phase is Phase.RUN and _timeout(node) and not _timeout(found):
        run.commands.append(do.StopTimer(move.visit, TIMEOUT))
    if move.node != move.to:
        run.commands.append(do.RenameVisit(move.visit, move.to))


def _arm(migration: _Migration, move: Move, fresh: list[Armed]) -> None:
    run = migration.run
    try:
        run.commands += [arm_of(run, move.scope, move.visit, purpose, trigger) for purpose, trigger in fresh]
    except ExpressionFailed as error:
        migration.problem(f"/visits/{move.visit}", f"what {move.to!r} waits for: {error}", "expression")


def _timeout(node: AnyNode) -> int | None:
    return node.retry.timeout if isinstance(node, Job | Http | Robot) else None


def _judge_waiting(migration: _Migration, scopes: list[Scope]) -> None:
    """Joins may be due in the new version that were not in the old. While suspended nothing may move."""
    run = migration.run
    suspended = run.process.status is Status.SUSPENDED
    run.dirty.clear()  # to be moved is no reason to close: elements that have not been started look as if they had ended
    for n in [scope.n for scope in scopes if scope.waiting]:
        scope = run.edit(n)
        due = [code for code in scope.waiting if is_due(run, scope, run.graph(scope), code)]
        if suspended and due:
            text = f"tokens that wait at {due[0]!r} would go on at once, and the process is SUSPENDED: resume it first"
            migration.problem(f"/scopes/{n}", text, "wrong_state")
        elif suspended:
            report_stuck(run, n)
