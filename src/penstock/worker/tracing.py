"""A span for each job, when whoever runs the worker has set OpenTelemetry up; else nothing, not even its import.

The server says in the job (`traceparent`) which step opened it, and is told in the answer which span it was done in: one trace
leads from the request through the step and the worker to the next step.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from penstock.worker.job import Held


@contextmanager
def tracing(held: Held) -> Iterator[Span | None]:
    """What runs inside is part of the job's span. None where nobody traces."""
    if "opentelemetry.trace" not in sys.modules:
        yield None
        return
    from opentelemetry import propagate, trace  # noqa: PLC0415 - it is loaded already

    job = held.job
    given = {"traceparent": job.traceparent} if job.traceparent else {}
    around = trace.get_tracer("penstock.worker").start_as_current_span(
        f"job {job.topic}",
        propagate.extract(given),
        trace.SpanKind.CONSUMER,
        {
            "messaging.system": "penstock",
            "messaging.operation.type": "process",
            "messaging.destination.name": job.topic,
            "messaging.message.id": job.id,
            "penstock.process": job.process,
            "penstock.definition": job.definition,
            "penstock.node": job.node,
            "penstock.visit": job.visit,
            "penstock.attempt": job.attempt,
        },
        record_exception=False,  # an exception's text repeats what the job was about
        set_status_on_exception=False,
    )
    with around as span:
        if given:  # a server that does not trace has no use for it
            carried: dict[str, str] = {}
            propagate.inject(carried)
            held.traceparent = carried.get("traceparent")
        yield span


def ended_badly(span: Span | None, what: str) -> None:
    """The job failed, or threw. `what`: the failure's type or the error's code."""
    if span is not None:
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

        span.set_attribute("error.type", what)
        span.set_status(Status(StatusCode.ERROR))
