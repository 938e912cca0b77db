"""How a handler ends, as data, and the exceptions by which it says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from penstock.client import Failure

_LONGEST_MESSAGE = 4_000
_DEEPEST_CAUSE = 5
_LONGEST_NAME = 200
_LONGEST_DELAY = 86_400.0
"""What the door takes; more would be refused, and the job with it."""


class Throw(Exception):
    """A business error: never retried, caught by the nearest boundary outwards."""

    def __init__(self, code: str, message: str = "", data: Any = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.data = data

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code


class PermanentFailure(Exception):
    """A technical failure that no retry will mend. `type` names it in history."""

    def __init__(self, message: str, *, type: str | None = None) -> None:
        super().__init__(message)
        self.type = type or "PermanentFailure"


class RetryLater(Exception):
    """A technical failure whose next attempt is to come after these seconds, whatever the node's policy says."""

    def __init__(self, seconds: float, message: str = "") -> None:
        super().__init__(message or f"to be tried again in {seconds:g} s")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Completed:
    output: msgspec.Raw
    values: Mapping[str, msgspec.Raw]
    increments: Sequence[str]

    @property
    def size(self) -> int:
        """About how many bytes it is on the wire."""
        return len(bytes(self.output)) + sum(len(bytes(value)) for value in self.values.values())


@dataclass(frozen=True, slots=True)
class Failed:
    failure: Failure
    delay: float | None = None
    size: int = _LONGEST_MESSAGE


@dataclass(frozen=True, slots=True)
class Thrown:
    code: str
    message: str
    data: msgspec.Raw | None

    @property
    def size(self) -> int:
        return len(self.message) + (len(bytes(self.data)) if self.data else 0)


Outcome = Completed | Failed | Thrown


def completed(output: Any, values: Mapping[str, Any], increments: Sequence[str]) -> Outcome:
    """Encodes what the handler gave; what is not JSON fails the job for good, since a retry would give it again."""
    try:
        encoded = {key: raw(value) for key, value in values.items()}
        return Completed(raw(output), encoded, list(increments))
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        return Failed(Failure("OutputNotJson", f"the handler's output is not JSON: {error}", permanent=True))


def ended_by(error: BaseException) -> Outcome:
    """What an exception of the handler means."""
    match error:
        case Throw():
            try:
                data = None if error.data is None else raw(error.data)
            except (TypeError, ValueError, msgspec.MsgspecError, RecursionError) as trouble:
                return Failed(Failure("OutputNotJson", f"the data of {error.code}: {trouble}", permanent=True))
            return Thrown(error.code, error.message[:_LONGEST_MESSAGE], data)
        case RetryLater():
            return Failed(failure_of(error), delay=min(max(0.0, error.seconds), _LONGEST_DELAY))
        case _:
            return Failed(failure_of(error))


def failure_of(error: BaseException, depth: int = _DEEPEST_CAUSE) -> Failure:
    """Type, message and causes; no traceback, which may hold what the server must not know."""
    below = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    cause = failure_of(below, depth - 1) if below is not None and depth > 1 else None
    kind, permanent = _name(error), isinstance(error, PermanentFailure)
    if isinstance(error, PermanentFailure):
        kind = error.type
    return Failure(kind[:_LONGEST_NAME], (str(error) or kind)[:_LONGEST_MESSAGE], permanent, cause)


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _name(error: BaseException) -> str:
    kind = type(error)
    if kind.__module__ in ("builtins", "__main__") or kind.__module__.startswith("penstock."):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
