"""The door's table: paths, limits, and which operation each is. All is POST, reading too; but for the look at a session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

import penstock
from penstock.core.requests import JobClaim
from penstock.dialects.cloudio import mapping, models
from penstock.errors import Conflict, Forbidden, LimitExceeded, TooLarge, Unauthenticated
from penstock.operations import job_values
from penstock.operations.context import Context
from penstock.operations.people import Credentials
from penstock.web.errors import ErrorRenderer, Shape
from penstock.web.openapi import describe
from penstock.web.routing import ANY_JSON, JSON, TEXT_JSON, ASGIApp, Auth, Call, Door, Route
from penstock.web.streaming import Receive, Send
from penstock.web.streaming import Scope as Request

PREFIX = "/v1"
VALUES = "/wf"
AUTH = "/auth"
MOUNTS = (PREFIX + VALUES, PREFIX + AUTH)
CONTENT_TYPES = (JSON, TEXT_JSON, ANY_JSON)
MAX_BODY = 64 * 1024
MAX_PUT = 4 * 1024 * 1024
"""A value of 1 MiB, each of its characters written as an escape."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cloudio:
    """What the door was built with."""

    operations: Context
    credentials: Credentials
    key: bytes
    """Signs sessions."""


CloudioCall = Call[Cloudio]
CloudioRoute = Route[Cloudio]


# -- values ----------------------------------------------------------------------------------------------------------


async def _holding(call: CloudioCall, act: Callable[[JobClaim], Awaitable[T]]) -> T:
    """Do something in the name of the job that the body speaks of. Raises: Forbidden, with the vendor's sentence."""
    try:
        return await act(mapping.parse_claim(call.body))
    except Unauthenticated:
        raise Forbidden(mapping.render_refusal(call.body)) from None


def _put(*, of_process: bool) -> Any:
    async def put(call: CloudioCall) -> models.Done:
        body: models.Put = call.body
        await _holding(
            call,
            lambda claim: job_values.put(
                call.door.operations, claim, body.key, body.value,
                of_process=of_process, idempotency_key=call.idempotency_key,
            ),
        )  # fmt: skip
        return models.Done()

    return put


def _get(*, of_process: bool) -> Any:
    async def get(call: CloudioCall) -> models.Found:
        key = call.body.key
        return models.Found(
            value=await _holding(
                call, lambda claim: job_values.get(call.door.operations, claim, key, of_process=of_process)
            )
        )

    return get


def _increment(*, of_process: bool) -> Any:
    async def increment(call: CloudioCall) -> models.Counted:
        key = call.body.key
        return models.Counted(
            value=await _holding(
                call,
                lambda claim: job_values.increment(
                    call.door.operations, claim, key, of_process=of_process, idempotency_key=call.idempotency_key
                ),
            )
        )

    return increment


# -- log-in ----------------------------------------------------------------------------------------------------------


async def log_in(call: CloudioCall) -> models.NewSession:
    name, secret = mapping.parse_credentials(call.headers)
    session = await call.door.credentials.open_session(name, secret, call.door.key, call.address)
    return mapping.render_new_session(session)


async def session(call: CloudioCall) -> models.Session:
    jwt, csrf = call.headers.get("jwt", ""), call.headers.get("csrf", "")
    found = await call.door.credentials.session(jwt, csrf, call.door.key)
    call.door.operations.limits.admit(found.actor)
    return mapping.render_session(found)


# -- the table -------------------------------------------------------------------------------------------------------

ORIGINS = {
    "put": "said", "get": "client", "instancePut": "said", "instanceGet": "client",
    "incrementAndGet": "name said, path and `value` ours", "instanceIncrementAndGet": "said, `value` ours",
}  # fmt: skip
EXAMPLE = {
    "wfUid": "hello",
    "wfInstUid": "019a7f5e-0000-7000-8000-000000000001",
    "version": "1",
    "token": "pj_1.1.…",
    "nodeUid": "greet",
    "executionId": "1001",
    "key": "greeted",
}
REPEAT = "Our extension: repeated with its Idempotency-Key, a call gets its first answer as long as the token is good."


def _value_route(operation: str, summary: str, handler: Any, response: Any, **more: Any) -> CloudioRoute:
    """What all calls of a job have in common."""
    example = {**EXAMPLE, "value": {"any": "JSON"}} if more.get("request") is models.Put else EXAMPLE
    more = {"request": models.Reference, "max_body": MAX_BODY, "errors": (Forbidden, LimitExceeded), **more}
    return Route(
        method="POST", path=f"{VALUES}/{operation}", operation=operation, summary=summary, handler=handler,
        response=response, auth=Auth.NONE, content_types=CONTENT_TYPES, tag="Values", examples={"call": example},
        origin=ORIGINS[operation], **more,
    )  # fmt: skip


ROUTES: tuple[CloudioRoute, ...] = (
    *(
        _value_route(
            operation, f"Keep a value for {whose}", _put(of_process=of_process), models.Done,
            request=models.Put, max_body=MAX_PUT, errors=(Forbidden, TooLarge, Conflict, LimitExceeded), description=REPEAT,
        )
        for operation, whose, of_process in (
            ("put", "all instances of the workflow", False),
            ("instancePut", "the workflow instance", True),
        )
    ),
    *(
        _value_route(operation, f"A value of {whose}; null where there is none", _get(of_process=of_process), models.Found)
        for operation, whose, of_process in (("get", "the workflow", False), ("instanceGet", "the workflow instance", True))
    ),
    *(
        _value_route(
            operation, f"Add exactly 1 to a number of {whose}; an absent key becomes 1",
            _increment(of_process=of_process), models.Counted, errors=(Forbidden, Conflict, LimitExceeded), description=REPEAT,
        )
        for operation, whose, of_process in (
            ("incrementAndGet", "the workflow", False),
            ("instanceIncrementAndGet", "the workflow instance", True),
        )
    ),
    Route(
        origin="said",
        method="POST", path=AUTH, operation="auth", summary="Log in", handler=log_in, request=models.LogIn,
        response=models.NewSession, auth=Auth.NONE, content_types=CONTENT_TYPES, tag="Session", max_body=MAX_BODY,
        errors=(Unauthenticated, LimitExceeded),
        description="With `Authorization` or `Authentication`: `Token BASE64(user:password)`; an e-mail address and its "
        "password, or an application's id and secret. The answer's `jwt` is an access token, good at `/api/v1` too.",
    ),
    Route(
        origin="ours",
        method="GET", path=AUTH, operation="session", summary="The session of the headers `jwt` and `csrf`",
        handler=session, response=models.Session, auth=Auth.NONE, tag="Session", errors=(Unauthenticated, LimitExceeded),
        description="Our extension.",
    ),
)  # fmt: skip

ERRORS = ErrorRenderer(
    {kind: Shape(*line) for kind, line in mapping.ERRORS.items()},
    mapping.render_failure,
    models.Failed,
    challenge=mapping.SCHEME,
)


def door(cloudio: Cloudio) -> Door[Cloudio]:
    """The door, with its OpenAPI document and page."""
    made = Door(
        ROUTES,
        cloudio,
        name="cloudio",
        title="Workflow values API",
        version=penstock.__version__,
        prefix=PREFIX,
        errors=ERRORS,
        max_body=MAX_BODY,
        description=(
            "Key/value and counters for a running job, in the vendor's words. The token of the job, in the body, is the only "
            "credential, and lives as long as the job. `wfUid` is a definition's code or id, `wfInstUid` the "
            "process's id, `version` the definition's version, `nodeUid` the node or its topic, `executionId` the job's."
        ),
    )
    describe(made, VALUES)
    return made


# -- blank segments --------------------------------------------------------------------------------------------------


class Unblanked:
    """The door behind paths with blank segments: the vendor's client asks for `/ /v1/wf/instancePut`.

    What is not the door's, such segments or not, goes to the application it stands before, as it came.
    """

    def __init__(self, door: ASGIApp, otherwise: ASGIApp) -> None:
        self._door = door
        self._otherwise = otherwise

    async def __call__(self, scope: Request, receive: Receive, send: Send) -> None:
        path = without_blanks(scope.get("raw_path") or scope["path"].encode())
        if any(path == mount or path.startswith(mount + b"/") for mount in _MOUNTS):
            scope = {**scope, "path": unquote_to_bytes(path).decode("utf-8", "replace"), "raw_path": path}
            await self._door(scope, receive, send)
        else:
            await self._otherwise(scope, receive, send)


_MOUNTS = tuple(mount.encode() for mount in MOUNTS)


def without_blanks(path: bytes) -> bytes:
    """`/%20/v1//wf/put/` is `/v1/wf/put`."""
    if b"//" not in path and b"%" not in path and not path.endswith(b"/"):
        return path
    return b"".join(b"/" + segment for segment in path.split(b"/") if unquote_to_bytes(segment).strip())
