"""What a call can raise. `ApiError` and its subclasses are answers of the server, told apart by `code`.

This room runs elsewhere, so it has its own taxonomy and imports nothing of the server. Everything derives from
`ClientError`; `str()` of each is one line that says what went wrong and where.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

_SHOWN_PROBLEMS = 5


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong with what was sent; `pointer` is an RFC 6901 JSON pointer into it."""

    pointer: str = ""
    message: str = ""
    code: str = "invalid"
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.pointer or '/'}: {self.message}"


class ProblemDetails(msgspec.Struct, frozen=True):
    """RFC 9457, as the server writes it."""

    title: str = ""
    status: int = 0
    detail: str = ""
    code: str = ""
    problems: list[Problem] = []


class ClientError(Exception):
    """Base of all; never raised itself."""


class CredentialsError(ClientError):
    """There are no credentials, or the file that should hold them cannot be read."""


class Unreachable(ClientError):
    """The server could not be reached, or the connection broke before it answered."""


class UnexpectedAnswer(ClientError):
    """The server answered with success, but with something this client cannot read."""


class ApiError(ClientError):
    """The server refused. Unknown codes and answers that are not problem details stay of this class."""

    code: ClassVar[str] = ""

    def __init__(self, details: ProblemDetails, *, where: str = "", retry_after: float | None = None) -> None:
        super().__init__(details, where)
        self.details = details
        self.where = where
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        return self.details.status

    @property
    def problems(self) -> Sequence[Problem]:
        return self.details.problems

    def __str__(self) -> str:
        details = self.details
        text = details.detail or details.title or "the server refused"
        if len(details.problems) == 1 and text == details.problems[0].message:
            # the only problem is the detail itself: where it is says half of it
            named = details.problems[0].pointer.rpartition("/")[2]
            text = f"{named}: {text}" if named and named not in text else text
        # A server may tell its only problem in the detail already.
        telling = [problem for problem in details.problems if problem.message not in text]
        shown = [str(problem) for problem in telling[:_SHOWN_PROBLEMS]]
        if (hidden := len(telling) - len(shown)) > 0:
            shown.append(f"and {hidden} more")
        if shown:
            text = f"{text}: {'; '.join(shown)}"
        if self.retry_after is not None and details.status == 429 and "again" not in text.lower():
            text = f"{text}; try again in {max(1, math.ceil(self.retry_after))} s"
        label = " ".join(part for part in (str(details.status or ""), details.code) if part)
        return f"{text} ({', '.join(part for part in (self.where, label) if part)})"


class Invalid(ApiError):
    """What was sent cannot be accepted; `problems` lists everything."""

    code = "invalid"


class TooLarge(Invalid):
    """What was sent is larger than the server takes."""

    code = "too_large"


class UnsupportedMediaType(Invalid):
    """The body's content type is not one the call reads."""

    code = "unsupported_media_type"


class Unauthenticated(ApiError):
    """No credential, or one that is not valid (any more)."""

    code = "unauthenticated"


class Forbidden(ApiError):
    """The caller is known and may not do this."""

    code = "forbidden"


class NotFound(ApiError):
    """No such thing in the caller's tenant."""

    code = "not_found"


class MethodNotAllowed(ApiError):
    """The path exists, the method does not."""

    code = "method_not_allowed"


class Conflict(ApiError):
    """The request is sound but does not fit what is there now."""

    code = "conflict"


class AlreadyExists(Conflict):
    """A thing with this id or code is there, and it is another."""

    code = "already_exists"


class WrongState(Conflict):
    """The command is not legal in the present state; the message names both."""

    code = "wrong_state"


class LeaseLost(Conflict):
    """The job's lease ran out or was taken over: the answer was not applied."""

    code = "lease_lost"


class Stale(Conflict):
    """Somebody else changed it since it was read: the revision that the change was made for is not the present one."""

    code = "stale"


class LimitExceeded(ApiError):
    """A quota or rate is used up; `retry_after` is in seconds."""

    code = "limit_exceeded"


class Unavailable(ApiError):
    """The server cannot answer now; nothing was acknowledged, repeating is right."""

    code = "unavailable"


class ServerError(ApiError):
    """Any other 5xx."""


BY_CODE: Mapping[str, type[ApiError]] = {
    kind.code: kind
    for kind in (
        Invalid, TooLarge, UnsupportedMediaType, Unauthenticated, Forbidden, NotFound, MethodNotAllowed, Conflict,
        AlreadyExists, WrongState, LeaseLost, Stale, LimitExceeded, Unavailable,
    )
}  # fmt: skip

# For answers without problem details: a proxy in between, or a server that is not ours.
_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: Invalid, 401: Unauthenticated, 403: Forbidden, 404: NotFound, 405: MethodNotAllowed, 409: Conflict,
    412: Stale, 413: TooLarge, 415: UnsupportedMediaType, 429: LimitExceeded, 502: Unavailable, 503: Unavailable, 504: Unavailable,
}  # fmt: skip


def error_from(details: ProblemDetails, *, where: str = "", retry_after: float | None = None) -> ApiError:
    """The exception for a problem, by its code, else by its status."""
    kind = BY_CODE.get(details.code) or _BY_STATUS.get(details.status)
    if kind is None:
        kind = ServerError if details.status >= 500 else ApiError
    return kind(details, where=where, retry_after=retry_after)


def error_from_answer(status: int, body: bytes, *, where: str = "", retry_after: float | None = None) -> ApiError:
    """The exception for an answer that is not a success, whatever its body is."""
    details = _read_details(body)
    if details.status != status:
        details = msgspec.structs.replace(details, status=status)
    return error_from(details, where=where, retry_after=retry_after)


def _read_details(body: bytes) -> ProblemDetails:
    try:
        return msgspec.json.decode(body, type=ProblemDetails)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ProblemDetails(detail=_text_of(body))


def _text_of(body: bytes) -> str:
    text: Any = " ".join(body[:300].decode("utf-8", "replace").split())
    return "the server refused" if not text or text.startswith("<") else str(text)
