"""Composition root: settings in, a running platform out. The only place that knows every room."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import json
import logging
import os
import resource
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import structlog

import penstock
from penstock.api import routes
from penstock.api.door import Native
from penstock.audit import reading, signing
from penstock.audit.sealing import Sealer
from penstock.audit.verification import Report
from penstock.config import Settings
from penstock.dialects.cloudio import routes as cloudio
from penstock.dialects.executions import routes as executions
from penstock.documents import Blobs, copied
from penstock.engines import retention, sweeping
from penstock.engines.calls import Calls
from penstock.engines.embedded import EmbeddedEngine
from penstock.engines.http_jobs import HttpJobs
from penstock.engines.loops import Loops
from penstock.engines.schedules import Scheduler
from penstock.errors import Invalid, PenstockError, Unavailable
from penstock.identity.keys import KEY_BYTES, Keys, encode_key
from penstock.identity.tokens import RANDOM_BYTES, new_secret
from penstock.operations.bulk_running import BulkRunner
from penstock.operations.context import Context, new_uuid
from penstock.operations.documents import Documents
from penstock.operations.people import Credentials, NewUser, seed
from penstock.operations.secrets import rotate
from penstock.outbound import Outbound
from penstock.store import Store, maintenance, open_reader, people
from penstock.store.migrate import upgrade
from penstock.web.routing import ASGIApp, Call, Door, Route
from penstock.web.routing import Auth as NeedsAuth
from penstock.web.site import Site
from penstock.web.streaming import ABORT

log = structlog.get_logger("penstock")

CREDENTIALS = "credentials.json"
SECRET_KEY = "secret.key"  # noqa: S105 - a file's name
DEV_TENANT = "demo"
DEV_USERS = (
    ("ana@example.com", "Ana Ruiz", ("staff",), ()),
    ("ben@example.com", "Ben Okafor", ("staff", "risk"), ()),
    ("root@example.com", "Root", ("staff", "risk", "admins"), ("admin",)),
)
MOST_FILES = 1 << 20
ANYWHERE = ("0.0.0.0/0", "::/0")


def database_url(settings: Settings) -> str:
    """Where the data is: the database named, else SQLite in the data directory."""
    if settings.database_url is not None:
        return settings.database_url
    return f"sqlite:///{settings.data_dir.absolute() / 'penstock.db'}"


def documents_url(settings: Settings) -> str:
    """Where the content of documents is: the place named, else a folder in the data directory."""
    if settings.documents_url is not None:
        return settings.documents_url
    return (settings.data_dir.absolute() / "documents").as_uri()


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
    credentials: Credentials
    cursor_key: bytes
    blobs: Blobs
    sealer: Sealer
    ended: list[str] = field(default_factory=list)
    """Background tasks that ended by themselves: none may."""

    @classmethod
    def build(cls, settings: Settings) -> Platform:
        """Open the store and put the rooms together. Raises: Unavailable, Invalid, Conflict."""
        blobs = Blobs(documents_url(settings))
        keys = None if settings.secret_key is None else Keys.parse(settings.secret_key)
        allow = (*settings.outbound_allow, *(ANYWHERE if settings.outbound_allow_private else ()))
        store = Store.open(database_url(settings))
        try:
            engine = EmbeddedEngine()
            client = Outbound(allow)
            calls = Calls(store, client, keys)
            operations = Context(store, engine, keys, calls)
            return cls(
                settings=settings,
                store=store,
                engine=engine,
                loops=Loops(store, engine),
                scheduler=Scheduler(store, engine),
                bulk=BulkRunner(operations),
                client=client,
                calls=calls,
                operations=operations,
                credentials=Credentials(operations, int(settings.token_lifetime.total_seconds())),
                cursor_key=_installation_key(store),
                blobs=blobs,
                sealer=Sealer(store, None if settings.audit_key is None else signing.signer(settings.audit_key)),
            )
        except BaseException:
            store.close()
            raise

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The engine's own work goes on while this is open."""
        _calm_collector()
        http = HttpJobs(self.store, self.engine, self.calls)
        tasks = [
            asyncio.create_task(self.loops.run(), name="loops"),
            asyncio.create_task(self.scheduler.run(), name="schedules"),
            asyncio.create_task(http.run(), name="http jobs"),
            asyncio.create_task(self.operations.streams.run(), name="event streams"),
            asyncio.create_task(self.sealer.run(), name="sealer"),
            asyncio.create_task(self.bulk.run(), name="bulk operations"),
            asyncio.create_task(retention.run(self.store, self.settings.retention_days), name="retention"),
            asyncio.create_task(sweeping.run(self.store, self.blobs), name="documents"),
        ]
        for task in tasks:
            task.add_done_callback(self._report)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.client.aclose()

    def _report(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.ended.append(task.get_name())
            log.error("a background task ended", task=task.get_name(), exc_info=task.exception())

    def close(self) -> None:
        self.credentials.close()
        self.store.close()

    def app(self) -> Site:
        """The ASGI application: every door on one port."""
        settings = self.settings
        documents = Documents(self.operations, self.blobs, settings.max_document_size)
        pace = settings.upload_timeout.total_seconds()
        native = Native(self.operations, self.credentials, self.cursor_key, documents, pace)
        api = routes.door(native, self.settings.max_body_size)
        given = executions.Executions(self.operations, self.credentials, self.cursor_key)
        workflows = executions.door(given, self.settings.max_body_size)
        front = Door(_front_routes(), self, name="front", title="Penstock", version=penstock.__version__)
        values = cloudio.door(cloudio.Cloudio(self.operations, self.credentials, self.cursor_key))
        others = cloudio.Unblanked(values, front)
        mounts: dict[str, ASGIApp] = {
            routes.PREFIX: api,
            executions.MOUNT: workflows,
            **dict.fromkeys(cloudio.MOUNTS, others),
            "": others,
        }
        return Site(mounts, self.running, caseless=[executions.MOUNT])


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


def _front_routes() -> tuple[Route[Platform], ...]:
    async def health(_: Call[Platform]) -> dict[str, str]:
        return {"status": "ok", "version": penstock.__version__}

    async def ready(call: Call[Platform]) -> dict[str, str]:
        try:
            await asyncio.wait_for(call.door.store.submit_async(lambda tx: tx.now), 5)
        except TimeoutError:
            raise Unavailable("the database does not take writes", retry_after=5) from None
        if call.door.ended:
            raise Unavailable(f"the engine's {', '.join(call.door.ended)} ended; restart the server", retry_after=30)
        return {"status": "ready"}

    async def index(_: Call[Platform]) -> dict[str, Any]:
        return {
            "name": "Penstock",
            "version": penstock.__version__,
            "doors": {
                "native": {"path": routes.PREFIX, "docs": f"{routes.PREFIX}/docs"},
                "cloudio": {"path": cloudio.MOUNTS[0], "docs": f"{cloudio.MOUNTS[0]}/docs"},
                "executions": {"path": executions.PREFIX, "docs": f"{executions.PREFIX}/docs"},
            },
        }

    answer: dict[str, Any] = {"response": dict[str, Any], "auth": NeedsAuth.NONE}
    return (
        Route(method="GET", path="/", operation="index", summary="Doors", handler=index, **answer),
        Route(method="GET", path="/healthz", operation="health", summary="It runs", handler=health, **answer),
        Route(
            method="GET", path="/readyz", operation="ready", summary="It can write", handler=ready,
            errors=(Unavailable,), **answer,
        ),
    )  # fmt: skip


# -- running ---------------------------------------------------------------------------------------------------------


def configure_logging(settings: Settings) -> None:
    """One line an event on stderr, JSON or for a terminal. Tracebacks come without local variables: these hold secrets."""
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()] if as_json else [plain]
    first: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=first, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("penstock").setLevel(settings.log_level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *first,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def serve(platform: Platform, host: str, port: int, started: Callable[[str], None] | None = None) -> None:
    """Serve until a signal. When it does, prints `ready http://…` and calls `started` with the address."""
    import uvicorn  # noqa: PLC0415 - only a server needs one
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # noqa: PLC0415

    class Protocol(HttpToolsProtocol):
        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.scope["extensions"] = {ABORT: {"abort": self.transport.abort}}

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets=sockets)
            if self.started:
                bound = self.servers[0].sockets[0].getsockname()[1] if self.servers else port
                url = f"http://{_host(host)}:{bound}"
                if started is not None:
                    started(url)
                print(f"ready {url}", flush=True)  # noqa: T201 - the word scripts wait for

        async def shutdown(self, sockets: Any = None) -> None:
            platform.engine.dispatcher.drain()
            platform.operations.streams.close()
            await super().shutdown(sockets=sockets)

    config = uvicorn.Config(
        platform.app(),
        host=host,
        port=port,
        loop="uvloop",
        http=Protocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here believes what a caller says of his address
        date_header=False,
        timeout_graceful_shutdown=5,
        backlog=4096,
    )
    _raise_file_limit()
    signal.signal(signal.SIGTERM, _leave)  # uvicorn takes it over, and raises it again when it has shut down
    try:
        _require_free(host, port)
        Server(config).run()
    finally:
        platform.close()


def _raise_file_limit() -> None:
    """Every open connection is a file: as many as the machine's administrator allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _require_free(host: str, port: int) -> None:
    """Say in our words what the web server would log in its own. Raises: Unavailable."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Unavailable(
                f"cannot listen on {_host(host)}:{port}: {error.strerror}; --port names another"
            ) from None


def _leave(_signal: int, _frame: object) -> None:
    raise SystemExit(0)


def _host(host: str) -> str:
    return "127.0.0.1" if host in ("", "0.0.0.0") else f"[{host}]" if ":" in host else host  # noqa: S104


def run_server(settings: Settings) -> None:
    """`penstock serve`. Raises: Unavailable, Invalid, Conflict."""
    configure_logging(settings)
    platform = Platform.build(settings)
    serve(platform, settings.host, settings.port)


def run_dev(data: Path, host: str, port: int, settings: Settings) -> None:
    """`penstock dev`: SQLite in `data`, a demo tenant, and `credentials.json` beside it.

    Raises: Unavailable when another server has the data.
    """
    configure_logging(settings)
    data.mkdir(parents=True, exist_ok=True)
    settings = replace(
        settings,
        database_url=f"sqlite:///{data.absolute() / 'penstock.db'}",
        data_dir=data,
        host=host,
        port=port,
        outbound_allow=(*settings.outbound_allow, "127.0.0.0/8", "::1/128"),
        secret_key=settings.secret_key or _dev_key(data / SECRET_KEY),
    )
    platform = Platform.build(settings)
    try:
        asyncio.run(_ensure_demo_tenant(platform, data, f"http://{_host(host)}:{port}"))
    except BaseException:
        platform.close()
        raise
    serve(platform, host, port, lambda url: _note_url(data / CREDENTIALS, url))


# -- for the operator ------------------------------------------------------------------------------------------------


def migrate(settings: Settings) -> str:
    """`penstock migrate`. Raises: Unavailable while a server has a SQLite database."""
    return f"the schema is at version {upgrade(database_url(settings))}"


def backup(settings: Settings, target: Path) -> str:
    """`penstock backup`, while the server runs. Raises: Conflict, Unavailable."""
    said = maintenance.backup(database_url(settings), target)
    # after the database: what it names is there then, but for what was deleted meanwhile
    return f"{said}; {_copied_documents(settings, target, back=False)}"


def restore(settings: Settings, source: Path) -> str:
    """`penstock restore`, while no server runs. Raises: Unavailable."""
    said = maintenance.restore(database_url(settings), source)
    return f"{said}; {_copied_documents(settings, source, back=True)}"


def _copied_documents(settings: Settings, copy: Path, *, back: bool) -> str:
    """The content of documents lies beside the copy of the database, where it is files here."""
    folder = Blobs(documents_url(settings)).folder
    if folder is None:
        return f"the content of documents stays at {settings.documents_url}"
    beside = copy.with_name(copy.name + ".documents")
    source, target = (beside, folder) if back else (folder, beside)
    if not source.exists():
        return "no documents"
    return f"{copied(source, target)} documents in {target}"


def rotate_keys(settings: Settings) -> str:
    """`penstock rotate-keys`: while no server has a SQLite database, or beside servers on PostgreSQL that know both keys.

    Raises: Invalid (no key, a secret that cannot be read), Unavailable.
    """
    if settings.secret_key is None:
        raise Invalid("there is no secret_key: set PENSTOCK_SECRET_KEY_FILE, the new key first, the old one behind it")
    keys = Keys.parse(settings.secret_key)
    store = Store.open(database_url(settings))
    try:
        done, unreadable = asyncio.run(rotate(store, keys))
    finally:
        store.close()
    if unreadable:
        raise Invalid(f"{done} secrets are encrypted anew; these could not be read: {'; '.join(unreadable)}")
    return f"{done} secrets are encrypted anew, with the key {keys.newest}"


def _dev_key(path: Path) -> str:
    """The key of a data directory, made where it is not there."""
    if not path.exists():
        _write_text_private(path, encode_key(secrets.token_bytes(KEY_BYTES)))
    return path.read_text().strip()


def verify_audit(
    settings: Settings, tenant: str | None, key: str | None, anchor: reading.Anchor | None
) -> list[Report]:
    """`penstock audit verify`, of all tenants or one; a server may run. Raises: NotFound, Unavailable, Invalid (the key)."""
    check = None if key is None else signing.checker(key)
    with contextlib.closing(open_reader(database_url(settings))) as opened:
        return [
            reading.verify_database(opened, tid, id, check, anchor) for tid, id, _ in reading.tenants(opened, tenant)
        ]


def verify_export(file: Path, key: str | None, anchor: reading.Anchor | None) -> Report:
    """`penstock audit verify --file`, of one tenant. Raises: Invalid."""
    with file.open("rb") as lines:
        return reading.verify_file(lines, None if key is None else signing.checker(key), anchor)


def doctor(settings: Settings) -> list[tuple[str, bool, str]]:
    """`penstock doctor`: (what, whether it is well, details)."""
    url = database_url(settings)
    found = [
        ("python", sys.version_info >= (3, 11), sys.version.split()[0]),
        ("penstock", True, penstock.__version__),
        *maintenance.check(url),
    ]
    if url.startswith("sqlite") and not all(good for _, good, _ in found):
        return found
    try:
        store = Store.open(url)
    except Unavailable as error:
        running = "is in use" in error.message
        found.append(("database", running, f"a server is running: {error.message}" if running else error.message))
        return found
    except PenstockError as error:
        return [*found, ("database", False, error.message)]
    try:
        now = store.submit(lambda tx: tx.now).result(10)
        skew = abs(now - time.time() * 1000)
        found.append(("database", True, f"{store.dialect} answers"))
        found.append(("clock", skew < 2_000, f"{skew:.0f} ms from the database's"))
    finally:
        store.close()
    return found


async def _ensure_demo_tenant(platform: Platform, data: Path, url: str) -> None:
    path = data / CREDENTIALS
    known = await platform.store.async_read(lambda read: people.tenant(read, DEV_TENANT))
    if known is not None:
        if not path.exists():
            raise Unavailable(
                f"{data} has data but no {CREDENTIALS}: secrets are kept as hashes and cannot be shown again"
            )
        return
    # the file comes first: after a crash in between, the tenant is made of what stands in it
    if not path.exists():
        _write_private(path, _new_credentials(url))
    content = json.loads(path.read_text())
    passwords = {user["email"]: user["password"] for user in content["users"]}
    users = [
        NewUser(email=email, name=name, groups=groups, roles=roles, password=passwords[email])
        for email, name, groups, roles in DEV_USERS
    ]
    application = (content["application"]["id"], content["application"]["secret"])
    await seed(platform.operations, DEV_TENANT, "Demo", users, content["tenant"]["id"], application)


def _new_credentials(url: str) -> dict[str, Any]:
    tenant = new_uuid()
    users = [
        {"email": email, "password": secrets.token_urlsafe(9), "groups": list(groups)}
        for email, _, groups, _ in DEV_USERS
    ]
    return {
        "url": url,
        "tenant": {"id": tenant, "code": DEV_TENANT},
        "application": {"id": new_uuid(), "secret": new_secret("ps", secrets.token_bytes(RANDOM_BYTES))},
        "users": users,
        **_for_coming_doors(tenant),
    }


def _for_coming_doors(tenant: str) -> dict[str, Any]:
    """What clients of doors that are still to come will sign in with: made once, so that a data directory stays good.

    The door's first start takes its secrets from the file.
    """
    return {
        "secmaster": {
            "project_id": uuid5(UUID(tenant), "project").hex,
            "workspace_id": str(uuid5(UUID(tenant), "workspace")),
            "ak": secrets.token_hex(10).upper(),
            "sk": secrets.token_urlsafe(30),
        },
        "workfloplus": {
            "team": DEV_TENANT,
            "client_id": str(uuid5(UUID(tenant), "workfloplus")),
            "client_secret": secrets.token_urlsafe(32),
        },
        "executions": {"customer_id": tenant},
    }


def _note_url(path: Path, url: str) -> None:
    """Where the server of these credentials answers now: port 0 is known only when it is bound."""
    content = json.loads(path.read_text())
    if content.get("url") != url:
        _write_private(path, {**content, "url": url})


def _write_private(path: Path, content: dict[str, Any]) -> None:
    _write_text_private(path, json.dumps(content, indent=2))


def _write_text_private(path: Path, text: str) -> None:
    """Written whole or not at all, and readable by its owner alone."""
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
