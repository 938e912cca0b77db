"""The engine's own worker: http nodes are jobs whose endpoint is called from here, through the guarded client.

2xx: the JSON body is the output. 202: the job stays open until its token answers, or the attempt's time is up. Network
trouble, 408, 429 and 5xx fail and are tried again; other answers fail for good. The job's id is sent as `Idempotency-Key`,
the same for every attempt, so an endpoint can tell a repeat from a new call.

Secrets and connections are put in here, at sending: those that the definition's own node names and no others, whatever stands in the
visit's input by then. What an answer repeats of a secret is masked before it is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any
from urllib.parse import urlsplit

from penstock import outbound
from penstock.core import events as ev
from penstock.core.definition import Http
from penstock.core.reading import check_plain
from penstock.core.references import marked, masked, names_in, put_in
from penstock.core.run import HTTP_KIND, HTTP_TOPIC
from penstock.engines.calls import Calls, Sendable, Target, joined
from penstock.engines.dispatch import Taken
from penstock.engines.embedded import EmbeddedEngine
from penstock.errors import LeaseLost, PenstockError
from penstock.identity.tokens import same
from penstock.store import Store, definitions, jobs
from penstock.store.reader import Read
from penstock.store.rows import Tx
from penstock.telemetry.activity import CURRENT, Activity
from penstock.telemetry.tracing import Kind, Tracer

log = logging.getLogger(__name__)

DEFAULT_TIMEOUT = 30.0
"""Seconds for one call where the node's retry policy names no timeout."""
AWAITING = 24 * 3600.0
"""Seconds an endpoint that answered 202 may take where the node names no timeout."""
CONCURRENCY = 64
MARGIN = 30.0
"""Seconds a lease outlives its call."""
RETRIED = frozenset({408, 425, 429})
NO_BODY = frozenset({"GET", "DELETE"})
LARGEST_OUTPUT = 256 * 1024


class HttpJobs:
    """Calls endpoints until cancelled."""

    def __init__(self, store: Store, engine: EmbeddedEngine, calls: Calls, tracer: Tracer | None = None) -> None:
        self._store = store
        self._engine = engine
        self._calls = calls
        self._tracer = tracer
        self._running: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        return len(self._running)

    async def run(self) -> None:
        queue = jobs.queue_of(0, HTTP_TOPIC)
        try:
            while True:
                room = CONCURRENCY - len(self._running)
                if room <= 0:
                    await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
                    continue
                lease = int((DEFAULT_TIMEOUT + MARGIN) * 1000)
                try:
                    found = await self._engine.poll(self._store, [queue], room, 10.0, lease, "http")
                except PenstockError as error:
                    log.warning("http jobs wait for the database: %s", error.message)
                    await asyncio.sleep(1)
                    continue
                for taken in found:
                    task = asyncio.create_task(self._work(taken))
                    self._running.add(task)
                    task.add_done_callback(self._running.discard)
        finally:
            for task in list(self._running):
                task.cancel()

    async def _work(self, taken: Taken) -> None:
        activity = Activity()
        activity.process = taken.process_id
        CURRENT.set(activity)  # of this task alone
        try:
            result = await self._result(taken)
            failed = isinstance(result, tuple | ev.Failure)
            self._engine.figures.http_sent += 1
            self._engine.figures.http_failed += failed
            if activity.span is not None and failed:
                activity.span.fail((result[0] if isinstance(result, tuple) else result).type)
            await self._answer(taken, result)
        except LeaseLost:
            log.info("job %s.%s: the process has gone on", taken.process_id, taken.visit)
        except PenstockError as error:
            log.warning("job %s.%s: %s; its lease will run out", taken.process_id, taken.visit, error.message)
        except Exception:
            log.exception("job %s.%s", taken.process_id, taken.visit)
        finally:
            if activity.span is not None:
                activity.span.end()

    async def _result(self, taken: Taken) -> Any:
        """What the call came to: an output, a failure (with a delay), or None for 202."""
        try:
            sendable = self._traced(taken, await self._prepare(taken))
            seconds = await self._seconds(taken, sendable.target)
            response, hidden = await self._calls.send(sendable, seconds)
        except outbound.OutboundError as error:
            return ev.Failure(type(error).__name__, str(error), permanent=error.permanent)
        activity = CURRENT.get()
        if activity is not None and activity.span is not None:
            activity.span.set({"http.response.status_code": response.status})
        return outcome(response, hidden)

    def _traced(self, taken: Taken, sendable: Sendable) -> Sendable:
        """The call as one that is part of the job's trace. An address that holds a secret is not told, nor is any path."""
        activity = CURRENT.get()
        if self._tracer is None or activity is None:
            return sendable
        attributes: dict[str, str | int] = {
            "http.request.method": sendable.method,
            "penstock.process": taken.process_id,
            "penstock.node": taken.node,
            "penstock.job": f"{taken.process_id}.{taken.visit}",
        }
        with contextlib.suppress(ValueError):
            parts = urlsplit(sendable.url)
            if not sendable.private and parts.hostname:
                attributes["server.address"] = parts.hostname
                attributes["server.port"] = parts.port or (443 if parts.scheme == "https" else 80)
        span = activity.span = self._tracer.root(sendable.method, attributes, parent=taken.trace, kind=Kind.CLIENT)
        headers = {"traceparent": span.traceparent, **sendable.headers}  # the definition's own goes first
        return sendable._replace(headers=headers)

    async def _seconds(self, taken: Taken, target: Target | None) -> float:
        """How long the call may take; a lease that is too short for it is made longer."""
        if taken.timeout_at is not None:
            seconds = max(0.1, (taken.timeout_at - taken.created_at) / 1000)
        else:
            seconds = DEFAULT_TIMEOUT if target is None or target.timeout is None else target.timeout
        if seconds > DEFAULT_TIMEOUT:
            until = int((seconds + MARGIN) * 1000)
            await self._unit(taken, lambda tx, row: jobs.extend(tx, row, tx.now + until))
        return seconds

    async def _prepare(self, taken: Taken) -> Sendable:
        """The request whole. Raises: OutboundError when something it names is not there, or may not be named."""
        request: dict[str, Any] = taken.input or {}
        method = str(request.get("method") or "POST").upper()
        url, target, values, private = str(request.get("url")), None, {}, False
        connection = request.get("connection")
        if connection is not None or marked(request):
            tid, node = await self._store.async_read(lambda read: _node(read, taken))
            names = names_in(request)
            _check_named(taken.node, node, names, connection)
            values = await self._calls.secrets(tid, names)
            private = bool(names_in(url))
            request = put_in(request, values)
            url = str(request.get("url"))
            if connection is not None:
                target = await self._calls.target(tid, connection)
                url, private = joined(target, url), private or target.private
        headers, content = render(taken, request, method)
        hidden = frozenset(values.values()) | frozenset(target.secrets.values() if target is not None else ())
        return Sendable(method, url, headers, content, hidden, private, target)

    async def _answer(self, taken: Taken, result: Any) -> None:
        def unit(tx: Tx, row: jobs.Row) -> None:
            of: dict[str, Any] = {"at": tx.now, "scope": row.scope, "visit": row.n, "attempt": row.attempt}
            if result is None:
                left = AWAITING * 1000 if row.timeout is None else row.timeout
                jobs.wait_for_token(tx, row, tx.now + int(left))
            elif isinstance(result, tuple):
                failure, delay = result
                self._engine.answer(tx, row, ev.JobFailed(failure=failure, delay=delay, **of))
            elif isinstance(result, ev.Failure):
                self._engine.answer(tx, row, ev.JobFailed(failure=result, **of))
            else:
                self._engine.answer(tx, row, ev.JobCompleted(output=result.output, **of))

        await self._unit(taken, unit)

    async def _unit(self, taken: Taken, act: Any) -> None:
        def unit(tx: Tx) -> None:
            row = jobs.get(tx, taken.pid, taken.visit)
            if row is None or row.lease is None or not same(row.lease, taken.lease):
                raise LeaseLost("the lease of an http job ran out")
            act(tx, row)

        await self._store.submit_async(unit, (taken.pid,))


class Output:
    """What a 2xx answer brought."""

    def __init__(self, output: Any) -> None:
        self.output = output


def render(taken: Taken, request: dict[str, Any], method: str) -> tuple[dict[str, str], bytes]:
    """Headers and body of the call. What it is for is told by headers, and by the body where the node gives none."""
    job = f"{taken.process_id}.{taken.visit}"
    about = {
        "process": taken.process_id,
        "definition": taken.definition,
        "job": job,
        # the words of the door `cloudio`: what it wants to hear beside the token
        "wfUid": taken.definition,
        "wfInstUid": taken.process_id,
        "version": taken.version,
        "nodeUid": taken.node,
        "nodeType": HTTP_KIND,
        "executionId": taken.execution_id,
        "token": taken.token,
    }
    headers = {
        "content-type": "application/json",
        "accept": "application/json",
        "idempotency-key": job,
        "penstock-process": taken.process_id,
        "penstock-definition": taken.definition,
        "penstock-version": str(taken.version),
        "penstock-node": taken.node,
        "penstock-execution-id": str(about["executionId"]),
        "penstock-job": job,
        "penstock-token": taken.token,
    }
    headers |= {str(name).lower(): str(value) for name, value in (request.get("headers") or {}).items()}
    if method in NO_BODY and request.get("body") is None:
        del headers["content-type"]
        return headers, b""
    body = request["body"] if request.get("body") is not None else about
    return headers, json.dumps(body, ensure_ascii=False).encode()


def _node(read: Read, taken: Taken) -> tuple[int, Http | None]:
    """The tenant of a job, and its node as the process's version has it."""
    found = jobs.version_of(read, taken.pid)
    if found is None:
        return 0, None
    tid, digest, document = found
    version = definitions.compiled(digest, document)
    graph = version.places.get(taken.node)
    node = None if graph is None else graph.nodes.get(taken.node)
    return tid, node if isinstance(node, Http) else None


def _check_named(code: str, node: Http | None, names: frozenset[str], connection: Any) -> None:
    """Only what the definition names may be used: an input given by hand opens no other door. Raises: outbound.Blocked."""
    foreign = sorted(names - (frozenset() if node is None else node.request.secrets))
    if foreign:
        raise outbound.Blocked(f"the definition's node {code!r} does not name the secret {foreign[0]!r}")
    if connection is not None and (node is None or node.connection != connection):
        raise outbound.Blocked(f"the definition's node {code!r} does not name the connection {connection!r}")


def outcome(
    response: outbound.Response, hidden: frozenset[str] = frozenset()
) -> Output | ev.Failure | tuple[ev.Failure, int] | None:
    """What an answer means: an output, a failure (with the delay the endpoint asks for), or None for 202."""
    status = response.status
    if status == 202:
        return None
    if 200 <= status < 300:
        if not response.content.strip():
            return Output(None)
        if len(response.content) > LARGEST_OUTPUT:
            return ev.Failure("TooLarge", f"the answer is larger than {LARGEST_OUTPUT} bytes", permanent=True)
        try:
            value = json.loads(response.content, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return ev.Failure("BadAnswer", f"HTTP {status} with a body that is not JSON", permanent=True)
        problems = check_plain(value)
        if problems:  # no database could keep it
            at = f"at {problems[0].pointer}: " if problems[0].pointer else ""
            about = masked(f"{at}{problems[0].message}", hidden)
            return ev.Failure("BadAnswer", f"HTTP {status} with a body that cannot be kept: {about}", permanent=True)
        return Output(masked(value, hidden))
    failure = ev.Failure(f"HTTP{status}", f"the endpoint answered {status}", permanent=True)
    if status in RETRIED or status >= 500:
        failure = ev.Failure(failure.type, failure.message)
        if response.retry_after is not None:
            return failure, int(min(response.retry_after, 3600.0) * 1000)
    return failure


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
