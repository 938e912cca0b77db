"""Every error the platform raises to a caller. Imports nothing of the project.

Errors are raised to a caller; failures of a user's work are data (`core.events.Failure`) and never
become exceptions in the core. A door maps a class to its own status and envelope along the MRO.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Problem(NamedTuple):
    """One thing that is wrong with an input, and where.

    `pointer` is an RFC 6901 JSON pointer into what was sent ("" is the whole of it).
    """

    pointer: str
    message: str
    code: str = "invalid"
    warning: bool = False


class PenstockError(Exception):
    """Base of all; never raised itself."""

    code = "error"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class Invalid(PenstockError):
    """What was sent cannot be accepted; every problem is listed."""

    code = "invalid"

    def __init__(self, message: str, problems: Sequence[Problem] = (), **details: Any) -> None:
        super().__init__(message, **details)
        self.problems = tuple(problems)


class TooLarge(Invalid):
    """What was sent is larger than the limit named in the message."""

    code = "too_large"


class UnsupportedMediaType(Invalid):
    """The body is of a content type the route does not read."""

    code = "unsupported_media_type"


class RangeNotSatisfiable(Invalid):
    """The bytes asked for are not there; `content_range` in details says how many are."""

    code = "range_not_satisfiable"


class Unauthenticated(PenstockError):
    """No credential, or one that is not valid (any more)."""

    code = "unauthenticated"


class Forbidden(PenstockError):
    """A known caller who may not do this."""

    code = "forbidden"


class NotFound(PenstockError):
    """No such thing in the caller's tenant."""

    code = "not_found"

    def __init__(self, kind: str, id: object) -> None:
        super().__init__(f"no {kind} {id!r}", kind=kind, id=str(id))


class MethodNotAllowed(PenstockError):
    """The path exists, the method does not."""

    code = "method_not_allowed"


class Conflict(PenstockError):
    """The request is sound but does not fit what is there now."""

    code = "conflict"


class AlreadyExists(Conflict):
    """A thing with this id or code is there, and it is another."""

    code = "already_exists"


class WrongState(Conflict):
    """The command is not legal in the present state; the message names both."""

    code = "wrong_state"


class LeaseLost(Conflict):
    """The job's lease ran out, was taken over, or its process moved on: the answer is not applied."""

    code = "lease_lost"


class StaleSequence(Conflict):
    """Somebody else moved the process between read and write."""

    code = "stale_sequence"


class Stale(Conflict):
    """The thing has changed since the caller read it; `revision` in details is the one it has now."""

    code = "stale"


class LimitExceeded(PenstockError):
    """A quota or rate is used up; `retry_after` in details is seconds."""

    code = "limit_exceeded"


class Unavailable(PenstockError):
    """The database or a resource cannot answer now; the caller may retry. Nothing was acknowledged."""

    code = "unavailable"


class UpstreamFailed(PenstockError):
    """Another system that had to be asked gives no answer that can be used; to try again would not help."""

    code = "upstream_failed"


class Defect(PenstockError):
    """Our own bug. Caught at the edge alone, logged, answered as 500."""

    code = "defect"
