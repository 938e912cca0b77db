"""Routes of `/bulk`: one command to many processes."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.api import bulk_models, filters, mapping, models
from penstock.api.door import ApiCall, Native, page, position
from penstock.core.durations import format_time
from penstock.core.requests import Filter
from penstock.errors import Conflict, Forbidden, Invalid, NotFound, Problem, TooLarge, WrongState
from penstock.operations import bulk, reading
from penstock.web.parsing import pointer_of
from penstock.web.routing import Route

ARGUMENTS: dict[str, type[models.Request]] = {
    "cancel": models.Reason,
    "terminate": models.Reason,
    "suspend": models.Nothing,
    "resume": models.Nothing,
    "retry": models.Nothing,
    "skip": bulk_models.BulkSkip,
    "signal": models.SignalOne,
    "migrate": bulk_models.BulkMigrate,
    "delete": models.Nothing,
}


async def begin(call: ApiCall) -> bulk_models.Bulk:
    body: bulk_models.NewBulk = call.body
    if (body.filter is None) == (body.ids is None):
        message = "give either a filter or ids"
        raise Invalid(message, [Problem("", "exactly one of filter, ids", "bulk")])
    wanted = bulk.NewBulk(
        command=body.command,
        filter=None if body.filter is None else await _filter(call, body.filter),
        ids=tuple(body.ids or ()),
        arguments=_arguments(body),
        dry_run=body.dry_run,
    )
    return render(await bulk.begin(call.door.operations, call.actor, wanted, call.idempotency_key))


def _arguments(body: bulk_models.NewBulk) -> dict[str, Any]:
    """Checked by the command's own body. Raises: Invalid."""
    try:
        msgspec.convert(body.arguments, ARGUMENTS[body.command])
    except msgspec.ValidationError as error:
        message, pointer = pointer_of(str(error))
        raise Invalid(f"/arguments{pointer}: {message}", [Problem(f"/arguments{pointer}", message)]) from None
    return body.arguments


async def _filter(call: ApiCall, given: bulk_models.BulkFilter) -> Filter:
    wanted = filters.parse_filter(given, given.search, "/filter/")
    try:
        parent = await reading.parent_of(call.door.operations, call.actor, given.parent)
        return wanted._replace(parent_pid=parent, search=wanted.search + reading.words(given.q))
    except Invalid as error:
        problems = [problem._replace(pointer=f"/filter/{problem.pointer}") for problem in error.problems]
        raise Invalid(error.message, problems) from None


async def get(call: ApiCall) -> bulk_models.Bulk:
    return render(await bulk.get(call.door.operations, call.actor, call.path["id"]))


async def listed(call: ApiCall) -> bulk_models.Bulks:
    found = await bulk.listed(call.door.operations, call.actor, position(call, call.actor), call.query.limit)
    return page(call, call.actor, found, render, bulk_models.Bulks)


async def cancel(call: ApiCall) -> bulk_models.Bulk:
    return render(await bulk.cancel(call.door.operations, call.actor, call.path["id"], call.idempotency_key))


async def results(call: ApiCall) -> bulk_models.BulkResults:
    return await _results(call, call.query.outcome)


async def failures(call: ApiCall) -> bulk_models.BulkResults:
    return await _results(call, "FAILED")


async def _results(call: ApiCall, outcome: str | None) -> bulk_models.BulkResults:
    operations, id = call.door.operations, call.path["id"]
    found = await bulk.results(operations, call.actor, id, outcome, position(call, call.actor), call.query.limit)
    return page(call, call.actor, found, render_result, bulk_models.BulkResults)


def render(view: Any) -> bulk_models.Bulk:
    shown = view.filter
    if shown is not None:
        times = ("created_from", "created_to", "ended_from", "ended_to")
        shown = {name: format_time(value) if name in times else value for name, value in shown.items()}
        if "statuses" in shown:  # as it was asked for, so that it can be asked for again
            shown["status"] = shown.pop("statuses")
    return bulk_models.Bulk(
        id=view.id,
        command=view.command,
        state=view.state,
        filter=shown,
        arguments=view.arguments,
        dry_run=view.dry_run,
        total=view.total,
        done=view.done,
        failed=view.failed,
        skipped=view.skipped,
        message=view.message,
        created_by=view.created_by,
        created_at=format_time(view.created_at),
        ended_at=mapping.time_of(view.ended_at),
    )


def render_result(view: Any) -> bulk_models.BulkResult:
    return bulk_models.BulkResult(
        process=view.process,
        outcome=view.outcome,
        at=format_time(view.at),
        code=view.code,
        detail=view.detail,
        problems=[models.Problem(**problem) for problem in view.problems],
        moves=[models.Move(**move) for move in view.moves],
    )


ROUTES: tuple[Route[Native], ...] = (
    Route(
        method="POST",
        path="/bulk",
        operation="beginBulk",
        summary="One command to every process of a filter, or to those named, in the background",
        description="Processes that are created after the operation began are left alone. A dry run changes nothing "
        "and reports on each process.",
        handler=begin,
        request=bulk_models.NewBulk,
        response=bulk_models.Bulk,
        status=202,
        errors=(Forbidden, Conflict, TooLarge),
        tag="Bulk",
        examples={
            "cancel": {"command": "cancel", "filter": {"definition": "loan", "status": ["FAILED"]}, "dry_run": True},
            "migrate": {"command": "migrate", "filter": {"definition": "loan"}, "arguments": {"version": 2}},
        },
    ),
    Route(
        method="GET", path="/bulk", operation="listBulks", summary="Bulk operations, newest first", handler=listed,
        query=models.Paged, response=bulk_models.Bulks, tag="Bulk",
    ),
    Route(
        method="GET", path="/bulk/{id}", operation="getBulk", summary="A bulk operation, with how far it is",
        handler=get, response=bulk_models.Bulk, errors=(NotFound,), tag="Bulk",
    ),
    Route(
        method="POST", path="/bulk/{id}/cancel", operation="cancelBulk",
        summary="Stop a bulk operation; what it has done stays done", handler=cancel, request=models.Nothing,
        response=bulk_models.Bulk, errors=(NotFound, Forbidden, WrongState, Conflict), tag="Bulk",
    ),
    Route(
        method="GET", path="/bulk/{id}/failures", operation="listBulkFailures",
        summary="Processes the command could not be applied to, and why", handler=failures, query=models.Paged,
        response=bulk_models.BulkResults, errors=(NotFound,), tag="Bulk",
    ),
    Route(
        method="GET", path="/bulk/{id}/results", operation="listBulkResults",
        summary="What failed and what was skipped; of a dry run everything", handler=results,
        query=bulk_models.BulkResultQuery, response=bulk_models.BulkResults, errors=(NotFound,), tag="Bulk",
    ),
)  # fmt: skip
