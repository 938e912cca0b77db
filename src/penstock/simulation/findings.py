"""What is found out about a case, piece by piece."""

from __future__ import annotations

import msgspec

from penstock.core.durations import Duration, format_duration
from penstock.core.events import Failure
from penstock.simulation.comparing import Change, Row


class Difference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One reason why a case failed."""

    kind: str
    message: str
    pointer: str = ""
    line: int | None = None
    changes: tuple[Change, ...] = ()
    rows: tuple[Row, ...] = ()
    add: str = ""
    """YAML that would help."""


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """An incident that is open at the end; `node` is behind `CODE/` where the process is a called one."""

    node: str
    visit: int
    attempt: int
    failure: Failure


class Moment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One visit, with its virtual times in ms since the case began."""

    process: str
    visit: int
    node: str
    kind: str
    state: str
    attempt: int
    depth: int
    at: int
    ended: int | None = None
    troubles: tuple[str, ...] = ()
    """Failures of its attempts."""


def span(milliseconds: int) -> str:
    return format_duration(Duration(0, milliseconds))
