"""Traces, on real processes: a server, a worker and a collector. One trace leads from the request to the last step."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from support.collector import Collector, collecting
from support.endpoint import Endpoint
from support.server import Api, Server, fresh, serving

WORKER = """
import sys
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from penstock.client import AsyncClient
from penstock.worker import AsyncJob, Job, Worker

url, collector, id, secret, first, second = sys.argv[1:]
provider = TracerProvider(resource=Resource.create({"service.name": "the worker"}))
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=collector + "/v1/traces")))
trace.set_tracer_provider(provider)
worker = Worker(url, id, secret, wait=5)

@worker.job(first)
async def one(job: AsyncJob):
    with trace.get_tracer("mine").start_as_current_span("inside"):
        return {"n": 1}

@worker.job(second)
def two(job: Job):
    quiet = {"record_exception": False, "set_status_on_exception": False}
    with trace.get_tracer("mine").start_as_current_span("in a thread", **quiet):
        if job.attempt == 1:
            raise RuntimeError("the password is hunter2")
        return {"n": 2}

worker.run()
"""
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE, CALLER = PARENT.split("-")[1:3]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def traced(tmp_path_factory, collector: Collector) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("traced"), PENSTOCK_OTLP_ENDPOINT=collector.url) as running:
        yield running


@pytest.fixture(scope="module")
def api(traced: Server) -> Api:
    return traced.application()


def two_jobs(api: Api) -> tuple[str, str, str]:
    first, second = fresh("first"), fresh("second")
    again = {"max_attempts": 2, "delay": "PT0.05S"}
    nodes = {"a": {"kind": "job", "topic": first}, "b": {"kind": "job", "topic": second, "retry": again}}
    return api.deploy(nodes, [{"from": "a", "to": "b"}]), first, second


def test_one_trace_from_the_door_to_the_last_step(traced: Server, api: Api, collector: Collector):
    code, first, second = two_jobs(api)
    trace = secrets.token_hex(16)
    application = traced.credentials["application"]
    arguments = [traced.url, collector.url, application["id"], application["secret"], first, second]
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, *arguments], stderr=subprocess.DEVNULL, env={**os.environ, "no_proxy": "*"}
    )
    try:
        headers = {
            "traceparent": f"00-{trace}-{CALLER}-01",
            "tracestate": "vendor=1,other=2",
            "x-request-id": "my-request",
        }
        process = api.post("/processes", {"definition": code, "input": {"pin": "hunter2"}}, 201, headers=headers)["id"]
        api.until(process, "COMPLETED")
    finally:
        worker.terminate()
        worker.wait(20)

    door = collector.find(lambda span: span.trace == trace and span.parent == CALLER)
    assert (door.name, door.kind, door.state) == ("POST /api/v1/processes", "SERVER", "vendor=1,other=2")
    told = door.attributes
    assert told["http.request.method"] == "POST"
    assert told["http.route"] == "/api/v1/processes"
    assert told["http.response.status_code"] == 201
    assert told["penstock.request_id"] == "my-request"
    assert told["penstock.principal"] == f"app:{application['id']}"
    unit = collector.below(door, "unit")
    assert door.start <= unit.start <= unit.end <= door.end
    start = collector.below(unit, "step Started")
    assert start.attributes["penstock.process"] == process
    assert start.attributes["penstock.definition"] == code
    assert (start.attributes["penstock.step"], start.attributes["penstock.status"]) == (1, "RUNNING")
    assert unit.start <= start.start <= start.end <= unit.end

    one = collector.below(start, f"job {first}")
    assert (one.service, one.kind) == ("the worker", "CONSUMER")
    assert one.attributes["penstock.process"] == process
    collector.below(one, "inside")
    next_step = collector.below(one, "step JobCompleted")
    assert (next_step.attributes["penstock.node"], next_step.attributes["penstock.event"]) == ("a", "JobCompleted")
    # the call that brought the answer is of another trace, and linked
    ((linked, of),) = next_step.links
    assert collector.find(lambda span: (span.trace, span.id) == (linked, of)).name == "unit"
    assert linked != trace

    two = collector.below(next_step, f"job {second}")
    assert two.failed
    assert two.attributes["error.type"] == "RuntimeError"
    collector.below(two, "in a thread")
    failed = collector.below(two, "step JobFailed")
    # the wait for the retry ends by the clock: a trace of its own, linked to the step that set the timer
    timer = collector.find(lambda span: span.name == "timer" and span.links == [(trace, failed.id)])
    assert (timer.parent, timer.kind) == ("", "INTERNAL")
    assert timer.trace != trace
    fired = collector.below(collector.below(timer, "unit"), "step TimerFired")
    again = collector.below(fired, f"job {second}")
    ended = collector.below(again, "step JobCompleted")
    assert ended.attributes["penstock.status"] == "COMPLETED"
    secret = [b"hunter2", application["secret"].encode(), api.token.encode()]
    assert not [each for raw in collector.raw for each in secret if each in raw]


def test_a_worker_that_does_not_trace_breaks_no_trace(api: Api, collector: Collector):
    code, first, second = two_jobs(api)
    trace = secrets.token_hex(16)
    api.post("/processes", {"definition": code}, 201, headers={"traceparent": f"00-{trace}-{CALLER}-01"})
    job = api.take(first)
    assert job["traceparent"].split("-")[1] == trace
    api.finish(job, traceparent="malformed: as if it were not there")
    after = api.take(second)
    assert after["traceparent"].split("-")[1] == trace
    step = collector.find(lambda span: span.trace == trace and span.name == "step JobCompleted")
    assert step.parent == job["traceparent"].split("-")[2]
    assert step.id == after["traceparent"].split("-")[2]
    # one that calls with a span of its own is heard
    api.post(f"/jobs/{after['id']}/complete", {"lease": after["lease"]}, 204, headers={"traceparent": PARENT})
    door = collector.find(
        lambda span: span.parent == CALLER and span.attributes.get("penstock.operation") == "completeJob"
    )
    assert door.trace == TRACE
    collector.below(collector.below(door, "unit"), "step JobCompleted")


MALFORMED = [
    "",
    "00",
    PARENT[:-1],
    PARENT + "0",
    PARENT + "-00",
    PARENT.upper(),
    PARENT.replace("4bf9", "4BF9"),
    PARENT.replace("4bf9", "4bg9"),
    PARENT.replace("-", "_"),
    f"ff{PARENT[2:]}",
    f"0{PARENT[2:]}",
    f"00-{'0' * 32}-{CALLER}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE}-{CALLER}-0x",
    f"01{PARENT[2:]}x",
    "00-" + "4" * 5000,
]


@pytest.mark.parametrize("given", MALFORMED)
def test_a_malformed_traceparent_begins_a_new_trace(traced: Server, api: Api, collector: Collector, given: str):
    mark = fresh("malformed")
    headers = {"traceparent": given, "tracestate": "vendor=1", "x-request-id": mark}
    assert api.http.get("/me", headers=headers).status_code == api.http.get("/me").status_code
    span = collector.find(lambda span: span.attributes.get("penstock.request_id") == mark)
    assert (span.parent, span.state) == ("", "")
    assert span.trace != TRACE


@pytest.mark.parametrize("given", [f"cc{PARENT[2:]}", f"cc{PARENT[2:]}-what-comes-then", PARENT, f"{PARENT[:-2]}ff"])
def test_what_can_be_read_is_the_parent(api: Api, collector: Collector, given: str):
    mark = fresh("read")
    api.http.get("/nowhere", headers={"traceparent": given, "x-request-id": mark})
    span = collector.find(lambda span: span.attributes.get("penstock.request_id") == mark)
    assert (span.trace, span.parent) == (TRACE, CALLER)
    assert (span.name, span.attributes["http.response.status_code"]) == ("GET", 404)


def test_what_the_caller_does_not_sample_is_not_sent_and_goes_on_unsampled(api: Api, collector: Collector):
    code, first, _ = two_jobs(api)
    trace = secrets.token_hex(16)
    api.post("/processes", {"definition": code}, 201, headers={"traceparent": f"00-{trace}-{CALLER}-00"})
    job = api.take(first)
    _, of, _, flags = job["traceparent"].split("-")
    assert (of, flags) == (trace, "00")
    api.finish(job)
    mark = fresh("after")
    api.http.get("/nowhere", headers={"x-request-id": mark})
    collector.find(lambda span: span.attributes.get("penstock.request_id") == mark)
    assert not [span for span in collector.spans if span.trace == trace]


def test_calls_children_and_messages_stay_in_the_trace(api: Api, collector: Collector):
    with contextlib.closing(Endpoint()) as endpoint:
        name = fresh("message")
        child = api.deploy({"call": {"kind": "http", "url": f"{endpoint.url}/called?key=hunter3"}})
        nodes = {
            "child": {"kind": "call", "definition": child},
            "wait": {"kind": "message", "message": name, "key": "k"},
        }
        code = api.deploy(nodes, [{"from": "child", "to": "wait"}])
        trace = secrets.token_hex(16)
        process = api.post("/processes", {"definition": code}, 201, headers={"traceparent": f"00-{trace}-{CALLER}-01"})[
            "id"
        ]
        call = collector.find(lambda span: span.trace == trace and span.kind == "CLIENT")
        assert call.name == "POST"
        assert call.attributes["http.response.status_code"] == 200
        assert call.attributes["server.address"] == "127.0.0.1"
        (request,) = endpoint.requests
        assert request.headers["traceparent"] == f"00-{trace}-{call.id}-01"
        opened = collector.find(lambda span: span.id == call.parent)
        assert (opened.trace, opened.name) == (trace, "step Started")
        assert opened.attributes["penstock.process"] != process
        ended = collector.find(lambda span: span.trace == trace and span.name == "step ChildEnded")
        assert ended.attributes["penstock.process"] == process
        other = secrets.token_hex(16)
        api.post("/messages", {"name": name, "key": "k"}, 202, headers={"traceparent": f"00-{other}-{CALLER}-01"})
        api.until(process, "COMPLETED")
        arrived = collector.find(lambda span: span.name == "step MessageArrived" and span.trace == other)
        assert arrived.attributes["penstock.process"] == process
        assert not [raw for raw in collector.raw if b"hunter3" in raw]


@pytest.mark.parametrize("hangs", [True, False])
def test_a_collector_that_does_not_answer_stops_nothing(tmp_path, hangs: bool):
    with collecting() as collector:
        collector.hangs = hangs
        if not hangs:
            collector.close()
        with serving(tmp_path, PENSTOCK_OTLP_ENDPOINT=collector.url) as server:
            api = server.application()
            code, first, _ = two_jobs(api)
            for _ in range(40):
                api.start(code)
            jobs = api.poll(first, max=50)
            assert len(jobs) == 40
            for job in jobs:
                api.finish(job)
            began = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - began < 15, "it waited for a collector that is not there"


def test_nothing_of_opentelemetry_is_imported_when_nothing_is_traced(tmp_path):
    program = """
import asyncio, sys
from penstock.config import Settings
from penstock.wiring.platform import Platform
from pathlib import Path
platform = Platform.build(Settings(data_dir=Path(sys.argv[1])))
sent = []
async def main():
    async def receive(): return {"type": "http.request", "body": b""}
    async def send(message): sent.append(message)
    async with platform.running():
        scope = {"type": "http", "method": "GET", "path": "/readyz", "raw_path": b"/readyz", "headers": [], "query_string": b"", "client": ("127.0.0.1", 1)}
        await platform.app()(scope, receive, send)
asyncio.run(main())
platform.close()
assert sent[0]["status"] == 200, sent
print([name for name in sys.modules if name.split(".")[0] in ("opentelemetry", "prometheus_client", "google", "requests")])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
