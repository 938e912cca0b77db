"""Workflows as graphs of tasks, and their executions: what a door needs that shows a process as a queue of open work.

A workflow is a definition known by its public id, an execution is a process with what is open in it. Both are read in one
snapshot. An execution is over when its process has ended, and also when an incident has left nothing that could go on by itself.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import msgspec

from penstock.core import codec, loading
from penstock.core import events as ev
from penstock.core.approval import State
from penstock.core.definition import Version
from penstock.core.requests import Filter
from penstock.core.state import Status
from penstock.errors import Conflict, Invalid, NotFound, WrongState
from penstock.identity.model import Actor
from penstock.identity.policy import Action, Target, require
from penstock.operations import approval, processes, sight
from penstock.operations.context import Context, new_uuid
from penstock.operations.reading import row_view
from penstock.operations.views import Page, Process
from penstock.store import definitions, listing, lookups, people
from penstock.store import processes as stored
from penstock.store.lookups import Place, ProcessRow, VersionRow
from penstock.store.rows import INBOX, VISITS, Tx


class Workflow(NamedTuple):
    """A version of a definition. `document` is what was deployed, `version` what runs."""

    id: str
    tenant: str
    number: int
    active: bool
    created_at: int
    document: dict[str, Any]
    version: Version


class Trouble(msgspec.Struct, frozen=True):
    """An incident."""

    node: str
    type: str
    message: str


class Execution(msgspec.Struct, frozen=True):
    """A process. `queue`: nodes with work that is ready or being done, the longest waiting first; no scope is among them."""

    id: str
    definition: str
    version: int
    status: str
    created_at: int
    finished_at: int | None
    queue: list[str]
    troubles: list[Trouble]


class Shown(NamedTuple):
    """An execution with the workflow it runs."""

    execution: Execution
    workflow: Workflow


# -- executions ------------------------------------------------------------------------------------------------------


async def start(ctx: Context, actor: Actor, workflow_id: str, key: str | None = None) -> Shown:
    """Start the active version of a workflow.

    Raises: NotFound, Forbidden, Invalid (the definition needs an input), WrongState (none is active), LimitExceeded.
    """
    row, tid = await _row(ctx, actor, workflow_id, current=True), actor.tenant.tid
    require(actor, Action.PROCESS_START, _target(actor, row))
    data = processes.checked(row, processes.StartProcess(definition=row.code))
    id = new_uuid()

    def unit(tx: Tx) -> Execution:
        now = definitions.numbered(tx, tid, row.code, row.number)
        if now is None or now.state != definitions.ACTIVE:
            raise WrongState(f"cannot start: workflow {workflow_id} is disabled")
        place.require()
        held = stored.create(tx, tid=tid, id=id, did=row.did, vid=row.vid, created_by=actor.principal)
        moved = ctx.engine.start(held, ev.Started(at=tx.now, actor=actor.principal, **data))
        places = [Place(*found) for found in tx.select(lookups.PLACES, {"of_pid": held.pid}, of=[VISITS])]
        arriving = bool(tx.select(lookups.ARRIVING, {"of_pid": held.pid}, of=[INBOX]))
        return _execution(processes.view(moved), places, arriving=arriving)

    with await ctx.limits.place(actor.tenant, repeatable=key is not None) as place:
        found, replayed = await ctx.once(actor, key, ["start", workflow_id], unit, Execution)
        place.used = not replayed
    return await _shown(ctx, actor, found)


async def get(ctx: Context, actor: Actor, workflow_id: str, id: str) -> Shown:
    """Raises: NotFound (workflow, or no such execution of it)."""
    row = await _row(ctx, actor, workflow_id)
    tid = actor.tenant.tid

    def read(reader: Any) -> Execution | None:
        found = lookups.process_by_id(reader, tid, id)
        if found is None or found.did != row.did:
            return None
        sight.require_seen(reader, actor, id, found.pid)
        return _read(reader, found)

    execution = await ctx.store.async_read(read)
    if execution is None:
        raise NotFound("process", id)
    return await _shown(ctx, actor, execution)


async def listed(ctx: Context, actor: Actor, workflow_id: str, after: list[Any] | None, limit: int) -> Page:
    """Executions of a workflow, newest first. Raises: NotFound."""
    row = await _row(ctx, actor, workflow_id)
    tid = actor.tenant.tid
    wanted = Filter(definition=row.code, viewer=sight.viewer_of(actor))

    def read(reader: Any) -> tuple[list[Execution], list[Any] | None]:
        page = listing.page(reader, tid, wanted, after, limit + 1)
        rows = lookups.processes(reader, [each.pid for each in page[:limit]])
        return [_read(reader, each) for each in rows], list(page[limit - 1].position) if len(page) > limit else None

    found, next = await ctx.store.async_read(read)
    return Page([await _shown(ctx, actor, execution) for execution in found], next)


def _read(reader: Any, row: ProcessRow) -> Execution:
    places, arriving = lookups.places(reader, row.pid)
    return _execution(row_view(row), places, arriving=arriving)


def _execution(seen: Process, places: list[Place], *, arriving: bool) -> Execution:
    queue = [place.node for place in places if place.state == "OPEN" and place.kind != "scope"]
    finished_at = seen.ended_at
    if finished_at is None and seen.status == Status.FAILED and not queue and not arriving:
        finished_at = seen.modified_at
    return Execution(
        id=seen.id,
        definition=seen.definition,
        version=seen.version,
        status=seen.status,
        created_at=seen.created_at,
        finished_at=finished_at,
        queue=queue,
        troubles=[_trouble(place) for place in places if place.state == "FAILED"],
    )


def _trouble(place: Place) -> Trouble:
    failure = codec.decode_failure(place.failure)
    if failure is None:
        return Trouble(place.node, "", "")
    return Trouble(place.node, failure.type, failure.message)


async def _shown(ctx: Context, actor: Actor, execution: Execution) -> Shown:
    row = await ctx.version(actor.tenant.tid, execution.definition, execution.version)
    assert row is not None, "no version goes while it has processes"
    return Shown(execution, _workflow(actor, row))


# -- workflows -------------------------------------------------------------------------------------------------------


async def workflow(ctx: Context, actor: Actor, id: str) -> Workflow:
    """The latest version. Raises: NotFound."""
    return _workflow(actor, await _row(ctx, actor, id))


async def workflows(ctx: Context, actor: Actor, after: list[Any] | None, limit: int) -> Page:
    """The latest version of each, oldest first."""
    require(actor, Action.DEFINITION_READ)
    tid, begin = actor.tenant.tid, after[0] if after else 0
    rows = await ctx.store.async_read(lambda reader: lookups.latest_versions(reader, tid, begin, limit + 1))
    return Page([_workflow(actor, row) for row in rows[:limit]], [rows[limit - 1].did] if len(rows) > limit else None)


async def create(ctx: Context, actor: Actor, document: dict[str, Any], key: str | None = None) -> Workflow:
    """A new workflow from a definition's document without its code.

    Raises: Invalid with every problem, Forbidden.
    """
    require(actor, Action.DEFINITION_DEPLOY)
    id = new_uuid()
    return await _save(ctx, actor, {"code": f"workflow-{id}", **document}, ["create", document], key, id)


async def replace(ctx: Context, actor: Actor, id: str, document: dict[str, Any], key: str | None = None) -> Workflow:
    """A new, active version of a workflow; the same document as that of an active latest version makes none.

    Raises: NotFound, Forbidden, Conflict (what the definition was made with is not what this document is made with), Invalid.
    """
    row = await _row(ctx, actor, id)
    require(actor, Action.DEFINITION_DEPLOY, _target(actor, row))
    if not document["extensions"].keys() <= codec.decode_json(row.document).get("extensions", {}).keys():
        raise Conflict(f"workflow {id} was not made here: it can be changed where it was made")
    return await _save(ctx, actor, {"code": row.code, **document}, ["replace", id, document], key, id)


async def retire(ctx: Context, actor: Actor, id: str, key: str | None = None) -> Workflow:
    """No more executions are started; those that run go on. Raises: NotFound, Forbidden."""
    row = await _row(ctx, actor, id)
    require(actor, Action.DEFINITION_DEPLOY, _target(actor, row))

    def unit(tx: Tx) -> int:
        people.hold(tx, actor.tenant.tid)
        approval.retire_all(tx, actor, row.code)
        return row.number

    try:
        number, _ = await ctx.once(actor, key, ["retire", id], unit, int)
    finally:
        ctx.deployed(actor.tenant.tid, row.code)
    return await _numbered(ctx, actor, row.code, number)


async def _save(
    ctx: Context, actor: Actor, document: dict[str, Any], request: Any, key: str | None, id: str
) -> Workflow:
    version, problems = loading.load(document)
    if version is None:
        raise Invalid("the workflow cannot be run", [problem for problem in problems if not problem.warning])
    tid, code = actor.tenant.tid, version.code
    text = codec.encode_json(document)
    digest = hashlib.sha256(msgspec.json.encode(document, order="deterministic")).hexdigest()
    version_id = new_uuid()

    def unit(tx: Tx) -> tuple[str, int]:
        people.hold(tx, tid)
        before = definitions.latest(tx, tid, code)
        if before is not None and before.digest == digest and before.state != State.RETIRED:
            return code, before.number
        added = approval.add(tx, actor, version, id=id, version_id=version_id, document=text, digest=digest)
        return code, added.number

    try:
        (code, number), _ = await ctx.once(actor, key, request, unit, tuple[str, int])
    finally:
        ctx.deployed(tid, code)
    return await _numbered(ctx, actor, code, number)


async def _numbered(ctx: Context, actor: Actor, code: str, number: int) -> Workflow:
    row = await ctx.version(actor.tenant.tid, code, number)
    assert row is not None, "it was there a moment ago, and no version goes"
    return _workflow(actor, row)


async def _row(ctx: Context, actor: Actor, id: str, *, current: bool = False) -> VersionRow:
    """The latest version of a workflow, or the one that new executions start with. Raises: NotFound."""
    tid = actor.tenant.tid
    require(actor, Action.DEFINITION_READ)
    row = await ctx.store.async_read(lambda reader: lookups.version_by_definition_id(reader, tid, id, current=current))
    if row is None:
        raise NotFound("definition", id)
    return row


def _workflow(actor: Actor, row: VersionRow) -> Workflow:
    return Workflow(
        id=row.definition_id,
        tenant=actor.tenant.id,
        number=row.number,
        active=row.state == definitions.ACTIVE,
        created_at=row.definition_created_at,
        document=codec.decode_json(row.document),
        version=row.compiled,
    )


def _target(actor: Actor, row: VersionRow) -> Target:
    return Target(kind="definition", id=row.definition_id, tid=actor.tenant.tid, permissions=row.permissions)
