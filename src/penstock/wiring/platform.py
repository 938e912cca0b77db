"""The platform, put together of every room."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

import penstock
from penstock.api import routes
from penstock.api.door import Native
from penstock.audit import signing
from penstock.audit.sealing import Sealer
from penstock.config import Settings
from penstock.dialects.cloudio import routes as cloudio
from penstock.dialects.executions import routes as executions
from penstock.documents import Blobs
from penstock.engines import retention, sweeping
from penstock.engines.calls import Calls
from penstock.engines.embedded import EmbeddedEngine
from penstock.engines.http_jobs import HttpJobs
from penstock.engines.loops import Loops
from penstock.engines.schedules import Scheduler
from penstock.operations import signing as token_keys
from penstock.operations.bulk_running import BulkRunner
from penstock.operations.context import Context
from penstock.operations.documents import Documents
from penstock.operations.people import Credentials
from penstock.operations.sessions import Sessions
from penstock.operations.signing import Signing
from penstock.operations.single_sign_on import Origin, SingleSignOn
from penstock.outbound import Outbound
from penstock.store import Store, people
from penstock.telemetry.tracing import Tracer
from penstock.web.cookies import Cookies
from penstock.web.proxies import Proxies
from penstock.web.routing import ASGIApp, Door
from penstock.web.site import Site
from penstock.web.watching import Watch
from penstock.wiring.front import Front, front_routes
from penstock.wiring.metrics import Metrics
from penstock.wiring.places import address, database_url, documents_url, keys_of

log = structlog.get_logger("penstock")
ANYWHERE = ("0.0.0.0/0", "::/0")


@dataclass
class Platform:
    """A platform that has been put together: the store is open, nothing runs yet."""

    settings: Settings
    store: Store
    engine: EmbeddedEngine
    loops: Loops
    scheduler: Scheduler
    client: Outbound
    calls: Calls
    operations: Context
    bulk: BulkRunner
    signing: Signing
    credentials: Credentials
    sessions: Sessions
    single_sign_on: SingleSignOn
    origin: Origin
    cursor_key: bytes
    blobs: Blobs
    sealer: Sealer
    tracer: Tracer | None = None
    alive: dict[str, bool] = field(default_factory=dict)
    """Background tasks by name, and whether they run: none may end by itself."""
    http: HttpJobs | None = None
    draining: bool = False
    """It was told to stop, and should be sent nothing more."""
    watches: list[Watch] = field(default_factory=list)
    """Of each door."""
    connections: Callable[[], int] = field(default=lambda: 0)
    """How many of clients are open."""

    @classmethod
    def build(cls, settings: Settings) -> Platform:
        """Open the store and put the rooms together. Raises: Unavailable, Invalid, Conflict."""
        blobs = Blobs(documents_url(settings))
        allow = (*settings.outbound_allow, *(ANYWHERE if settings.outbound_allow_private else ()))
        store = Store.open(database_url(settings))
        tracer: Tracer | None = None
        try:
            keys = keys_of(settings, store)
            token_keys.ensure(store, keys)
            tracer = _tracer(settings, store.node)
            engine = EmbeddedEngine()
            client = Outbound(allow)
            calls = Calls(store, client, keys)
            operations = Context(store, engine, keys, calls)
            key, own = _installation_key(store), address(settings.host, settings.port)
            issued = Signing(store, keys, own, settings.public_url)
            origin = Origin(settings.public_url or own)
            credentials = Credentials(operations, issued, int(settings.token_lifetime.total_seconds()))
            sessions = Sessions(operations, credentials, key, settings.session_lifetime, settings.session_idle)
            loops, scheduler = Loops(store, engine), Scheduler(store, engine)
            loops.tracer = scheduler.tracer = tracer
            return cls(
                settings=settings,
                store=store,
                engine=engine,
                loops=loops,
                scheduler=scheduler,
                tracer=tracer,
                bulk=BulkRunner(operations),
                client=client,
                calls=calls,
                operations=operations,
                signing=issued,
                credentials=credentials,
                sessions=sessions,
                single_sign_on=SingleSignOn(operations, client, sessions, key, origin),
                origin=origin,
                cursor_key=key,
                blobs=blobs,
                sealer=Sealer(store, None if settings.audit_key is None else signing.signer(settings.audit_key)),
            )
        except BaseException:
            store.close()
            if tracer is not None:
                tracer.close()
            raise

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The engine's own work goes on while this is open."""
        _calm_collector()
        http = self.http = HttpJobs(self.store, self.engine, self.calls, self.tracer)
        tasks = [
            asyncio.create_task(self.loops.run(), name="loops"),
            asyncio.create_task(self.scheduler.run(), name="schedules"),
            asyncio.create_task(http.run(), name="http jobs"),
            asyncio.create_task(self.operations.streams.run(), name="event streams"),
            asyncio.create_task(self.sealer.run(), name="sealer"),
            asyncio.create_task(self.bulk.run(), name="bulk operations"),
            asyncio.create_task(retention.run(self.store, self.settings.retention_days), name="retention"),
            asyncio.create_task(self.signing.run(self.settings.signing_key_days), name="signing keys"),
            asyncio.create_task(sweeping.run(self.store, self.blobs), name="documents"),
        ]
        for task in tasks:
            self.alive[task.get_name()] = True
            task.add_done_callback(self._report)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.client.aclose()

    def _report(self, task: asyncio.Task[None]) -> None:
        self.alive[task.get_name()] = False
        if not task.cancelled():
            log.error("a background task ended", task=task.get_name(), exc_info=task.exception())

    def close(self) -> None:
        self.credentials.close()
        self.store.close()
        if self.tracer is not None:
            self.tracer.close()

    def app(self) -> Site:
        """The ASGI application: every door on one port."""
        settings, admit = self.settings, self.operations.limits.admit
        documents = Documents(self.operations, self.blobs, settings.max_document_size)
        pace = settings.upload_timeout.total_seconds()
        native = Native(
            operations=self.operations,
            credentials=self.credentials,
            cursor_key=self.cursor_key,
            documents=documents,
            patience=pace,
            sessions=self.sessions,
            single_sign_on=self.single_sign_on,
            cookies=Cookies(settings.public_url),
        )
        api = routes.door(native, settings.max_body_size, admit)
        given = executions.Executions(self.operations, self.credentials, self.cursor_key)
        workflows = executions.door(given, settings.max_body_size, admit)
        front = Door(
            front_routes(),
            Front(
                store=self.store,
                alive=self.alive,
                draining=lambda: self.draining,
                metrics=Metrics(self),
                metrics_token=settings.metrics_token,
                signing=self.signing,
            ),
            name="front",
            title="Penstock",
            version=penstock.__version__,
        )
        values = cloudio.door(cloudio.Cloudio(self.operations, self.credentials, self.cursor_key))
        others = cloudio.Unblanked(values, front)
        self.watches = [self._watched(door) for door in (front, api, workflows, values)]
        front.watch.draining = lambda: self.draining  # of it only /readyz answers 503 then
        mounts: dict[str, ASGIApp] = {
            routes.PREFIX: api,
            executions.MOUNT: workflows,
            **dict.fromkeys(cloudio.MOUNTS, others),
            "": others,
        }
        return Site(mounts, self.running, [executions.MOUNT], Proxies(settings.trusted_proxies))

    def listening(self, url: str) -> None:
        """The server has its port now, which may have been anyone: browsers come there, unless the operator said where."""
        self.signing.bound(url)
        if self.settings.public_url is None:
            self.origin.url = url

    def _watched(self, door: Door[Any]) -> Watch:
        settings = self.settings
        slow = settings.log_slow.total_seconds()
        door.watch = Watch(door.name, door.prefix, every=settings.log_requests, slow=slow, tracer=self.tracer)
        return door.watch


def _tracer(settings: Settings, node: str) -> Tracer | None:
    """Raises: Invalid when OpenTelemetry is not installed."""
    if settings.otlp_endpoint is None:
        return None
    return Tracer(settings.otlp_endpoint, settings.trace_sample, version=penstock.__version__, node=node)


def _calm_collector() -> None:
    """Steps make many objects and hardly a cycle: look for cycles seldom, and never again at what start-up made.

    What that gave is in docs/performance.md.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _installation_key(store: Store) -> bytes:
    """A key of this installation, made once and kept in the database: it signs cursors."""
    fresh = base64.b64encode(secrets.token_bytes(32)).decode()

    def unit(tx: Any) -> str | None:
        people.first_meta(tx, "installation_key", fresh)
        return people.meta(tx, "installation_key")

    found = store.submit(lambda tx: people.meta(tx, "installation_key")).result(30) or store.submit(unit).result(30)
    assert found is not None, "it was made where it was not there"
    return base64.b64decode(found)
