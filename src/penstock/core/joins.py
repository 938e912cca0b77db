"""Joins: tokens arrive by flows, wait, and become one visit; or an incident where no token is left that could come.

`all` needs a token on every flow. `inclusive` is BPMN 2.0's (13.4.3): it needs one, and no token elsewhere in the scope that
could still reach an empty flow of it without passing it, unless that token could as well reach one that has a token.
"""

from __future__ import annotations

from collections.abc import Iterable

from penstock.core.definition import Flow, Graph, Join
from penstock.core.events import Failure
from penstock.core.incidents import count_incidents, open_incident
from penstock.core.run import Run
from penstock.core.state import Phase, Scope, VisitState


def arrive(run: Run, scope_n: int, flow: Flow) -> None:
    """A token comes along a flow: it waits at a join, or is about to run the target."""
    scope = run.edit(scope_n)
    graph = run.graph(scope)
    code = flow.target
    if not _joins(graph, code):
        run.enqueue(scope_n, code)
        return
    flows = dict(scope.waiting.get(code, ()))
    flows[flow.index] = flows.get(flow.index, 0) + 1
    scope.waiting = {**scope.waiting, code: flows}
    if graph.nodes[code].join is Join.ALL and len(flows) == len(graph.incoming[code]):
        fire(run, scope_n, code)


def judge(run: Run, scope_n: int) -> bool:
    """Fire the first join of the scope that is due, if one is."""
    scope = run.changed.get(scope_n)
    if scope is None or not scope.waiting:
        return False
    graph = run.graph(scope)
    for code in scope.waiting:
        if is_due(run, scope, graph, code):
            fire(run, scope_n, code)
            return True
    return False


def is_due(run: Run, scope: Scope, graph: Graph, code: str) -> bool:
    """Whether the tokens that wait at a node can go on now."""
    if not _joins(graph, code):
        return True  # it was one in the version the process comes from
    if len(scope.waiting[code]) == len(graph.incoming[code]):
        return True
    if graph.nodes[code].join is not Join.INCLUSIVE:
        return False
    return not any(True for _ in _inhibitors(scope, graph, code, _places(run, scope, code)))


def fire(run: Run, scope_n: int, code: str) -> None:
    """A join is due: its tokens become one visit."""
    take_waiting(run, scope_n, code)
    scope = run.edit(scope_n)
    for n, active in scope.active.items():
        if active.phase is Phase.STUCK and active.node == code:
            drop_stuck(run, scope_n, n)
            break
    run.enqueue(scope_n, code)


def take_waiting(run: Run, scope_n: int, code: str) -> None:
    """Take one token of each of a join's flows that has one; of what is no join any more, one token."""
    scope = run.edit(scope_n)
    flows = scope.waiting[code]
    taken = flows.keys() if _joins(run.graph(scope), code) else [next(iter(flows))]
    left = {index: count - (index in taken) for index, count in flows.items()}
    waiting = {**scope.waiting, code: {index: count for index, count in left.items() if count}}
    if not waiting[code]:
        del waiting[code]
    scope.waiting = waiting


def drop_stuck(run: Run, scope_n: int, n: int) -> None:
    """A stuck join's incident is over; its tokens stay where they are."""
    count_incidents(run, scope_n, -1)
    del run.edit(scope_n).active[n]
    run.record(n, state=VisitState.SUPERSEDED, ended_at=run.at)


def report_stuck(run: Run, scope_n: int) -> None:
    """Open an incident on each join of the scope that can never be complete."""
    scope = run.peek(scope_n)
    graph = run.graph(scope)
    reported = {active.node for active in scope.active.values() if active.phase is Phase.STUCK}
    for code in _never_complete(scope, graph):
        if code in reported:
            continue
        n = run.open_visit(scope_n, graph.nodes[code])
        lacking = [flow.id for flow in graph.incoming[code] if flow.index not in scope.waiting[code]]
        message = f"the join waits for {', '.join(lacking)}, which no token can reach any more"
        open_incident(run, scope_n, n, Phase.STUCK, Failure("JoinStuck", message))


def _joins(graph: Graph, code: str) -> bool:
    return graph.nodes[code].join is not Join.ANY and len(graph.incoming[code]) > 1


def _places(run: Run, scope: Scope, code: str) -> list[str]:
    """Where the scope's tokens are, but for those that wait at this join."""
    found = [active.node for active in scope.active.values() if active.phase is not Phase.STUCK]
    found += [other for other in scope.waiting if other != code]
    found += [target for n, target in run.queue if n == scope.n]
    return found


def _inhibitors(scope: Scope, graph: Graph, code: str, places: Iterable[str]) -> Iterable[str]:
    """The places whose tokens an inclusive join must wait for."""
    here = scope.waiting[code].keys()
    missing = {flow.index for flow in graph.incoming[code]} - here
    reach = graph.arrivals[code]
    for place in places:
        reached = reach.get(place)
        if reached and not missing.isdisjoint(reached) and here.isdisjoint(reached):
            yield place


def _never_complete(scope: Scope, graph: Graph) -> list[str]:
    """Joins whose tokens wait for ever: those no token can complete; of joins that wait for each other, all."""
    live = {active.node for active in scope.active.values() if active.phase is not Phase.STUCK}
    hopeless = list(scope.waiting)
    while True:
        found = [code for code in hopeless if _has_hope(scope, graph, code, live)]
        if not found:
            break
        live.update(found)
        hopeless = [code for code in hopeless if code not in live]
    # An inclusive join that waits for a token at a hopeless join goes on when that one does.
    first = [code for code in hopeless if graph.nodes[code].join is Join.ALL]
    return first or hopeless


def _has_hope(scope: Scope, graph: Graph, code: str, live: set[str]) -> bool:
    """Whether tokens at these nodes may bring the join about."""
    if graph.nodes[code].join is Join.INCLUSIVE:
        return any(place in live for place in _inhibitors(scope, graph, code, sorted(live)))
    here = scope.waiting[code]
    return all(
        flow.index in here or any(flow.source == node or flow.source in graph.after[node] for node in sorted(live))
        for flow in graph.incoming[code]
    )
