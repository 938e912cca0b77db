"""What a command does to one process, in the open transaction: the same for a call about one and for a bulk operation.

Each function checks what it is given and answers what is then done to a process that is held, whose state is judged there.
Whether the actor may is asked before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import structs

from penstock.core import codec, migration
from penstock.core import events as ev
from penstock.core.approval import RUNS
from penstock.core.decider import LEGAL, Step
from penstock.core.requests import Viewer
from penstock.core.state import ENDED, ROOT
from penstock.errors import Invalid, NotFound, Problem, WrongState
from penstock.identity.model import Actor, grantees_of
from penstock.identity.policy import Action, Target, may, require
from penstock.operations import views
from penstock.operations.context import Context, new_uuid
from penstock.operations.jobs import check_size
from penstock.store import cascade, definitions, grants, lookups, messages, processes, visibility
from penstock.store.held import Held
from penstock.store.rows import Tx

Do = Callable[[Tx, Held], Held]
"""Applies a command. Raises: WrongState, Invalid, and has written nothing then."""


class Commands(msgspec.Struct, frozen=True, kw_only=True):
    """Which visit a command is for: its number, or the node it stands at when only one does."""

    visit: int | None = None
    node: str | None = None


def require_control(tx: Tx, actor: Actor, held: Held, action: Action = Action.PROCESS_CONTROL) -> None:
    """Raises: NotFound for a process the actor may not see, Forbidden for one it may not command."""
    granted = {} if may(actor, action) else grants.of(tx, held.did)
    target = Target(kind="process", id=held.process_id, tid=held.tid, permissions=granted, starter=held.created_by)
    if granted.get("viewer") and not may(actor, action, target):
        viewer = Viewer(actor.principal, tuple(grantees_of(actor)))
        target = structs.replace(target, involved=visibility.involved(tx, held.tid, held.pid, viewer))
    require(actor, action, target)


def complete(ctx: Context, actor: Actor, output: Any) -> Do:
    """Raises: TooLarge."""
    check_size(output, "/output")

    def do(tx: Tx, held: Held) -> Held:
        event = ev.CompleteRequested(at=tx.now, actor=actor.principal, output=output)
        return ctx.engine.accept(tx, held.pid, event)

    return do


def cancel(ctx: Context, actor: Actor, reason: str) -> Do:
    def do(tx: Tx, held: Held) -> Held:
        event = ev.CancelRequested(at=tx.now, actor=actor.principal, reason=reason)
        return ctx.engine.accept(tx, held.pid, event)

    return do


def terminate(ctx: Context, actor: Actor, reason: str) -> Do:
    def do(tx: Tx, held: Held) -> Held:
        running = cascade.leased(tx, held.pid)
        event = ev.TerminateRequested(at=tx.now, actor=actor.principal, running=running, reason=reason)
        return ctx.engine.accept(tx, held.pid, event)

    return do


def suspend(ctx: Context, actor: Actor) -> Do:
    return lambda tx, held: ctx.engine.accept(tx, held.pid, ev.SuspendRequested(at=tx.now, actor=actor.principal))


def resume(ctx: Context, actor: Actor) -> Do:
    return lambda tx, held: ctx.engine.accept(tx, held.pid, ev.ResumeRequested(at=tx.now, actor=actor.principal))


def retry(ctx: Context, actor: Actor) -> Do:
    def do(tx: Tx, held: Held) -> Held:
        held = ctx.engine.accept(tx, held.pid, ev.RetryRequested(at=tx.now, actor=actor.principal))
        for scope, n in tx.select(lookups.FAILED_VISITS, {"of_pid": held.pid}):
            event = ev.VisitRetried(at=tx.now, actor=actor.principal, scope=scope, visit=n)
            try:
                held = ctx.engine.accept(tx, held.pid, event)
            except WrongState:
                continue  # an earlier one of this round has ended the process, or taken this visit with it
        return held

    return do


def debug(ctx: Context, actor: Actor, where: Commands, given: dict[str, Any]) -> Do:
    """`given` holds exactly one of "input", "output". Raises: Invalid, TooLarge."""
    for name, value in given.items():
        check_size(value, f"/{name}")
    if len(given) != 1:
        raise Invalid("give either an input or an output", [Problem("", "exactly one of input, output", "debug")])

    def do(tx: Tx, held: Held) -> Held:
        _require_legal(held, ev.DebugRequested)
        scope, n = _visit(tx, held, where)
        event = ev.DebugRequested(
            at=tx.now,
            actor=actor.principal,
            scope=scope,
            visit=n,
            has_input="input" in given,
            input=given.get("input"),
            has_output="output" in given,
            output=given.get("output"),
        )
        return ctx.engine.accept(tx, held.pid, event)

    return do


def skip(ctx: Context, actor: Actor, where: Commands, output: Any) -> Do:
    """Raises: TooLarge."""
    check_size(output, "/output")

    def do(tx: Tx, held: Held) -> Held:
        _require_legal(held, ev.SkipRequested)
        scope, n = _visit(tx, held, where)
        event = ev.SkipRequested(at=tx.now, actor=actor.principal, scope=scope, visit=n, output=output)
        return ctx.engine.accept(tx, held.pid, event)

    return do


def restart(ctx: Context, actor: Actor, node: str, scope: int | None) -> Do:
    def do(tx: Tx, held: Held) -> Held:
        _require_legal(held, ev.RestartRequested)
        if node not in held.version.places:
            raise Invalid(f"no node {node!r}", [Problem("/node", f"no node {node!r}", "not_found")])
        at = scope if scope is not None else _scope_of(tx, held, node)
        event = ev.RestartRequested(at=tx.now, actor=actor.principal, scope=at, node=node)
        return ctx.engine.accept(tx, held.pid, event)

    return do


def signal(ctx: Context, name: str, key: str | None, payload: Any) -> Callable[[Tx, Held], int]:
    """Answers how many subscriptions got it. Raises: TooLarge."""
    check_size(payload, "/payload")
    text = codec.encode_json(payload)

    def do(tx: Tx, held: Held) -> int:
        if held.process.status in ENDED:
            raise WrongState(f"cannot signal: the process is {held.process.status}")
        found = [
            waiter
            for waiter, own_key, is_signal in messages.of_process(tx, held.pid, name)
            if is_signal or key is None or own_key == key
        ]
        for waiter in found:
            messages.deliver(tx, waiter, name, new_uuid(), text, signal=True)
        if found:
            ctx.engine.wake_later(tx, held.pid, held.tid)
        return len(found)

    return do


Moved = tuple[Held, list[views.Move], list[Problem]]


def migrate(
    ctx: Context, actor: Actor, version: int, mapping: dict[str, str], *, dry_run: bool
) -> Callable[[Tx, Held], Moved]:
    """Answers what was moved, or in a dry run what would be and what is in the way."""

    def do(tx: Tx, held: Held) -> Moved:
        _require_legal(held, ev.Migrated)
        to = definitions.numbered(tx, held.tid, held.version.code, version)
        if to is None:
            raise NotFound("definition", f"{held.version.code} version {version}")
        if to.state not in RUNS:
            raise WrongState(f"cannot migrate: version {version} of definition {held.version.code!r} is {to.state}")
        _, new = definitions.version(tx, to.vid)
        event = ev.Migrated(at=tx.now, actor=actor.principal, version=version, mapping=mapping)
        scopes = processes.all_scopes(held)
        plan = migration.plan(held.version, new, held.process, held, scopes, event)
        moves = [views.Move(move.visit, move.node, move.to) for move in plan.moves]
        if plan.problems and not dry_run:
            raise Invalid("the process cannot be moved", plan.problems)
        if not dry_run:
            step = Step(plan.process, plan.scopes, plan.visits, plan.commands)
            held = ctx.engine.commit(processes.at_version(held, to.vid), event, step)
        return held, moves, plan.problems

    return do


def _require_legal(held: Held, kind: type[ev.Event]) -> None:
    """For commands that look for what an ended process has no more: the state is judged first."""
    name, states = LEGAL[kind]
    if held.process.status not in states:
        raise WrongState(f"cannot {name}: the process is {held.process.status}")


def _visit(tx: Tx, held: Held, where: Commands) -> tuple[int, int]:
    """Scope and number of the visit a command is for. Raises: Invalid."""
    if (where.visit is None) == (where.node is None):
        raise Invalid("name the visit, or the node it stands at", [Problem("", "one of visit, node", "visit")])
    if where.visit is not None:
        found = tx.select(lookups.VISIT, {"of_pid": held.pid, "n": where.visit})
        if not found:
            raise Invalid(f"no visit {where.visit}", [Problem("/visit", f"no visit {where.visit}", "not_found")])
    else:
        found = tx.select(lookups.VISITS_AT, {"of_pid": held.pid, "node": where.node})
        if len(found) != 1:
            message = f"{len(found)} open visits stand at {where.node!r}; name the visit by its number"
            if not found:
                message = f"no open visit stands at {where.node!r}"
            raise Invalid(message, [Problem("/node", message, "not_found" if not found else "ambiguous")])
    scope, n = found[0]
    return scope, n


def _scope_of(tx: Tx, held: Held, node: str) -> int:
    owner = held.version.owners[node]
    if not owner:
        return ROOT
    found: list[int] = [n for _, n in tx.select(lookups.VISITS_AT, {"of_pid": held.pid, "node": owner})]
    if len(found) != 1:
        message = f"{len(found)} open scopes have {node!r}; name the scope by its number"
        if not found:
            message = f"no open scope has {node!r}; restart from {owner!r} around it, or from before it"
        raise Invalid(message, [Problem("/scope", message, "ambiguous" if found else "not_found")])
    return found[0]
