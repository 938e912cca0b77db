"""`/metrics`: the figures of every room under the names of the catalogue.

What this node counts is read at each scrape. What lies in the database is counted at most every few seconds, by one reader at a
time and for a bounded time; between, and when the database is too slow, the last figures are told with their age.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import structlog

import penstock
from penstock.audit.sealing import Sealer
from penstock.engines.embedded import EmbeddedEngine
from penstock.engines.http_jobs import HttpJobs
from penstock.errors import PenstockError
from penstock.identity.tokens import hash_secret, same
from penstock.operations.people import Credentials
from penstock.store import Store, gauges
from penstock.telemetry.catalogue import COUNTED, TOPICS
from penstock.telemetry.exposition import Sample, write
from penstock.telemetry.figures import CLASSES
from penstock.telemetry.tracing import Tracer
from penstock.web.watching import Watch

log = structlog.get_logger("penstock.metrics")

FRESH = 5.0
"""Seconds the figures of the database are told again."""
LIMIT = 2.0
"""Seconds they may take to be read, and then as long again for a connection to be free."""
FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
LOOPBACK = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})


def may_read(client: str | None, headers: Mapping[str, str], token: str | None) -> bool:
    """Whether a caller may read the figures: on this machine and not by way of a proxy, or with the operator's token."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if token is not None and scheme.lower() == "bearer" and same(hash_secret(given.strip()), hash_secret(token)):
        return True
    return client in LOOPBACK and not any(name in headers for name in FORWARDED)


class Sources(Protocol):
    """The rooms of a platform, as far as they have figures."""

    store: Store
    engine: EmbeddedEngine
    http: HttpJobs | None
    credentials: Credentials
    sealer: Sealer
    tracer: Tracer | None
    watches: list[Watch]
    alive: dict[str, bool]

    @property
    def connections(self) -> Callable[[], int]: ...


class Metrics:
    """The figures of one platform."""

    def __init__(self, platform: Sources) -> None:
        self._platform = platform
        self._of_database: gauges.Figures = {}
        self._read_at: float | None = None
        self._ok = False
        self._reading: asyncio.Task[None] | None = None

    async def text(self, accept: str) -> tuple[bytes, str]:
        """All of them, and the content type they are written in."""
        await self._refresh()
        return await asyncio.to_thread(write, self._all(), accept)  # thousands of lines: not while requests wait

    async def _refresh(self) -> None:
        fresh = self._read_at is not None and time.monotonic() - self._read_at < FRESH
        if self._reading is None and not (fresh and self._ok):
            self._reading = asyncio.create_task(self._read(), name="metrics")
            self._reading.add_done_callback(lambda _: setattr(self, "_reading", None))
        if self._reading is not None:
            # the task goes on: a reader cannot be called back, and whoever scrapes next has its figures
            done, _ = await asyncio.wait((self._reading,), timeout=LIMIT)
            self._ok = self._ok and bool(done)

    async def _read(self) -> None:
        try:
            count = partial(gauges.counted, most=COUNTED, topics=TOPICS)
            self._of_database = await self._platform.store.async_read(count, limit=LIMIT)
        except PenstockError as error:
            self._ok = False
            log.warning("the figures of the database could not be read", reason=error.message)
        except Exception:
            self._ok = False
            log.exception("the figures of the database could not be read")
        else:
            self._ok, self._read_at = True, time.monotonic()

    # -- by room -----------------------------------------------------------------------------------------------------

    def _all(self) -> dict[str, list[Sample]]:
        found: dict[str, list[Sample]] = {f"penstock_{name}": list(rows) for name, rows in self._of_database.items()}
        found["penstock_scrape_ok"] = [((), float(self._ok))]
        if self._read_at is not None:
            found["penstock_scrape_age_seconds"] = [((), time.monotonic() - self._read_at)]
        return found | self._doors() | self._writer() | self._engine() | self._identity() | self._process()

    def _doors(self) -> dict[str, list[Sample]]:
        requests: list[Sample] = []
        seconds: list[Sample] = []
        in_flight: list[Sample] = []
        streams: list[Sample] = []
        refused: list[Sample] = []
        for watch in self._platform.watches:
            door, figures = watch.door, watch.figures
            in_flight.append(((door,), figures.in_flight))
            streams.append(((door,), figures.streams))
            refused += [((door, str(status)), count) for status, count in figures.refused.items()]
            for operation, answered in sorted(figures.operations.items()):
                seconds.append(((door, operation), answered.seconds))
                requests += [
                    ((door, operation, name), count)
                    for name, count in zip(CLASSES, answered.classes, strict=True)
                    if count
                ]
        return {
            "penstock_http_requests_total": requests,
            "penstock_http_request_seconds": seconds,
            "penstock_http_requests_in_flight": in_flight,
            "penstock_http_refused_total": refused,
            "penstock_http_streams_open": streams,
        }

    def _writer(self) -> dict[str, list[Sample]]:
        store = self._platform.store
        stats = store.stats
        numbers: dict[str, float] = {
            "units_waiting": store.writer.waiting,
            "groups_again_total": stats.failed_groups,
            "rows_total": stats.rows,
            "statements_total": stats.statements,
            "deferred_total": stats.deferred,
            "reconnects_total": stats.reconnects,
            # a flush that a read forces happens inside its unit
            "busy_seconds_total": (stats.unit_ns + stats.commit_ns) / 1e9,
        }
        found: dict[str, list[Sample]] = {f"penstock_writer_{name}": [((), value)] for name, value in numbers.items()}
        found["penstock_writer_units_total"] = [
            (("normal",), stats.units - stats.low_units),
            (("low",), stats.low_units),
        ]
        found["penstock_writer_group_units"] = [((), stats.sizes)]
        found["penstock_writer_commit_seconds"] = [((), stats.commits)]
        return found

    def _engine(self) -> dict[str, list[Sample]]:
        platform = self._platform
        figures = platform.engine.figures
        http = platform.http
        return {
            "penstock_steps_total": [((), figures.steps)],
            "penstock_decider_seconds_total": [((), figures.step_ns / 1e9)],
            "penstock_leases_expired_total": [((), figures.leases_expired)],
            "penstock_polls_waiting": [((), figures.polls_waiting)],
            "penstock_http_jobs_in_flight": [((), 0 if http is None else http.in_flight)],
            "penstock_http_jobs_total": [
                (("ok",), figures.http_sent - figures.http_failed),
                (("failed",), figures.http_failed),
            ],
            "penstock_audit_seal_lag_seconds": [((), platform.sealer.lag)],
            "penstock_loop_alive": [((name,), float(alive)) for name, alive in platform.alive.items()],
        }

    def _identity(self) -> dict[str, list[Sample]]:
        credentials = self._platform.credentials
        figures = credentials.figures
        return {
            "penstock_token_cache_total": [(("hit",), figures.hits), (("miss",), figures.misses)],
            "penstock_passwords_waiting": [((), credentials.waiting)],
            "penstock_passwords_hashed_total": [((), figures.hashed)],
            "penstock_log_ins_total": [(("ok",), figures.log_ins), (("refused",), figures.refused)],
        }

    def _process(self) -> dict[str, list[Sample]]:
        platform, store = self._platform, self._platform.store
        found: dict[str, list[Sample]] = {
            "penstock_info": [((penstock.__version__, store.dialect, store.node), 1)],
            "penstock_reader_connections_busy": [((), store.reader.busy)],
            "penstock_connections_open": [((), platform.connections())],
        }
        if (size := store.wal_bytes()) is not None:
            found["penstock_wal_bytes"] = [((), size)]
        if platform.tracer is not None:
            sent = platform.tracer.sent
            found["penstock_trace_spans_total"] = [(("sent",), sent.taken), (("lost",), sent.lost)]
        return found
