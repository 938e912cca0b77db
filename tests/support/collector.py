"""A collector of traces: takes OTLP over HTTP, and keeps the spans to be looked at."""

from __future__ import annotations

import contextlib
import gzip
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent


class Span(NamedTuple):
    """Ids in hex; `links` are (trace, span)."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    state: str
    attributes: dict[str, Any]
    links: list[tuple[str, str]]
    failed: bool
    start: int
    end: int


class Collector:
    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.raw: list[bytes] = []
        self.hangs = False
        self._hung = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                if outer.hangs:
                    outer._hung.wait(30)
                    return
                if self.headers.get("content-encoding") == "gzip":
                    content = gzip.decompress(content)
                assert self.path == "/v1/traces"
                outer.take(content)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._hung.set()
        self._server.shutdown()
        self._server.server_close()

    def take(self, content: bytes) -> None:
        self.raw.append(content)
        request = ExportTraceServiceRequest.FromString(content)
        for resource in request.resource_spans:
            service = _attributes(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [_span(service, each) for each in scope.spans]

    def find(self, wanted: Callable[[Span], bool], seconds: float = 20.0) -> Span:
        """The one span that fits, when it has come."""
        until = time.monotonic() + seconds
        while True:
            found = [span for span in list(self.spans) if wanted(span)]
            if found:
                assert len(found) == 1, found
                return found[0]
            assert time.monotonic() < until, [(span.service, span.name, span.kind) for span in self.spans]
            time.sleep(0.05)

    def below(self, parent: Span, name: str) -> Span:
        """The one span of this name right below another."""
        return self.find(lambda span: span.name == name and span.trace == parent.trace and span.parent == parent.id)


def _span(service: str, sent: Any) -> Span:
    return Span(
        service=service,
        name=sent.name,
        kind=Sent.SpanKind.Name(sent.kind).removeprefix("SPAN_KIND_"),
        trace=sent.trace_id.hex(),
        id=sent.span_id.hex(),
        parent=sent.parent_span_id.hex(),
        state=sent.trace_state,
        attributes=_attributes(sent.attributes),
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in sent.links],
        failed=sent.status.code == 2,
        start=sent.start_time_unix_nano,
        end=sent.end_time_unix_nano,
    )


def _attributes(given: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in given}


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    try:
        yield collector
    finally:
        collector.close()
