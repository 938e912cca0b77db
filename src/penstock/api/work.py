"""Routes of `/jobs`, `/messages`, `/signals` and values."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from penstock.api import job_models, mapping, models
from penstock.api.door import ApiCall, Native, entry_error, page, position
from penstock.errors import (
    Conflict,
    Forbidden,
    Invalid,
    LeaseLost,
    LimitExceeded,
    NotFound,
    Problem,
    TooLarge,
    Unauthenticated,
)
from penstock.operations import jobs, messages, values
from penstock.web.routing import Auth, Route
from penstock.web.waiting import ClientGone

JOB_TOKEN = "pj_"  # noqa: S105 - a prefix

# -- jobs ------------------------------------------------------------------------------------------------------------


async def poll(call: ApiCall) -> job_models.Jobs:
    body: job_models.Poll = call.body
    request = jobs.Poll(topics=body.topics, max=body.max, wait=body.wait, lease=body.lease, worker=body.worker)
    if body.wait <= 0:
        taken = await jobs.poll(call.door.operations, call.actor, request)
    else:
        taken = await _until_gone(call, jobs.poll(call.door.operations, call.actor, request))
    return job_models.Jobs(jobs=[mapping.render_job(each) for each in taken])


async def _until_gone(call: ApiCall, polling: Any) -> Any:
    """Wait for the poll; a client that leaves ends it, and what it had been given is offered to others."""
    task = asyncio.ensure_future(polling)
    leaving = asyncio.ensure_future(call.gone())
    try:
        await asyncio.wait((task, leaving), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait(
            (task,)
        )  # it ends at once, and what it has waited is counted before the request's line is written
        raise ClientGone
    finally:
        leaving.cancel()
        task.cancel()


def _then(then: job_models.Then | None) -> jobs.Poll | None:
    if then is None:
        return None
    return jobs.Poll(topics=then.topics, max=then.max, lease=then.lease, worker=then.worker)


def _completed(body: job_models.CompleteOne, id: str, token: str | None) -> jobs.Completed:
    return jobs.Completed(
        id=id, lease=body.lease, token=token, traceparent=body.traceparent, output=body.output, values=body.values,
        increments=body.increments,
    )  # fmt: skip


def _failed(body: job_models.FailOne, id: str, token: str | None) -> jobs.Failed:
    delay = None if body.delay is None else int(body.delay * 1000)
    failure = mapping.parse_failure(body.failure)
    return jobs.Failed(id=id, lease=body.lease, token=token, traceparent=body.traceparent, failure=failure, delay=delay)


def _thrown(body: job_models.ThrowOne, id: str, token: str | None) -> jobs.Thrown:
    return jobs.Thrown(
        id=id, lease=body.lease, token=token, traceparent=body.traceparent, code=body.code, message=body.message,
        data=body.data,
    )  # fmt: skip


def _many(make: Callable[[Any, str, str | None], Any]) -> Any:
    async def answer(call: ApiCall) -> job_models.Results:
        entries = [make(entry, entry.id, None) for entry in call.body.jobs]
        results, taken = await jobs.answer_many(
            call.door.operations, call.actor, entries, _then(call.body.poll), call.idempotency_key
        )
        return job_models.Results(
            results=mapping.render_results(results, entry_error), jobs=[mapping.render_job(each) for each in taken]
        )

    return answer


def _one(make: Callable[[Any, str, str | None], Any]) -> Any:
    async def answer(call: ApiCall) -> None:
        token = call.token
        if token is not None and token.startswith(JOB_TOKEN):
            await jobs.answer(call.door.operations, None, make(call.body, call.path["id"], token))
            return
        actor = await call.authenticate()
        if call.body.lease is None:
            raise Invalid("the lease is needed", [Problem("/lease", "missing", "missing")])
        jobs.require_worker(actor)
        await jobs.answer(call.door.operations, actor, make(call.body, call.path["id"], None), call.idempotency_key)

    return answer


async def extend(call: ApiCall) -> job_models.Results:
    entries = [jobs.Extend(id=each.id, lease=each.lease, seconds=each.seconds) for each in call.body.jobs]
    results = await jobs.extend(call.door.operations, call.actor, entries)
    return job_models.Results(results=mapping.render_results(results, entry_error))


async def log(call: ApiCall) -> job_models.Results:
    entries = [
        jobs.LogLine(id=each.id, lease=each.lease, message=each.message, level=each.level) for each in call.body.jobs
    ]
    results = await jobs.write_log(call.door.operations, call.actor, entries)
    return job_models.Results(results=mapping.render_results(results, entry_error))


# -- messages --------------------------------------------------------------------------------------------------------


async def send_message(call: ApiCall) -> models.Sent:
    body: models.Message = call.body
    sent = await messages.publish(
        call.door.operations, call.actor, body.name, body.key, body.payload, body.id, body.ttl, call.idempotency_key
    )
    return models.Sent(id=sent.id, duplicate=sent.duplicate)


async def send_signal(call: ApiCall) -> models.Delivered:
    delivered = await messages.broadcast(
        call.door.operations, call.actor, call.body.name, call.body.payload, call.idempotency_key
    )
    return models.Delivered(delivered=delivered)


# -- values ----------------------------------------------------------------------------------------------------------


def _value_routes(kind: str, path: str, owner: Any) -> tuple[Route[Native], ...]:
    async def of(call: ApiCall) -> Any:
        return await owner(call.door.operations, call.actor, call.path["owner"])

    async def place(call: ApiCall) -> tuple[Any, Any, Any, str]:
        return call.door.operations, call.actor, await of(call), call.path["key"]

    async def listed(call: ApiCall) -> models.Values:
        found = await values.listed(
            call.door.operations, call.actor, await of(call), position(call, call.actor), call.query.limit
        )
        return page(call, call.actor, found, _value, models.Values)

    async def get(call: ApiCall) -> models.Value:
        return _value(await values.get(*await place(call)))

    async def put(call: ApiCall) -> models.Value:
        return _value(await values.put(*await place(call), call.body, call.idempotency_key))

    async def delete(call: ApiCall) -> None:
        await values.delete(*await place(call), call.idempotency_key)

    async def increment(call: ApiCall) -> models.Value:
        return _value(await values.increment(*await place(call), call.idempotency_key))

    name = kind.title()
    base = f"{path}/{{owner}}/values"
    common: dict[str, Any] = {"tag": "Values", "errors": (NotFound, Forbidden, TooLarge, Conflict)}
    return (
        Route(method="GET", path=base, operation=f"list{name}Values", summary=f"Values of a {kind}, by key",
              handler=listed, query=models.Paged, response=models.Values, **common),
        Route(method="GET", path=f"{base}/{{key}}", operation=f"get{name}Value", summary=f"A value of a {kind}",
              handler=get, response=models.Value, **common),
        Route(method="PUT", path=f"{base}/{{key}}", operation=f"put{name}Value",
              summary=f"Set a value of a {kind}: any JSON", handler=put, request=Any, response=models.Value,
              **common),
        Route(method="DELETE", path=f"{base}/{{key}}", operation=f"delete{name}Value",
              summary=f"Remove a value of a {kind}", handler=delete, status=204, **common),
        Route(method="POST", path=f"{base}/{{key}}/increment", operation=f"increment{name}Value",
              summary="Add exactly 1, atomically; an absent key becomes 1", handler=increment, response=models.Value,
              **common),
    )  # fmt: skip


def _value(view: Any) -> models.Value:
    return models.Value(key=view.key, value=view.value)


# -- the table -------------------------------------------------------------------------------------------------------


def _batch(name: str, summary: str, request: Any, make: Any) -> Route[Native]:
    return Route(
        method="POST", path=f"/jobs/{name}", operation=f"{name}Jobs", summary=summary, handler=_many(make),
        request=request, response=job_models.Results, errors=(Forbidden,), tag="Jobs",
    )  # fmt: skip


def _single(name: str, summary: str, request: Any, make: Any) -> Route[Native]:
    return Route(
        method="POST", path=f"/jobs/{{id}}/{name}", operation=f"{name}Job", summary=summary, handler=_one(make),
        request=request, status=204, auth=Auth.NONE, tag="Jobs",
        errors=(Unauthenticated, Forbidden, NotFound, LeaseLost, Conflict, TooLarge, LimitExceeded),
        description="With the lease and a bearer token, or with the job's own token as the bearer.",
    )  # fmt: skip


ROUTES: tuple[Route[Native], ...] = (
    Route(
        method="POST", path="/jobs/poll", operation="pollJobs", keyed=False,
        summary="Take jobs; with `wait`, the call is held until one is born", handler=poll, request=job_models.Poll,
        response=job_models.Jobs, errors=(Forbidden,), tag="Jobs",
        examples={"greet": {"topics": ["greet"], "max": 10, "wait": 20}},
    ),
    _batch("complete", "Report results, and take the next jobs with `poll`", job_models.CompleteMany, _completed),
    _batch("fail", "Report technical failures: tried again by the node's policy", job_models.FailMany, _failed),
    _batch("throw", "Report business errors: for the nearest boundary", job_models.ThrowMany, _thrown),
    Route(
        method="POST", path="/jobs/extend", operation="extendJobs", keyed=False, summary="Keep jobs for longer, from now",
        handler=extend, request=job_models.ExtendMany, response=job_models.Results, errors=(Forbidden,), tag="Jobs",
    ),
    Route(
        method="POST", path="/jobs/log", operation="logJobs", keyed=False, summary="Lines for the server's log", handler=log,
        request=job_models.LogMany, response=job_models.Results, errors=(Forbidden,), tag="Jobs",
    ),
    _single("complete", "Report a result", job_models.CompleteOne, _completed),
    _single("fail", "Report a technical failure", job_models.FailOne, _failed),
    _single("throw", "Report a business error", job_models.ThrowOne, _thrown),
    Route(
        method="POST", path="/messages", operation="sendMessage",
        summary="To one waiter, or a definition that it starts; else kept for `ttl` seconds", handler=send_message,
        request=models.Message, response=models.Sent, status=202, errors=(Forbidden, TooLarge), tag="Messages",
    ),
    Route(
        method="POST", path="/signals", operation="sendSignal", summary="To every process that listens now",
        handler=send_signal, request=models.Signal, response=models.Delivered, status=202,
        errors=(Forbidden, TooLarge), tag="Messages",
    ),
    *_value_routes("process", "/processes", values.process),
    *_value_routes("definition", "/definitions", values.definition),
)  # fmt: skip
