"""Routes of `/processes`."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from penstock.api import filters, mapping, models
from penstock.api.door import ApiCall, Native, entry_error, page, position
from penstock.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    LimitExceeded,
    NotFound,
    PenstockError,
    TooLarge,
    WrongState,
)
from penstock.operations import processes, reading
from penstock.operations.commands import Commands
from penstock.operations.processes import StartProcess
from penstock.web.routing import Reply, Route


def _start(body: models.Start) -> StartProcess:
    return StartProcess(
        definition=body.definition,
        version=body.version,
        id=body.id,
        input=body.input,
        metadata=body.metadata,
        entity=body.entity,
    )


async def start(call: ApiCall) -> Reply:
    view, fresh = await processes.start(call.door.operations, call.actor, _start(call.body), call.idempotency_key)
    return Reply(mapping.render_process(view, whole=True), 201 if fresh else 200)


async def start_many(call: ApiCall) -> models.StartedMany:
    requests = [_start(each) for each in call.body.processes]
    results = []
    for found in await processes.start_many(call.door.operations, call.actor, requests, call.idempotency_key):
        if isinstance(found, PenstockError):
            error = entry_error(found)
            results.append(models.Started(status=error.status, error=error))
        else:
            process = mapping.render_process(found[0], whole=True)
            results.append(models.Started(status=201 if found[1] else 200, process=process))
    return models.StartedMany(results=results)


async def listed(call: ApiCall) -> models.Processes:
    operations, query = call.door.operations, call.query
    wanted = filters.parse_list(query)
    wanted = wanted._replace(
        parent_pid=await reading.parent_of(operations, call.actor, query.parent),
        search=wanted.search + reading.words(query.q),
    )
    found = await reading.listed(operations, call.actor, wanted, position(call, call.actor), query.limit)
    return page(call, call.actor, found, lambda view: mapping.render_process(view, whole=False), models.Processes)


async def get(call: ApiCall) -> models.Process:
    return mapping.render_process(await reading.get(call.door.operations, call.actor, call.path["id"]), whole=True)


async def history(call: ApiCall) -> models.History:
    found = await reading.history(
        call.door.operations, call.actor, call.path["id"], position(call, call.actor), call.query.limit
    )
    return page(call, call.actor, found, mapping.render_history, models.History)


async def visits(call: ApiCall) -> models.Visits:
    wanted = filters.parse_visits(call.query)
    found = await reading.visits(
        call.door.operations, call.actor, call.path["id"], wanted, position(call, call.actor), call.query.limit
    )
    return page(call, call.actor, found, mapping.render_visit, models.Visits)


def _of(call: ApiCall) -> tuple[Any, Any, str]:
    return call.door.operations, call.actor, call.path["id"]


async def complete(call: ApiCall) -> models.Process:
    view = await processes.complete(*_of(call), call.body.output, call.idempotency_key)
    return mapping.render_process(view, whole=True)


async def cancel(call: ApiCall) -> models.Process:
    view = await processes.cancel(*_of(call), call.body.reason, call.idempotency_key)
    return mapping.render_process(view, whole=True)


async def terminate(call: ApiCall) -> models.Process:
    view = await processes.terminate(*_of(call), call.body.reason, call.idempotency_key)
    return mapping.render_process(view, whole=True)


async def suspend(call: ApiCall) -> models.Process:
    return mapping.render_process(await processes.suspend(*_of(call), call.idempotency_key), whole=True)


async def resume(call: ApiCall) -> models.Process:
    return mapping.render_process(await processes.resume(*_of(call), call.idempotency_key), whole=True)


async def retry(call: ApiCall) -> models.Process:
    return mapping.render_process(await processes.retry(*_of(call), call.idempotency_key), whole=True)


async def debug(call: ApiCall) -> models.Process:
    body: models.Debug = call.body
    given = {name: getattr(body, name) for name in ("input", "output") if getattr(body, name) is not UNSET}
    where = Commands(visit=body.visit, node=body.node)
    view = await processes.debug(*_of(call), where, given, call.idempotency_key)
    return mapping.render_process(view, whole=True)


async def skip(call: ApiCall) -> models.Process:
    where = Commands(visit=call.body.visit, node=call.body.node)
    view = await processes.skip(*_of(call), where, call.body.output, call.idempotency_key)
    return mapping.render_process(view, whole=True)


async def restart(call: ApiCall) -> models.Process:
    view = await processes.restart(*_of(call), call.body.node, call.body.scope, call.idempotency_key)
    return mapping.render_process(view, whole=True)


async def migrate(call: ApiCall) -> models.Migration:
    body: models.Migrate = call.body
    view = await processes.migrate(
        *_of(call), body.version, body.mapping, dry_run=body.dry_run, key=call.idempotency_key
    )
    return mapping.render_migration(view)


async def signal(call: ApiCall) -> models.Delivered:
    body: models.SignalOne = call.body
    delivered = await processes.signal(*_of(call), body.name, body.key, body.payload, call.idempotency_key)
    return models.Delivered(delivered=delivered)


def _command(
    name: str, summary: str, handler: Any, request: Any, response: Any = models.Process, **examples: Any
) -> Route[Native]:
    return Route(
        method="POST",
        path=f"/processes/{{id}}/{name}",
        operation=f"{name}Process",
        summary=summary,
        handler=handler,
        request=request,
        response=response,
        errors=(NotFound, Forbidden, WrongState, Conflict),
        tag="Commands",
        examples=examples,
    )


ROUTES: tuple[Route[Native], ...] = (
    Route(
        method="POST",
        path="/processes",
        operation="startProcess",
        summary="Start a process (200: the same start was made before)",
        handler=start,
        request=models.Start,
        response=models.Process,
        status=201,
        also=(200,),
        errors=(NotFound, Forbidden, AlreadyExists, Conflict, TooLarge),
        tag="Processes",
        examples={"hello": {"definition": "hello", "input": {"name": "world"}}},
    ),
    Route(
        method="POST",
        path="/processes/~batch",
        operation="startProcesses",
        summary="Start up to 500 processes; each succeeds or fails by itself",
        handler=start_many,
        request=models.StartMany,
        response=models.StartedMany,
        tag="Processes",
    ),
    Route(
        method="GET", path="/processes", operation="listProcesses",
        summary="Processes; `metadata.NAME=`, `input.NAME=`, `entity.NAME=` search what definitions list",
        description="`NAME[prefix]=`, `NAME[from]=` (at least) and `NAME[to]=` (less than) search a range; `q` finds the "
        "beginnings of words in searchable values.",
        handler=listed, query=models.ProcessQuery, response=models.Processes, errors=(LimitExceeded,), tag="Processes",
    ),
    Route(
        method="GET", path="/processes/{id}", operation="getProcess", summary="A process with its data",
        handler=get, response=models.Process, errors=(NotFound,), tag="Processes",
    ),
    Route(
        method="GET", path="/processes/{id}/history", operation="listHistory", summary="What happened, in order",
        handler=history, query=models.Paged, response=models.History, errors=(NotFound,), tag="Processes",
    ),
    Route(
        method="GET", path="/processes/{id}/visits", operation="listVisits",
        summary="Activations of nodes, with input, output, attempts and times", handler=visits, query=models.VisitQuery,
        response=models.Visits, errors=(NotFound,), tag="Processes",
    ),
    _command("complete", "End a process that is driven from outside", complete, models.Complete),
    _command("cancel", "Withdraw everything at once", cancel, models.Reason),
    _command("terminate", "Tell running jobs to stop, end when they have, or after 30 s", terminate, models.Reason),
    _command("suspend", "Hand out no job; keep what comes in", suspend, models.Nothing),
    _command("resume", "Go on, with what was kept", resume, models.Nothing),
    _command("retry", "A new attempt of each incident, in place", retry, models.Nothing),
    _command("debug", "Give a visit its input or its result by hand", debug, models.Debug,
             result={"visit": 2, "output": {"approved": True}}, input={"node": "check", "input": {"amount": 1}}),
    _command("skip", "End a visit with an output of your own", skip, models.Skip,
             skip={"visit": 2, "output": {"approved": True}}),
    _command("restart", "Go back to a node", restart, models.Restart,
             restart={"node": "check"}),
    _command("migrate", "Move to another version; a dry run tells what would be moved", migrate, models.Migrate,
             models.Migration, dry_run={"version": 3, "mapping": {"check": "check_twice"}, "dry_run": True}),
    _command("signal", "Send a message or signal to this process alone", signal, models.SignalOne, models.Delivered),
)  # fmt: skip
