"""Entering nodes: what a visit does when its token comes. Nodes that need nobody run through, the others send work out and wait."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from penstock.core import commands as do
from penstock.core.arming import arms_of, boundary_waits, waits
from penstock.core.definition import (
    AnyNode,
    Boundary,
    Call,
    End,
    EndKind,
    Gateway,
    Http,
    Item,
    Job,
    Message,
    Robot,
    ScopeNode,
    SetNode,
    Start,
    Timer,
)
from penstock.core.events import Failure
from penstock.core.expression import ExpressionFailed, Template
from penstock.core.incidents import change, open_incident
from penstock.core.leaving import complete
from penstock.core.naming import render
from penstock.core.run import HTTP_TOPIC, Run
from penstock.core.schema import Checker, coerce, compile_schema
from penstock.core.scopes import open_each, open_scope, values_of
from penstock.core.state import TIMEOUT, Active, Phase
from penstock.core.withdrawal import empty_scope, throw

Worked = Job | Http | Robot
"""Nodes whose work is a job."""
WORKED = (Job, Http, Robot)


def begin(run: Run, scope_n: int, n: int, node: AnyNode) -> None:
    """Start the work of a visit; an expression that fails makes an incident of it."""
    try:
        _begin(run, scope_n, n, node)
    except ExpressionFailed as error:
        open_incident(run, scope_n, n, Phase.ENTER_FAILED, Failure("ExpressionFailed", str(error)))


def begin_with(run: Run, scope_n: int, n: int, node: Worked | Item | Call, given: Any) -> None:
    """Start the work of a visit on an input given by hand."""
    try:
        _work(run, scope_n, n, node, given)
    except ExpressionFailed as error:
        open_incident(run, scope_n, n, Phase.ENTER_FAILED, Failure("ExpressionFailed", str(error)))


def _begin(run: Run, scope_n: int, n: int, node: AnyNode) -> None:
    match node:
        case Job() | Robot() | Item() | Call():
            _work(run, scope_n, n, node, render(run, scope_n, node.input))
        case Http():
            _work(run, scope_n, n, node, render(run, scope_n, node.request))
        case Timer() | Message():
            _wait(run, scope_n, n, node)
        case ScopeNode():
            _open(run, scope_n, n, node)
        case SetNode():
            _assign(run, scope_n, n, node)
        case End():
            _end(run, scope_n, n, node)
        case Gateway() if waits(run.version.places[node.code], node):
            _wait(run, scope_n, n, node)
        case Gateway() | Start() | Boundary():
            complete(run, scope_n, n, None)


def _arm(run: Run, scope_n: int, n: int, node: AnyNode) -> None:
    """Start the timers and subscriptions of the node's boundaries, once a visit. Raises: ExpressionFailed."""
    waited = boundary_waits(run.version.places[node.code], node.code)
    if waited and not run.peek(scope_n).active[n].armed:
        run.commands += arms_of(run, scope_n, n, waited)
        change(run.edit(scope_n), n, armed=True)


def _wait(run: Run, scope_n: int, n: int, node: Timer | Message | Gateway) -> None:
    arms = arms_of(run, scope_n, n, waits(run.version.places[node.code], node))
    _arm(run, scope_n, n, node)
    run.commands += arms


def _work(run: Run, scope_n: int, n: int, node: Worked | Item | Call, rendered: Any) -> None:
    """Send out the visit's work."""
    _arm(run, scope_n, n, node)
    run.record(n, input=rendered)
    match node:
        case Item():
            _show(run, scope_n, n, node, rendered)
        case Call():
            run.commands.append(do.StartChild(n, scope_n, node.definition, rendered))
        case _:
            offer_job(run, scope_n, n, node, rendered)


def _show(run: Run, scope_n: int, n: int, node: Item, rendered: Any) -> None:
    """An item for people; one that is not waited for lets its token go on at once."""
    task = run.version.tasks[node.task]
    due_at = None if task.due is None else task.due.after(run.at)
    shown = (task.candidates, due_at, task.priority, node.shows.value, node.waits)
    again = run.peek(scope_n).active[n].attempt > 1
    run.commands.append(do.OpenItem(n, scope_n, node.code, node.task, rendered, *shown, again=again))
    if not node.waits:
        complete(run, scope_n, n, None)


def offer_job(run: Run, scope_n: int, n: int, node: Worked, rendered: Any) -> None:
    """An attempt at the visit's work; its number is the active visit's."""
    active: Active = run.peek(scope_n).active[n]
    topic = node.topic if isinstance(node, Job) else HTTP_TOPIC if isinstance(node, Http) else f"robot:{node.robot}"
    timeout = node.retry.timeout
    run.commands.append(do.OpenJob(n, scope_n, node.code, topic, active.attempt, rendered, timeout))
    if timeout is not None:
        run.commands.append(do.StartTimer(n, scope_n, TIMEOUT, run.at + timeout, active.attempt))


def _open(run: Run, scope_n: int, n: int, node: ScopeNode) -> None:
    values = values_of(run, scope_n, node)
    if values is not None:
        run.record(n, input={"count": len(values)})
    if values == []:
        collected = node.output is not None and node.code in run.version.read_outputs
        complete(run, scope_n, n, [] if collected else None)
        return
    _arm(run, scope_n, n, node)
    if values is None:
        open_scope(run, scope_n, n, node)
    else:
        open_each(run, scope_n, n, node, values)


def _end(run: Run, scope_n: int, n: int, node: End) -> None:
    if node.end is EndKind.ERROR:
        throw(run, scope_n, n, node.error or "", "", None)
        return
    if node.end is EndKind.TERMINATE:
        empty_scope(run, scope_n, n)
    complete(run, scope_n, n, None)


# -- set ---------------------------------------------------------------------------------------------------------------


def _assign(run: Run, scope_n: int, n: int, node: SetNode) -> None:
    fresh = _map(run, scope_n, "vars", node.vars)
    merged = {
        name: _merged(run, scope_n, name, template)
        for name, template in (("metadata", node.metadata), ("entity", node.entity))
        if template is not None
    }
    if fresh:
        scope = run.edit(scope_n)
        scope.vars = {**scope.vars, **fresh}
    for name, value in merged.items():
        run.set_data(name, value)
    complete(run, scope_n, n, None)


def _map(run: Run, scope_n: int, name: str, template: Template | None) -> dict[str, Any]:
    """Raises: ExpressionFailed."""
    rendered = render(run, scope_n, template)
    if template is not None and not isinstance(rendered, dict):
        raise ExpressionFailed(f"{name}: a map expected, not {type(rendered).__name__}")
    return rendered or {}


def _merged(run: Run, scope_n: int, name: str, template: Template) -> Any:
    """The process's metadata or entity with what is set, as its schema wants it. Raises: ExpressionFailed."""
    before = run.data(name)
    if before is not None and not isinstance(before, dict):
        raise ExpressionFailed(f"{name}: it is no map, so no member of it can be set")
    value: Any = {**(before or {}), **_map(run, scope_n, name, template)}
    schema = run.version.schemas.get(name)
    if schema is None:
        return value
    value = coerce(schema, value)
    problems = _checker(msgspec.json.encode(schema)).check(value, f"/{name}")
    if problems:
        raise ExpressionFailed("; ".join(f"{problem.pointer}: {problem.message}" for problem in problems[:5]))
    return value


@lru_cache(maxsize=256)
def _checker(schema: bytes) -> Checker:
    return compile_schema(msgspec.json.decode(schema))
