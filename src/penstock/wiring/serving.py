"""A platform behind a port, until a signal."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

import penstock
from penstock.config import Settings
from penstock.errors import Unavailable
from penstock.store import installation, maintenance, people, seals
from penstock.web.streaming import ABORT
from penstock.wiring.logs import configure_logging
from penstock.wiring.places import NOT_SIGNED_ANY_MORE, address, database_url, key_file, printable_host
from penstock.wiring.platform import Platform
from penstock.wiring.private_files import read_by_others

log = structlog.get_logger("penstock")
MOST_FILES = 1 << 20


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
                url = address(host, bound)
                platform.listening(url)
                _started(platform, url, tenants)
                if started is not None:
                    started(url)
                print(f"ready {url}", flush=True)  # noqa: T201 - the word scripts wait for

        async def shutdown(self, sockets: Any = None) -> None:
            platform.draining = True
            log.info("stopping")
            if (delay := platform.settings.drain_delay.total_seconds()) > 0:
                # load balancers see that it is not ready, and send nothing more by the time the port closes
                log.info("draining", seconds=delay)
                await asyncio.sleep(delay)
            platform.engine.dispatcher.drain()
            platform.operations.streams.close()
            await super().shutdown(sockets=sockets)

    tenants = len(platform.store.read(people.tenants))
    config = uvicorn.Config(
        platform.app(),
        host=host,
        port=port,
        loop="uvloop",
        http=Protocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # `web.proxies` reads them, where the operator has named a proxy
        date_header=False,
        timeout_graceful_shutdown=5,
        backlog=4096,
    )
    server = Server(config)
    platform.connections = lambda: len(server.server_state.connections)
    _raise_file_limit()
    signal.signal(signal.SIGTERM, _leave)  # uvicorn takes it over, and raises it again when it has shut down
    try:
        _require_free(host, port)
        server.run()
    finally:
        platform.close()
        if server.started:
            log.info("stopped")


def warn(platform: Platform, files: Mapping[str, Path]) -> None:
    """What is wrong and keeps no server from its start is said loudly."""
    settings = platform.settings
    if settings.audit_key is None and platform.store.read(seals.were_signed):
        log.warning(NOT_SIGNED_ANY_MORE)
    for path in (key_file(settings, files), files.get("audit_key")):
        if path is not None and (said := read_by_others(path)) is not None:
            log.warning(said)


def _started(platform: Platform, url: str, tenants: int) -> None:
    """One line that says what runs here, and on what."""
    settings = platform.settings
    log.info(
        "started",
        version=penstock.__version__,
        url=url,
        public_url=settings.public_url,
        database=maintenance.place(database_url(settings)),
        data_dir=str(settings.data_dir.absolute()),
        seals="not signed" if settings.audit_key is None else "signed",
        tenants=tenants,
    )


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
                f"cannot listen on {printable_host(host)}:{port}: {error.strerror}; --port names another"
            ) from None


def _leave(_signal: int, _frame: object) -> None:
    raise SystemExit(0)


def run_server(settings: Settings, files: Mapping[str, Path]) -> None:
    """`penstock serve`. `files`: of the secrets that were read from files, which. Raises: Unavailable, Invalid, Conflict."""
    configure_logging(settings)
    platform = Platform.build(settings)
    warn(platform, files)
    if platform.store.read(installation.is_empty):
        first = "stop this server, then " if platform.store.dialect == "sqlite" else ""
        makes = "penstock bootstrap CODE --email EMAIL makes the first"
        log.warning("there is no tenant yet, so nobody can get in: %s%s", first, makes)
    serve(platform, settings.host, settings.port)
