"""From an error to an answer: class -> status and code, looked up along the MRO, then the door's own envelope.

Every door has one `ErrorRenderer`, and every answer that is not a success goes through it. `PROBLEM_DETAILS` is the
envelope of RFC 9457; a door with another passes its own table and body. Nothing of an inner error leaves: what is not a
`PenstockError` becomes a `Defect` with an id, and the id leads to the log.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar

import msgspec
import structlog

from penstock import errors
from penstock.web.revisions import etag

log = structlog.get_logger("penstock.web")
T = TypeVar("T")

Headers = list[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """What goes out: bytes, ready to send."""

    status: int
    content: bytes
    content_type: bytes
    headers: Headers


class Shape(NamedTuple):
    """How a door answers a class of errors."""

    status: int
    code: str


STATUS: Mapping[type[BaseException], Shape] = {
    errors.Invalid: Shape(400, "invalid"),
    errors.TooLarge: Shape(413, "too_large"),
    errors.UnsupportedMediaType: Shape(415, "unsupported_media_type"),
    errors.RangeNotSatisfiable: Shape(416, "range_not_satisfiable"),
    errors.Unauthenticated: Shape(401, "unauthenticated"),
    errors.Forbidden: Shape(403, "forbidden"),
    errors.NotFound: Shape(404, "not_found"),
    errors.MethodNotAllowed: Shape(405, "method_not_allowed"),
    errors.Conflict: Shape(409, "conflict"),
    errors.AlreadyExists: Shape(409, "already_exists"),
    errors.WrongState: Shape(409, "wrong_state"),
    errors.LeaseLost: Shape(409, "lease_lost"),
    errors.Stale: Shape(412, "stale"),
    errors.LimitExceeded: Shape(429, "limit_exceeded"),
    errors.UpstreamFailed: Shape(502, "upstream_failed"),
    errors.Unavailable: Shape(503, "unavailable"),
    errors.PenstockError: Shape(500, "defect"),
}


class ProblemItem(msgspec.Struct, frozen=True):
    """One thing that is wrong, and where: a JSON pointer into the body, or the name of a parameter or header."""

    pointer: str
    message: str
    code: str


class ProblemDetails(msgspec.Struct, frozen=True):
    """An error as RFC 9457 tells it. `code` is what a program decides by."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    problems: list[ProblemItem]


@dataclass(frozen=True, slots=True)
class ErrorRenderer:
    """A door's errors: `table` (with at least a line for `PenstockError`) and the envelope made of a line and an error."""

    table: Mapping[type[BaseException], Shape]
    body: Callable[[Shape, errors.PenstockError], Any]
    schema: Any
    """The type of the envelope, for the door's OpenAPI document."""
    content_type: str = "application/json"
    challenge: str = "Bearer"
    """`WWW-Authenticate` of a 401."""
    reasons: bool = False
    """Whether the challenge has an error's detail `error`, as RFC 6750 has it. A vendor's door says what the vendor says."""
    encoder: msgspec.json.Encoder = field(default_factory=msgspec.json.Encoder)

    def shape(self, kind: type[BaseException]) -> Shape:
        """How errors of this class are answered."""
        return look_up(self.table, kind)

    def render(self, error: errors.PenstockError) -> Answer:
        """Makes the answer; never raises for an error of ours."""
        shape = self.shape(type(error))
        content = self.encoder.encode(self.body(shape, error))
        return Answer(shape.status, content, self.content_type.encode(), self._headers(shape.status, error))

    def _headers(self, status: int, error: errors.PenstockError) -> Headers:
        found: Headers = []
        if status == HTTPStatus.UNAUTHORIZED:
            why = error.details.get("error") if self.reasons else None
            challenge = self.challenge if why is None else f'{self.challenge} error="{why}"'
            found.append((b"www-authenticate", challenge.encode()))
        if isinstance(error, errors.LimitExceeded | errors.Unavailable):
            seconds = math.ceil(float(error.details.get("retry_after", 1)))
            found.append((b"retry-after", str(max(seconds, 1)).encode()))
        if isinstance(error, errors.Stale) and (revision := error.details.get("revision")) is not None:
            found.append((b"etag", etag(revision).encode()))
        if allow := error.details.get("allow"):
            found.append((b"allow", ", ".join(allow).encode()))
        if content_range := error.details.get("content_range"):
            found.append((b"content-range", str(content_range).encode()))
        if error.details.get("close"):
            found.append((b"connection", b"close"))
        return found


def look_up(table: Mapping[type[BaseException], T], kind: type[BaseException]) -> T:
    """The line of the nearest class.

    Raises: KeyError when even the base has none, which is a mistake in the table.
    """
    for candidate in kind.__mro__:
        if candidate in table:
            return table[candidate]
    raise KeyError(kind.__name__)


def problem_details(shape: Shape, error: errors.PenstockError) -> ProblemDetails:
    """The body of an RFC 9457 answer."""
    problems = error.problems if isinstance(error, errors.Invalid) else ()
    return ProblemDetails(
        type="about:blank",
        title=HTTPStatus(shape.status).phrase,
        status=shape.status,
        detail=error.message,
        code=shape.code,
        problems=[ProblemItem(item.pointer, item.message, item.code) for item in problems],
    )


PROBLEM_DETAILS = ErrorRenderer(STATUS, problem_details, ProblemDetails, "application/problem+json", reasons=True)


def problem_of(error: errors.PenstockError) -> ProblemDetails:
    """The same as data, for an entry of a batch that failed alone."""
    return problem_details(PROBLEM_DETAILS.shape(type(error)), error)


def ours(error: Exception, **where: Any) -> errors.PenstockError:
    """What a caller may hear of any exception: our own as they are, everything else a logged `Defect` with an id."""
    if isinstance(error, errors.PenstockError) and not isinstance(error, errors.Defect):
        return error
    error_id = secrets.token_hex(8)
    log.error("defect", error_id=error_id, exc_info=error, **where)
    return errors.Defect(f"internal error; the log knows it as {error_id}", error_id=error_id)
