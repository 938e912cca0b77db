"""What goes over the wire in pieces: how long a body says it is, and answers that are sent in chunks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.errors import Invalid, PenstockError, Problem


def declared_length(headers: Mapping[str, str]) -> int | None:
    """Of the body, as the client says. Raises: Invalid."""
    declared = headers.get("content-length")
    if declared is None:
        return None
    if not (declared.isascii() and declared.isdigit() and len(declared) < 19):
        raise Invalid("Content-Length is not a number", [Problem("Content-Length", "must be a number")], close=True)
    return int(declared)


@dataclass(frozen=True, slots=True)
class Download:
    """A handler's answer that is sent in chunks, as fast as the reader takes them. Without chunks it is headers alone."""

    chunks: AsyncIterator[bytes] | None
    length: int
    content_type: str
    patience: float
    """Seconds the reader may stand still."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(self, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        """A reader that stands still is cut off, and so is one whose content ends early: it sees that it has not all."""
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        if self.status != 304:
            headers.append((b"content-length", str(self.length).encode()))
            headers.append((b"content-type", self.content_type.encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if self.chunks is not None:
            try:
                async for chunk in self.chunks:
                    async with asyncio.timeout(self.patience):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except (TimeoutError, PenstockError):
                return
        await send({"type": "http.response.body", "body": b""})
