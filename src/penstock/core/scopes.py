"""Scopes: sub-processes and for_each open, their elements start within limits, they close when no token is left."""

from __future__ import annotations

from copy import copy
from typing import Any

import msgspec

from penstock.core import commands as do
from penstock.core.definition import ScopeNode
from penstock.core.events import Failure
from penstock.core.expression import ExpressionFailed
from penstock.core.incidents import open_incident
from penstock.core.leaving import complete
from penstock.core.naming import render
from penstock.core.run import Run
from penstock.core.state import ROOT, Each, Phase, Scope, Status

CHUNK = 64
"""Elements started in one step; an `ElementsDue` goes on with the next."""

MOVES_FOR_ELEMENTS = 500
"""Nodes run in one step after which it starts no more elements."""


def values_of(run: Run, scope_n: int, node: ScopeNode) -> list[Any] | None:
    """The elements of a for_each; None where the scope is none. Raises: ExpressionFailed."""
    if node.for_each is None:
        return None
    values = render(run, scope_n, node.for_each)
    if not isinstance(values, list):
        raise ExpressionFailed(f"for_each: a list expected, not {type(values).__name__}")
    return values


def open_scope(run: Run, scope_n: int, n: int, node: ScopeNode) -> None:
    """The sub-process of visit `n` begins."""
    run.add_scope(Scope(n=n, parent=scope_n, node=node.code))
    for start in node.graph.starts:
        run.enqueue(n, start)


def open_each(run: Run, scope_n: int, n: int, node: ScopeNode, values: list[Any]) -> None:
    """The for_each of visit `n` begins. Its elements get their numbers at once, and their rows."""
    first = run.process.next_n
    run.process.next_n += len(values)
    run.commands.append(do.CreateElements(n, node.code, first, node.as_name, values))
    run.add_scope(Scope(n=n, parent=scope_n, node=node.code, each=Each(total=len(values), first=first)))
    for index, value in enumerate(values[:CHUNK]):
        element = Scope(n=first + index, parent=n, node=node.code, index=index, vars={node.as_name: value})
        run.fresh[element.n] = element
    run.starting[n] = None


def start_next(run: Run) -> None:
    """Start one element of the first for_each that may, or leave the rest to an `ElementsDue`."""
    n = next(iter(run.starting))
    scope = run.edit(n)
    assert scope.each is not None
    each = scope.each = copy(scope.each)
    node = run.scope_node(scope)
    if each.next >= each.total or (node.limit is not None and each.next - each.done >= node.limit):
        del run.starting[n]
        return
    if run.started >= CHUNK or run.moves >= MOVES_FOR_ELEMENTS:
        del run.starting[n]
        each.due = True
        run.commands.append(do.ContinueElements(n))
        return
    run.started += 1
    element = each.first + each.next
    each.next += 1
    fresh = run.fresh.pop(element, None)
    if fresh is None:
        run.edit(element)
    else:
        run.add_scope(fresh)
    for start in node.graph.starts:
        run.enqueue(element, start)


def close(run: Run, n: int) -> None:
    """No token is left in the scope: its output is taken, and what waits for it goes on."""
    scope = run.peek(n)
    node = None if n == ROOT else run.scope_node(scope)
    template = run.version.output if node is None else node.output
    try:
        output = render(run, n, template)
    except ExpressionFailed as error:
        _blame_last(run, n, error)
        return
    if node is None:
        run.end_process(Status.COMPLETED, output)
        return
    assert scope.parent is not None
    run.forget(n)
    if scope.index is None:
        run.commands.append(do.DropScope(n))
        complete(run, scope.parent, n, output)
        return
    collected = template is not None and node.code in run.version.read_outputs
    if collected:
        run.element_outputs.setdefault(scope.parent, {})[scope.index] = output
    run.commands.append(do.DropScope(n, None, output if collected else msgspec.UNSET))
    _element_ended(run, scope.parent, collected=collected)


def _element_ended(run: Run, each_n: int, *, collected: bool) -> None:
    scope = run.edit(each_n)
    assert scope.each is not None
    assert scope.parent is not None
    each = scope.each = copy(scope.each)
    each.done += 1
    if each.done < each.total:
        if each.next < each.total and not each.due:
            run.starting[each_n] = None
        return
    output = _collect(run, each_n, each) if collected else None
    run.forget(each_n)
    run.commands.append(do.DropScope(each_n, collected=collected))
    complete(run, scope.parent, each_n, output)


def _collect(run: Run, each_n: int, each: Each) -> list[Any]:
    """The outputs of all elements in their order: those kept before, and those of this step."""
    fresh = run.element_outputs[each_n]
    kept = [] if len(fresh) == each.total else run.view.element_outputs(each_n)
    outputs = [*kept, *[None] * (each.total - len(kept))]
    for index, value in fresh.items():
        outputs[index] = value
    return outputs


def _blame_last(run: Run, n: int, error: ExpressionFailed) -> None:
    """A scope's output failed: the visit that took the last token keeps it, with an incident."""
    last, active = run.last[n]
    run.edit(n).active[last] = active
    open_incident(run, n, last, Phase.LEAVE_FAILED, Failure("ExpressionFailed", f"output: {error}"))
