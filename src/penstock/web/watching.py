"""What a door tells of its requests: an id for each, figures, a line in the log, a span.

On the way of every request, so it does little: what log lines say is looked up when one is written (`telemetry.activity`), and
figures are plain numbers that are rendered when somebody reads them. No query string, header, body or credential gets into any.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from penstock.telemetry.activity import Activity, request_id
from penstock.telemetry.figures import GONE, DoorFigures
from penstock.telemetry.tracing import Tracer

log = structlog.get_logger("penstock.requests")

REQUEST_ID = b"x-request-id"
UNMATCHED = "unmatched"
"""Operation of requests that no route takes; what they ask for is theirs to choose."""
UNAVAILABLE = 503
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Taken(Protocol):
    """The route that takes a request."""

    @property
    def operation(self) -> str: ...
    @property
    def path(self) -> str: ...


@dataclass(slots=True)
class Watch:
    """Of one door. A door that nobody watches has one that only counts."""

    door: str
    prefix: str = ""
    every: bool = False
    """A line for each request."""
    slow: float = float("inf")
    """Seconds from which a request gets a line in any case; what it waited on purpose does not count."""
    tracer: Tracer | None = None
    draining: Callable[[], bool] = field(default=lambda: False)
    """Whether the server was told to stop: a 503 is as it should be then."""
    figures: DoorFigures = field(default_factory=DoorFigures)

    def begin(self, headers: Mapping[str, str], method: str) -> Activity:
        """A request has come."""
        self.figures.in_flight += 1
        activity = Activity(request_id(headers.get("x-request-id")), None, headers.get("traceparent"))
        if self.tracer is not None:
            attributes = {
                "http.request.method": method if method in METHODS else "_OTHER",
                "penstock.door": self.door,
                "penstock.request_id": activity.request_id,
            }
            activity.span = self.tracer.server(
                attributes["http.request.method"], attributes, activity.traceparent, headers.get("tracestate")
            )
        return activity

    def answered(self, route: Taken | None, status: int, activity: Activity, method: str) -> None:
        """It has its answer, or of a stream the first of it. `status` is `GONE` when nobody is there to take it."""
        took = time.perf_counter() - activity.began
        busy = max(0.0, took - activity.waited)
        operation = UNMATCHED if route is None else route.operation
        self.figures.answered(operation, status, busy)
        if self.every or status >= 500 or busy >= self.slow:
            if status == GONE or (status == UNAVAILABLE and self.draining()):
                write = log.info  # nobody was there to be slow for; and who goes down has been told to say so
            else:
                write = log.error if status >= 500 else log.warning if busy >= self.slow else log.info
            write(
                "request",
                door=self.door,
                operation=operation,
                method=method if method in METHODS else "_OTHER",
                path=None if route is None else self.prefix + route.path,
                status="gone" if status == GONE else status,
                ms=round(took * 1000, 1),
                waited_ms=round(activity.waited * 1000, 1),
            )
        if activity.span is not None:
            self._trace(route, status, activity, method)

    def _trace(self, route: Taken | None, status: int, activity: Activity, method: str) -> None:
        span = activity.span
        assert span is not None
        attributes: dict[str, str | int] = {}
        if route is not None:
            path = self.prefix + route.path
            attributes |= {"http.route": path, "penstock.operation": route.operation}
            span.rename(f"{method} {path}")
        if status != GONE:
            attributes["http.response.status_code"] = status
        for name in ("tenant", "principal", "process"):
            value = getattr(activity, name)
            if value and not value.startswith("user:"):  # an e-mail address: collectors are often somebody else's
                attributes[f"penstock.{name}"] = value
        span.set(attributes)
        if status >= 500:
            span.fail(str(status))

    def end(self, activity: Activity) -> None:
        """Nothing more is sent."""
        self.figures.in_flight -= 1
        if activity.span is not None:
            activity.span.end()
