"""State and events to text and back. Text begins with its format number: `1{…}`.

A node writes `FORMAT` and reads every format up to it; an older text is lifted by the upcasters one number at a time, on
the plain JSON, before it becomes a struct. A newer one is refused: the code is older than the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from penstock.core.events import AnyEvent, Failure
from penstock.core.state import FORMAT, Scope
from penstock.errors import Defect

_T = TypeVar("_T")
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

SCOPE_UPCASTERS: dict[int, Upcaster] = {}
"""Format -> function that makes the next format's plain JSON of a scope's. Empty: format 1 is the first."""
EVENT_UPCASTERS: dict[int, Upcaster] = {}
"""The same for events; their `type` says which one it is. A number without an upcaster changed nothing."""

_encoder = msgspec.json.Encoder()
_scopes = msgspec.json.Decoder(Scope)
_events: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_failures = msgspec.json.Decoder(Failure | None)
_plain = msgspec.json.Decoder()
_PREFIX = str(FORMAT)


def encode(value: Scope | AnyEvent) -> str:
    return _PREFIX + _encoder.encode(value).decode()


def decode_scope(text: str) -> Scope:
    """Raises: Defect."""
    return _decode(text, _scopes, SCOPE_UPCASTERS)


def decode_event(text: str) -> AnyEvent:
    """Raises: Defect."""
    return _decode(text, _events, EVENT_UPCASTERS)


_IN_COLUMNS = frozenset({"type", "at", "actor", "scope", "visit"})


def event_data(text: str) -> dict[str, Any]:
    """What an event says besides what history has in columns of its own. Raises: Defect."""
    plain = msgspec.to_builtins(decode_event(text))
    return {name: value for name, value in plain.items() if name not in _IN_COLUMNS}


def decode_failure(text: str | None) -> Failure | None:
    return None if text is None else _failures.decode(text)


def encode_json(value: Any) -> str:
    """Any JSON value, without format number: data of users."""
    return _encoder.encode(value).decode()


def decode_json(text: str) -> Any:
    return _plain.decode(text)


def _decode(text: str, decoder: msgspec.json.Decoder[_T], upcasters: Mapping[int, Upcaster]) -> _T:
    try:
        return decoder.decode(_lift(text, upcasters))
    except (ValueError, msgspec.MsgspecError) as error:
        raise Defect(f"what is stored cannot be read: {error}") from error


def _lift(text: str, upcasters: Mapping[int, Upcaster]) -> str:
    """Raises: ValueError, Defect."""
    brace = text.index("{")
    number = int(text[:brace])
    if number == FORMAT:
        return text[brace:]
    if number > FORMAT:
        raise Defect(f"state of format {number} was written by a newer version; this one reads up to {FORMAT}")
    plain = _plain.decode(text[brace:])
    for step in range(number, FORMAT):
        if step in upcasters:
            plain = upcasters[step](plain)
    return _encoder.encode(plain).decode()
