"""Start processes and command them. What a command does is in `commands`; to read them is in `reading`."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import msgspec

from penstock.core import codec
from penstock.core import events as ev
from penstock.core.references import marked
from penstock.core.schema import coerce
from penstock.core.state import ENDED
from penstock.errors import (
    AlreadyExists,
    Forbidden,
    Invalid,
    PenstockError,
    Problem,
    TooLarge,
    Unavailable,
    WrongState,
)
from penstock.identity.model import Actor
from penstock.identity.policy import Action, Target, require
from penstock.operations import commands, views
from penstock.operations.commands import Commands, require_control
from penstock.operations.context import Context, Outdated, new_uuid, own, part_of
from penstock.operations.definitions import checker, require_active, version_of
from penstock.operations.reading import DATA
from penstock.store import definitions, lookups, processes
from penstock.store.held import Held
from penstock.store.lookups import VersionRow
from penstock.store.rows import Tx

LARGEST_DATA = 1024 * 1024
"""Bytes of JSON that a start may bring: input, metadata and entity together."""

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


# -- starting --------------------------------------------------------------------------------------------------------


async def start(
    ctx: Context, actor: Actor, request: StartProcess, key: str | None = None
) -> tuple[views.Process, bool]:
    """Start a process. The flag is false when the same start was made before and this is its process.

    Raises: NotFound (definition), Forbidden, Invalid (data against its schemas), AlreadyExists (the id is another's),
    LimitExceeded (the tenant's open processes).
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
        place.require()
        held = processes.create(tx, tid=tid, id=id, did=row.did, vid=row.vid, created_by=actor.principal)
        event = ev.Started(at=tx.now, actor=actor.principal, **data)
        moved = ctx.engine.start(held, event)
        return view(moved, data), True, held.pid

    with await ctx.limits.place(actor.tenant, repeatable=chosen or key is not None) as place:
        (process, fresh, pid), replayed = await ctx.once(actor, key, request, unit, tuple[views.Process, bool, int])
        place.used = fresh and not replayed
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
    ended = p.status in ENDED
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
    ctx: Context, actor: Actor, id: str, do: commands.Do, *, key: str | None = None, request: Any = None
) -> views.Process:
    """Apply a command to a process. Of two that race, the one that comes second is judged by what the first has left.

    Raises: NotFound, Forbidden, WrongState (names the state and the command), Invalid.
    """
    pid = await ctx.pid(actor.tenant.tid, id)

    def unit(tx: Tx) -> views.Process:
        held = own(processes.load(tx, pid), actor, id)
        require_control(tx, actor, held)
        return full_view(do(tx, held))

    answer, _ = await ctx.once(actor, key, [id, request], unit, views.Process, (pid,))
    return answer


async def complete(ctx: Context, actor: Actor, id: str, output: Any, key: str | None = None) -> views.Process:
    """End a process whose driver is `client` or `code`."""
    do = commands.complete(ctx, actor, output)
    return await command(ctx, actor, id, do, key=key, request=["complete", output])


async def cancel(ctx: Context, actor: Actor, id: str, reason: str, key: str | None = None) -> views.Process:
    """Withdraw everything at once: CANCELLED."""
    do = commands.cancel(ctx, actor, reason)
    return await command(ctx, actor, id, do, key=key, request=["cancel", reason])


async def terminate(ctx: Context, actor: Actor, id: str, reason: str, key: str | None = None) -> views.Process:
    """Tell leased jobs to stop: TERMINATING, then TERMINATED when they have answered, or after 30 s."""
    do = commands.terminate(ctx, actor, reason)
    return await command(ctx, actor, id, do, key=key, request=["terminate", reason])


async def suspend(ctx: Context, actor: Actor, id: str, key: str | None = None) -> views.Process:
    """Hand out no job; keep what comes in."""
    return await command(ctx, actor, id, commands.suspend(ctx, actor), key=key, request="suspend")


async def resume(ctx: Context, actor: Actor, id: str, key: str | None = None) -> views.Process:
    """Go on, with what was kept."""
    return await command(ctx, actor, id, commands.resume(ctx, actor), key=key, request="resume")


async def retry(ctx: Context, actor: Actor, id: str, key: str | None = None) -> views.Process:
    """A new attempt of each incident's visit, in place."""
    return await command(ctx, actor, id, commands.retry(ctx, actor), key=key, request="retry")


async def debug(
    ctx: Context, actor: Actor, id: str, where: Commands, given: dict[str, Any], key: str | None = None
) -> views.Process:
    """Give a visit its input or its result by hand: `given` holds exactly one of "input", "output"."""
    if marked(given.get("input")):
        # who may give a node its input may not send the tenant's secrets where he likes
        require(actor, Action.SECRET_USE)
    do = commands.debug(ctx, actor, where, given)
    return await command(ctx, actor, id, do, key=key, request=["debug", where, given])


async def skip(
    ctx: Context, actor: Actor, id: str, where: Commands, output: Any, key: str | None = None
) -> views.Process:
    """End a visit with this output, its work undone."""
    do = commands.skip(ctx, actor, where, output)
    return await command(ctx, actor, id, do, key=key, request=["skip", where, output])


async def restart(
    ctx: Context, actor: Actor, id: str, node: str, scope: int | None, key: str | None = None
) -> views.Process:
    """Restart from a node: what stands at or after it in its scope is withdrawn, one new token is put there."""
    do = commands.restart(ctx, actor, node, scope)
    return await command(ctx, actor, id, do, key=key, request=["restart", node, scope])


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
    deliver = commands.signal(ctx, name, key, payload)
    pid = await ctx.pid(actor.tenant.tid, id)

    def unit(tx: Tx) -> int:
        held = own(processes.load(tx, pid), actor, id)
        require_control(tx, actor, held)
        return deliver(tx, held)

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
    move = commands.migrate(ctx, actor, version, mapping, dry_run=dry_run)

    def unit(tx: Tx) -> views.Migration:
        held = own(processes.load(tx, pid), actor, id)
        require_control(tx, actor, held)
        moved, moves, problems = move(tx, held)
        return views.Migration(full_view(moved), moves, problems)

    request = ["migrate", pid, version, mapping, dry_run]
    answer, _ = await ctx.once(actor, key, request, unit, views.Migration, (pid,))
    return answer


def _target(code: str, row: VersionRow, tid: int) -> Target:
    return Target(kind="definition", id=code, tid=tid, permissions=row.permissions)
