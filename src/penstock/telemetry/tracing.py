"""Spans, for rooms that must not know OpenTelemetry. It is imported when a `Tracer` is made, and at no other time.

A span is handed on explicitly (`Activity.span`, `Tx.span`), never found in a global: where there is none nothing is traced,
and the check for that is all it costs. Spans leave by a bounded queue and a thread of OpenTelemetry's; what does not fit, or
what the collector does not take, is dropped and counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from penstock.errors import Invalid
from penstock.telemetry.traceparent import SAMPLED, Context, parse, render

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import SpanContext

log = logging.getLogger(__name__)

Attributes = Mapping[str, str | int | float | bool]

QUEUE = 4_096
"""Spans that may wait to leave."""
BATCH = 512
EVERY = 1.0
"""Seconds between two exports."""
EXPORTING = 5.0
"""Seconds an export may take."""
CLOSING = 2.0
"""Seconds the end of the server waits for the last export."""
COMPLAINING = 60.0
"""Seconds between two log lines about a collector that does not answer."""


class Kind(Enum):
    """As OpenTelemetry names them."""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"
    CLIENT = "CLIENT"


class Span:
    """One piece of work in a trace. From any thread; `end` once."""

    __slots__ = ("_span", "_tracer", "remote", "trace_id", "traceparent")

    def __init__(self, tracer: Tracer, span: Any, *, remote: bool = False) -> None:
        self._tracer = tracer
        self._span = span
        context = span.get_span_context()
        self.trace_id = f"{context.trace_id:032x}"
        self.traceparent = render(Context(self.trace_id, f"{context.span_id:016x}", int(context.trace_flags) & SAMPLED))
        """What tells the next that it is part of this."""
        self.remote = remote
        """Its parent is somebody else's: it was called with a `traceparent`."""

    def child(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        kind: Kind = Kind.INTERNAL,
        parent: str | None = None,
        start: int | None = None,
    ) -> Span:
        """A span below this one; with `parent` (a traceparent that can be read) below that, and linked to this one."""
        elsewhere = parse(parent)
        if elsewhere is None:
            return self._tracer.begin(name, attributes, kind, self._span, start=start)
        return self._tracer.begin(name, attributes, kind, elsewhere, links=[self._span.get_span_context()], start=start)

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, what: str) -> None:
        """It went wrong. `what` is a type or a code, never a message: messages repeat what people have sent."""
        self._span.set_attribute("error.type", what)
        self._span.set_status(self._tracer.error)

    def end(self, at: int | None = None) -> None:
        """`at`: nanoseconds since 1970; now where it is not given."""
        self._span.end(at)


class Tracer:
    """Makes spans and sends them to a collector (OTLP over HTTP). One for the server."""

    def __init__(self, endpoint: str, ratio: float, *, version: str, node: str) -> None:
        """`endpoint`: the collector's address, to which `/v1/traces` is added.

        Raises: Invalid when OpenTelemetry is not installed.
        """
        try:
            from opentelemetry import trace  # noqa: PLC0415
            from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415
        except ImportError:
            raise Invalid("otlp_endpoint is set, and OpenTelemetry is not there: install penstock[otel]") from None
        self.error = trace.Status(trace.StatusCode.ERROR)
        self.sent = Sent()
        self._trace = trace
        self._kinds = {kind: trace.SpanKind[kind.value] for kind in Kind}
        self._exporter = _exporter(f"{endpoint.rstrip('/')}/v1/traces", self.sent)
        ours = {"service.name": "penstock", "service.version": version, "service.instance.id": node}
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before what we say
        resource = Resource.create(ours).merge(OTELResourceDetector().detect())
        # not at exit: that would wait for a collector that hangs
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)), resource=resource, shutdown_on_exit=False
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter,
                max_queue_size=QUEUE,
                schedule_delay_millis=EVERY * 1000,
                max_export_batch_size=BATCH,
                export_timeout_millis=EXPORTING * 1000,
            )
        )
        self._spans = self._provider.get_tracer("penstock", version)

    def server(self, name: str, attributes: Attributes, traceparent: str | None, tracestate: str | None) -> Span:
        """The span of a request: below the caller's where it says one that can be read, else the first of a trace."""
        context = parse(traceparent)
        return self.begin(name, attributes, Kind.SERVER, context, tracestate=tracestate)

    def root(
        self, name: str, attributes: Attributes | None = None, *, parent: str | None = None, link: str | None = None,
        kind: Kind = Kind.INTERNAL,
    ) -> Span:  # fmt: skip
        """The first span here: of a trace of its own, linked to what led to it, or below somebody's span."""
        linked = parse(link)
        links = [] if linked is None else [self._remote(linked, None)]
        return self.begin(name, attributes, kind, parse(parent), links=links)

    def begin(
        self,
        name: str,
        attributes: Attributes | None,
        kind: Kind,
        parent: Any,
        *,
        tracestate: str | None = None,
        links: Sequence[SpanContext] = (),
        start: int | None = None,
    ) -> Span:
        """`parent`: a span, a `Context` of somebody else's, or None for a new trace."""
        from opentelemetry.context import Context as Around  # noqa: PLC0415 - it is loaded by now

        remote = isinstance(parent, Context)
        around = Around()
        if isinstance(parent, Context):
            parent = self._trace.NonRecordingSpan(self._remote(parent, tracestate))
        if parent is not None:
            around = self._trace.set_span_in_context(parent, around)
        span = self._spans.start_span(
            name,
            around,
            self._kinds[kind],
            attributes,
            [self._trace.Link(each) for each in links],
            start,
        )
        return Span(self, span, remote=remote)

    def _remote(self, context: Context, tracestate: str | None) -> SpanContext:
        state = None if not tracestate else self._trace.TraceState.from_header([tracestate])
        return self._trace.SpanContext(
            trace_id=int(context.trace_id, 16),
            span_id=int(context.span_id, 16),
            is_remote=True,
            trace_flags=self._trace.TraceFlags(context.flags),
            trace_state=state,
        )

    def close(self) -> None:
        """Sends what waits, for as long as `CLOSING` lets it."""
        closing = threading.Thread(target=self._provider.shutdown, name="penstock-tracing-end", daemon=True)
        closing.start()
        closing.join(CLOSING)


class Sent:
    """What became of spans that were handed to the exporter."""

    def __init__(self) -> None:
        self.taken = 0
        self.lost = 0
        self._complained = 0.0

    def failed(self, spans: int) -> None:
        self.lost += spans
        now = time.monotonic()
        if not self._complained or now - self._complained > COMPLAINING:
            self._complained = now
            log.warning("the collector of traces does not take them: %d spans are lost by now", self.lost)


def _exporter(url: str, sent: Sent) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult  # noqa: PLC0415

    # they complain of each batch, and of each span that finds the queue full; `Sent` does once a minute
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

    class Counting(SpanExporter):
        def __init__(self) -> None:
            self._to = OTLPSpanExporter(endpoint=url, timeout=EXPORTING)

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            try:
                result = self._to.export(spans)
            except Exception:  # noqa: BLE001 - whatever it is, the thread that exports goes on
                result = SpanExportResult.FAILURE
            if result is SpanExportResult.SUCCESS:
                sent.taken += len(spans)
            else:
                sent.failed(len(spans))
            return result

        def shutdown(self) -> None:
            self._to.shutdown()  # type: ignore[no-untyped-call]

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return self._to.force_flush(timeout_millis)

    return Counting()
