"""A platform behind a port, until a signal."""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
from collections.abc import Callable
from typing import Any

from penstock.config import Settings
from penstock.errors import Unavailable
from penstock.web.streaming import ABORT
from penstock.wiring.logs import configure_logging
from penstock.wiring.places import address, printable_host
from penstock.wiring.platform import Platform

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
                platform.signing.bound(url)
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
                f"cannot listen on {printable_host(host)}:{port}: {error.strerror}; --port names another"
            ) from None


def _leave(_signal: int, _frame: object) -> None:
    raise SystemExit(0)


def run_server(settings: Settings) -> None:
    """`penstock serve`. Raises: Unavailable, Invalid, Conflict."""
    configure_logging(settings)
    platform = Platform.build(settings)
    serve(platform, settings.host, settings.port)
