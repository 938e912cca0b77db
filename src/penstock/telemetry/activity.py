"""On whose behalf code runs: a request of a door, or work of the engine's own. Log lines and spans are told by it.

One context variable for all of it: a request costs one object, and who writes a log line looks what it holds. The writer's
thread serves many requests in turn: a unit brings its activity along (`store.group.Unit`).
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from penstock.telemetry.traceparent import parse
from penstock.telemetry.tracing import Span

_GIVEN = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)
"""A caller's own id goes into log lines and back out in a header: nothing else may stand in it."""


class Activity:
    """A request, from its headers to the end of its answer; or one piece of work that the engine does by itself."""

    __slots__ = (
        "began", "principal", "process", "request_id", "span", "tenant", "traceparent", "waited",
    )  # fmt: skip

    def __init__(self, request_id: str = "", span: Span | None = None, traceparent: str | None = None) -> None:
        self.request_id = request_id
        self.span = span
        """None while nothing is traced."""
        self.traceparent = traceparent
        """As the caller sent it, unchecked."""
        self.began = time.perf_counter()
        self.waited = 0.0
        """Seconds it was held open on purpose (a long-poll)."""
        self.tenant = self.principal = self.process = ""

    def fields(self) -> Iterator[tuple[str, str]]:
        """What a log line says of it."""
        if self.request_id:
            yield "request_id", self.request_id
        if self.span is not None:
            yield "trace_id", self.span.trace_id
        elif (context := parse(self.traceparent)) is not None:
            yield "trace_id", context.trace_id
        for name in ("tenant", "principal", "process"):
            if value := getattr(self, name):
                yield name, value


CURRENT: ContextVar[Activity | None] = ContextVar("penstock.activity", default=None)
PROCESS: ContextVar[str] = ContextVar("penstock.process", default="")
"""Public id of the process whose step runs on this thread; a unit may take several, one after the other."""


def request_id(given: str | None) -> str:
    """The caller's id if it is well-formed, else one of ours."""
    if given is not None and _GIVEN.fullmatch(given):
        return given
    return f"{random.getrandbits(64):016x}"


@contextmanager
def acting(activity: Activity | None) -> Iterator[None]:
    """What is submitted and logged inside is on its behalf."""
    before = CURRENT.set(activity)
    try:
        yield
    finally:
        CURRENT.reset(before)


def add_activity(_logger: Any, _name: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: whose line it is. What the line says itself goes first."""
    if process := PROCESS.get():
        line.setdefault("process", process)
    activity = CURRENT.get()
    if activity is not None:
        for name, value in activity.fields():
            line.setdefault(name, value)
    return line
