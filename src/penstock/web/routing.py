"""A door is one table of routes; routing, parsing, checks, answers and the OpenAPI document all come from it.

Checks come in one order: path and method, size, content type, parse (parameters, headers, body), credentials; a handler's
operation does the rest (tenant, existence, policy, state). A plain ASGI application: at thousands of requests a second on
one core, a stack of middleware costs more than the work.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar

import msgspec

from penstock.errors import Invalid, MethodNotAllowed, NotFound, PenstockError, Problem, TooLarge, Unauthenticated
from penstock.errors import UnsupportedMediaType as Unsupported
from penstock.identity.model import Actor
from penstock.telemetry.activity import CURRENT, Activity
from penstock.telemetry.figures import GONE
from penstock.web.auth import Authenticate, bearer_token, nobody
from penstock.web.compression import compressed
from penstock.web.errors import PROBLEM_DETAILS, Answer, ErrorRenderer, Headers, ours
from penstock.web.matching import Paths
from penstock.web.parsing import Decode, Parameters, form_decoder, idempotency_key, json_decoder
from penstock.web.patience import Patience
from penstock.web.revisions import etag, if_match, is_known
from penstock.web.streaming import Receive, Scope, Send, Streamed
from penstock.web.transfer import Download, declared_length
from penstock.web.waiting import ClientGone
from penstock.web.watching import REQUEST_ID, Watch

JSON = "application/json"
TEXT_JSON = "text/json"
ANY_JSON = "application/*+json"
"""Every type with the suffix: what a route lists so, it reads as JSON whatever stands for the star."""
FORM = "application/x-www-form-urlencoded"
MAX_BODY = 1024 * 1024
_OF_PROCESS = re.compile(r"/(?:processes|jobs)/\{(\w+)")
"""Paths that name a process: a job's id begins with its process's."""
LONGEST_NAMED = 64
"""Characters of it that a log line tells."""
BODY_SECONDS = 30.0
"""How long a body may take to arrive."""
_BODIES = Patience()

D = TypeVar("D")
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Admit = Callable[[Actor], None]
"""Asked once a request, when it is known who calls. Raises: LimitExceeded."""


class Auth(Enum):
    """Whether a route wants to know who calls."""

    REQUIRED = "required"
    NONE = "none"
    """The handler looks for a credential itself (`call.token`, `await call.authenticate()`), or needs none."""


class Call(Generic[D]):
    """One request, parsed and checked, as a handler sees it."""

    __slots__ = (
        "_actor", "_admit", "_authenticate", "_receive", "activity", "body", "content", "content_type", "door", "headers",
        "idempotency_key", "path", "query", "revisions", "route", "scope",
    )  # fmt: skip

    def __init__(
        self, door: D, authenticate: Authenticate, scope: Scope, receive: Receive, admit: Admit | None = None
    ) -> None:
        self.door = door
        """What the door was built with."""
        self.scope = scope
        self.headers: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self.activity: Activity
        """The request, as log lines and spans tell it."""
        self.route: Route[D]
        self.path: dict[str, Any] = {}
        self.query: Any = None
        self.body: Any = None
        self.content = b""
        """The body as it came."""
        self.content_type: str | None = None
        """Of the body, without parameters; None when there is none."""
        self.idempotency_key: str | None = None
        self.revisions: frozenset[int] | None = None
        """Of a route that is `revised`: what `If-Match` takes; None: anything."""
        self._actor: Actor | None = None
        self._authenticate = authenticate
        self._admit = admit
        self._receive = receive

    @property
    def actor(self) -> Actor:
        """Who calls.

        Raises: Unauthenticated on a route that asked for nobody.
        """
        if self._actor is None:
            raise Unauthenticated("a credential is needed")
        return self._actor

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def scheme(self) -> str:
        """By which the caller came: `http` or `https`, as far as a trusted proxy has told."""
        return str(self.scope.get("scheme") or "http")

    @property
    def address(self) -> str:
        """Where the caller is: the connection's other end, or who a trusted proxy says it is. "" where nobody knows."""
        client = self.scope.get("client")
        return str(client[0]) if client else ""

    @property
    def token(self) -> str | None:
        """What stands in `Authorization: Bearer`, unchecked.

        Raises: Unauthenticated when the header is there and is malformed.
        """
        return bearer_token(self.headers.get("authorization"))

    async def authenticate(self) -> Actor:
        """Asks the door's authenticator; the request is one of the caller's tenant then. Raises: Unauthenticated, LimitExceeded."""
        if self._actor is None:
            actor = await self._authenticate(self)
            self.activity.tenant, self.activity.principal = actor.tenant.code, actor.principal
            if self._admit is not None:
                self._admit(actor)
            self._actor = actor
        return self._actor

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body of a route that streams, as it comes. Raises: ClientGone."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            if part := message.get("body", b""):
                yield part
            more = message.get("more_body", False)

    async def reauthenticate(self) -> Actor:
        """Asks again: what a stream was opened with may have been taken away since. Raises: Unauthenticated, Unavailable."""
        self._actor = await self._authenticate(self)
        return self._actor

    async def gone(self) -> None:
        """Returns when the client has left; for `waiting.wait`."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


Handler = Callable[[Call[D]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Reply:
    """A handler's answer where it is not simply the route's status with a body."""

    body: Any = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    revision: int | None = None
    """Of what is answered: goes out as its `ETag`."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A handler's answer that is not JSON."""

    content: bytes
    content_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Generic[D]):
    """One operation of a door."""

    method: str
    path: str
    """Below the door's prefix, as `/things/{id}` or `/things/{number:int}`."""
    operation: str
    """Its id, unique in the door."""
    summary: str
    handler: Handler[D]
    request: Any = None
    """Type of the body: a Struct, any type msgspec knows (`Any` takes all JSON), `bytes` for the body as it came, or None.

    An empty body is taken for `{}` where the Struct needs nothing.
    """
    parse: Callable[[Call[D]], Any] | None = None
    """Parsing beyond types, before anybody asks who calls; its answer takes the body's place. Raises: Invalid."""
    query: type[msgspec.Struct] | None = None
    open_query: bool = False
    """Parameters that `query` does not name are nothing: others send browsers here, and add what they like."""
    response: Any = None
    """Type of the answer's body; None is no body, `bytes` content of any type."""
    stream: bool = False
    """The handler takes the body in chunks (`call.chunks`), of any of `content_types`, and sees to its size and pace."""
    media: str = JSON
    """Content type of the answer; of a stream, `response` is the type of one of its parts."""
    status: int = 200
    also: Sequence[int] = ()
    """Other successful statuses, told by `Reply`."""
    errors: Sequence[type[PenstockError]] = ()
    """What the operation raises besides Invalid, Unavailable, and Unauthenticated and LimitExceeded where it is asked who
    calls: every route may.
    """
    auth: Auth = Auth.REQUIRED
    content_types: Sequence[str] = (JSON,)
    max_body: int | None = None
    description: str = ""
    tag: str = ""
    origin: str = ""
    """Of a vendor's door, how we know of it: `said` by his pages, sent by his `client`, or `ours`."""
    examples: Mapping[str, Any] = field(default_factory=dict)
    """Bodies that can be sent, by name."""
    answer: Any = msgspec.UNSET
    """An example of the answer, where the one that is made from its type says too little."""
    request_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers the handler looks at, with what they do; for the OpenAPI document."""
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of successful answers; for the OpenAPI document."""
    hidden: bool = False
    """Not in the OpenAPI document."""
    keyed: bool = True
    """An `Idempotency-Key` does something here, where the method is one that changes; told by the OpenAPI document."""
    revised: bool = False
    """The thing has revisions: answers carry an `ETag` (`Reply.revision`), a change heeds `If-Match` (`Call.revisions`)
    and a GET `If-None-Match`; told by the OpenAPI document.
    """


@dataclass(frozen=True, slots=True)
class _Compiled(Generic[D]):
    """A route with its decoders made."""

    route: Route[D]
    bodies: Mapping[str, Decode]
    parameters: Parameters
    empty: Callable[[], Any] | None
    """Makes what no body stands for; None where a body is needed."""
    max_body: int
    process: str | None
    """The parameter of the path that names a process."""


class Door(Generic[D]):
    """An HTTP API: an ASGI application made from a table of routes."""

    def __init__(  # noqa: PLR0913 - all by name
        self,
        routes: Sequence[Route[D]],
        context: D,
        *,
        name: str,
        title: str,
        version: str,
        prefix: str = "",
        authenticate: Authenticate = nobody,
        admit: Admit | None = None,
        errors: ErrorRenderer = PROBLEM_DETAILS,
        max_body: int = MAX_BODY,
        description: str = "",
        lenient: bool = False,
        session_cookie: str | None = None,
    ) -> None:
        """`lenient`: requests are read as ASP.NET Core does: paths and names of members count in any case, a slash at a
        path's end and unknown parameters are nothing. `session_cookie`: its name, where `authenticate` takes one.
        """
        self.session_cookie = session_cookie
        self.routes: list[Route[D]] = []
        self.context = context
        self.name = name
        self.title = title
        self.version = version
        self.prefix = prefix
        self.errors = errors
        self.description = description
        self.encoder = msgspec.json.Encoder()
        self.watch = Watch(name, prefix)
        self._authenticate = authenticate
        self._admit = admit
        self._max_body = max_body
        self._lenient = lenient
        self._paths: Paths[_Compiled[D]] = Paths(caseless=lenient)
        self.add(*routes)

    def add(self, *routes: Route[D]) -> None:
        """More routes; operation ids and places must be free."""
        for route in routes:
            assert route.operation not in {known.operation for known in self.routes}, f"{route.operation} stands twice"
            self.routes.append(route)
            self._paths.add(
                route.method, self.prefix + route.path, _compile(route, self._max_body, lenient=self._lenient)
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        call = Call(self.context, self._authenticate, scope, receive, self._admit)
        watch, method = self.watch, scope["method"]
        activity = call.activity = watch.begin(call.headers, method)
        before = CURRENT.set(activity)
        try:
            try:
                answer = await self._answer(call, scope, receive)
            except ClientGone:
                watch.answered(getattr(call, "route", None), GONE, activity, method)
                return
            except Exception as error:  # noqa: BLE001 - the edge: every error becomes an answer
                answer = self._failed(error, call)
            name = (REQUEST_ID, activity.request_id.encode())
            status = 200 if isinstance(answer, Streamed) else answer.status
            watch.answered(getattr(call, "route", None), status, activity, method)
            if isinstance(answer, Download):
                await answer.send(_with_header(send, name))
            elif isinstance(answer, Streamed):
                watch.figures.streams += 1
                try:
                    await answer.send(_with_header(send, name), receive, scope)
                finally:
                    watch.figures.streams -= 1
            else:
                answer.headers.append(name)
                await _send(send, await compressed(answer, call.headers.get("accept-encoding")))
        finally:
            CURRENT.reset(before)
            watch.end(activity)

    async def _answer(self, call: Call[D], scope: Scope, receive: Receive) -> Answer | Download | Streamed:
        compiled = self._match(call, scope)
        route = call.route = compiled.route
        if compiled.process is not None:
            call.activity.process = str(call.path[compiled.process])[:LONGEST_NAMED].partition(".")[0]
        if call.headers.get("content-encoding", "identity").lower() != "identity":
            raise Unsupported("a compressed body is not read; send it without Content-Encoding")
        decode = None
        if not route.stream:
            content = call.content = await _read(call.headers, receive, compiled.max_body)
            decode = _body_decoder(call, compiled, content)
        call.query = compiled.parameters.parse(scope["query_string"])
        call.idempotency_key = idempotency_key(call.headers.get("idempotency-key"))
        if route.revised and route.method != "GET":
            call.revisions = if_match(call.headers.get("if-match"))
        if decode is not None:
            call.body = decode(call.content)
        if route.parse is not None:
            call.body = route.parse(call)
        if route.auth is Auth.REQUIRED:
            await call.authenticate()
        result = await route.handler(call)
        if route.revised and route.method == "GET" and isinstance(result, Reply):
            revision = result.revision
            if revision is not None and is_known(call.headers.get("if-none-match"), revision):
                return Answer(304, b"", b"", _headers({"etag": etag(revision)}))
        return self._render(route, result)

    def _match(self, call: Call[D], scope: Scope) -> _Compiled[D]:
        path, method = _path(scope), scope["method"]
        found, call.path, there = self._paths.find("GET" if method == "HEAD" else method, path)
        if found is not None:
            return found
        if not there:
            raise NotFound("path", path)
        raise MethodNotAllowed(f"{method} is not allowed here", allow=sorted(there))

    def _render(self, route: Route[D], result: Any) -> Answer | Download | Streamed:
        if isinstance(result, Download | Streamed):
            return result
        if isinstance(result, Raw):
            return Answer(result.status, result.content, result.content_type.encode(), _headers(result.headers))
        status, headers = route.status, []
        if isinstance(result, Reply):
            status, headers = result.status or status, _headers(result.headers)
            if result.revision is not None:
                headers.append((b"etag", etag(result.revision).encode()))
            result = result.body
        if route.response is None or status == 204:
            return Answer(status, b"", b"", headers)
        return Answer(status, self.encoder.encode(result), b"application/json", headers)

    def _failed(self, error: Exception, call: Call[D]) -> Answer:
        known = ours(error, door=self.name, method=call.scope["method"], path=call.scope["path"])
        return self.errors.render(known)


def _compile(route: Route[D], max_body: int, *, lenient: bool) -> _Compiled[D]:
    bodies: dict[str, Decode] = {}
    kind = route.request
    for content_type in route.content_types if kind is not None and not route.stream else ():
        if kind is bytes:
            bodies[content_type] = bytes
        elif content_type == FORM:
            bodies[content_type] = form_decoder(kind)
        else:
            known = content_type in {JSON, TEXT_JSON} or content_type.endswith("+json")
            assert known, f"{route.operation}: {content_type} can only be read as bytes"
            bodies[content_type] = json_decoder(kind, caseless=lenient)
    return _Compiled(
        route=route,
        bodies=bodies,
        parameters=Parameters(route.query or _Nothing, open_ended=lenient or route.open_query),
        empty=kind if _needs_nothing(kind) else None,
        max_body=route.max_body or max_body,
        process=None if (found := _OF_PROCESS.match(route.path)) is None else found[1],
    )


class _Nothing(msgspec.Struct):
    """The parameters of a route that takes none."""


def _needs_nothing(kind: Any) -> bool:
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return False
    return not any(member.required for member in msgspec.structs.fields(kind))


def _path(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Invalid("the path is not UTF-8", [Problem("", "the path is not UTF-8", "malformed")]) from None


def _headers(given: Mapping[str, str]) -> Headers:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in given.items()]


# -------------------------------------------------------------------------------------------------------------- bodies


def _body_decoder(call: Call[Any], compiled: _Compiled[Any], content: bytes) -> Decode | None:
    """How to read the body; None where there is nothing to read."""
    bodies = compiled.bodies
    if not bodies:
        return None
    given = call.headers.get("content-type")
    if not content:
        if compiled.empty is not None:
            call.body = compiled.empty()
            return None
        if given is None:
            raise Invalid("a body is needed", [Problem("", "a body is needed", "missing")])
    if given is None:
        call.content_type = compiled.route.content_types[0]
        return bodies[call.content_type]
    kind, _, parameters = given.partition(";")
    kind = kind.strip().lower()
    charset = parameters.lower().replace(" ", "").replace('"', "")
    decode = bodies.get(kind) or bodies.get(_any_of_suffix(kind))
    if decode is None or ("charset=" in charset and "charset=utf-8" not in charset):
        raise Unsupported(f"cannot read {given!r}; send {' or '.join(bodies)} in UTF-8")
    call.content_type = kind
    return decode


def _any_of_suffix(kind: str) -> str:
    """`application/*+json` of `application/problem+json`."""
    main, _, sub = kind.partition("/")
    return f"{main}/*+{sub.rpartition('+')[2]}" if "+" in sub else ""


async def _read(headers: Mapping[str, str], receive: Receive, limit: int) -> bytes:
    """The body, never more than `limit` of it in memory.

    Raises: TooLarge, ClientGone.
    """
    declared = declared_length(headers)
    if declared == 0 or (declared is None and "transfer-encoding" not in headers):
        return b""
    if declared is not None and declared > limit:
        # What still comes is thrown away by the server; a client that has not much left gets to read the answer.
        raise _too_large(limit, close=declared > 8 * limit)
    wait = _BODIES.begin(BODY_SECONDS)  # the first byte, too, may be long in coming
    try:
        return await _collect(receive, limit)
    except asyncio.CancelledError:
        if not wait.over():
            raise
        raise Invalid(f"the body did not arrive within {BODY_SECONDS:g} s", close=True) from None
    finally:
        _BODIES.end(wait)


async def _collect(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size <= limit:
            parts.append(part)
        elif size > 8 * limit:
            raise _too_large(limit, close=True)
        more = message.get("more_body", False)
    if size > limit:
        raise _too_large(limit, close=False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int, *, close: bool) -> TooLarge:
    message = f"the body is larger than {limit} bytes"
    return TooLarge(message, [Problem("", message, "too_large")], close=close)


def _with_header(send: Send, header: tuple[bytes, bytes]) -> Send:
    async def sent(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"].append(header)
        await send(message)

    return sent


async def _send(send: Send, answer: Answer) -> None:
    headers = answer.headers
    if answer.status not in {204, 304}:
        headers.append((b"content-length", str(len(answer.content)).encode()))
    if answer.content_type:
        headers.append((b"content-type", answer.content_type))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.content})
