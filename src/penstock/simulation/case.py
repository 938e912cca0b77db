"""What a tests file says, read and checked: cases, answers, what is sent and commanded, what is expected. Plain values.

A `pointer` is where a thing stands in its file, so that whatever becomes of it can be shown there.
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.core.durations import Duration
from penstock.core.events import Failure
from penstock.core.expression import Expression, Template

NAMES = ("input", "attempt", "visit")
"""What `when` and the `${…}` of an answer may read: what the node was given, the attempt, the how-manieth visit of the node."""

NOW = 1_767_225_600_000
"""2026-01-01T00:00:00Z: when a case begins that names no time of its own."""

MESSAGE_TTL = Duration(0, 3_600_000)
"""How long a message is kept where its sender says nothing: as `POST /messages` has it."""


class Thrown(msgspec.Struct, frozen=True):
    """A business error."""

    code: str
    message: str = ""
    data: Template | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker, an endpoint, a person or a called process says. Neither `failure` nor `thrown`: it is done."""

    pointer: str
    when: Expression | None = None
    times: int | None = None
    """How often it may be given; None: always."""
    after: Duration = Duration()
    output: Template | None = None
    failure: Failure | None = None
    delay: int | None = None
    """Milliseconds until the next attempt, in place of the node's policy."""
    thrown: Thrown | None = None
    values: Template | None = None
    increments: tuple[str, ...] = ()


Answers = dict[str, tuple[Answer, ...]]
"""By node, topic, `robot:CODE` or task, each also behind `CODE/` of a definition; no answer at all: nobody is there."""


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """A message or a signal from outside."""

    pointer: str
    name: str
    at: Duration = Duration()
    signal: bool = False
    key: str = ""
    payload: Any = None
    id: str = ""
    ttl: Duration = MESSAGE_TTL
    taken: bool = True
    """Whether somebody is expected to take it."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A command to the process from outside."""

    pointer: str
    do: str
    at: Duration = Duration()
    of: str | None = None
    """Code of the definition whose process it is for; None: the case's own."""
    node: str | None = None
    visit: int | None = None
    has_input: bool = False
    input: Any = None
    output: Any = None
    refused: bool = False
    """Whether it is expected to be refused."""


class Match(msgspec.Struct, frozen=True):
    """An expected value; `subset`: there may be more in its maps."""

    value: Any
    subset: bool = False


class Span(msgspec.Struct, frozen=True):
    """An expected duration, bounds included."""

    least: Duration | None = None
    most: Duration | None = None


class Incident(msgspec.Struct, frozen=True):
    """An expected incident, open at the end."""

    node: str
    type: str | None = None
    message: str | None = None
    """Part of its text."""


class Expect(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold at the end; None: whatever it is."""

    status: str | None
    """None: the start is refused."""
    refused: str | None = None
    """Part of the reason."""
    result: Match | None = None
    values: Match | None = None
    vars: Match | None = None
    metadata: Match | None = None
    entity: Match | None = None
    inputs: dict[str, Match] = {}
    """Node -> what its last visit was given."""
    path: tuple[str, ...] | None = None
    path_includes: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    duration: Span | None = None
    incidents: tuple[Incident, ...] | None = None
    open: tuple[str, ...] | None = None
    """Nodes at which the process waits for somebody."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    pointer: str
    start: str | None = None
    """The message that starts it; None: a plain start."""
    input: Any = None
    metadata: Any = None
    entity: Any = None
    now: int = NOW
    until: Duration | None = None
    """When to stop looking; None: when nothing is left to happen."""
    answers: Answers = {}
    send: tuple[Send, ...] = ()
    commands: tuple[Order, ...] = ()
    expect: Expect | None = None
    """None only where a program judges the report by itself."""
