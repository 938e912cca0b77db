"""Start processes, command them, read them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec
from msgspec import structs

from penstock.core import codec, migration
from penstock.core import events as ev
from penstock.core.approval import RUNS
from penstock.core.decider import LEGAL, Step
from penstock.core.references import marked
from penstock.core.requests import Filter, Viewer
from penstock.core.schema import coerce
from penstock.core.state import ROOT, Status
from penstock.errors import (
    AlreadyExists,
    Forbidden,
    Invalid,
    NotFound,
    PenstockError,
    Problem,
    TooLarge,
    Unavailable,
    WrongState,
)
from penstock.identity.model import Actor, grantees_of
from penstock.identity.policy import Action, Target, may, require
from penstock.operations import sight, views
from penstock.operations.context import Context, Outdated, new_uuid, own, part_of
from penstock.operations.definitions import checker, require_active, version_of
from penstock.operations.jobs import check_size
from penstock.store import cascade, definitions, grants, lookups, messages, processes, visibility
from penstock.store.held import Held
from penstock.store.lookups import ProcessRow, VersionRow
from penstock.store.rows import Tx

LARGEST_DATA = 1024 * 1024
"""Bytes of JSON that a start may bring: input, metadata and entity together."""

DATA = ("input", "metadata", "entity")
START_TRIES = 5
"""How often a start looks at its definition again because it was deployed in between."""


class StartProcess(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. `id`: chosen by the caller, unique in the tenant; the same start again answers the same process."""

    definition: str
    version: int | None = None
    id: str | None = None
    input: Any = None
    metadata: Any = None
    entity: Any = None


class Commands(msgspec.Struct, frozen=True, kw_only=True):
    """Which visit a command is for: its number, or the node it stands at when only one does."""

    visit: int | None = None
    node: str | None = None


# -- starting --------------------------------------------------------------------------------------------------------


async def start(
    ctx: Context, actor: Actor, request: StartProcess, key: str | None = None
) -> tuple[views.Process, bool]:
    """Start a process. The flag is false when the same start was made before and this is its process.

    Raises: NotFound (definition), Forbidden, Invalid (data against its schemas), AlreadyExists (the id is another's).
    """
    sure = False
    for _ in range(START_TRIES):
        try:
            return await _start(ctx, actor, request, key)
        except Outdated:
            ctx.deployed(actor.tenant.tid, request.definition)
        except (Forbidden, Invalid, WrongState):
            if sure or not ctx.doubt(actor.tenant.tid, request.definition):
                raise
            sure = True
    raise Unavailable(f"definition {request.definition!r} is being deployed again and again", retry_after=1)


async def _start(ctx: Context, actor: Actor, request: StartProcess, key: str | None) -> tuple[views.Process, bool]:
    """Raises: Outdated when the definition was deployed or retired since this node looked; and as `start`."""
    tid = actor.tenant.tid
    row = await version_of(ctx, tid, request.definition, request.version, looked_at_again=True, current=True)
    require(actor, Action.PROCESS_START, _target(row.code, row, tid))
    require_active(row)
    data = checked(row, request)
    id = _canonical(request.id) if request.id is not None else new_uuid()
    chosen = request.id is not None

    def unit(tx: Tx) -> tuple[views.Process, bool, int]:
        now = definitions.startable(tx, tid, row.code, request.version)
        if now is None or (now.vid, now.state, now.rev) != (row.vid, row.state, row.rev):
            raise Outdated
        if chosen:
            known = processes.find(tx, tid, id)
            if known is not None:
                return _same_start(tx, known, row, data), False, known
        held = processes.create(tx, tid=tid, id=id, did=row.did, vid=row.vid, created_by=actor.principal)
        event = ev.Started(at=tx.now, actor=actor.principal, **data)
        moved = ctx.engine.start(held, event)
        return view(moved, data), True, held.pid

    (process, fresh, pid), replayed = await ctx.once(actor, key, request, unit, tuple[views.Process, bool, int])
    ctx.remember(tid, process.id, pid)
    return process, fresh and not replayed


async def start_many(
    ctx: Context, actor: Actor, requests: list[StartProcess], key: str | None = None
) -> list[tuple[views.Process, bool] | PenstockError]:
    """Start processes side by side; each succeeds or fails by itself."""

    async def one(at: int, request: StartProcess) -> tuple[views.Process, bool] | PenstockError:
        try:
            return await start(ctx, actor, request, part_of(key, at))
        except PenstockError as error:
            return error

    return list(await asyncio.gather(*(one(at, request) for at, request in enumerate(requests))))


def checked(row: VersionRow, request: StartProcess) -> dict[str, Any]:
    """Input, metadata and entity, in the types of their schemas. Raises: Invalid, TooLarge."""
    version = row.compiled
    problems: list[Problem] = []
    data: dict[str, Any] = {}
    size = 0
    for name in DATA:
        value = getattr(request, name)
        schema = version.schemas.get(name)
        if schema is not None:
            value = coerce(schema, {} if value is None and schema.get("type") == "object" else value)
            problems += checker(row.digest, name, schema).check(value, f"/{name}")
        if value is not None:
            data[name] = value
            size += len(codec.encode_json(value))
    if problems:
        raise Invalid("the data does not fit the definition's schemas", problems)
    if size > LARGEST_DATA:
        raise TooLarge(f"input, metadata and entity are {size} bytes, {LARGEST_DATA} at most: use a document")
    return data


def _canonical(id: str) -> str:
    try:
        return str(UUID(id))
    except ValueError:
        raise Invalid("a process's id is a UUID", [Problem("/id", "not a UUID", "id")]) from None


def _same_start(tx: Tx, pid: int, row: VersionRow, data: dict[str, Any]) -> views.Process:
    """The process that has the id already. Raises: AlreadyExists when it was another start that made it."""
    held = processes.load(tx, pid)
    assert held is not None
    if held.did != row.did:
        raise AlreadyExists(f"process {held.process_id} is there already, of definition {held.version.code!r}")
    # its own first event knows what it was started with: metadata and entity may have changed since
    first = codec.decode_event(tx.select(lookups.HISTORY, {"of_pid": pid, "after": 0, "most": 1})[0][7])
    if any(getattr(first, name, None) != data.get(name) for name in DATA):
        raise AlreadyExists(f"process {held.process_id} is there already, started with other data")
    return full_view(held)


def view(held: Held, data: dict[str, Any] | None = None) -> views.Process:
    """A process as a unit holds it; `data` where it is at hand."""
    p = held.process
    known = data if data is not None else {}
    ended = p.status in (Status.COMPLETED, Status.CANCELLED, Status.TERMINATED)
    return views.Process(
        id=held.process_id,
        definition=held.version.code,
        version=held.number,
        status=p.status.value,
        created_at=held.created_at,
        created_by=held.created_by,
        modified_at=p.at,
        ended_at=p.at if ended else None,
        incidents=p.incidents,
        retries=p.retries,
        seq=p.seq,
        input=known.get("input"),
        metadata=known.get("metadata"),
        entity=known.get("entity"),
        output=held.data("output") if ended and data is not None else known.get("output"),
        parent=None,
    )


def full_view(held: Held) -> views.Process:
    return view(held, {name: held.data(name) for name in (*DATA, "output")})


# -- commands --------------------------------------------------------------------------------------------------------


async def command(
    ctx: Context,
    actor: Actor,
    id: str,
    event: Callable[[Tx, Held], ev.AnyEvent],
    *,
    key: str | None = None,
    request: Any = None,
    after: Callable[[Tx, Held], Held] | None = None,
    kind: type[ev.Event] | None = None,
) -> views.Process:
    """Apply a command to a process. Of two that race, the one that comes second is judged by what the first has left.

    `kind` is the event's, where making it looks for what an ended process has no more: the state is judged first.

    Raises: NotFound, Forbidden, WrongState (names the state and the command), Invalid.
    """
    pid = await ctx.pid(actor.tenant.tid, id)

    def unit(tx: Tx) -> views.Process:
        held = own(processes.load(tx, pid), actor, id)
        require_control(tx, actor, held)
        if kind is not None:
            _require_legal(held, kind)
        moved = ctx.engine.accept(tx, pid, event(tx, held))
        if after is not None:
            moved = after(tx, moved)
        return full_view(moved)

    answer, _ = await ctx.once(actor, key, [id, request], unit, views.Process, (pid,))
    return answer


def _require_legal(held: Held, kind: type[ev.Event]) -> None:
    name, states = LEGAL[kind]
    if held.process.status not in states:
        raise WrongState(f"cannot {name}: the process is {held.process.status}")


async def complete(ctx: Context, actor: Actor, id: str, output: Any, key: str | None = None) -> views.Process:
    """End a process whose driver is `client` or `code`."""
    check_size(output, "/output")
    return await command(
        ctx,
        actor,
        id,
        lambda tx, _: ev.CompleteRequested(at=tx.now, actor=actor.principal, output=output),
        key=key,
        request=["complete", output],
    )


async def cancel(ctx: Context, actor: Actor, id: str, reason: str, key: str | None = None) -> views.Process:
    """Withdraw everything at once: CANCELLED."""
    return await command(
        ctx,
        actor,
        id,
        lambda tx, _: ev.CancelRequested(at=tx.now, actor=actor.principal, reason=reason),
        key=key,
        request=["cancel", reason],
    )


async def terminate(ctx: Context, actor: Actor, id: str, reason: str, key: str | None = None) -> views.Process:
    """Tell leased jobs to stop: TERMINATING, then TERMINATED when they have answered, or after 30 s."""

    def event(tx: Tx, held: Held) -> ev.AnyEvent:
        running = cascade.leased(tx, held.pid)
        return ev.TerminateRequested(at=tx.now, actor=actor.principal, running=running, reason=reason)

    return await command(ctx, actor, id, event, key=key, request=["terminate", reason])


async def suspend(ctx: Context, actor: Actor, id: str, key: str | None = None) -> views.Process:
    """Hand out no job; keep what comes in."""
    return await command(
        ctx, actor, id, lambda tx, _: ev.SuspendRequested(at=tx.now, actor=actor.principal), key=key, request="suspend"
    )


async def resume(ctx: Context, actor: Actor, id: str, key: str | None = None) -> views.Process:
    """Go on, with what was kept."""
    return await command(
        ctx, actor, id, lambda tx, _: ev.ResumeRequested(at=tx.now, actor=actor.principal), key=key, request="resume"
    )


async def retry(ctx: Context, actor: Actor, id: str, key: str | None = None) -> views.Process:
    """A new attempt of each incident's visit, in place."""

    def each(tx: Tx, held: Held) -> Held:
        for scope, n in tx.select(lookups.FAILED_VISITS, {"of_pid": held.pid}):
            event = ev.VisitRetried(at=tx.now, actor=actor.principal, scope=scope, visit=n)
            try:
                held = ctx.engine.accept(tx, held.pid, event)
            except WrongState:
                continue  # an earlier one of this round has ended the process, or taken this visit with it
        return held

    return await command(
        ctx,
        actor,
        id,
        lambda tx, _: ev.RetryRequested(at=tx.now, actor=actor.principal),
        key=key,
        request="retry",
        after=each,
    )


async def debug(
    ctx: Context,
    actor: Actor,
    id: str,
    where: Commands,
    given: dict[str, Any],
    key: str | None = None,
) -> views.Process:
    """Give a visit its input or its result by hand: `given` holds exactly one of "input", "output"."""
    for name, value in given.items():
        check_size(value, f"/{name}")
    if marked(given.get("input")):
        # who may give a node its input may not send the tenant's secrets where he likes
        require(actor, Action.SECRET_USE)
    if len(given) != 1:
        raise Invalid("give either an input or an output", [Problem("", "exactly one of input, output", "debug")])

    def event(tx: Tx, held: Held) -> ev.AnyEvent:
        scope, n = _visit(tx, held, where)
        return ev.DebugRequested(
            at=tx.now,
            actor=actor.principal,
            scope=scope,
            visit=n,
            has_input="input" in given,
            input=given.get("input"),
            has_output="output" in given,
            output=given.get("output"),
        )

    return await command(ctx, actor, id, event, key=key, request=["debug", where, given], kind=ev.DebugRequested)


async def skip(
    ctx: Context, actor: Actor, id: str, where: Commands, output: Any, key: str | None = None
) -> views.Process:
    """End a visit with this output, its work undone."""
    check_size(output, "/output")

    def event(tx: Tx, held: Held) -> ev.AnyEvent:
        scope, n = _visit(tx, held, where)
        return ev.SkipRequested(at=tx.now, actor=actor.principal, scope=scope, visit=n, output=output)

    return await command(ctx, actor, id, event, key=key, request=["skip", where, output], kind=ev.SkipRequested)


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


async def restart(
    ctx: Context, actor: Actor, id: str, node: str, scope: int | None, key: str | None = None
) -> views.Process:
    """Restart from a node: what stands at or after it in its scope is withdrawn, one new token is put there."""

    def event(tx: Tx, held: Held) -> ev.AnyEvent:
        if node not in held.version.places:
            raise Invalid(f"no node {node!r}", [Problem("/node", f"no node {node!r}", "not_found")])
        at = scope if scope is not None else _scope_of(tx, held, node)
        return ev.RestartRequested(at=tx.now, actor=actor.principal, scope=at, node=node)

    return await command(ctx, actor, id, event, key=key, request=["restart", node, scope], kind=ev.RestartRequested)


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


async def signal(
    ctx: Context,
    actor: Actor,
    id: str,
    name: str,
    key: str | None,
    payload: Any,
    idempotency_key: str | None = None,
) -> int:
    """Send a message or signal to one process. Answers how many of its subscriptions got it.

    Raises: NotFound, Forbidden, WrongState when the process has ended.
    """
    check_size(payload, "/payload")
    pid = await ctx.pid(actor.tenant.tid, id)
    text = codec.encode_json(payload)

    def unit(tx: Tx) -> int:
        held = own(processes.load(tx, pid), actor, id)
        require_control(tx, actor, held)
        if held.process.status in (Status.COMPLETED, Status.CANCELLED, Status.TERMINATED):
            raise WrongState(f"cannot signal: the process is {held.process.status}")
        found = [w for w, k, is_signal in messages.of_process(tx, pid, name) if is_signal or key is None or k == key]
        for waiter in found:
            messages.deliver(tx, waiter, name, new_uuid(), text, signal=True)
        if found:
            ctx.engine.wake_later(tx, pid)
        return len(found)

    delivered, _ = await ctx.once(actor, idempotency_key, ["signal", pid, name, key, payload], unit, int, (pid,))
    return delivered


async def migrate(
    ctx: Context,
    actor: Actor,
    id: str,
    version: int,
    mapping: dict[str, str],
    *,
    dry_run: bool,
    key: str | None = None,
) -> views.Migration:
    """Move a process to another version of its definition; with problems nothing is moved.

    Raises: NotFound (process, version), Forbidden, Invalid with the list of places when an open token has none.
    """
    pid = await ctx.pid(actor.tenant.tid, id)

    def unit(tx: Tx) -> views.Migration:
        held = own(processes.load(tx, pid), actor, id)
        require_control(tx, actor, held)
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
        return views.Migration(full_view(held), moves, plan.problems)

    request = ["migrate", pid, version, mapping, dry_run]
    answer, _ = await ctx.once(actor, key, request, unit, views.Migration, (pid,))
    return answer


# -- reading ---------------------------------------------------------------------------------------------------------


async def get(ctx: Context, actor: Actor, id: str) -> views.Process:
    """Raises: NotFound."""
    tid = actor.tenant.tid
    pid = await ctx.pid(tid, id)
    found = await ctx.store.async_read(lambda reader: lookups.process(reader, tid, pid))
    if found is None:
        raise NotFound("process", id)
    row, data = found
    await sight.require_process(ctx, actor, id, pid)
    return row_view(row, data)


async def listed(
    ctx: Context, actor: Actor, wanted: Filter, after: list[Any] | None, limit: int, *, oldest: bool
) -> views.Page:
    """Processes by age, newest first unless `oldest`; of those, what the caller may see."""
    wanted = wanted._replace(viewer=sight.viewer_of(actor))
    position = after[0] if after else None
    rows = await ctx.store.async_read(
        lambda reader: lookups.filtered(reader, actor.tenant.tid, wanted, position, limit + 1, oldest=oldest)
    )
    page = rows[:limit]
    return views.Page([row_view(row) for row in page], [page[-1].pid] if len(rows) > limit else None)


def row_view(row: ProcessRow, data: Mapping[str, Any] = MappingProxyType({})) -> views.Process:
    """A process as a reader found it; `data` where it was asked for."""
    parent = None
    if row.parent_id is not None and row.parent_visit is not None:
        parent = views.Parent(row.parent_id, row.parent_visit)
    return views.Process(
        id=row.id,
        definition=row.code,
        version=row.number,
        status=row.status,
        created_at=row.created_at,
        created_by=row.created_by,
        modified_at=row.at,
        ended_at=row.ended_at,
        incidents=row.incidents,
        retries=row.retries,
        seq=row.seq,
        parent=parent,
        **{name: data.get(name) for name in (*DATA, "output")},
    )


async def history(ctx: Context, actor: Actor, id: str, after: list[Any] | None, limit: int) -> views.Page:
    """What happened to a process, in order."""
    pid = await _readable(ctx, actor, id)
    start_at = after[0] if after else 0
    rows = await ctx.store.async_read(lambda reader: lookups.history(reader, pid, start_at, limit + 1))
    if not rows and after is None:
        raise _gone(ctx, actor, id)
    entries = [
        views.HistoryEntry(seq, feed, at, actor_, type_, scope, visit, codec.event_data(text))
        for seq, feed, at, actor_, type_, scope, visit, text in rows[:limit]
    ]
    return views.Page(entries, [entries[-1].seq] if len(rows) > limit else None)


async def visits(ctx: Context, actor: Actor, id: str, after: list[Any] | None, limit: int) -> views.Page:
    """Activations of nodes, in the order they began."""
    pid = await _readable(ctx, actor, id)
    start_at = after[0] if after else 0
    rows = await ctx.store.async_read(lambda reader: lookups.visits(reader, pid, start_at, limit + 1))
    if not rows and not await ctx.store.async_read(lambda reader: lookups.process(reader, actor.tenant.tid, pid)):
        raise _gone(ctx, actor, id)
    found = [
        views.Visit(*row[1:7], *(None if text is None else codec.decode_json(text) for text in row[7:10]), *row[10:])
        for row in rows[:limit]
    ]
    return views.Page(found, [found[-1].n] if len(rows) > limit else None)


def _gone(ctx: Context, actor: Actor, id: str) -> NotFound:
    """A process whose number was remembered and that is there no more: retention has removed it."""
    ctx.forget(actor.tenant.tid, id)
    return NotFound("process", id)


async def readable(ctx: Context, actor: Actor, id: str) -> tuple[int, str]:
    """The number and the canonical id of a process that the caller may see. Raises: NotFound."""
    pid = await _readable(ctx, actor, id)
    return pid, str(UUID(id))


async def _readable(ctx: Context, actor: Actor, id: str) -> int:
    pid = await ctx.pid(actor.tenant.tid, id)
    await sight.require_process(ctx, actor, id, pid)
    return pid


def _target(code: str, row: VersionRow, tid: int) -> Target:
    return Target(kind="definition", id=code, tid=tid, permissions=row.permissions)


def require_control(tx: Tx, actor: Actor, held: Held) -> None:
    """Raises: NotFound for a process the actor may not see, Forbidden for one it may not command."""
    granted = {} if may(actor, Action.PROCESS_CONTROL) else grants.of(tx, held.did)
    target = Target(
        kind="process", id=held.process_id, tid=held.tid, permissions=granted, starter=held.created_by
    )  # fmt: skip
    if granted.get("viewer") and not may(actor, Action.PROCESS_CONTROL, target):
        viewer = Viewer(actor.principal, tuple(grantees_of(actor)))
        target = structs.replace(target, involved=visibility.involved(tx, held.tid, held.pid, viewer))
    require(actor, Action.PROCESS_CONTROL, target)
