"""All doors on one port: the longest prefix that fits takes the request; start-up and shut-down of the whole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import structlog

from penstock.web.proxies import Proxies
from penstock.web.routing import ASGIApp
from penstock.web.streaming import Receive, Scope, Send

log = structlog.get_logger("penstock.web")
Lifespan = Callable[[], AbstractAsyncContextManager[object]]


class Site:
    """An ASGI application of applications. The mount `""` is needed: it answers what nobody else takes.

    The prefixes in `caseless` count in any case.
    """

    def __init__(
        self,
        mounts: Mapping[str, ASGIApp],
        lifespan: Lifespan | None = None,
        caseless: Collection[str] = (),
        proxies: Proxies | None = None,
    ) -> None:
        assert "" in mounts, "somebody must answer what nobody takes"
        assert mounts.keys() >= set(caseless), "a caseless prefix is none of the mounts"
        self._mounts = [
            (prefix.lower() if prefix in caseless else prefix, prefix in caseless, app)
            for prefix, app in sorted(mounts.items(), key=lambda mount: -len(mount[0]))
        ]
        self._lifespan = lifespan
        self._proxies = proxies or None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands on."""
        kind = scope["type"]
        if kind == "http":
            if self._proxies is not None:
                scope = self._proxies.seen_through(scope)
            path: str = scope["path"]
            for prefix, caseless, app in self._mounts:
                head = path[: len(prefix)]
                if (head.lower() if caseless else head) != prefix:
                    continue
                if not prefix or path[len(prefix) :][:1] in {"", "/"}:
                    await app(scope, receive, send)
                    return
        elif kind == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _live(self, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            await receive()
            try:
                if self._lifespan is not None:
                    await stack.enter_async_context(self._lifespan())
            except Exception as error:
                log.exception("start-up failed")
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
