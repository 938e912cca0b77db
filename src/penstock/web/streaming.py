"""Answers that go on: sent part by part, as long as the client is there and takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

log = structlog.get_logger("penstock.web")

ABORT = "penstock.abort"
"""Extension of the scope: breaks the connection at once. ASGI has no word for that, and a client that reads nothing would hold
its connection, and what waits in it, for as long as it likes."""

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def nothing() -> None:
    """Nobody needs to be told."""


def no_abort(_: Callable[[], object]) -> None:
    """Nobody wants to break the connection."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """A handler's answer that is made while it is sent."""

    parts: AsyncGenerator[bytes, None]
    content_type: str
    stop: Callable[[], object] = nothing
    """Called when the client has left, or nothing more will be sent: `parts` should end."""
    abort: Callable[[Callable[[], object]], object] = no_abort
    """Is given what breaks the connection."""
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(self, send: Send, receive: Receive, scope: Scope) -> None:
        """An error in the midst of the parts breaks the connection: what was sent must not be taken for the whole."""
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        headers.append((b"content-type", self.content_type.encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        breaking = (scope.get("extensions") or {}).get(ABORT, {}).get("abort", nothing)
        leaving = asyncio.ensure_future(_gone(receive))
        leaving.add_done_callback(lambda _: self.stop())
        self.abort(breaking)
        try:
            if scope["method"] != "HEAD":
                async for part in self.parts:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except Exception:
            log.exception("a stream broke", path=scope["path"])
            if breaking is not nothing:
                breaking()
                await leaving  # until the server knows it, too
        finally:
            leaving.cancel()
            self.stop()
            await self.parts.aclose()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
